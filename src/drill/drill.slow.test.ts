import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type ProtectedRepository, protect } from "../../test/support/protected.ts";
import { gitRepo } from "../../test/support/repo.ts";
import { drill } from "./drill.ts";
import type { Drilled } from "./evidence.ts";

async function drilled(safe: ProtectedRepository): Promise<Drilled[]> {
  const scratch = join(safe.scratch, "drill");
  mkdirSync(scratch, { recursive: true });
  return drill({ store: safe.store, points: await safe.points(), scratch, judge: () => ({ status: "unsigned" }), random: 0, check: undefined });
}

test("git checks a point that only lacks a pipe, as it checks any other", async () => {
  using repo = gitRepo({ "a.txt": "one\n" });
  const tree = repo.git("rev-parse", "HEAD^{tree}");
  const commit = execFileSync("git", ["hash-object", "-t", "commit", "-w", "--stdin", "--literally"], {
    cwd: repo.path,
    input: `tree ${tree}\nauthor nobody\ncommitter nobody\n\nodd\n`,
    encoding: "utf8",
  });
  repo.git("update-ref", "refs/heads/odd", commit.trim());
  execFileSync("mkfifo", [join(repo.path, "pipe")]);
  using safe = await protect(repo.path);
  expect((await safe.point()).problems.map(({ code }) => code)).toEqual(["special"]);
  expect(await drilled(safe)).toMatchObject([{ problems: 1, fsck: true, findings: [expect.stringMatching(/^git fsck: error in commit /)] }]);
});

test("where objects were missing git is not asked, nor in the points that build on that one, and it is said", async () => {
  using repo = gitRepo({ "a.txt": "one\n" });
  const blob = repo.git("rev-parse", "HEAD:a.txt");
  repo.write("a.txt", "two\n");
  repo.commit();
  rmSync(join(repo.path, ".git/objects", blob.slice(0, 2), blob.slice(2)));
  using safe = await protect(repo.path);
  expect((await safe.point()).problems).not.toEqual([]);
  repo.commit("an incremental that misses nothing itself");
  expect(await safe.point()).toMatchObject({ problems: [], manifest: { step: 1 } });
  expect(await drilled(safe)).toMatchObject([
    { role: "latest", problems: 0, fsck: false, findings: [] },
    { role: "older", fsck: false, findings: [] },
  ]);
});
