/** Repositories out of the ordinary: each comes back equal, or says in its problems what is missing. */
import { execFileSync } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { withoutGit } from "../../src/restore/without-git.ts";
import { programs, runCli } from "../support/cli.ts";
import { type JourneyOptions, journey } from "../support/journey.ts";
import { needs } from "../support/needs.ts";
import { protect } from "../support/protected.ts";
import { gitRepo, type TestRepo, tempDir } from "../support/repo.ts";
import { allObjects, missingFrom, type RepositoryState, repositoryState } from "../support/repository-state.ts";

const identity = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "protocol.file.allow=always"];

function git(cwd: string, ...args: string[]): string {
  return execFileSync("git", [...identity, ...args], { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trimEnd();
}

/** A point, some change and a second point; both must come back. */
async function twoPoints(root: string, options: JourneyOptions = {}): Promise<void> {
  using trip = await journey(root, options);
  await trip.mark("first");
  writeFileSync(join(root, "untracked"), "u\n");
  writeFileSync(join(root, "file"), "modified\n");
  git(root, "commit", "-q", "--allow-empty", "-m", "another");
  git(root, "stash", "push", "-q", "--include-untracked");
  writeFileSync(join(root, "file"), "modified again\n");
  await trip.mark("second");
  await trip.verify();
}

function upstream(): TestRepo {
  const repo = gitRepo({ file: "1\n", "dir/a": "a\n", "other/b": "b\n" });
  for (const i of [2, 3, 4]) {
    repo.write("file", `${i}\n`);
    repo.commit();
  }
  repo.git("tag", "-a", "-m", "v1", "v1");
  return repo;
}

test("sha256", async () => {
  using dir = tempDir();
  git(dir.path, "init", "-q", "--object-format=sha256", "-b", "main");
  writeFileSync(join(dir.path, "file"), "1\n");
  git(dir.path, "add", "file");
  git(dir.path, "commit", "-q", "-m", "one");
  git(dir.path, "update-index", "--assume-unchanged", "file");
  await twoPoints(dir.path);
});

test("a shallow clone, deepened between two points", async () => {
  using source = upstream();
  using dir = tempDir();
  git(dir.path, "clone", "-q", "--depth", "2", pathToFileURL(source.path).href, "c");
  const root = join(dir.path, "c");
  await twoPoints(root);
  using trip = await journey(root);
  await trip.mark("shallow");
  git(root, "fetch", "-q", "--deepen", "1");
  await trip.mark("deeper");
  git(root, "fetch", "-q", "--unshallow");
  await trip.mark("whole");
  await trip.verify();
});

test("a partial clone keeps what it has, and says what it never had", async () => {
  using source = upstream();
  source.git("config", "uploadpack.allowFilter", "true");
  using dir = tempDir();
  git(dir.path, "clone", "-q", "--filter=blob:none", pathToFileURL(source.path).href, "c");
  const root = join(dir.path, "c");
  const before = repositoryState(root);
  const objects = allObjects(root);
  using safe = await protect(root);
  const first = await safe.point();
  expect(first.problems.map(({ code }) => code)).toEqual(["missing_objects"]);
  expect(allObjects(root)).toEqual(objects); // nothing was fetched on the way
  const { target } = await safe.restore();
  expect(repositoryState(target)).toEqual(before);
  expect(missingFrom(allObjects(target), objects)).toEqual([]);
  // Nor on the way back: that commit's file was never here.
  await expect(safe.restore("HEAD~1")).rejects.toMatchObject({ code: "git_failed" });
  writeFileSync(join(root, "file"), "5\n");
  git(root, "commit", "-q", "-a", "-m", "five");
  const later = repositoryState(root);
  const second = await safe.point();
  expect(second.problems.map(({ code }) => code)).toEqual(["missing_objects"]);
  expect(repositoryState((await safe.restore()).target)).toEqual(later);
});

test("borrowed objects (clone --shared) are in the point: it needs no other repository", async () => {
  using source = upstream();
  using dir = tempDir();
  git(dir.path, "clone", "-q", "--shared", source.path, "c");
  const root = join(dir.path, "c");
  using trip = await journey(root);
  await trip.mark("shared");
  await trip.verify();
  const { target } = await trip.safe.restore();
  expect(existsSync(join(target, ".git/objects/info/alternates"))).toBe(false);
});

describe("damage", () => {
  test("a missing and a corrupt object are named; all that can be read is kept", async () => {
    using repo = upstream();
    const [lost, corrupt] = [repo.git("rev-parse", "HEAD~1:file"), repo.git("rev-parse", "HEAD~2:file")];
    const fileOf = (oid: string): string => join(repo.path, ".git/objects", oid.slice(0, 2), oid.slice(2));
    rmSync(fileOf(lost));
    chmodSync(fileOf(corrupt), 0o644);
    writeFileSync(fileOf(corrupt), "not zlib at all");
    repo.write("untracked", "u\n");
    using safe = await protect(repo.path);
    const { problems, manifest } = await safe.point();
    expect(manifest.consistent).toBe(false);
    expect(problems.map(({ code }) => code).sort()).toEqual(["corrupt_objects", "missing_objects"]);
    expect(problems.map(({ path }) => path)).toContain(`.git/objects/${corrupt}`);
    const { target } = await safe.restore();
    expect(readFileSync(join(target, "untracked"), "utf8")).toBe("u\n");
    expect(git(target, "cat-file", "-p", "HEAD:file")).toBe("4");
    repo.write("file", "5\n");
    repo.commit();
    await safe.point();
    expect(git((await safe.restore()).target, "cat-file", "-p", "HEAD:file")).toBe("5");
  });

  test("what was missing and comes back in a pack is in the next point, which is full", async () => {
    using repo = gitRepo({ a: "1\n" });
    const old = repo.git("rev-parse", "HEAD");
    const blob = repo.git("rev-parse", "HEAD:a");
    repo.write("a", "2\n");
    repo.commit();
    const object = join(repo.path, ".git/objects", blob.slice(0, 2), blob.slice(2));
    const bytes = readFileSync(object);
    rmSync(object);
    using safe = await protect(repo.path);
    expect((await safe.point()).problems).not.toEqual([]);
    repo.commit("an incremental that misses nothing itself");
    expect(await safe.point()).toMatchObject({ problems: [], manifest: { step: 1 } });
    // As a fetch of many objects leaves it: in a pack, none of them loose.
    mkdirSync(dirname(object), { recursive: true });
    writeFileSync(object, bytes);
    repo.git("repack", "-q", "-a", "-d");
    const { manifest, problems } = await safe.point();
    expect([manifest.base, problems]).toEqual([null, []]);
    repo.commit("an incremental again");
    expect((await safe.point()).manifest.base).toBe(manifest.id);
    expect(readFileSync(join((await safe.restore(old)).target, "a"), "utf8")).toBe("1\n");
  });

  test("a pack with a flipped byte", async () => {
    using repo = upstream();
    repo.git("repack", "-q", "-a", "-d");
    const folder = join(repo.path, ".git/objects/pack");
    const pack = join(folder, readdirSync(folder).find((name) => name.endsWith(".pack")) ?? "");
    const old = repo.git("rev-parse", "HEAD~3:file");
    const line =
      repo
        .git("verify-pack", "-v", pack)
        .split("\n")
        .find((text) => text.startsWith(old)) ?? "";
    const offset = Number(line.split(/ +/)[4]) + 4;
    const bytes = readFileSync(pack);
    bytes[offset] = (bytes[offset] ?? 0) ^ 0xff;
    chmodSync(pack, 0o644);
    writeFileSync(pack, bytes);
    repo.write("untracked", "u\n");
    using safe = await protect(repo.path);
    const { problems } = await safe.point();
    expect(problems.map(({ code }) => code)).toContain("missing_objects");
    expect(problems.map(({ path }) => path)).toContain(`.git/objects/${old}`);
    const { target } = await safe.restore();
    expect(readFileSync(join(target, "untracked"), "utf8")).toBe("u\n");
  });
});

test("a sparse checkout, with a file outside its cone", async () => {
  using repo = upstream();
  repo.git("sparse-checkout", "set", "--cone", "dir");
  expect(existsSync(join(repo.path, "other"))).toBe(false);
  repo.write("other/new", "outside the cone\n");
  using trip = await journey(repo.path);
  await trip.mark("sparse");
  repo.write("other/b", "back by hand\n");
  repo.write("dir/a", "modified\n");
  await trip.mark("more");
  await trip.verify();
});

test("a separate git directory, and core.worktree", async () => {
  using source = upstream();
  using dir = tempDir();
  git(dir.path, "clone", "-q", "--separate-git-dir", "elsewhere.d", source.path, "work");
  await twoPoints(join(dir.path, "work"));
  git(dir.path, "clone", "-q", "--bare", source.path, "repo.git");
  const gitDir = join(dir.path, "repo.git");
  const work = join(dir.path, "tree");
  mkdirSync(work);
  git(gitDir, "config", "core.bare", "false");
  git(gitDir, "config", "core.worktree", "../tree");
  git(gitDir, "checkout", "-q", "-f", "main");
  writeFileSync(join(work, ".git"), "gitdir: ../repo.git\n");
  writeFileSync(join(work, "untracked"), "u\n");
  using safe = await protect(gitDir);
  await safe.point();
  const { target } = await safe.restore();
  expect(readFileSync(join(target, "untracked"), "utf8")).toBe("u\n");
  expect(git(target, "status", "--porcelain")).toBe("?? untracked");
});

test("a bare repository", async () => {
  using source = upstream();
  using dir = tempDir();
  git(dir.path, "clone", "-q", "--mirror", source.path, "r.git");
  const root = join(dir.path, "r.git");
  using trip = await journey(root);
  await trip.mark("first");
  git(source.path, "push", "-q", root, "HEAD:refs/heads/pushed");
  git(root, "update-ref", "-d", "refs/tags/v1");
  await trip.mark("second");
  await trip.verify();
});

test("linked worktrees, asked for from the main one and from a linked one", async () => {
  using repo = upstream();
  using beside = tempDir();
  const linked = join(beside.path, "linked tree");
  const gone = join(beside.path, "gone");
  repo.git("worktree", "add", "-q", "-b", "side", linked);
  repo.git("worktree", "add", "-q", "--detach", gone);
  repo.git("worktree", "add", "-q", "-b", "inside", join(repo.path, "inside"));
  writeFileSync(join(linked, "staged"), "s\n");
  git(linked, "add", "staged");
  writeFileSync(join(linked, "file"), "modified\n");
  writeFileSync(join(linked, "untracked"), "u\n");
  mkdirSync(join(linked, "empty"));
  writeFileSync(join(gone, "file"), "committed only here\n");
  git(gone, "commit", "-q", "-a", "-m", "on a detached head");
  const lost = git(gone, "rev-parse", "HEAD");
  rmSync(gone, { recursive: true });
  const exclude = (path: string): boolean => path === "inside";
  for (const from of [repo.path, linked]) {
    const [main, other, third] = [repositoryState(repo.path, { exclude }), repositoryState(linked), repositoryState(join(repo.path, "inside"))];
    using safe = await protect(from);
    const { problems } = await safe.point();
    expect(problems).toEqual([]);
    const { target, worktrees } = await safe.restore();
    const of = (state: RepositoryState): RepositoryState => ({
      ...state,
      reflog: state.reflog.replaceAll(/^worktrees\/gone\/.*\n/gm, ""),
      status: state.status.filter((line) => line !== "? inside/"),
    });
    expect(repositoryState(target)).toEqual(of(main));
    expect(worktrees.map((path) => path.replace(/.*\//, "")).sort()).toEqual(["inside", "linked-tree"]);
    expect(repositoryState(`${target}.worktrees/linked-tree`)).toEqual(of(other));
    expect(repositoryState(`${target}.worktrees/inside`)).toEqual(of(third));
    expect(git(target, "cat-file", "-t", lost)).toBe("commit");
    writeFileSync(join(linked, "file"), "modified more\n");
    const changed = repositoryState(linked);
    await safe.point();
    expect(repositoryState(`${(await safe.restore()).target}.worktrees/linked-tree`)).toEqual(of(changed));
  }
});

test("submodules: dirty with files of their own, and one that was never initialised", async () => {
  using library = upstream();
  using repo = gitRepo({ file: "1\n" });
  for (const name of ["lib", "later"]) git(repo.path, "submodule", "--quiet", "add", library.path, name);
  repo.commit();
  git(repo.path, "submodule", "--quiet", "deinit", "-f", "later");
  rmSync(join(repo.path, ".git/modules/later"), { recursive: true });
  const lib = join(repo.path, "lib");
  writeFileSync(join(lib, "file"), "modified\n");
  writeFileSync(join(lib, "own-untracked"), "u\n");
  git(lib, "commit", "-q", "--allow-empty", "-m", "only in the submodule");
  const options = { excludeGit: (path: string) => path === "modules" };
  using trip = await journey(repo.path, options);
  await trip.mark("first");
  const inner = repositoryState(lib);
  const tip = git(lib, "rev-parse", "HEAD");
  await trip.verify();
  const { target } = await trip.safe.restore();
  const restored = join(target, "lib");
  // Its configuration lies beside, so that nothing of it runs: with it the submodule is as it was.
  const config = join(target, ".git/holdfast-restored/modules/lib/config");
  renameSync(config, join(target, ".git/modules/lib/config"));
  expect(git(restored, "rev-parse", "HEAD")).toBe(tip);
  expect(repositoryState(restored)).toEqual(inner);
  writeFileSync(join(lib, "own-untracked"), "other\n");
  await trip.mark("changed inside");
  await trip.verify("changed inside");
});

test("nested repositories, with commits and without, their .git included", async () => {
  using repo = gitRepo({ file: "1\n" });
  for (const name of ["with", "without"]) {
    mkdirSync(join(repo.path, "nested", name), { recursive: true });
    git(join(repo.path, "nested", name), "init", "-q", "-b", "main");
    writeFileSync(join(repo.path, "nested", name, "inner"), `${name}\n`);
  }
  git(join(repo.path, "nested/with"), "add", "--all");
  git(join(repo.path, "nested/with"), "commit", "-q", "-m", "inner");
  using trip = await journey(repo.path, { exclude: (path) => path.endsWith(".git/holdfast-restored") });
  await trip.mark("nested");
  writeFileSync(join(repo.path, "nested/with/inner"), "changed\n");
  git(join(repo.path, "nested/with"), "commit", "-q", "-a", "-m", "again");
  await trip.mark("changed");
  await trip.verify();
  const { target } = await trip.safe.restore();
  expect(git(join(target, "nested/with"), "log", "--format=%s")).toBe("again\ninner");
  expect(git(join(target, "nested/with"), "fsck", "--full")).toBe("");
});

test.each([
  ["with git", {}],
  ["without git", { git: withoutGit(), gitDir: undefined }],
])("nested repositories whose .git is a file or a link, %s: their submodules' come back, what leads elsewhere waits beside", async (_, wish) => {
  using library = upstream();
  using beside = tempDir();
  using repo = gitRepo({ file: "1\n" });
  const at = (path: string): string => join(repo.path, path);
  git(repo.path, "clone", "-q", library.path, "nested");
  git(at("nested"), "submodule", "--quiet", "add", library.path, "sub");
  git(at("nested"), "commit", "-q", "-m", "a submodule");
  git(at("nested"), "worktree", "add", "-q", "wt");
  git(repo.path, "clone", "-q", "--separate-git-dir", join(beside.path, "separate.git"), library.path, "separate");
  git(repo.path, "init", "-q", "linked");
  renameSync(at("linked/.git"), join(beside.path, "linked.git"));
  symlinkSync(join(beside.path, "linked.git"), at("linked/.git"));
  const elsewhere = ["linked/.git", "nested/wt/.git", "separate/.git"];
  using safe = await protect(repo.path);
  await safe.point();
  const { target, gitLinks, comparison } = await safe.restore(undefined, wish);
  expect([[...gitLinks].sort(), comparison.differences]).toEqual([elsewhere, []]);
  for (const path of elsewhere) {
    expect(existsSync(join(target, path)), path).toBe(false);
    expect(lstatSync(join(target, `${path}.holdfast-restored`)).isSymbolicLink(), path).toBe(path === "linked/.git");
  }
  expect(readFileSync(join(target, "nested/sub/.git"), "utf8")).toBe("gitdir: ../.git/modules/sub\n");
  expect(git(join(target, "nested/sub"), "status", "--porcelain")).toBe("");
  expect(git(join(target, "nested/sub"), "rev-parse", "HEAD")).toBe(library.git("rev-parse", "HEAD"));
  // A point of what was restored says the same.
  using again = await protect(target);
  await again.point();
  expect((await again.restore(undefined, wish)).gitLinks).toEqual([]);
});

test("grafts and replacements: the history that git shows, and the one that it hides", async () => {
  using repo = upstream();
  repo.git("replace", "--graft", "HEAD~1");
  writeFileSync(join(repo.path, ".git/info/grafts"), `${repo.git("rev-parse", "HEAD")}\n`);
  const hidden = repo.git("--no-replace-objects", "rev-list", "--all").split("\n");
  using trip = await journey(repo.path);
  await trip.mark("grafted");
  repo.write("file", "after\n");
  repo.commit();
  await trip.mark("later");
  await trip.verify();
  const { target } = await trip.safe.restore();
  for (const oid of hidden) expect(git(target, "cat-file", "-t", oid)).toBe("commit");
});

describe("the folder's own name", () => {
  test.each(["-with spaces", 'ünï new\nline quo\'te "and" $HOME'])("%j", async (name) => {
    using dir = tempDir();
    const root = join(dir.path, name);
    mkdirSync(root);
    git(root, "init", "-q", "-b", "main");
    writeFileSync(join(root, "file"), "1\n");
    git(root, "add", "file");
    git(root, "commit", "-q", "-m", "one");
    await twoPoints(root);
  });

  test("bytes that are not UTF-8: protected, or refused in words, never half", async () => {
    using dir = tempDir();
    const script = `cd "$1" && mkdir "$(printf 'caf\\351')" && cd "$(printf 'caf\\351')" && git init -q && echo 1 > file && git add file && "$2" "$3" init --yes --no-hooks --store "$1/store"`;
    const run = (): string =>
      execFileSync("sh", ["-c", script, "sh", dir.path, process.execPath, programs.holdfast], { encoding: "utf8", stdio: "pipe" });
    expect(run).toThrow(/not (?:valid )?UTF-8/i);
  });
});

const otherVolume = process.env["HOLDFAST_TEST_OTHER_VOLUME"] ?? "/dev/shm";
const hasOther = needs(
  "second volume",
  "a store on another volume",
  () => existsSync(otherVolume) && statSync(otherVolume).dev !== statSync(tmpdir()).dev,
);

test.skipIf(!hasOther)("a store on another volume than the repository", async () => {
  using repo = upstream();
  const folder = mkdtempSync(join(otherVolume, "store-"));
  try {
    using safe = await protect(repo.path, folder);
    const before = repositoryState(repo.path);
    expect((await safe.point()).problems).toEqual([]);
    expect(repositoryState((await safe.restore()).target)).toEqual(before);
    expect(repo.git("count-objects", "-v")).toContain("garbage: 0");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("from a folder below, and through a symlink to the repository", async () => {
  using repo = upstream();
  using dir = tempDir();
  const link = join(dir.path, "link");
  execFileSync("ln", ["-s", repo.path, link]);
  appendFileSync(join(repo.path, "file"), "more\n");
  const before = repositoryState(repo.path);
  for (const place of [join(repo.path, "dir"), link]) {
    using safe = await protect(place);
    await safe.point();
    expect(repositoryState((await safe.restore()).target)).toEqual(before);
  }
  expect(realpathSync(link)).toBe(repo.path);
  expect((await runCli(["backup"], { cwd: join(repo.path, "dir") })).code).toBe(10);
});
