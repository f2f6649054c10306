/**
 * Four machines, each with its own clone, state and local store, copy to one backup branch at once. None loses a point,
 * none deletes what another added, and every point restores from the branch alone. HOLDFAST_MACHINE_POINTS sets how many
 * each makes (25, or 7 where not everything is required).
 */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readCatalogue } from "../src/points/catalogue.ts";
import { branchPlace, branchRef, gitIn } from "./support/branch.ts";
import { type CliResult, runCli, runRestore } from "./support/cli.ts";
import { effort } from "./support/effort.ts";
import { gitRepo } from "./support/repo.ts";

const machines = ["m0", "m1", "m2", "m3"];
const pointsEach = effort("HOLDFAST_MACHINE_POINTS", 25, 7);
const identity = ["-c", "user.name=x", "-c", "user.email=x@y"];

test(`${machines.length * pointsEach} points of four machines`, { timeout: 600_000 }, async () => {
  using place = branchPlace();
  using origin = gitRepo({ "a.txt": "one\n" });
  gitIn(origin.path, "push", "-q", place.remote, "HEAD:refs/heads/main");
  const ids = new Map(machines.map((machine): [string, string[]] => [machine, []]));

  const run = async (machine: string, ...args: string[]): Promise<CliResult> => {
    const env = { HOLDFAST_DATA_DIR: join(place.path, `data-${machine}`) };
    const result = await runCli([...args, "--json"], { cwd: join(place.path, machine), env });
    if (result.code !== 0) throw new Error(`${machine} ${args[0]}: exit ${result.code}: ${result.stderr}${result.stdout.slice(0, 2000)}`);
    return result;
  };
  const begin = async (machine: string): Promise<void> => {
    gitIn(place.path, "clone", "-q", "-b", "main", place.remote, machine);
    const stores = ["--store", join(place.path, `store-${machine}`), "--store", "branch:origin/holdfast/backup"];
    const { stdout } = await run(machine, "init", "--yes", "--no-hooks", ...stores);
    ids.get(machine)?.push((JSON.parse(stdout) as { point: { id: string } }).point.id);
  };
  const work = async (machine: string): Promise<void> => {
    const cwd = join(place.path, machine);
    for (let number = 1; number < pointsEach; number += 1) {
      gitIn(cwd, ...identity, "commit", "-q", "--allow-empty", "-m", `${machine} ${number}`);
      const { stdout } = await run(machine, "backup", "-m", `${machine} ${number}`);
      ids.get(machine)?.push((JSON.parse(stdout) as { point: { id: string } }).point.id);
      // Now one point, now two or three at once.
      if (number % 3 !== 1 || number === pointsEach - 1) await run(machine, "sync");
    }
  };

  // The first one begins the branch; the others join it at once: they find whose it is by their common history.
  await begin("m0");
  await Promise.all(machines.slice(1).map(begin));
  await Promise.all(machines.map(work));

  const stranger = place.open("stranger");
  const { points, damaged } = await readCatalogue(stranger);
  expect(damaged).toEqual([]);
  expect(points.map(({ id }) => id).sort()).toEqual([...ids.values()].flat().sort());
  expect(points).toHaveLength(machines.length * pointsEach);
  expect(new Set(points.map(({ repository }) => repository)).size).toBe(1);
  expect(place.git("rev-list", "--min-parents=2", branchRef)).toBe("");
  expect(place.git("log", "--format=", "--name-status", "--diff-filter=D", "--no-renames", branchRef)).toBe("");
  expect(place.git("fsck", "--strict", "--no-dangling")).toBe("");

  for (const machine of machines) {
    // A machine that is not the point's own restores it: everything comes from the branch.
    const reader = join(place.path, machines[(machines.indexOf(machine) + 1) % machines.length] ?? "");
    for (const number of [0, pointsEach >> 1, pointsEach - 1]) {
      const target = join(place.path, `restored-${machine}-${number}`);
      const { code, stderr } = await runRestore([ids.get(machine)?.[number] ?? "", "--from", "branch", "--to", target], { cwd: reader });
      expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
      expect(readFileSync(join(target, "a.txt"), "utf8")).toBe("one\n");
      if (number > 0) expect(gitIn(target, "log", "-1", "--format=%s")).toBe(`${machine} ${number}`);
      rmSync(target, { recursive: true });
    }
  }
});
