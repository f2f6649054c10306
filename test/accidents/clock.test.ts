/**
 * The clock is set wrong, and right again: years and hours, forward and back, to 1970 by a dead battery, over New Year and the
 * nights in which summer time begins and ends. Real processes with a shifted clock. Ids stay unique and in the order in which
 * points were made, no point is deleted, full ones come, every point restores, and status says what is odd.
 */
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { fullEveryMs } from "../../src/capture/plan.ts";
import type { Manifest } from "../../src/core/manifest.ts";
import { readTrash } from "../../src/points/trash.ts";
import { FolderStore } from "../../src/stores/folder.ts";
import { countAccidents } from "../support/accidents.ts";
import { restorePoint } from "../support/restore-point.ts";
import { type Workspace, workspace } from "../support/workspace.ts";

const clock = fileURLToPath(new URL("../support/shifted-clock.mjs", import.meta.url));
const today = "2026-11-21T12:00:00Z";

interface Journey {
  readonly name: string;
  readonly zone?: string;
  /** The clock at each point; the first is when the repository is protected. */
  readonly clocks: readonly string[];
  /** What status says at the end. */
  readonly isOdd?: boolean;
}

const journeys: readonly Journey[] = [
  { name: "ten years ahead, and back", clocks: [today, "2036-11-21T12:00:00Z", "2036-11-22T12:00:00Z", today, "2026-11-21T12:01:00Z"], isOdd: true },
  { name: "ten years behind, and right again", clocks: [today, "2016-11-21T12:00:00Z", "2016-11-22T12:00:00Z", "2026-11-21T13:00:00Z"] },
  {
    name: "1970 by a dead battery, twice",
    clocks: ["1970-01-01T00:00:05Z", "1970-01-01T00:10:00Z", today, "1970-01-01T00:00:05Z", "2026-11-21T13:00:00Z"],
  },
  {
    name: "hours forward and back",
    clocks: [today, "2026-11-21T15:00:00Z", "2026-11-21T12:01:00Z", "2026-11-21T09:00:00Z", "2026-11-21T12:02:00Z"],
    isOdd: true,
  },
  { name: "standing still", clocks: [today, today, today, today] },
  {
    name: "the night in which summer time ends",
    zone: "Europe/Berlin",
    clocks: ["2026-10-24T23:30:00Z", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T00:45:00Z", "2026-10-25T02:00:00Z"],
  },
  {
    name: "the night in which it begins",
    zone: "America/New_York",
    clocks: ["2027-03-14T06:59:58Z", "2027-03-14T07:00:01Z", "2027-03-14T07:30:00Z"],
  },
  {
    name: "New Year",
    zone: "Pacific/Kiritimati",
    clocks: ["2026-12-31T23:59:50Z", "2027-01-01T00:00:01Z", "2026-12-31T23:59:59Z", "2027-01-01T00:01:00Z"],
  },
  { name: "the end of 32 bits", clocks: ["2038-01-19T03:14:00Z", "2038-01-19T03:14:08Z", "2038-01-20T00:00:00Z"] },
  {
    name: "a full point is a week old, by a clock that was a month behind",
    clocks: [today, "2026-10-21T12:00:00Z", "2026-10-27T12:00:00Z", "2026-11-21T12:10:00Z"],
  },
];

describe.concurrent("the clock is wrong", () => {
  test.each(journeys)("$name", { timeout: 300_000 }, async ({ name, zone, clocks, isOdd = false }) => {
    using work = await workspace({ isProtected: false });
    const at = async (time: string, args: readonly string[], codes: readonly number[] = [0]) => {
      const env = { SHIFTED_CLOCK: time, NODE_OPTIONS: `--import=${clock}`, TZ: zone ?? "UTC" };
      const result = await work.run(args, { env });
      expect(codes, `${args.join(" ")} at ${time}: ${result.stderr}`).toContain(result.code);
      return result;
    };
    const store = new FolderStore("local", work.store);
    await at(clocks[0] ?? today, ["init", "--yes", "--no-hooks", "--store", work.store, "--store", `${work.path}/disk`]);
    const made: Manifest[] = [...(await work.points())];
    for (const [number, time] of clocks.slice(1).entries()) {
      work.repo.write("notes.md", `${number}\n`.repeat(100));
      if (number % 2 === 0) work.repo.commit(`number ${number}`);
      await at(time, ["backup"]);
      made.push(newestOf(await work.points(), made));
      await at(time, ["sync"]);
      // One that would take more than half does not go on by itself.
      await at(time, ["prune"], [0, 2]);
      const trashed = (await readTrash(store)).map(({ manifest }) => manifest.id);
      const there = new Set([...(await work.points()).map(({ id }) => id), ...trashed]);
      expect(made.map(({ id }) => id).filter((id) => !there.has(id))).toEqual([]);
      await at(time, ["status"], [0, 3]);
    }
    const ids = made.map(({ id }) => id);
    expect(new Set(ids).size).toBe(clocks.length);
    expect([...ids].sort()).toEqual(ids);
    expectFullOnesCame(made);

    const end = clocks.at(-1) ?? today;
    const { notices } = JSON.parse((await at(end, ["status", "--json"], [0, 3])).stdout) as { notices: { what: string }[] };
    expect(notices.some(({ what }) => what.includes("dated in the future"))).toBe(isOdd);
    // What was let go by a wrong clock comes back.
    for (const { manifest } of await readTrash(store)) await at(end, ["undelete", manifest.id]);
    await restoreAll(work, store, made);
    countAccidents({ what: `clocks set wrong (${name})`, accidents: clocks.length - 1, points: made.length });
  });
});

function newestOf(points: readonly Manifest[], before: readonly Manifest[]): Manifest {
  const known = new Set(before.map(({ id }) => id));
  const fresh = points.filter(({ id }) => !known.has(id));
  if (fresh.length !== 1 || fresh[0] === undefined) throw new Error(`${fresh.length} new points where one was made`);
  return fresh[0];
}

/** By the clock that was believed when each was made, its full one was made before it, and less than a week. */
function expectFullOnesCame(made: readonly Manifest[]): void {
  const times = new Map(made.map(({ id, createdAt }) => [id, Date.parse(createdAt)]));
  for (const { id, full } of made) {
    const age = (times.get(id) ?? 0) - (times.get(full) ?? 0);
    expect(age >= 0 && age < fullEveryMs, `${id} builds on ${full}`).toBe(true);
  }
}

async function restoreAll(work: Workspace, store: FolderStore, made: readonly Manifest[]): Promise<void> {
  const points = await work.points();
  expect(points.map(({ id }) => id)).toEqual(made.map(({ id }) => id));
  for (const point of points) await restorePoint(store, points, point, work.path, () => undefined);
}
