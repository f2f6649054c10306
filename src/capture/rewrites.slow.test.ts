/** Forced history as points see it, with real git. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type ProtectedRepository, protect } from "../../test/support/protected.ts";
import { gitRepo, type TempDir, type TestRepo, tempDir } from "../../test/support/repo.ts";
import { writeManifest } from "../core/manifest.ts";
import type { Rewrite } from "../core/rewrites.ts";
import { KnownState } from "./known.ts";

let repo: TestRepo;
let dir: TempDir;
let safe: ProtectedRepository;

beforeEach(async () => {
  repo = gitRepo({ a: "1\n" });
  dir = tempDir();
  repo.git("init", "-q", "--bare", "--initial-branch=main", join(dir.path, "origin.git"));
  repo.git("remote", "add", "origin", join(dir.path, "origin.git"));
  repo.commit("second");
  repo.git("push", "-q", "-u", "origin", "main");
  safe = await protect(repo.path);
  await point();
});
afterEach(() => {
  for (const folder of [safe, repo, dir]) folder[Symbol.dispose]();
});

async function point(): Promise<{ id: string; rewrites: Rewrite[] }> {
  const rewrites: Rewrite[] = [];
  const { manifest } = await safe.point({ onRewrites: (found) => void rewrites.push(...found) });
  return { id: manifest.id, rewrites };
}

/** A colleague, who has a clone of their own, sets `branch` on the remote. */
function elsewhere(...commands: readonly (readonly string[])[]): void {
  const clone = join(dir.path, "colleague");
  const run = (cwd: string, args: readonly string[]): unknown => execFileSync("git", args, { cwd, stdio: "pipe" });
  rmSync(clone, { recursive: true, force: true });
  run(dir.path, ["clone", "-q", "origin.git", clone]);
  for (const [key, value] of [
    ["user.name", "B"],
    ["user.email", "b@example.org"],
  ] as const)
    run(clone, ["config", key, value]);
  for (const command of commands) run(clone, command);
}

const commit = ["commit", "-q", "--allow-empty", "-m", "theirs"];

describe("a remote's branch", () => {
  test("that others force-pushed: what is lost, where it is, and that it was not us", async () => {
    elsewhere(commit, commit, ["push", "-q"]);
    repo.git("fetch", "-q");
    const old = repo.git("rev-parse", "origin/main");
    const { id } = await point();
    elsewhere(["reset", "-q", "--hard", "HEAD~2"], ["commit", "-q", "--allow-empty", "-m", "rubbish"], ["push", "-q", "--force"]);
    repo.git("fetch", "-q");
    const { rewrites } = await point();
    expect(rewrites).toEqual([
      {
        ref: "refs/remotes/origin/main",
        old,
        new: repo.git("rev-parse", "origin/main"),
        lost: 2,
        isOurs: false,
        point: id,
        seenAt: expect.any(String),
      },
    ]);
  });

  test("that is forced while a branch here still has it all: nothing is lost, and it is said", async () => {
    elsewhere(["commit", "-q", "--allow-empty", "--amend", "-m", "rewritten"], ["push", "-q", "--force"]);
    repo.git("fetch", "-q");
    expect((await point()).rewrites).toMatchObject([{ ref: "refs/remotes/origin/main", lost: 0, isOurs: false }]);
  });

  test("that was deleted and pruned here", async () => {
    elsewhere(["checkout", "-q", "-b", "topic"], commit, ["push", "-q", "origin", "topic"]);
    repo.git("fetch", "-q");
    expect((await point()).rewrites).toEqual([]);
    elsewhere(["push", "-q", "origin", "--delete", "topic"]);
    repo.git("fetch", "-q", "--prune");
    expect((await point()).rewrites).toMatchObject([{ ref: "refs/remotes/origin/topic", new: null, lost: 1, isOurs: false }]);
  });

  test("that we forced ourselves is ours; so is all of a remote that we removed", async () => {
    repo.git("commit", "-q", "--amend", "--allow-empty", "-m", "mine");
    repo.git("push", "-q", "--force");
    repo.git("branch", "-f", "elsewhere", "origin/main");
    expect((await point()).rewrites.map(({ ref, isOurs }) => [ref, isOurs])).toEqual([
      ["refs/heads/main", true],
      ["refs/remotes/origin/main", true],
    ]);
    repo.git("reset", "-q", "--hard", "HEAD~1");
    repo.git("branch", "-D", "elsewhere");
    repo.git("remote", "remove", "origin");
    expect((await point()).rewrites.find(({ ref }) => ref === "refs/remotes/origin/main")).toMatchObject({ new: null, lost: 1, isOurs: true });
  });

  test("where a mirror put it is ours, though git has no note of a push", async () => {
    elsewhere(["commit", "-q", "--allow-empty", "--amend", "-m", "ours from elsewhere"], ["push", "-q", "--force"]);
    repo.git("fetch", "-q");
    const rewrites: Rewrite[] = [];
    await safe.point({ onRewrites: (found) => void rewrites.push(...found), isPushed: async (ref) => ref === "refs/remotes/origin/main" });
    expect(rewrites).toMatchObject([{ isOurs: true }]);
  });
});

