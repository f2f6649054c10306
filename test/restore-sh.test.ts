/** restore.sh, alone, in a PATH without Node: the same folder as the program gives, from a folder store and from a clone of the branch. */
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeIdentity } from "../src/points/identity.ts";
import { copyPoint } from "../src/points/publish.ts";
import { writeRecoveryFiles } from "../src/points/recovery-files.ts";
import { BranchStore } from "../src/stores/branch.ts";
import { needs } from "./support/needs.ts";
import { type ProtectedRepository, protect } from "./support/protected.ts";
import { gitRepo, type TestRepo, tempDir } from "./support/repo.ts";
import { type RepositoryState, repositoryState } from "./support/repository-state.ts";
import { recoveryTexts, runScript, shells } from "./support/restore-script.ts";

describe.skipIf(!needs("zstd", "restore.sh tests"))("restore.sh", () => {
  const scratch = tempDir();
  let repo: TestRepo;
  let safe: ProtectedRepository;
  let first = "";
  const states = new Map<string, RepositoryState>();
  let linked: RepositoryState;

  beforeAll(async () => {
    repo = nastyRepository(scratch.path);
    safe = await protect(repo.path);
    await writeRecoveryFiles(safe.store, recoveryTexts);
    first = (await safe.point()).manifest.id;
    states.set(first, stateOf(repo.path));
    await change(repo, safe);
    const last = (await safe.point()).manifest.id;
    states.set("latest", stateOf(repo.path));
    states.set(last, stateOf(repo.path));
    linked = stateOf(join(scratch.path, "linked"));
  });
  afterAll(() => {
    safe?.[Symbol.dispose]();
    repo?.[Symbol.dispose]();
    scratch[Symbol.dispose]();
  });

  test.each(shells)("gives the newest moment with %s", (shell) => {
    const target = join(scratch.path, `out-${shell}`);
    const { status, stdout, stderr } = runScript(safe.store.url, ["latest", target], { shell });
    expect(stderr).toBe("");
    expect(status, stdout).toBe(0);
    expect(stateOf(target)).toEqual(states.get("latest"));
    expect(stateOf(join(`${target}.worktrees`, "linked"))).toEqual(linked);
    expect(readFileSync(join(target, ".git/holdfast-restored/hooks/post-merge"), "utf8")).toContain("mine");
    expect(existsSync(join(target, ".git/hooks/post-merge"))).toBe(false);
    expect(git(target, "config", "remote.origin.url")).toBe("https://example.org/r.git");
  });

  test("gives an older point, and what the program gives", async () => {
    const target = join(scratch.path, "out-first");
    expect(runScript(safe.store.url, [first, target])).toMatchObject({ status: 0 });
    const restored = await safe.restore(first);
    expect(stateOf(target)).toEqual(stateOf(restored.target));
    expect(stateOf(target)).toEqual(states.get(first));
  });

  test("works in a clone of the backup branch, where large files are in parts", async () => {
    const remote = join(scratch.path, "remote.git");
    git(scratch.path, "init", "-q", "--bare", remote);
    const branch = new BranchStore({
      name: "b",
      url: "branch:x",
      gitDir: join(scratch.path, "b.git"),
      remoteUrl: remote,
      ref: "refs/heads/holdfast/backup",
      partSize: 30_000,
    });
    await writeIdentity(branch, { format: 1, repository: "6f1a9c52-3b77-4c0e-9d5f-0a4f5b8c7e21", name: "test", created: "2026-01-01T00:00:00.000Z" });
    await writeRecoveryFiles(branch, recoveryTexts);
    for (const manifest of await safe.points()) await copyPoint(safe.store, branch, manifest);
    await branch.flush();
    const clone = join(scratch.path, "branch-clone");
    git(scratch.path, "clone", "-q", "-b", "holdfast/backup", remote, clone);
    expect(readdirSync(join(clone, first.slice(0, 8))).some((name) => name.endsWith(".part001"))).toBe(true);
    const target = join(scratch.path, "out-branch");
    expect(runScript(clone, ["latest", target])).toMatchObject({ stderr: "", status: 0 });
    expect(stateOf(target)).toEqual(states.get("latest"));
  });

  test("a sha256 repository, and one without a commit", async () => {
    for (const format of ["sha256", "sha1"]) {
      const root = join(scratch.path, `plain-${format}`);
      git(scratch.path, "init", "-q", "-b", "main", `--object-format=${format}`, root);
      writeFileSync(join(root, "staged"), "s\n");
      git(root, "add", "staged");
      if (format === "sha256") git(root, "commit", "-q", "-m", "one");
      using one = await protect(root);
      await writeRecoveryFiles(one.store, recoveryTexts);
      await one.point();
      const target = join(scratch.path, `out-${format}`);
      expect(runScript(one.store.url, ["latest", target])).toMatchObject({ status: 0 });
      expect(stateOf(target)).toEqual(stateOf(root));
    }
  });

  test("a submodule: its repository, with the remote and without the commands", async () => {
    using library = gitRepo({ "lib.txt": "l\n" });
    using parent = gitRepo({ "a.txt": "a\n" });
    git(parent.path, "submodule", "add", "-q", library.path, "sub");
    git(join(parent.path, "sub"), "config", "alias.evil", "!touch /tmp/evil");
    writeFileSync(join(parent.path, "sub/untracked"), "u\n");
    using one = await protect(parent.path);
    await writeRecoveryFiles(one.store, recoveryTexts);
    await one.point();
    const target = join(scratch.path, "out-submodule");
    expect(runScript(one.store.url, ["latest", target])).toMatchObject({ stderr: "", status: 0 });
    for (const args of [
      ["status", "--porcelain"],
      ["rev-parse", "HEAD"],
      ["config", "remote.origin.url"],
    ])
      expect(git(join(target, "sub"), ...args)).toBe(git(join(parent.path, "sub"), ...args));
    expect(git(target, "config", "--file", ".git/modules/sub/config", "--list")).not.toMatch(/alias/);
  });

  describe("says what is wrong, and writes nothing:", () => {
    test.each([
      ["a folder that is not empty", [first || "latest", "."], /is not empty/],
      ["an unknown point", ["20010101"], /there is no point 20010101/],
      ["an ambiguous point", ["20"], /fits several points/],
      ["a pattern", [".*"], /is not a point/],
      ["an unknown option", ["--force"], /is not understood/],
    ])("%s", (_, args, what) => {
      const target = join(scratch.path, "refused");
      const given = args.map((arg) => (arg === "." ? repo.path : arg));
      const { status, stderr } = runScript(safe.store.url, given.length === 1 ? [...given, target] : given);
      expect(status).toBe(1);
      expect(stderr).toMatch(what);
      expect(stderr).toMatch(/^hint: /m);
    });

    test("a damaged artifact, a newer format, a missing program", () => {
      const store = join(scratch.path, "damaged");
      execFileSync("cp", ["-R", safe.store.url, store]);
      const day = join(store, first.slice(0, 8));
      const tarball = join(day, `${first}.tar.zst`);
      const bytes = readFileSync(tarball);
      bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
      writeFileSync(tarball, bytes);
      expect(runScript(store, ["latest", join(scratch.path, "d1")]).stderr).toMatch(/tar\.zst is damaged/);
      truncateSync(tarball, 10);
      expect(runScript(store, ["latest", join(scratch.path, "d2")]).status).toBe(1);
      const manifest = join(day, `${first}.json`);
      writeFileSync(manifest, readFileSync(manifest, "utf8").replace('"format": 1', '"format": 2'));
      expect(runScript(store, ["latest", join(scratch.path, "d3")]).stderr).toMatch(/format 2/);
      expect(runScript(safe.store.url, ["latest", join(scratch.path, "d4")], { without: "zstd" }).stderr).toMatch(/missing: zstd/);
    });
  });
});

