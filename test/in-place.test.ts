/** Restores over the living worktree, by the built program. */
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { snapshotTree } from "./support/tree.ts";
import { workspace } from "./support/workspace.ts";

test("files that are not as the point has them are shown, and nothing is written, with --force too", async () => {
  using work = await workspace({ files: { "a.txt": "one\n", "b.txt": "two\n" } });
  const { repo } = work;
  repo.write("a.txt", "three\n");
  repo.commit("three");
  const oid = repo.git("rev-parse", "HEAD:a.txt");
  rmSync(join(repo.path, ".git/objects", oid.slice(0, 2), oid.slice(2)));
  expect(await work.run(["backup", "--full"])).toMatchObject({ code: 3 });
  repo.write("b.txt", "changed since\n");
  const before = snapshotTree(repo.path, { exclude: [".git"] });
  const result = await work.run(["restore", "latest", "--in-place", "--force"]);
  expect(result).toMatchObject({ code: 13, stderr: expect.stringContaining("nothing was written over yours") });
  expect(result.stdout).toContain("  a.txt is missing\n");
  expect(result.stderr).toContain("the point itself was partial");
  expect(snapshotTree(repo.path, { exclude: [".git"] })).toEqual(before);
  const { inPlace } = JSON.parse((await work.run(["restore", "latest", "--in-place", "--force", "--json"])).stdout);
  expect(inPlace).toMatchObject({ executed: false, comparison: { differences: [{ path: "a.txt", what: "is missing" }] } });
  expect(inPlace.problems).not.toEqual([]);
  const chosen = await work.run(["restore", "latest", "--in-place", "--force", "--path", "b.txt"]);
  expect([chosen.code, readFileSync(join(repo.path, "b.txt"), "utf8")]).toEqual([0, "two\n"]);
});