describe("here", () => {
  test("commits, merges, new branches, and deletions of what another branch has, are none", async () => {
    repo.git("branch", "topic");
    repo.git("tag", "-a", "-m", "t", "v1");
    repo.commit("third");
    expect((await point()).rewrites).toEqual([]);
    repo.git("branch", "-D", "topic");
    repo.git("tag", "-d", "v1");
    repo.git("stash", "push", "-q");
    expect((await point()).rewrites).toEqual([]);
  });

  test("an amend, a lost branch and a moved annotated tag are, each with its own count", async () => {
    repo.git("checkout", "-q", "-b", "topic");
    for (const message of ["one", "two", "three"]) repo.commit(message);
    repo.git("checkout", "-q", "main");
    repo.commit("to be amended");
    repo.git("tag", "-a", "-m", "t", "v1");
    await point();
    repo.git("commit", "-q", "--amend", "--allow-empty", "-m", "amended");
    repo.git("tag", "-f", "-a", "-m", "t", "v1");
    repo.git("branch", "-D", "topic");
    const { rewrites } = await point();
    expect(rewrites.map(({ ref, lost, isOurs }) => `${ref} ${lost} ${isOurs}`).sort()).toEqual([
      "refs/heads/main 1 true",
      "refs/heads/topic 3 true",
      "refs/tags/v1 1 true",
    ]);
  });

  test("what gc has taken already is counted by nobody, and still said", async () => {
    repo.commit("gone soon");
    await point();
    repo.git("reset", "-q", "--hard", "HEAD~1");
    repo.git("reflog", "expire", "--expire=now", "--all");
    repo.git("gc", "-q", "--prune=now");
    expect((await point()).rewrites).toMatchObject([{ ref: "refs/heads/main", lost: null }]);
  });
});

test("of hundreds that moved at once those are named whose commits are lost", async () => {
  const names = Array.from({ length: 250 }, (_, at) => `refs/remotes/origin/b${at}`);
  const setAll = (oid: string): void =>
    void execFileSync("git", ["update-ref", "--stdin"], { cwd: repo.path, input: names.map((name) => `update ${name} ${oid}\n`).join("") });
  setAll(repo.git("rev-parse", "HEAD~1"));
  repo.git("update-ref", "refs/remotes/origin/forced", repo.git("commit-tree", "-p", "HEAD", "-m", "lost", "HEAD^{tree}"));
  await point();
  setAll(repo.git("rev-parse", "HEAD"));
  repo.git("update-ref", "refs/remotes/origin/forced", "HEAD");
  expect((await point()).rewrites).toMatchObject([{ ref: "refs/remotes/origin/forced", lost: 1, isOurs: false }]);
});

test("in a bare repository a branch is forced by others", async () => {
  const origin = join(dir.path, "origin.git");
  using bare = await protect(origin);
  await bare.point();
  elsewhere(["commit", "-q", "--allow-empty", "--amend", "-m", "rewritten"], ["push", "-q", "--force"]);
  const rewrites: Rewrite[] = [];
  await bare.point({ onRewrites: (found) => void rewrites.push(...found) });
  expect(rewrites).toMatchObject([{ ref: "refs/heads/main", lost: 1, isOurs: false }]);
});

test("a machine that has forgotten the last point compares with what the store says", async () => {
  repo.commit("forgotten");
  const { id } = await point();
  repo.git("reset", "-q", "--hard", "HEAD~1");
  rmSync(safe.stateFolder, { recursive: true });
  expect((await point()).rewrites).toMatchObject([{ ref: "refs/heads/main", lost: 1, point: id }]);
});

test("and goes on with its own chain, whoever else made a point in that store since", async () => {
  const { manifest: own } = await safe.point();
  repo.commit("of another machine");
  await safe.point({ machine: "other", state: new KnownState(join(dir.path, "other-state")) });
  rmSync(safe.stateFolder, { recursive: true });
  const { manifest } = await safe.point();
  expect(manifest.previous).toBe(own.id);
  expect(manifest.previousSha256).toBe(createHash("sha256").update(writeManifest(own)).digest("hex"));
});

test("in a shallow clone, where a moved boundary looks the same, nothing is said", async () => {
  repo.commit("third");
  repo.git("push", "-q");
  const clone = join(dir.path, "shallow");
  execFileSync("git", ["clone", "-q", "--depth", "1", `file://${join(dir.path, "origin.git")}`, clone], { stdio: "pipe" });
  using shallow = await protect(clone);
  await shallow.point();
  repo.commit("fourth");
  repo.commit("fifth");
  repo.git("push", "-q");
  execFileSync("git", ["fetch", "-q", "--depth", "1"], { cwd: clone });
  const rewrites: Rewrite[] = [];
  await shallow.point({ onRewrites: (found) => void rewrites.push(...found) });
  expect(rewrites).toEqual([]);
});
