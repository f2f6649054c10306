/**
 * Restores on a machine without git: everything that a restore with git gives, looked at by a real git afterwards.
 * HOLDFAST_HISTORY_SEEDS sets how many lives (2, or 1 where not everything is required).
 */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import type { Limits } from "../src/restore/limits.ts";
import { planMoment } from "../src/restore/plan.ts";
import { restore } from "../src/restore/restore.ts";
import { withoutGit } from "../src/restore/without-git.ts";
import { type CliResult, runCli, runRestore } from "./support/cli.ts";
import { effort } from "./support/effort.ts";
import { gitLife } from "./support/git-life.ts";
import { journey } from "./support/journey.ts";
import { protect } from "./support/protected.ts";
import { gitRepo, type TempDir, tempDir } from "./support/repo.ts";
import { repositoryState } from "./support/repository-state.ts";
import { snapshotTree } from "./support/tree.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

const seeds = effort("HOLDFAST_HISTORY_SEEDS", 2, 1);
const isWithoutGit = true;

describe("the moment", () => {
  test.each(Array.from({ length: seeds }, (_, at) => 101 + at))("life %i: every point of it", { timeout: 240_000 }, async (seed) => {
    using life = gitLife(seed);
    using trip = await journey(life.repo, { isWithoutGit });
    for (let point = 0; point < 6; point += 1) {
      const done = Array.from({ length: 6 }, () => life.step());
      await trip.mark(`point ${point}, after ${done.join(", ")}`);
    }
    await trip.verify();
  });

  test("odd names, modes and links, an index of each version, and a conflict in the middle of a merge", async () => {
    using repo = gitRepo({ "a.txt": "one\n", "folder/b.sh": "#!/bin/sh\n", "folder/ü ñ\n.txt": "odd\n", "skipped.txt": "s\n", empty: "" });
    chmodSync(join(repo.path, "folder/b.sh"), 0o755);
    symlinkSync("../a.txt", join(repo.path, "folder/link"));
    repo.commit();
    using trip = await journey(repo.path, { isWithoutGit });
    repo.git("update-index", "--skip-worktree", "skipped.txt");
    repo.write("announced.txt", "x\n");
    repo.git("add", "--intent-to-add", "announced.txt");
    await trip.mark("version 3");
    repo.git("update-index", "--no-skip-worktree", "skipped.txt");
    repo.git("update-index", "--index-version", "4");
    repo.commit();
    await trip.mark("version 4");
    repo.git("checkout", "-q", "-b", "side", "HEAD~1");
    repo.write("a.txt", "side\n");
    repo.commit("side");
    repo.git("checkout", "-q", "main");
    repo.write("a.txt", "main\n");
    repo.commit("main");
    expect(() => repo.git("merge", "-q", "side")).toThrow();
    await trip.mark("a conflict");
    await trip.verify();
  });

  test("linked worktrees and a nested repository", async () => {
    using repo = gitRepo({ "a.txt": "one\n" });
    using beside = tempDir();
    repo.git("worktree", "add", "-q", "-b", "linked", join(beside.path, "linked"));
    writeFileSync(join(beside.path, "linked/a.txt"), "changed there\n");
    mkdirSync(join(repo.path, "nested"));
    execFileSync("git", ["init", "-q", join(repo.path, "nested")]);
    repo.write("nested/n.txt", "nested\n");
    using safe = await protect(repo.path);
    await safe.point();
    const { target, worktrees } = await safe.restore(undefined, { git: withoutGit(), gitDir: undefined });
    expect(repositoryState(target).tree).toEqual(repositoryState(repo.path).tree);
    expect(worktrees).toHaveLength(1);
    expect(repositoryState(worktrees[0] ?? "").status).toEqual(repositoryState(join(beside.path, "linked")).status);
  });
});

