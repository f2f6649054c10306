/** A machine holds of a branch what it needs: large blobs come when they are read, and go once the remote has them. */
import { randomBytes } from "node:crypto";
import { readdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type BranchPlace, branchPlace, branchRef, keysOf, save } from "../../test/support/branch.ts";
import { publishSmallPoint } from "../../test/support/small-point.ts";
import { readCatalogue } from "../points/catalogue.ts";
import { moveFromTrash, moveToTrash, readTrash, type TrashedPoint } from "../points/trash.ts";
import type { BranchStore } from "./branch.ts";
import { bytesSource, readAll } from "./store.ts";

const id = "20261121T143005Z-a1b2c3";
const later = "20261121T153005Z-d4e5f6";
const bundle = `20261121/${id}.bundle`;
const manifest = `20261121/${id}.json`;
const large = randomBytes(4321);

/** As much of a manifest as tells a size. */
const manifestOf = (point: string, size: number): string => JSON.stringify({ id: point, artifacts: [{ name: `${point}.bundle`, size }] });
const pointOf = (point: string, bytes: Uint8Array): Record<string, string | Uint8Array> => ({
  [`20261121/${point}.bundle`]: bytes,
  [`20261121/${point}.json`]: manifestOf(point, bytes.length),
});

let place: BranchPlace;
beforeEach(() => {
  place = branchPlace();
});
afterEach(() => place[Symbol.dispose]());

test("once the remote has a large blob it is gone from here; size, listing and bytes are as before", async () => {
  const store = place.open("a");
  await save(store, pointOf(id, large));
  expect([place.isHere("a", bundle), place.isHere("a", manifest)]).toEqual([false, true]);
  for (const opened of [store, place.open("a")]) {
    expect(await opened.stat(bundle)).toEqual({ key: bundle, size: large.length });
    expect((await readAll(opened, bundle))?.equals(large)).toBe(true);
    await opened.put(bundle, bytesSource(large));
    await expect(opened.put(bundle, bytesSource(randomBytes(large.length)))).rejects.toMatchObject({ code: "store_failed" });
  }
  expect(place.isHere("a", bundle)).toBe(false);
  expect(readdirSync(place.gitDir("a")).filter((name) => name.startsWith("holdfast-"))).toEqual([]);
});

test("a new machine lists, adds and reads without the large blobs of the others", async () => {
  await save(place.open("a"), pointOf(id, large));
  const other = place.open("b");
  expect(await other.stat(bundle)).toEqual({ key: bundle, size: large.length });
  await save(other, pointOf(later, randomBytes(2000)));
  expect(place.isHere("b", bundle)).toBe(false);
  const ranges = [[0, 10], [999, 2], [1000, 3000], [4320, 50], [5000, 1]] as const; // biome-ignore format: pairs
  for (const [offset, length] of ranges) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of (await place.open("b").get(bundle, { range: { offset, length } })) ?? []) chunks.push(chunk);
    expect(Buffer.concat(chunks).equals(large.subarray(offset, offset + length)), `${offset}+${length}`).toBe(true);
  }
  expect(place.isHere("b", bundle)).toBe(false);
  expect(place.git("rev-list", "--count", branchRef)).toBe("2");
  expect(place.git("fsck", "--strict", "--no-dangling")).toBe("");
});

test("a point goes into the trash and comes back without the host being asked for a byte of it", async () => {
  const open = (machine: string): BranchStore => place.open(machine, { partSize: 2000, blobLimit: 1999 }); // a manifest is below it
  const first = open("a");
  const manifest = await publishSmallPoint(first, id, { size: large.length });
  await first.flush();
  const other = open("b");
  await other.open();
  renameSync(place.remote, `${place.remote}.away`);
  await moveToTrash(other, manifest, new Date("2026-11-28T12:00:00Z"));
  const [trashed] = await readTrash(other);
  expect(trashed?.folder).toBe("trash/20261128");
  await moveFromTrash(other, trashed as TrashedPoint);
  renameSync(`${place.remote}.away`, place.remote);
  await other.flush();
  expect(await readCatalogue(open("c"))).toEqual({ points: [manifest], damaged: [] });
});

test("a file that no manifest tells the size of is fetched to know", async () => {
  await save(place.open("a"), { "20261121/orphan.bundle": large });
  expect(await place.open("b").stat("20261121/orphan.bundle")).toEqual({ key: "20261121/orphan.bundle", size: large.length });
});

