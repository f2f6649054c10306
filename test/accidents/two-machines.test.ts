/**
 * Two clones of one repository, each with its own primary store, write at once into one branch and one folder, while one of them
 * is killed again and again. What reached the branch or the folder stays there, neither needs a hand, and in the end both places hold
 * every point of both machines. HOLDFAST_MACHINE_KILLS sets how often.
 */
import { join } from "node:path";
import { expect, test } from "vitest";
import type { PointId } from "../../src/core/ids.ts";
import { readCatalogue } from "../../src/points/catalogue.ts";
import { FolderStore } from "../../src/stores/folder.ts";
import type { Store } from "../../src/stores/store.ts";
import { countAccidents } from "../support/accidents.ts";
import { branchPlace, gitIn } from "../support/branch.ts";
import { effort } from "../support/effort.ts";
import { runKilled, startRun } from "../support/killable.ts";
import { seededRandom } from "../support/random.ts";
import { gitRepo } from "../support/repo.ts";
import { restorePoint } from "../support/restore-point.ts";

const kills = effort("HOLDFAST_MACHINE_KILLS", 8, 4);
const identity = ["-c", "user.name=x", "-c", "user.email=x@y"];

test(`two machines share a branch and a folder; one is killed ${kills} times`, { timeout: 120_000 + kills * 30_000 }, async () => {
  using place = branchPlace();
  using origin = gitRepo({ "a.txt": "one\n" });
  gitIn(origin.path, "push", "-q", place.remote, "HEAD:refs/heads/main");
  const random = seededRandom(41);
  const disk = new FolderStore("disk", join(place.path, "disk"));
  const seen = new Map<string, Set<PointId>>();

  const complete = async (machine: string, ...args: string[]): Promise<number> => {
    const { code, stderr, lengthMs } = await startRun(args, join(place.path, machine), environmentOf(place.path, machine)).ended;
    expect({ machine, args, code, stderr: code === 0 ? "" : stderr }).toEqual({ machine, args, code: 0, stderr: "" });
    return lengthMs;
  };
  const begin = async (machine: string): Promise<void> => {
    gitIn(place.path, "clone", "-q", "-b", "main", place.remote, machine);
    const stores = [join(place.path, `store-${machine}`), disk.url, "branch:origin/holdfast/backup"];
    await complete(machine, "init", "--yes", "--no-hooks", "--no-encrypt", ...stores.flatMap((store) => ["--store", store]));
    await complete(machine, "sync");
  };
  const change = (machine: string, number: number): string =>
    gitIn(join(place.path, machine), ...identity, "commit", "-q", "--allow-empty", "-m", `${machine} ${number}`);
  /** What a place has shown once it shows for ever. */
  const look = async (name: string, store: Store): Promise<void> => {
    const { points, damaged } = await readCatalogue(store);
    expect(damaged.map(({ error }) => error.message)).toEqual([]);
    const ids = new Set(points.map(({ id }) => id));
    expect([...(seen.get(name) ?? [])].filter((id) => !ids.has(id))).toEqual([]);
    seen.set(name, ids);
  };

  await begin("ann");
  await begin("bob");
  change("bob", 0);
  await complete("bob", "backup");
  const lengthMs = await complete("bob", "sync");
  let killed = 0;
  for (let number = 1; killed < kills; number += 1) {
    change("ann", number);
    change("bob", number);
    await Promise.all([complete("ann", "backup"), complete("bob", "backup")]);
    const [, { signal }] = await Promise.all([
      complete("ann", "sync"),
      runKilled(["sync"], join(place.path, "bob"), lengthMs * (0.2 + random()), environmentOf(place.path, "bob")),
    ]);
    if (signal === "SIGKILL") killed += 1;
    await look("disk", disk);
    if (number % 4 !== 0) continue;
    await Promise.all([complete("ann", "sync"), complete("bob", "sync")]);
    await look("branch", place.open(`stranger-${number}`));
  }
  await complete("bob", "sync");
  await complete("ann", "sync");

  const made = (await Promise.all(["ann", "bob"].map((machine) => readCatalogue(new FolderStore(machine, join(place.path, `store-${machine}`))))))
    .flatMap(({ points }) => points.map(({ id }) => id))
    .sort();
  for (const store of [disk, place.open("last")]) {
    const { points, damaged } = await readCatalogue(store);
    expect(damaged).toEqual([]);
    expect(points.map(({ id }) => id)).toEqual(made);
    for (const point of points.slice(-6)) await restorePoint(store, points, point, place.path, () => undefined);
  }
  expect(place.git("fsck", "--strict", "--no-dangling")).toBe("");
  countAccidents({ what: "kills of one of two machines that share a branch and a folder", accidents: killed, points: made.length });
});

function environmentOf(place: string, machine: string): Record<string, string> {
  return { HOLDFAST_DATA_DIR: join(place, `data-${machine}`), HOLDFAST_CONFIG_DIR: join(place, `keys-${machine}`) };
}