describe("the commit", () => {
  test("is the same as with git: files, modes, index, and untracked files of that time", async () => {
    using repo = gitRepo({ "a.txt": "one\n", "folder/b.sh": "#!/bin/sh\n", "deep/er/c.txt": "c\n" });
    chmodSync(join(repo.path, "folder/b.sh"), 0o755);
    symlinkSync("b.sh", join(repo.path, "folder/link"));
    const first = repo.commit();
    using safe = await protect(repo.path);
    repo.write("untracked.txt", "u\n");
    await safe.point();
    repo.write("a.txt", "two\n");
    repo.git("tag", "v2", repo.commit("second"));
    await safe.point();
    const shapeOf = (root: string): unknown => ({
      tree: snapshotTree(root, { exclude: [".git"] }).map(({ mtimeNs: _, ...entry }) => entry),
      state: { ...repositoryState(root), tree: [], gitFiles: {} },
    });
    for (const what of [first.slice(0, 9), "v2", "main", "HEAD~1"]) {
      const [by, without] = [await safe.restore(what, { gitDir: undefined }), await safe.restore(what, { git: withoutGit(), gitDir: undefined })];
      expect(without.explanation).toBe(by.explanation);
      expect(shapeOf(without.target)).toEqual(shapeOf(by.target));
      expect(repositoryState(without.target).fsck).toEqual([]);
    }
  });
});

describe("what cannot be restored without git", () => {
  test("sha256: said first; untracked and changed files come back, the tracked ones are listed", async () => {
    using dir = tempDir();
    const root = join(dir.path, "repo");
    const git = (...args: string[]): string =>
      execFileSync("git", ["-C", root, "-c", "user.name=A", "-c", "user.email=a@b", ...args], { encoding: "utf8" });
    execFileSync("git", ["init", "-q", "--object-format=sha256", root]);
    for (const name of ["clean.txt", "changed.txt"]) writeFileSync(join(root, name), `${name}\n`);
    git("add", ".");
    git("commit", "-q", "-m", "one");
    writeFileSync(join(root, "changed.txt"), "changed\n");
    writeFileSync(join(root, "untracked.txt"), "untracked\n");
    using safe = await protect(root);
    const { manifest } = await safe.point();
    const said: Limits[] = [];
    const target = join(dir.path, "restored");
    const result = await restore({
      plan: planMoment(manifest, await safe.points(), []),
      store: safe.store,
      target,
      git: withoutGit(),
      onLimits: (limits) => {
        said.push(limits);
        expect(existsSync(target)).toBe(false);
      },
    });
    expect(said).toMatchObject([{ history: expect.stringContaining("sha256") }]);
    expect(result).toMatchObject({ withheld: ["clean.txt"], comparison: { differences: [] } });
    expect(readdirSync(target).sort()).toEqual([".git", "changed.txt", "untracked.txt"]);
    expect(readFileSync(join(target, "changed.txt"), "utf8")).toBe("changed\n");
    expect(existsSync(join(target, ".git/index"))).toBe(true);
    expect(existsSync(join(target, ".git/objects"))).toBe(false);
    await expect(safe.restore("HEAD", { git: withoutGit(), gitDir: undefined })).rejects.toMatchObject({ code: "git_missing" });
  });
});

