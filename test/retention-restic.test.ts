/**
 * The same calendars and rules given to the real restic (0.14, Debian 12): what its rules keep, ours keep. Only the oldest one,
 * which ours keep while a rule wants more (as restic does since 0.16), may come on top.
 * HOLDFAST_RETENTION_POINTS sets how many snapshots are made and how many policies are asked for (24, or 12 where not everything is required).
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { dayMs } from "../src/core/calendar.ts";
import { newPointId } from "../src/core/ids.ts";
import { defaultRetention, planRetention, type RetentionPoint, type RetentionPolicy } from "../src/core/retention.ts";
import { effort } from "./support/effort.ts";
import { needs } from "./support/needs.ts";
import { seededRandom } from "./support/random.ts";
import { tempDir } from "./support/repo.ts";

const restic = needs("restic", "retention compared with restic");
const amount = effort("HOLDFAST_RETENTION_POINTS", 24, 12);
const calendars = 6;
/** Around the end of a year whose last week is the 53rd, and past: restic takes what lies ahead of its clock for the newest. */
const from = Date.UTC(2020, 10, 25);
const spanMs = 70 * dayMs;

test.skipIf(!restic)(`${amount} snapshots, ${amount} policies`, { timeout: 60_000 + amount * 10_000 }, () => {
  using dir = tempDir();
  const env = {
    ...process.env,
    TZ: "UTC",
    RESTIC_PASSWORD: "test",
    RESTIC_REPOSITORY: join(dir.path, "repo"),
    RESTIC_CACHE_DIR: join(dir.path, "cache"),
  };
  const run = (...args: readonly string[]): string => execFileSync("restic", args, { cwd: dir.path, env, encoding: "utf8" });
  const random = seededRandom(22);
  const below = (limit: number): number => Math.floor(random() * limit);
  writeFileSync(join(dir.path, "file"), "content");
  run("init", "--quiet");
  const made = Array.from({ length: amount }, (_, at) => {
    // restic keeps seconds. Some fall on a day that has one already.
    const time = new Date(from + Math.floor((at % 3 === 0 ? below(4) * dayMs + below(dayMs) : below(spanMs)) / 1000) * 1000);
    const tags = Array.from({ length: calendars }, (__, tag) => tag).filter((tag) => tag === 0 || random() < 0.6);
    run("backup", "--quiet", "--time", time.toISOString().slice(0, 19).replace("T", " "), "--tag", tags.map((tag) => `c${tag}`).join(","), "file");
    const point: RetentionPoint = { id: newPointId(time, at), createdAt: time.toISOString(), base: null, retention: "policy" };
    return { point, tags };
  });
  for (let round = 0; round < amount; round += 1) {
    const calendar = round % calendars;
    const points = made.flatMap(({ point, tags }) => (tags.includes(calendar) ? [point] : []));
    const days = below(3) === 0 ? below(20) : 0;
    const rules = { last: below(3), daily: below(9), weekly: below(6), monthly: 1 + below(4), yearly: below(3) };
    const policy: RetentionPolicy = { ...defaultRetention, ...rules, withinMs: days * dayMs };
    const plan = planRetention(points, policy, new Date(from + spanMs));
    const createdAt = new Map(points.map((point) => [point.id, point.createdAt]));
    const ours = plan.flatMap(({ id, isKept, reasons }) => (isKept && reasons.some((reason) => !isOurs(reason)) ? [createdAt.get(id)] : []));
    const counts = Object.entries(rules).flatMap(([name, count]) => (count === 0 ? [] : [`--keep-${name}`, String(count)]));
    const within = days === 0 ? [] : ["--keep-within", `${days}d`];
    const answer = run("forget", "--tag", `c${calendar}`, "--group-by", "", "--dry-run", "--json", ...counts, ...within);
    const [group] = JSON.parse(answer) as [{ keep: { time: string }[] | null }];
    const theirs = (group.keep ?? []).map(({ time }) => new Date(time).toISOString());
    expect(ours.toSorted(), `${JSON.stringify(policy)} of calendar ${calendar}`).toEqual(theirs.toSorted());
  }
});

/** Reasons that restic 0.14 does not have. */
function isOurs(reason: string): boolean {
  return reason === "newest" || reason === "newest that is whole" || reason.startsWith("oldest for ");
}
