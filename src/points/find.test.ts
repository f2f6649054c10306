import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { fakeManifest } from "../../test/support/fake-points.ts";
import { tempDir } from "../../test/support/repo.ts";
import { writeRecords } from "../capture/contents-file.ts";
import { type ContentsRecord, contentsVersion } from "../core/contents.ts";
import type { Manifest } from "../core/manifest.ts";
import { MemoryStore } from "../stores/memory.ts";
import { bytesSource } from "../stores/store.ts";
import { findVersions } from "./find.ts";

const store = new MemoryStore("store");
let made = 0;

/** A point whose contents say that these paths have these contents; null: the path is gone. */
async function point(base: Manifest | null, files: Readonly<Record<string, string | null>>, wish: Partial<Manifest> = {}): Promise<Manifest> {
  using dir = tempDir();
  made += 1;
  const { id } = fakeManifest(new Date(Date.UTC(2026, 0, made)), made);
  const records = Object.entries(files).map(
    ([path, sha256]): ContentsRecord =>
      sha256 === null ? { t: "gone", path } : { t: "file", path, kind: "file", mode: 0o644, mtime: "1", size: sha256.length, sha256 },
  );
  const header = { t: "point", v: contentsVersion, id, base: base?.id ?? null, objectFormat: "sha1", name: "test" } as const;
  const artifact = await writeRecords(dir.path, id, [header, ...records]);
  await store.put(`${id.slice(0, 8)}/${artifact.name}`, bytesSource(readFileSync(join(dir.path, artifact.name))));
  return fakeManifest(new Date(Date.UTC(2026, 0, made)), made, { base: base?.id ?? null, artifacts: [artifact], ...wish });
}

test("each content of a path is one version, with the first and last point that hold it, however the points build on each other", async () => {
  const full = await point(null, { "untracked/a.db": "x", "untracked/b.txt": "n", "tracked/t.db": "t" });
  const second = await point(full, { "untracked/a.db": "yy" });
  const third = await point(second, { "untracked/a.db": null });
  // On the full one again: what the two between did is not in it.
  const fourth = await point(full, {});
  const other = await point(null, { "worktrees/side/untracked/a.db": "x", "modified/a.db": "x" });
  const { versions, unread } = await findVersions(store, [full, second, third, fourth, other], (path) => path.endsWith(".db"));
  expect(unread).toEqual([]);
  expect(versions.map(({ worktree, path, sha256, first, last, points }) => [worktree, path, sha256, first, last, points])).toEqual([
    ["", "a.db", "x", full.id, other.id, 3],
    ["", "a.db", "yy", second.id, second.id, 1],
    ["side", "a.db", "x", other.id, other.id, 1],
  ]);
});

test("points that cannot be read, and those on them, are named; the others are found all the same", async () => {
  const good = await point(null, { "untracked/a": "x" });
  const lost = { ...(await point(null, {})), artifacts: fakeManifest(new Date(), 1).artifacts };
  const above = await point(lost, { "untracked/a": "y" });
  const round = await point(good, { "untracked/a": "z" });
  const circle = { ...round, base: round.id };
  const { versions, unread } = await findVersions(store, [good, lost, above, circle], () => true);
  expect(versions.map(({ sha256 }) => sha256)).toEqual(["x"]);
  expect(unread).toEqual([lost.id, above.id, circle.id]);
});