describe("the built program with a PATH that has only Node", () => {
  let work: Workspace;
  let dir: TempDir;
  let commit = "";
  let first = "";
  const env = (): Record<string, string> => ({ PATH: join(dir.path, "bin") });
  const restoreHere = (args: readonly string[]): Promise<CliResult> => runRestore(args, { cwd: work.repo.path, env: env() });

  beforeAll(async () => {
    work = await workspace({ files: { "a.txt": "one\n", "notes/b.md": "b\n", "c.txt": "c\n" } });
    dir = tempDir();
    mkdirSync(join(dir.path, "bin"));
    symlinkSync(process.execPath, join(dir.path, "bin/node"));
    commit = work.repo.git("rev-parse", "HEAD");
    first = (await work.points())[0]?.id ?? "";
    work.repo.write("a.txt", "two\n");
    work.repo.commit("two");
    work.repo.write("notes/untracked.md", "u\n");
    await work.backup();
    return () => {
      work[Symbol.dispose]();
      dir[Symbol.dispose]();
    };
  });

  test("recover says that it goes on without git, and gives the whole repository", async () => {
    const target = join(dir.path, "recovered");
    const result = await runCli(["recover", work.store, target], { cwd: dir.path, env: env() });
    expect({ code: result.code, stderr: result.stderr }).toEqual({
      code: 0,
      stderr: expect.stringMatching(/^There is no git on this machine: going on without it\.\n/),
    });
    expect(repositoryState(target)).toEqual(repositoryState(work.repo.path));
  });

  test("a point, a commit, a branch, a time and single paths are restored inside the repository", async () => {
    const cases: readonly (readonly [args: string[], file: string, text: string])[] = [
      [[first], "a.txt", "one\n"],
      [[commit.slice(0, 10)], "a.txt", "one\n"],
      [["main~1"], "a.txt", "one\n"],
      [["main"], "a.txt", "two\n"],
      [["--at", "now"], "notes/untracked.md", "u\n"],
      [["latest", "--path", "notes/"], "notes/b.md", "b\n"],
    ];
    for (const [at, [args, file, text]] of cases.entries()) {
      const target = join(dir.path, `target-${at}`);
      const { code, stderr } = await restoreHere([...args, "--to", target]);
      expect({ args, code, stderr: code === 0 ? "" : stderr }).toEqual({ args, code: 0, stderr: "" });
      expect(readFileSync(join(target, file), "utf8")).toBe(text);
    }
    expect(existsSync(join(dir.path, "target-5/a.txt"))).toBe(false);
  });

  test("the points are listed and shown", async () => {
    expect((await restoreHere(["--list"])).stdout).toContain(first);
    expect((await restoreHere([first, "--list"])).stdout).toContain("notes/b.md");
    const since = await runCli(["points", "--since", "yesterday"], { cwd: work.repo.path, env: env() });
    expect(since).toMatchObject({ code: 0, stdout: expect.stringContaining(first), stderr: "" });
    expect(await runCli(["show", first], { cwd: work.repo.path, env: env() })).toMatchObject({ code: 0, stdout: expect.stringContaining(first) });
  });

  test("what needs git says so, and what to do", async () => {
    const errors: readonly (readonly [args: string[], code: number, words: RegExp])[] = [
      [["--in-place"], 2, /--in-place needs git.*\n.*--no-git --to DIR/],
      [["main@{1}"], 2, /only git can read/],
      [["--at", "last friday"], 2, /is not a date that can be read without git/],
      [["nothing"], 1, /nothing in the repository or in the store local is called nothing/],
    ];
    for (const [args, code, words] of errors)
      expect({ args, ...(await restoreHere(args)) }).toMatchObject({ args, code, stderr: expect.stringMatching(words) });
    const branch = await runCli(["recover", "branch:https://host.invalid/me/repo.git#holdfast/backup", "x"], { cwd: dir.path, env: env() });
    expect(branch).toMatchObject({ code: 1, stderr: expect.stringMatching(/only git reads it\n.*clone the branch/) });
    const hooks = await runCli(["recover", work.store, "x", "--hooks"], { cwd: dir.path, env: env() });
    expect(hooks).toMatchObject({ code: 2, stderr: expect.stringMatching(/need git/) });
    expect(existsSync(join(dir.path, "x"))).toBe(false);
  });

  test("--no-git does so where there is git, and a commit's line ends are said", async () => {
    const target = join(dir.path, "asked");
    const result = await work.run(["restore", "main", "--no-git", "--to", target]);
    expect(result).toMatchObject({ code: 0, stderr: expect.stringMatching(/Without git: .*line ends/) });
    expect(result.stderr).not.toContain("There is no git");
    expect(execFileSync("git", ["-C", target, "status", "--porcelain"], { encoding: "utf8" })).toBe("?? notes/untracked.md\n");
  });
});
