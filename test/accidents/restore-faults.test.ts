/**
 * Every call of the store fails in turn while a point is restored: it throws, is cut short, gives other bytes, never answers, or
 * lists what is out of date. The restore says so, or gives exactly what was captured; never anything else. The next one works.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BackupError } from "../../src/core/errors.ts";
import { readCatalogue } from "../../src/points/catalogue.ts";
import { copyPoint } from "../../src/points/publish.ts";
import { planMoment } from "../../src/restore/plan.ts";
import { restore } from "../../src/restore/restore.ts";
import { MemoryStore } from "../../src/stores/memory.ts";
import type { Store } from "../../src/stores/store.ts";
import { countAccidents } from "../support/accidents.ts";
import { type FaultyStore, faultyStore } from "../support/faulty-store.ts";
import { type ProtectedRepository, protect } from "../support/protected.ts";
import { gitRepo, type TestRepo } from "../support/repo.ts";
import { snapshotTree, type TreeEntry } from "../support/tree.ts";

let repo: TestRepo;
let safe: ProtectedRepository;
let captured: readonly TreeEntry[];
const store = new MemoryStore("store");

beforeAll(async () => {
  repo = gitRepo({ "a.txt": "one\n", "b/c.txt": "two\n" });
  safe = await protect(repo.path);
  for (let number = 0; number < 3; number += 1) {
    repo.write("a.txt", `${number}\n`.repeat(200));
    repo.write(`untracked-${number}.txt`, `${number}\n`);
    if (number === 1) repo.commit("second");
    await safe.point();
  }
  captured = treeOf(repo.path);
  for (const point of await safe.points()) await copyPoint(safe.store, store, point);
});
afterAll(() => {
  safe[Symbol.dispose]();
  repo[Symbol.dispose]();
});

function treeOf(root: string): TreeEntry[] {
  return snapshotTree(root, { exclude: [".git"] });
}

/** The newest point, from looking into the store to the comparison; undefined where it was refused. */
async function restoreNewest(from: Store, target: string, signal?: AbortSignal): Promise<TreeEntry[] | undefined> {
  const options = signal === undefined ? {} : { signal };
  try {
    const { points, damaged } = await readCatalogue(from, options);
    if (damaged[0] !== undefined) throw damaged[0].error;
    const point = points.at(-1);
    if (point === undefined) throw new BackupError("no_points", "the store has no points");
    const { comparison } = await restore({ plan: planMoment(point, points, []), store: from, target, ...options });
    expect(comparison.differences).toEqual([]);
    return treeOf(target);
  } catch (error) {
    if (!(error instanceof BackupError)) expect(signal?.aborted).toBe(true);
    else expect(error.hint).not.toBe("");
    return undefined;
  } finally {
    rmSync(target, { recursive: true, force: true });
  }
}

/** Ends the run as soon as a call hangs. */
async function endedWhenItHangs(faulty: FaultyStore, target: string): Promise<TreeEntry[] | undefined> {
  const controller = new AbortController();
  const running = restoreNewest(faulty, target, controller.signal);
  let isOver = false;
  void running.finally(() => {
    isOver = true;
  });
  while (faulty.faults === 0 && !isOver) await new Promise((resolve) => setImmediate(resolve));
  controller.abort(new BackupError("interrupted", "interrupted"));
  return running;
}

describe("a store that fails at any call while a point is restored", () => {
  test.each(["fail", "cut", "flip", "hang", "stale"] as const)("%s", { timeout: 300_000 }, async (does) => {
    const counting = faultyStore(store);
    const target = join(safe.scratch, "restored");
    expect(await restoreNewest(counting, target)).toEqual(captured);
    expect(counting.calls.length).toBeGreaterThan(10);
    let refused = 0;
    for (let nth = 1; nth <= counting.calls.length; nth += 1) {
      const faulty = faultyStore(store, [{ nth, does }]);
      const restored = does === "hang" ? await endedWhenItHangs(faulty, target) : await restoreNewest(faulty, target);
      if (restored === undefined) refused += 1;
      else expect(restored, `call ${nth}`).toEqual(captured);
    }
    expect(refused > 0).toBe(does !== "stale");
    expect(await restoreNewest(store, target)).toEqual(captured);
    countAccidents({
      what: `calls of a store that ${does === "stale" ? "listed late" : `did ${does}`} in a restore`,
      accidents: counting.calls.length,
      points: 1,
    });
  });
});