/** Without configuration and hooks, which wait beside, and what restoring itself leaves. */
function stateOf(root: string): RepositoryState {
  return repositoryState(root, { excludeGit: (path) => /^(?:holdfast|info$|worktrees\/[^/]+\/(?:gitdir|commondir))/.test(path) });
}

function git(cwd: string, ...args: string[]): string {
  const identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"];
  return execFileSync("git", [...identity, ...args], { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
}

function nastyRepository(scratch: string): TestRepo {
  const repo = gitRepo({
    file: "1\n",
    "dir/kept": "k\n",
    "dir/secret": "s\n",
    "dir/gone": "g\n",
    "turns-link": "t\n",
    ".gitignore": "*.log\n.env\n",
    way: "w\n",
  });
  const at = (path: string): string => join(repo.path, path);
  repo.git("remote", "add", "origin", "https://example.org/r.git");
  repo.git("config", "alias.evil", "!touch /tmp/evil");
  repo.git("branch", "other");
  repo.git("tag", "-a", "-m", "v1", "v1");
  repo.git("notes", "add", "-m", "noted");
  repo.write("file", "stash one\n");
  repo.git("stash", "push", "-q");
  repo.write("file", "stash two\n");
  repo.write("untracked-in-stash", "u\n");
  repo.git("stash", "push", "-q", "--include-untracked");
  repo.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/heads/other");
  repo.git("worktree", "add", "-q", "-b", "linked", join(scratch, "linked"));
  writeFileSync(join(scratch, "linked/of its own"), "linked\n");
  writeFileSync(join(scratch, "linked/file"), "modified there\n");
  writeFileSync(at(".git/hooks/post-merge"), "#!/bin/sh\n# mine\n", { mode: 0o755 });
  chmodSync(at("dir/secret"), 0o600);
  rmSync(at("dir/gone"));
  repo.write("file", "staged\n");
  repo.git("add", "file");
  repo.write("file", "and modified\n");
  rmSync(at("turns-link"));
  symlinkSync("nowhere", at("turns-link"));
  mkdirSync(at("notes/deep/empty"), { recursive: true });
  for (const name of ["plain.md", "-dash", "new\nline", " space", "a".repeat(255), "tab\there", "quo'te\""]) repo.write(`notes/${name}`, `${name}\n`);
  writeFileSync(Buffer.concat([Buffer.from(at("notes/bytes-")), Buffer.of(0xff, 0xfe)]), "not UTF-8\n");
  linkSync(at("notes/plain.md"), at("notes/same.md"));
  symlinkSync("../dir", at("notes/link"));
  repo.write(".env", "SECRET=1\n");
  repo.write("big.bin", Buffer.from(Array.from({ length: 300_000 }, (_, index) => (index * 2_654_435_761) >>> 24)));
  repo.write("nested/inner", "i\n");
  git(at("nested"), "init", "-q", "-b", "main");
  git(at("nested"), "add", ".");
  git(at("nested"), "commit", "-q", "-m", "nested");
  chmodSync(at("notes/deep"), 0o750);
  utimesSync(at("dir/kept"), 1_600_000_000.123_456, 1_600_000_000.123_456);
  lutimesSync(at("notes/link"), 1_500_000_000.5, 1_500_000_000.5);
  utimesSync(at("notes/deep/empty"), 1_400_000_000.25, 1_400_000_000.25);
  utimesSync(at("notes"), 1_450_000_000.75, 1_450_000_000.75);
  return repo;
}

/** Seven points on: deletions, a patch, a file that becomes a folder and the other way, refs that go and move back, a merge in conflict. */
async function change(repo: TestRepo, safe: ProtectedRepository): Promise<void> {
  const at = (path: string): string => join(repo.path, path);
  const big = readFileSync(at("big.bin"));
  big.fill(7, 100_000, 100_020);
  writeFileSync(at("big.bin"), Buffer.concat([big.subarray(0, 200_000), Buffer.from("inserted"), big.subarray(200_000)]));
  rmSync(at("notes/-dash"));
  await safe.point();
  rmSync(at("notes/tab\there"));
  mkdirSync(at("notes/tab\there"));
  repo.write("notes/tab\there/inside", "i\n");
  rmSync(at("notes/deep"), { recursive: true });
  writeFileSync(at("notes/deep"), "a file now\n");
  repo.git("branch", "-D", "other");
  repo.git("symbolic-ref", "--delete", "refs/remotes/origin/HEAD");
  await safe.point();
  appendFileSync(at("big.bin"), "and appended\n");
  renameSync(at("notes/new\nline"), at("notes/renamed"));
  repo.git("commit", "-q", "-a", "-m", "all of it");
  await safe.point();
  repo.git("checkout", "-q", "-b", "side", "HEAD~1");
  repo.write("file", "of the side\n");
  repo.git("commit", "-q", "-a", "-m", "side");
  try {
    repo.git("merge", "main");
  } catch {
    // in conflict, as it should be
  }
  await safe.point();
  repo.write("notes/plain.md", "changed through one of its names\n");
}
