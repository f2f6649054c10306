/**
 * A thousand points, one after another: each restores by reading a few artifacts, and the store grows with what changed.
 * HOLDFAST_POINTS sets how many (120, or 60 where not everything is required).
 */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chainOf } from "../src/core/catalogue.ts";
import { maxChain } from "../src/core/ladder.ts";
import { effort } from "./support/effort.ts";
import { protect } from "./support/protected.ts";
import { seededRandom } from "./support/random.ts";
import { gitRepo } from "./support/repo.ts";
import { restorePoint } from "./support/restore-point.ts";
import { snapshotTree, type TreeEntry } from "./support/tree.ts";

const count = effort("HOLDFAST_POINTS", 120, 60);

test(`${count} points of small changes`, { timeout: 60_000 + 1000 * count }, async () => {
  const random = seededRandom(3);
  using repo = gitRepo(Object.fromEntries(Array.from({ length: 40 }, (_, at) => [`src/file-${at}.txt`, `line ${at}\n`.repeat(30)])));
  using safe = await protect(repo.path);
  const lookAt = new Set([count, ...Array.from({ length: 10 }, () => 1 + Math.floor(random() * count))]);
  const seen = new Map<string, readonly TreeEntry[]>();
  let written = 0;
  const startedAt = performance.now();
  for (let number = 1; number <= count; number += 1) {
    const text = `${number}\n`.repeat(20 + Math.floor(random() * 200));
    repo.write(number % 3 === 0 ? `src/file-${number % 40}.txt` : `notes/note-${number % 120}.md`, text);
    written += text.length;
    if (number % 20 === 0) repo.commit(`commit ${number}`);
    const { manifest } = await safe.point();
    if (lookAt.has(number)) seen.set(manifest.id, treeOf(repo.path));
  }
  const msEach = (performance.now() - startedAt) / count;

  const points = await safe.points();
  expect(points).toHaveLength(count);
  const newest = points.at(-1);
  for (const point of points) {
    const chain = chainOf(point, points);
    for (const kind of [".tar.zst", ".bundle"])
      expect(chain.filter(({ artifacts }) => artifacts.some(({ name }) => name.endsWith(kind))).length).toBeLessThanOrEqual(maxChain);
  }
  for (const [id, tree] of seen) {
    const point = points.find((candidate) => candidate.id === id);
    if (point === undefined) throw new Error(`${id} is gone`);
    expect(await restorePoint(safe.store, points, point, safe.scratch, treeOf), id).toEqual(tree);
  }
  expect(seen.has(newest?.id ?? "")).toBe(true);

  const stored = sizeOf(safe.store.url);
  // Manifest, contents and the frames of a tarball and a bundle, and what changed, compressed, a few times over.
  expect(stored / count).toBeLessThan(12 * 1024);
  console.log(
    `${count} points: ${msEach.toFixed(1)} ms each, ${(stored / count / 1024).toFixed(1)} KiB each for ${(written / count / 1024).toFixed(1)} KiB changed, ${points.filter(({ base }) => base === null).length} of them full`,
  );
});

function treeOf(root: string): readonly TreeEntry[] {
  return snapshotTree(root, { exclude: [".git"] });
}

function sizeOf(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).reduce((sum, path) => sum + statSync(join(folder, path)).size, 0);
}
