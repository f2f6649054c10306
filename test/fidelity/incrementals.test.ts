/** Many points in a row: whatever happens between them, each one restores what stood there when it was made. */
import { appendFileSync, chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseBundleHeader } from "../../src/archive/bundle-header.ts";
import { noise } from "../support/noise.ts";
import { protect } from "../support/protected.ts";
import { gitRepo, type TestRepo } from "../support/repo.ts";
import { allObjects, repositoryState } from "../support/repository-state.ts";
import { snapshotTree } from "../support/tree.ts";

interface Step {
  readonly does: string;
  readonly file: number;
  readonly other: number;
  readonly at: number;
  readonly size: number;
}

const files = ["a", "b.txt", "d/c", "d/e/f", "d/g", "h/i", "big.db", "d/log"];
const deeds = [
  "write",
  "write",
  "append",
  "insert",
  "delete",
  "rename",
  "chmod",
  "mkdir",
  "rmdir",
  "large",
  "patch",
  "patch",
  "commit",
  "branch",
  "stash",
  "reset",
];

const step = fc.record({
  does: fc.constantFrom(...deeds),
  file: fc.nat(files.length - 1),
  other: fc.nat(files.length - 1),
  at: fc.nat(1000),
  size: fc.integer({ min: 1, max: 1000 }),
});

/** Does what can be done; what cannot (no such file) is left. */
function take(repo: TestRepo, { does, file, other, at, size }: Step, count: number): void {
  const full = (index: number): string => join(repo.path, files[index] ?? "a");
  const path = full(file);
  const quietly = (deed: () => void): void => {
    try {
      deed();
    } catch {
      // a file where a folder would be, nothing to stash, a conflict: then the next step acts on what there is
    }
  };
  quietly(() => {
    mkdirSync(dirname(path), { recursive: true });
    const old = existsSync(path) ? readFileSync(path) : Buffer.alloc(0);
    const cut = Math.floor((old.length * at) / 1001);
    if (does === "write") writeFileSync(path, noise(size, count));
    else if (does === "append") appendFileSync(path, noise(size, count));
    else if (does === "insert") writeFileSync(path, Buffer.concat([old.subarray(0, cut), noise(size, count), old.subarray(cut)]));
    else if (does === "delete") rmSync(path, { force: true });
    else if (does === "rename") renameSync(path, full(other));
    else if (does === "chmod") chmodSync(path, at % 2 === 0 ? 0o755 : 0o640);
    else if (does === "mkdir") mkdirSync(join(dirname(path), `empty${at % 3}`), { recursive: true });
    else if (does === "rmdir") rmSync(dirname(path) === repo.path ? join(repo.path, "d") : dirname(path), { recursive: true, force: true });
    else if (does === "large") writeFileSync(path, noise(100_000 + size * 300, count));
    else if (does === "patch")
      writeFileSync(path, Buffer.concat([old.subarray(0, cut), noise(size, count), old.subarray(Math.min(old.length, cut + (at % 2) * size))]));
    else if (does === "commit") repo.commit(`step ${count}`);
    else if (does === "branch") repo.git("switch", "-q", ...(at % 2 === 0 ? ["-c", `b${count}`] : ["main"]));
    else if (does === "stash") repo.git("stash", ...(at % 3 === 0 ? ["pop"] : ["push", "-q", "--include-untracked"]));
    else if (does === "reset") repo.git("reset", "-q", at % 2 === 0 ? "--hard" : "--soft", "HEAD~1");
  });
}

test("an incremental's bundle names the commits that it stands on, as git itself would", async () => {
  using repo = gitRepo({ a: "1\n" });
  const first = repo.git("rev-parse", "HEAD");
  using safe = await protect(repo.path);
  await safe.point();
  const second = repo.commit("second");
  const { manifest } = await safe.point();
  const bundle = readFileSync(join(safe.store.url, manifest.id.slice(0, 8), `${manifest.id}.bundle`));
  expect(parseBundleHeader(bundle, "bundle")).toMatchObject({ prerequisites: [first], refs: [{ oid: second }, { name: "HEAD" }] });
});

describe("random histories", () => {
  test.each([1, 2])("seed %i: steps of every kind, a point after each", async (seed) => {
    const steps = fc.sample(step, { seed, numRuns: 24 });
    using repo = gitRepo({ a: "1\n", "d/c": "2\n" });
    using safe = await protect(repo.path);
    const marks: { id: string; does: string; state: ReturnType<typeof repositoryState> }[] = [];
    for (const [count, wanted] of steps.entries()) {
      take(repo, wanted, count);
      const isMarked = count % 4 === 3 || count === steps.length - 2;
      const state = isMarked ? repositoryState(repo.path) : undefined;
      const { manifest, problems } = await safe.point();
      expect(problems).toEqual([]);
      if (state !== undefined) marks.push({ id: manifest.id, does: `${count}: ${wanted.does}`, state });
    }
    const points = await safe.points();
    expect(Math.max(...points.map(({ level }) => level))).toBeLessThan(8);
    for (const { id, does, state } of marks) {
      const { target } = await safe.restore(id);
      expect(repositoryState(target), does).toEqual(state);
      rmSync(target, { recursive: true });
    }
  });
});

