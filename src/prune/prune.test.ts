import { describe, expect, test } from "vitest";
import { fakeManifest, keysOfPoint, placesOf, putFakePoints } from "../../test/support/fake-points.ts";
import { type Fault, faultyStore } from "../../test/support/faulty-store.ts";
import { dayMs } from "../core/calendar.ts";
import { BackupError } from "../core/errors.ts";
import type { PointId } from "../core/ids.ts";
import { type Manifest, writeManifest } from "../core/manifest.ts";
import { defaultRetention } from "../core/retention.ts";
import { readCatalogue } from "../points/catalogue.ts";
import { addMark, readMarks } from "../points/marks.ts";
import { readPruned, recordPruned } from "../points/pruned.ts";
import { findTrashed, followingTrash, mendTrash, moveFromTrash, readTrash } from "../points/trash.ts";
import { MemoryStore } from "../stores/memory.ts";
import { bytesSource, type CallOptions, readAll, type Store } from "../stores/store.ts";
import { freshGrace, type Grace } from "./grace.ts";
import { type PruneRequest, type PruneResult, prune, readPrunePlan } from "./prune.ts";

const now = new Date("2026-11-21T12:00:00.000Z");
const policy = { ...defaultRetention, withinMs: 0, daily: 2, weekly: 0, monthly: 0 };

/** Four days, each an incremental on the day before but the third, which is full. */
const points = [4, 3, 2, 1].map((days, at) => fakeManifest(new Date(now.getTime() - days * dayMs), at));
const [first, second, third, fourth] = points as [Manifest, Manifest, Manifest, Manifest];
Object.assign(second, { base: first.id, full: first.id, step: 1, level: 1, previous: first.id });
Object.assign(fourth, { base: third.id, full: third.id, step: 1, level: 1, previous: third.id });

/** As if runs had seen every folder of the trash for a year. */
const waited: Grace = {
  elapsedMs: 365 * dayMs,
  seenAt: null,
  since: new Map([
    ["trash/20261121", 0],
    ["trash/20261122", 0],
  ]),
};

async function filled(all: readonly Manifest[] = points): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  await putFakePoints(new MemoryStore("fill", files), all);
  return files;
}

function run(store: Store, wish: Partial<PruneRequest> = {}): Promise<PruneResult> {
  return prune({ store, policy, machine: "here", rungs: new Set(), now, grace: waited, beyondHalf: "remove", ...wish });
}

