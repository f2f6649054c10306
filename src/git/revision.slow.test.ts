import { execFileSync, spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, test } from "vitest";
import { gitRepo, type TestRepo } from "../../test/support/repo.ts";
import { ObjectReader } from "./object-reader.ts";
import { openRepository } from "./repository.ts";
import { openRepositoryFiles } from "./repository-files.ts";
import { findRevision, readCommitTime } from "./revision.ts";

/** A history with a merge, tags of both kinds, a remote's branches, and a name that is a branch and a tag. */
function history(): TestRepo {
  const repo = gitRepo({ a: "1\n" });
  repo.git("checkout", "-q", "-b", "side/branch");
  repo.write("b", "2\n");
  const side = repo.commit("side\n\nparent 0000000000000000000000000000000000000000\ncommitter nobody <x> 5 +0000");
  repo.git("checkout", "-q", "main");
  repo.write("c", "3\n");
  repo.commit("main");
  repo.git("merge", "-q", "--no-ff", "-m", "merge", "side/branch");
  repo.git("tag", "light", side);
  repo.git("tag", "-a", "-m", "a tag", "annotated", "HEAD~1");
  repo.git("tag", "-a", "-m", "of a tag", "nested", "annotated");
  repo.git("tag", "twin", side);
  repo.git("branch", "twin", "main");
  repo.git("update-ref", "refs/remotes/origin/main", side);
  repo.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main");
  repo.git("notes", "add", "-m", "a note");
  repo.git("pack-refs", "--all");
  repo.git("repack", "-adq");
  return repo;
}

function gitFinds(repo: TestRepo, what: string): { oid: string; branch: string | undefined } | undefined {
  const ask = (...args: string[]): string | undefined => {
    const { status, stdout } = spawnSync("git", ["rev-parse", "--verify", "-q", ...args], { cwd: repo.path, encoding: "utf8" });
    return status === 0 ? stdout.trim() : undefined;
  };
  const oid = ask(`${what}^{commit}`);
  const name = ask("--symbolic-full-name", what);
  return oid === undefined ? undefined : { oid, branch: name?.startsWith("refs/heads/") === true ? name : undefined };
}

test("names mean what they mean to git", async () => {
  using repo = history();
  const gitDir = join(repo.path, ".git");
  const objects = new ObjectReader(gitDir);
  const tip = repo.git("rev-parse", "HEAD");
  const tag = repo.git("rev-parse", "annotated");
  const blob = repo.git("rev-parse", "HEAD:a");
  const names = [
    "HEAD", "@", "main", "heads/main", "refs/heads/main", "side/branch", "light", "annotated", "nested", "tags/nested", "twin", "origin",
    "origin/main", "remotes/origin/main", "notes/commits", tip, tip.slice(0, 12), tag, tag.slice(0, 10), "HEAD~1", "HEAD~2", "HEAD^2", "HEAD^", "HEAD^^",
    "main~1^0", "annotated~1", "annotated^{}", "nested^{commit}", "HEAD~9", "HEAD^3", "nothing", "side", blob, blob.slice(0, 12), "f".repeat(40), "ffff",
  ]; // biome-ignore format: groups
  for (const name of names) expect({ name, found: await findRevision(gitDir, objects, name) }).toEqual({ name, found: gitFinds(repo, name) });
  repo.git("checkout", "-q", "--detach", "HEAD^2");
  expect(await findRevision(gitDir, objects, "HEAD")).toEqual(gitFinds(repo, "HEAD"));
  const seconds = Number(repo.git("show", "-s", "--format=%ct", "light"));
  expect(await readCommitTime(objects, repo.git("rev-parse", "light"))).toEqual(new Date(seconds * 1000));
});

test.each(["main@{1}", ":/side", "HEAD:a", "main..side", "-n", "ma*n", "a b"])("%s is refused in words", async (what) => {
  using repo = history();
  const gitDir = join(repo.path, ".git");
  await expect(findRevision(gitDir, new ObjectReader(gitDir), what)).rejects.toMatchObject({ code: "usage" });
});

test("an id that fits two commits is ambiguous", async () => {
  using repo = gitRepo({});
  const commits = Array.from({ length: 600 }, (_, at) => `commit refs/heads/b${at}\ncommitter A <a@b> ${at} +0000\ndata 0\n\n`);
  execFileSync("git", ["fast-import", "--quiet"], { cwd: repo.path, input: commits.join("") });
  repo.git("repack", "-adq");
  const beginnings = repo.git("rev-list", "--all").split("\n").map((oid) => oid.slice(0, 4)); // biome-ignore format: one thought
  const twin = beginnings.find((beginning, at) => beginnings.indexOf(beginning) !== at) ?? "";
  const gitDir = join(repo.path, ".git");
  await expect(findRevision(gitDir, new ObjectReader(gitDir), twin)).rejects.toMatchObject({ code: "ambiguous" });
});

test("a repository's files say where it is, as git does", async () => {
  using repo = history();
  repo.git("worktree", "add", "-q", "--detach", join(repo.path, "linked"));
  repo.write("folder/x", "x\n");
  for (const place of ["", "folder", "linked", ".git"]) {
    const [files, git] = await Promise.all([openRepositoryFiles(join(repo.path, place)), openRepository(join(repo.path, place))]);
    const { worktrees, ...rest } = files;
    const { worktrees: all, ...known } = git;
    expect({ place, ...rest }).toEqual({ place, ...known });
    expect(worktrees[0]).toEqual(all[0]);
  }
  await expect(openRepositoryFiles("/")).rejects.toMatchObject({ code: "not_a_repository" });
  await expect(openRepositoryFiles(join(repo.path, "nowhere"))).rejects.toMatchObject({ code: "not_a_repository" });
});