test("forty points cross the merges of the ladder, and no chain is longer than eight", async () => {
  using repo = gitRepo({ kept: "1\n" });
  using safe = await protect(repo.path);
  const marks: { id: string; tree: ReturnType<typeof snapshotTree> }[] = [];
  let large = Buffer.alloc(300_000, "large file ");
  for (let i = 0; i < 40; i += 1) {
    repo.write(`f${i % 7}`, `${i}\n`);
    if (i % 5 === 4) rmSync(join(repo.path, `f${(i + 3) % 7}`), { force: true });
    large = Buffer.concat([large.subarray(0, i * 5000), Buffer.from(`change ${i}`), large.subarray(i * 5000)]);
    repo.write("large", large);
    const tree = snapshotTree(repo.path, { exclude: [".git"] });
    marks.push({ id: (await safe.point()).manifest.id, tree });
  }
  const points = await safe.points();
  expect(points).toHaveLength(40);
  expect(Math.max(...points.map(({ level }) => level))).toBe(7);
  for (const { id, tree } of marks.filter((_, i) => i % 9 === 5 || i > 38)) {
    const { target } = await safe.restore(id);
    expect(snapshotTree(target, { exclude: [".git"] })).toEqual(tree);
    rmSync(target, { recursive: true });
  }
});

test("large files: edited in place, appended, prepended, cut, replaced, back and forth; memory lost in between; the clock set back", async () => {
  using repo = gitRepo({ a: "1\n" });
  using safe = await protect(repo.path);
  const base = noise(1_000_000, 1);
  const versions: [string, Buffer][] = [
    ["first", base],
    ["edited in place", Buffer.concat([base.subarray(0, 500_000), noise(100, 2), base.subarray(500_100)])],
    ["appended", Buffer.concat([base, noise(50_000, 3)])],
    ["prepended", Buffer.concat([noise(70_000, 4), base])],
    ["cut", base.subarray(0, 400_000)],
    ["replaced", noise(900_000, 5)],
    ["back", base],
    ["small", base.subarray(0, 10)],
    ["back again", base],
    ["twice", Buffer.concat([base, base])],
    ["zeros", Buffer.alloc(700_000)],
    ["forth", noise(900_000, 5)],
  ];
  const marks: { name: string; id: string; tree: ReturnType<typeof snapshotTree> }[] = [];
  let round = 0;
  const forget: Record<string, string> = { cut: "chunks", back: ".", twice: "tips" };
  for (const [name, content] of versions) {
    repo.write("file", content);
    repo.write("tracked", content.subarray(0, content.length / 2));
    if (round === 2) repo.commit();
    round += 1;
    const tree = snapshotTree(repo.path, { exclude: [".git"] });
    const lost = forget[name];
    if (lost !== undefined) rmSync(join(safe.stateFolder, lost), { recursive: true, force: true });
    const isBack = name === "zeros";
    const { manifest, problems } = await safe.point(isBack ? { now: () => new Date(Date.now() - 3_600_000) } : {});
    expect(problems).toEqual([]);
    if (lost === "." || isBack) expect(manifest.base).toBe(null);
    marks.push({ name, id: manifest.id, tree });
  }
  for (const { name, id, tree } of marks) {
    const { target } = await safe.restore(id);
    expect(snapshotTree(target, { exclude: [".git"] }), name).toEqual(tree);
    rmSync(target, { recursive: true });
  }
  const ids = (await safe.points()).map(({ id }) => id);
  expect(new Set(ids).size).toBe(versions.length);
});

test("nothing changed: no point unless asked for, and then a small one that restores the same", async () => {
  using repo = gitRepo({ a: "1\n" });
  repo.write("u", "u\n");
  using safe = await protect(repo.path);
  const first = await safe.point();
  expect(await safe.pointIfChanged()).toEqual({ status: "unchanged", last: first.manifest.id });
  const second = await safe.point();
  expect(second.manifest.artifacts).toHaveLength(1);
  repo.git("status");
  expect(await safe.pointIfChanged()).toMatchObject({ status: "unchanged" });
  const before = repositoryState(repo.path);
  expect(repositoryState((await safe.restore(second.manifest.id)).target)).toEqual(before);
  repo.write("u", "v\n");
  expect(await safe.pointIfChanged()).toMatchObject({ status: "made" });
});

test("loose objects that git has touched since are not stored again; what is new among them is", async () => {
  using repo = gitRepo({ "a.txt": "one\n" });
  const blobs = Array.from({ length: 80 }, (_, at) => {
    repo.write("scratch", noise(2000, at + 1));
    return repo.git("hash-object", "-w", "scratch");
  });
  rmSync(join(repo.path, "scratch"));
  using safe = await protect(repo.path);
  await safe.point();
  const later = new Date(Date.now() + 60_000);
  for (const oid of blobs) utimesSync(join(repo.path, ".git/objects", oid.slice(0, 2), oid.slice(2)), later, later);
  repo.write("scratch", "new\n");
  const fresh = repo.git("hash-object", "-w", "scratch");
  utimesSync(join(repo.path, ".git/objects", fresh.slice(0, 2), fresh.slice(2)), later, later);
  const { manifest } = await safe.point();
  expect(manifest.artifacts.find(({ name }) => name.endsWith(".bundle"))?.size).toBeLessThan(1000);
  const { target } = await safe.restore();
  const restored = allObjects(target).join("\n");
  expect([...blobs, fresh].filter((oid) => !restored.includes(oid))).toEqual([]);
});