test("two runs on one machine that push at once do not take each other's blobs away", async () => {
  const stores = [place.open("a"), place.open("a")];
  await stores[0]?.open();
  await Promise.all(stores.map(async (store, which) => {
    for (let index = 0; index < 8; index += 1) await save(store, { [`20261121/${which}-${index}.bundle`]: randomBytes(3000) });
  })); // biome-ignore format: one call
  expect(new Set(place.shown().map((path) => path.replace(/\.part\d+$/, ""))).size).toBe(16);
  expect(place.git("fsck", "--strict", "--no-dangling")).toBe("");
});

test("what others push later comes without its large blobs too", async () => {
  const [a, b] = [place.open("a"), place.open("b")];
  await save(a, { x: "x" });
  await b.open();
  await save(a, pointOf(id, large));
  await b.refresh();
  expect(await keysOf(b)).toEqual([bundle, manifest, "x"]);
  expect(place.isHere("b", bundle)).toBe(false);
  expect((await readAll(b, bundle))?.equals(large)).toBe(true);
});

test("a host without filters sends all, and everything is the same", async () => {
  using plain = branchPlace({ knowsFilters: false });
  await save(plain.open("a"), pointOf(id, large));
  const other = plain.open("b");
  expect(await other.stat(bundle)).toEqual({ key: bundle, size: large.length });
  await save(other, pointOf(later, randomBytes(2000)));
  expect((await readAll(plain.open("b"), bundle))?.equals(large)).toBe(true);
  expect((await readAll(plain.open("a"), bundle))?.equals(large)).toBe(true);
});

test("a host that gives no blob by its id gives the branch", async () => {
  await save(place.open("a"), pointOf(id, large));
  // Version 0 of the protocol asks the host's leave for what no ref names.
  const config = join(place.path, "config");
  writeFileSync(config, "[protocol]\n\tversion = 0\n");
  vi.stubEnv("GIT_CONFIG_GLOBAL", config);
  try {
    expect((await readAll(place.open("b"), bundle))?.equals(large)).toBe(true);
  } finally {
    vi.unstubAllEnvs();
  }
  expect(place.isHere("b", bundle)).toBe(false);
});

describe("a remote that lost what was brought there", () => {
  test("gets back what its host still has, though it is no longer here", async () => {
    const store = place.open("a");
    await save(store, { x: "x" });
    const old = place.git("rev-parse", branchRef);
    await save(store, pointOf(id, large));
    place.git("update-ref", branchRef, old);
    await save(store, { y: "y" });
    expect(place.shown()).toContain(manifest);
    expect((await readAll(place.open("b"), bundle))?.equals(large)).toBe(true);
    expect(place.git("fsck", "--strict", "--no-dangling")).toBe("");
  });

  test("gets no manifest without its artifacts: such a point is seen as missing, and can be put again", async () => {
    for (const lose of ["reset", "gone"]) {
      using other = branchPlace();
      const store = other.open("a");
      await save(store, { x: "x" });
      const old = other.git("rev-parse", branchRef);
      await save(store, pointOf(id, large));
      if (lose === "reset") other.git("update-ref", branchRef, old);
      else other.git("update-ref", "-d", branchRef);
      other.git("reflog", "expire", "--expire=now", "--all");
      other.git("prune", "--expire=now");
      await save(store, { y: "y" });
      expect(other.shown(), lose).toEqual(["x", "y"]);
      expect(await keysOf(store)).toEqual(["x", "y"]);
      await save(store, pointOf(id, large));
      expect((await readAll(other.open("b"), bundle))?.equals(large)).toBe(true);
      expect(other.git("fsck", "--strict", "--no-dangling")).toBe("");
    }
  });

  test("a machine that has seen only its last commit brings what it has to an empty remote", async () => {
    await save(place.open("a"), { x: "x" });
    await save(place.open("a"), { y: "y" });
    const late = place.open("b");
    await save(late, { z: "z" });
    place.git("update-ref", "-d", branchRef);
    place.git("prune", "--expire=now");
    await save(late, { w: "w" });
    expect(place.shown()).toEqual(["w", "x", "y", "z"]);
    expect(place.git("fsck", "--strict", "--no-dangling")).toBe("");
  });
});

test("a remote at another address gets points whole or not at all, and what is put again", async () => {
  await save(place.open("a"), pointOf(id, large));
  using moved = branchPlace();
  const store = place.open("a", { remoteUrl: moved.remote });
  await save(store, { x: "x" });
  expect(moved.shown()).toEqual(["x"]);
  await save(store, pointOf(id, large));
  expect(await keysOf(moved.open("b"))).toEqual([bundle, manifest, "x"]);
});