describe("a run of prune", () => {
  test("moves what goes into the trash, whole, and leaves the rest as it was", async () => {
    const files = await filled();
    const store = new MemoryStore("store", files);
    expect(await run(store)).toMatchObject({ status: "done", removed: [second.id, first.id], waiting: 0, deleted: [] });
    expect(points.map((point) => placesOf(files, point))).toEqual([["trash"], ["trash"], ["living"], ["living"]]);
    expect((await readCatalogue(store)).points.map(({ id }) => id)).toEqual([third.id, fourth.id]);
    expect((await readTrash(store)).map(({ manifest, folder }) => [manifest.id, folder])).toEqual([
      [first.id, "trash/20261121"],
      [second.id, "trash/20261121"],
    ]);
    expect(await run(store)).toMatchObject({ removed: [], deleted: [] });
  });

  test("takes along the files of earlier keys, which no manifest names any more", async () => {
    const files = await filled();
    const store = new MemoryStore("store", files);
    const left = [first, second, fourth].map(({ id }) => `${id.slice(0, 8)}/${id}.r1.bundle.age`);
    for (const key of left) await store.put(key, bytesSource("for a key that was lost"));
    expect(await run(store)).toMatchObject({ status: "done", removed: [second.id, first.id] });
    expect([...files.keys()].filter((key) => key.includes(".r1."))).toEqual([left[2]]);
  });

  test("notes what it removes, so that a hole in the chain of manifests can be told from a theft", async () => {
    const files = await filled();
    const store = new MemoryStore("store", files);
    await run(store);
    const pruned = await readPruned(store);
    expect([...pruned.keys()].toSorted()).toEqual([first.id, second.id]);
    expect(pruned.get(second.id)?.[0]).toMatchObject({ previous: first.id, sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect([...files.keys()]).toContain("pruned/202611-here.ndjson");
    files.set("pruned/202610-there.ndjson", Buffer.from('{"id":1}\nnothing\n{"id":"20261001T000000Z-000001","sha256":"ab"}\n'));
    expect((await readPruned(store)).size).toBe(3);
  });

  test("deletes for good when the days of grace are over, and the marks with it", async () => {
    const files = await filled();
    const store = new MemoryStore("store", files);
    const mark = { mark: "verified", at: now.toISOString(), by: "A", note: null } as const;
    for (const [at, { id }] of [second, fourth].entries()) await addMark(store, { ...mark, point: id }, `20261121T120000Z-00000${at}`);
    await run(store, { policy: { ...policy, daily: 1 } });
    const whenOver = new Date("2026-11-29T00:00:00.000Z");
    expect(await run(store, { now: new Date(whenOver.getTime() - 1) })).toMatchObject({ deleted: [] });
    expect(await run(store, { now: whenOver })).toMatchObject({ deleted: [first.id, second.id] });
    expect(points.map((point) => keysOfPoint(files, point.id).length)).toEqual([0, 0, 4, 4]);
    expect([...(await readMarks(store)).keys()]).toEqual([fourth.id]);
  });

  test("leaves the trash of another machine, and rests that nobody explains, for longer", async () => {
    const theirs = fakeManifest(new Date("2026-10-01T00:00:00Z"), 99, { machine: "there" });
    const files = await filled([...points, theirs]);
    const store = new MemoryStore("store", files);
    await run(store, { machine: "there", policy: { ...policy, daily: 1 } });
    expect(placesOf(files, theirs)).toEqual(["living"]);
    const newer = fakeManifest(new Date("2026-10-02T00:00:00Z"), 98, { machine: "there" });
    await putFakePoints(store, [newer]);
    expect(await run(store, { machine: "there", policy: { ...policy, daily: 1 } })).toMatchObject({ removed: [theirs.id] });
    files.set("trash/20261121/20261101T000000Z-abcdef.bundle", Buffer.from("rest"));
    await run(store, { now: new Date(now.getTime() + 60 * dayMs) });
    expect(placesOf(files, theirs)).toEqual(["trash"]);
    expect(files.has("trash/20261121/20261101T000000Z-abcdef.bundle")).toBe(true);
    await run(store, { now: new Date(now.getTime() + 100 * dayMs) });
    expect(files.has("trash/20261121/20261101T000000Z-abcdef.bundle")).toBe(false);
    expect(placesOf(files, theirs)).toEqual(["trash"]);
  });

  test("takes no more than half of the machine's points without being told, and what a run leaves goes with the next", async () => {
    const files = await filled();
    const store = new MemoryStore("store", files);
    const one = { ...policy, daily: 1, withinMs: 0 };
    // The third is the base of the fourth: three of five would go.
    const fifth = fakeManifest(now, 77);
    await putFakePoints(store, [fifth]);
    await expect(run(store, { policy: one, beyondHalf: "refuse" })).rejects.toMatchObject({
      code: "consent_missing",
      details: { removals: 4, limit: 2 },
    });
    expect((await readCatalogue(store)).points).toHaveLength(5);
    expect(await run(store, { policy: one, beyondHalf: "half" })).toMatchObject({ removed: [fourth.id, second.id], waiting: 2 });
    expect((await readCatalogue(store)).points.map(({ id }) => id)).toEqual([first.id, third.id, fifth.id]);
    expect(await run(store, { policy: one, beyondHalf: "half" })).toMatchObject({ removed: [third.id], waiting: 1 });
    expect(await run(store, { policy: one, beyondHalf: "half" })).toMatchObject({ removed: [first.id], waiting: 0 });
  });

  test("ends when its time is over, says that it was cut, and has recorded no more than what went", async () => {
    const many = Array.from({ length: 50 }, (_, at) => fakeManifest(new Date(now.getTime() - (50 - at) * dayMs), at));
    const store = new MemoryStore("store", await filled(many));
    const { removed, waiting, isCut } = await run(store, { longestMs: -1 });
    expect([removed.length, waiting, isCut]).toEqual([16, 32, true]);
    expect([...(await readPruned(store)).keys()].toSorted()).toEqual(removed.toSorted());
    expect(await run(store, { longestMs: -1 })).toMatchObject({ waiting: 16, isCut: true });
    expect(await run(store, { longestMs: -1 })).toMatchObject({ waiting: 0, isCut: false });
  });

  test("takes no more than what an earlier run of the day has left to it", async () => {
    const store = new MemoryStore("store", await filled());
    expect(await run(store, { beyondHalf: "half", allowance: 1 })).toMatchObject({ removed: [second.id], waiting: 1, isCut: false });
    expect(await run(store, { beyondHalf: "half", allowance: 0 })).toMatchObject({ removed: [], waiting: 1, isCut: false });
  });

  test("takes back the record of a point that is living: whoever takes it away later shall not find that explained", async () => {
    const store = new MemoryStore("store", await filled());
    await recordPruned(store, [first, fourth], { machine: "here", now: new Date("2026-10-01T00:00:00Z") });
    await recordPruned(store, [fourth], { machine: "else-here", now });
    await run(store);
    const pruned = await readPruned(store);
    expect([...pruned.keys()].toSorted()).toEqual([first.id, second.id, fourth.id]);
    expect(pruned.get(fourth.id)).toHaveLength(1); // the other machine's word stays
  });

  test("never deletes a point of the trash that is pinned, or whose living copy is not whole", async () => {
    const files = await filled();
    const store = new MemoryStore("store", files);
    await run(store);
    await addMark(store, { point: first.id, mark: "pinned", at: now.toISOString(), by: null, note: null }, "20261121T120000Z-000001");
    const [artifact] = second.artifacts;
    for (const name of [`${second.id}.json`, ...second.artifacts.slice(1).map((each) => each.name)])
      files.set(`${second.id.slice(0, 8)}/${name}`, files.get(`trash/20261121/${name}`) as Buffer);
    expect(artifact?.name).toBeDefined();
    expect(await run(store, { now: new Date(now.getTime() + 30 * dayMs) })).toMatchObject({ deleted: [] });
    expect([first, second].map((point) => placesOf(files, point))).toEqual([["trash"], ["trash"]]);
  });

  test("what another clone moved into the trash meanwhile stays there, whatever was read before", async () => {
    const files = await filled();
    const store = new MemoryStore("store", files);
    const before = (await readCatalogue(store)).points;
    await run(store);
    await mendTrash(store, before, "here");
    expect(points.map((point) => placesOf(files, point))).toEqual([["trash"], ["trash"], ["living"], ["living"]]);
  });

  test("a store that takes no deletions keeps everything, and that is an answer", async () => {
    for (const does of ["refuses", "ignores"] as const) {
      const files = await filled();
      const inner = new MemoryStore("vault", files);
      const store: Store = {
        name: inner.name,
        url: inner.url,
        ...bound(inner),
        delete: async () => {
          if (does === "refuses") throw new BackupError("store_unwritable", "the store vault does not let us delete");
        },
      };
      const before = new Set(files.keys());
      const result = await run(store);
      expect(result).toMatchObject({ status: "refused", removed: [], message: expect.stringContaining("vault") });
      expect([...files.keys()].filter((key) => !before.has(key))).toEqual(["trash/deletion-is-possible"]);
      expect(await run(store)).toMatchObject({ status: "refused" });
    }
  });

  test("an abort ends it", async () => {
    const store = new MemoryStore("store", await filled());
    await expect(run(store, { signal: AbortSignal.abort() })).rejects.toThrow();
  });
});

describe("a run that fails at any step", () => {
  const steps: Fault["does"][] = ["fail", "after", "cut", "flip", "stale", "twice", "hang"];
  /** Ended by hand a little later where a call never answers. */
  const signal = (): AbortSignal => AbortSignal.timeout(20);

  test.each(steps)("(%s) leaves every point whole in one of the two places, and the next run ends it", async (does) => {
    const counting = faultyStore(new MemoryStore("store", await filled()));
    await run(counting);
    expect(counting.calls.length).toBeGreaterThan(30);
    for (let nth = 1; nth <= counting.calls.length; nth += 1) {
      const files = await filled();
      const broken = faultyStore(new MemoryStore("store", files), [{ nth, does }]);
      await run(broken, does === "hang" ? { signal: signal() } : {}).catch((error: unknown) => {
        if (does !== "hang") expect(["store_failed", "damaged"]).toContain((error as BackupError).code);
      });
      for (const point of points) expect(placesOf(files, point).length, `call ${nth}, point ${point.id}`).toBeGreaterThan(0);
      // No living point stands without its base.
      const { points: living, damaged } = await readCatalogue(new MemoryStore("store", files));
      expect(damaged.map(({ key }) => key)).toEqual([]);
      for (const { base } of living) if (base !== null) expect(living.some(({ id }) => id === base)).toBe(true);
      // A later day: what was begun in yesterday's folder is cleared, nothing is there twice.
      await run(new MemoryStore("store", files), { now: new Date(now.getTime() + dayMs) });
      expect(points.map((point) => placesOf(files, point))).toEqual([["trash"], ["trash"], ["living"], ["living"]]);
      expect(points.map((point) => keysOfPoint(files, point.id).length)).toEqual([4, 4, 4, 4]);
      expect((await readPruned(new MemoryStore("store", files))).has(first.id)).toBe(true);
    }
  });

  test.each(steps)("(%s) bringing a point back fails no better and no worse", async (does) => {
    const pruned = await filled();
    await run(new MemoryStore("store", pruned));
    const bringBack = async (store: Store, options: CallOptions = {}): Promise<void> => {
      await mendTrash(store, (await readCatalogue(store, options)).points, "here", options);
      const found = findTrashed(first.id, await readTrash(store, options));
      if (found !== undefined) await moveFromTrash(store, found, options);
    };
    const counting = faultyStore(new MemoryStore("store", new Map(pruned)));
    await bringBack(counting);
    for (let nth = 1; nth <= counting.calls.length; nth += 1) {
      const files = new Map(pruned);
      const broken = faultyStore(new MemoryStore("store", files), [{ nth, does }]);
      await bringBack(broken, does === "hang" ? { signal: signal() } : {}).catch(() => undefined);
      expect(placesOf(files, first).length, `call ${nth}`).toBeGreaterThan(0);
      await bringBack(new MemoryStore("store", files));
      expect(placesOf(files, first)).toEqual(["living"]);
      expect(keysOfPoint(files, first.id)).toHaveLength(4);
    }
  });
});

describe("what it decides", () => {
  const verdictsOf = async (store: Store, wish: Partial<PruneRequest> = {}): Promise<Record<string, readonly string[]>> => {
    const { verdicts } = await readPrunePlan({
      store,
      policy,
      machine: "here",
      rungs: new Set(),
      now,
      grace: freshGrace,
      beyondHalf: "half",
      ...wish,
    });
    return Object.fromEntries(verdicts.map(({ id, isKept, reasons }) => [`${isKept ? "keep" : "remove"} ${id}`, reasons]));
  };

  test("names what the next point builds on, what is pinned, and what another machine made", async () => {
    const other = fakeManifest(new Date(now.getTime() - 10 * dayMs), 50, { machine: "there" });
    const store = new MemoryStore("store", await filled([...points, other]));
    await addMark(store, { point: first.id, mark: "pinned", at: now.toISOString(), by: null, note: null }, "20261121T120000Z-000001");
    expect(await verdictsOf(store, { rungs: new Set([second.id]) })).toEqual({
      [`keep ${fourth.id}`]: ["daily 2026-11-20", "newest"],
      [`keep ${third.id}`]: ["daily 2026-11-19", `base of ${fourth.id}`],
      [`keep ${second.id}`]: ["the next point builds on it"],
      [`keep ${first.id}`]: ["pinned", `base of ${second.id}`],
      [`keep ${other.id}`]: ["of the machine there"],
    });
  });

  test("decides nothing about a damaged point and what builds on it: they stand for no day", async () => {
    const files = await filled();
    files.delete(`${third.id.slice(0, 8)}/${third.id}.tar.zst`);
    const verdicts = await verdictsOf(new MemoryStore("store", files), { policy: { ...policy, daily: 1 } });
    expect(verdicts).toMatchObject({
      [`keep ${fourth.id}`]: ["what it builds on is damaged"],
      [`keep ${third.id}`]: ["damaged", expect.stringContaining("base of")],
      [`keep ${second.id}`]: ["daily 2026-11-18", "newest"],
    });
  });

  test("of a copy: what the primary pruned goes, what it has stays, what it never had is left alone", async () => {
    const stray = fakeManifest(new Date(now.getTime() - 40 * dayMs), 51);
    const store = new MemoryStore("copy", await filled([...points, stray]));
    const gone = new Set([first.id, second.id, third.id]);
    const primary = {
      name: "local",
      living: new Set([third.id, fourth.id]),
      removalOf: (id: PointId) => (gone.has(id) ? ("trusted" as const) : undefined),
      judgesOthers: false,
    };
    expect(await verdictsOf(store, { primary })).toEqual({
      [`keep ${fourth.id}`]: ["in the store local", "newest"],
      [`keep ${third.id}`]: ["in the store local", `base of ${fourth.id}`],
      [`remove ${second.id}`]: ["pruned from the store local"],
      [`remove ${first.id}`]: ["pruned from the store local"],
      [`keep ${stray.id}`]: ["never in the store local"],
    });
    // A list that anybody may have written into the primary empties no copy.
    const doubtful = await verdictsOf(store, { primary: { ...primary, removalOf: () => "doubtful" } });
    expect(Object.keys(doubtful).filter((verdict) => verdict.startsWith("remove"))).toEqual([]);
    expect(doubtful[`keep ${first.id}`]?.[0]).toBe("pruned from the store local by nobody who is trusted");
    // What is pinned there, or needed by what stays, stays; and by name also what the primary never had is judged.
    await addMark(store, { point: second.id, mark: "pinned", at: now.toISOString(), by: null, note: null }, "20261121T120000Z-000001");
    expect(await verdictsOf(store, { primary: { ...primary, judgesOthers: true } })).toMatchObject({
      [`keep ${second.id}`]: ["pinned"],
      [`keep ${first.id}`]: [`base of ${second.id}`],
      [`keep ${stray.id}`]: ["daily 2026-10-12"],
    });
  });
});

test("the sha256 that is noted is the manifest's as stored", async () => {
  const { createHash } = await import("node:crypto");
  const store = new MemoryStore("store", await filled());
  await run(store);
  const sum = createHash("sha256").update(writeManifest(first)).digest("hex");
  expect((await readPruned(store)).get(first.id)?.[0]?.sha256).toBe(sum);
});

function bound(inner: Store): Omit<Store, "name" | "url" | "delete"> {
  return {
    put: (...args) => inner.put(...args),
    get: (...args) => inner.get(...args),
    stat: (...args) => inner.stat(...args),
    list: (...args) => inner.list(...args),
    flush: () => inner.flush(),
    replace: (...args) => inner.replace(...args),
    folders: () => inner.folders(),
  };
}

test("a restore goes on where a point is pruned from under it", async () => {
  const store = new MemoryStore("store", await filled());
  const following = followingTrash(store);
  await run(store);
  const key = `${first.id.slice(0, 8)}/${first.artifacts[0]?.name}`;
  expect(await store.get(key)).toBeUndefined();
  expect((await readAll(following, key))?.length).toBe(first.artifacts[0]?.size);
  expect(await following.stat(key)).toEqual({ key, size: first.artifacts[0]?.size });
  expect(await following.get("20200101/none.json")).toBeUndefined();
});

test("what a point with an unreadable manifest may build on stays: the machine's points since the last full one before it", async () => {
  const files = await filled();
  const key = `${second.id.slice(0, 8)}/${second.id}.json`;
  const good = files.get(key) as Buffer;
  files.set(key, Buffer.from("{"));
  const { verdicts } = (await run(new MemoryStore("store", files), { policy: { ...policy, daily: 1 } })).plan;
  expect(verdicts.find(({ id }) => id === first.id)).toMatchObject({ isKept: true, reasons: ["a point that cannot be read may build on it"] });
  // Mended, it goes with its base.
  files.set(key, good);
  expect(await run(new MemoryStore("store", files))).toMatchObject({ removed: [second.id, first.id] });
});
