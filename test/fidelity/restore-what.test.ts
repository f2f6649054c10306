/** What a person asks for, and what comes back: the built program, as it is shipped. */
import { execFileSync } from "node:child_process";
import { existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { RestoreGit } from "../../src/restore/git-port.ts";
import { resolve } from "../../src/restore/resolve.ts";
import { restore } from "../../src/restore/restore.ts";
import { gitProgram } from "../../src/restore/with-git.ts";
import { type CliResult, runCli, runRestore } from "../support/cli.ts";
import { protect } from "../support/protected.ts";
import { gitRepo, type TempDir, type TestRepo, tempDir } from "../support/repo.ts";
import { snapshotTree } from "../support/tree.ts";
import { workspace } from "../support/workspace.ts";

let repo: TestRepo;
let dir: TempDir;
const ids: string[] = [];
const oids: Record<string, string> = {};

/** A commit of now, not of the fixed past. */
function commitNow(message: string): string {
  repo.git("add", "--all", "--", "tracked");
  execFileSync("git", ["commit", "-q", "--allow-empty", "-m", message], { cwd: repo.path });
  return repo.git("rev-parse", "HEAD");
}

async function point(): Promise<string> {
  const { code, stdout, stderr } = await runCli(["backup", "--json"], { cwd: repo.path });
  expect(stderr + code).toBe("0");
  return (JSON.parse(stdout) as { point: { id: string } }).point.id;
}

beforeAll(async () => {
  repo = gitRepo({ tracked: "old 1\n", "docs/a.md": "a\n", "docs/b.txt": "b\n" });
  dir = tempDir();
  oids["ancient"] = repo.git("rev-parse", "HEAD");
  repo.write("tracked", "old 2\n");
  oids["first"] = repo.commit("before protection");
  repo.git("tag", "-a", "-m", "v1", "v1");
  repo.git("branch", "side");
  repo.write("untracked", "at the first point\n");
  mkdirSync(join(repo.path, "notes"));
  repo.write("notes/one", "linked\n");
  linkSync(join(repo.path, "notes/one"), join(repo.path, "notes/two"));
  expect(await runCli(["init", "--yes", "--no-hooks", "--store", join(dir.path, "store")], { cwd: repo.path })).toMatchObject({ code: 0 });
  ids.push(JSON.parse((await runCli(["points", "--json"], { cwd: repo.path })).stdout).points[0].id);
  repo.write("untracked", "between\n");
  repo.write("tracked", "new 1\n");
  oids["between"] = commitNow("between the points");
  repo.write("tracked", "new 2\n");
  oids["last"] = commitNow("at the last point");
  repo.write("untracked", "at the last point\n");
  ids.push(await point());
});

afterAll(() => {
  for (const folder of [repo, dir]) folder?.[Symbol.dispose]();
});

let restores = 0;
async function restoreTo(...args: string[]): Promise<CliResult & { target: string; read(path: string): string }> {
  restores += 1;
  const target = join(dir.path, `out-${restores}`);
  const result = await runRestore([...args, "--to", target], { cwd: repo.path });
  return { ...result, target, read: (path) => readFileSync(join(target, path), "utf8") };
}

/** Two points of one second have much in common. */
function ownBeginning(id = "", other = ""): string {
  const shared = [...id].findIndex((letter, at) => letter !== other[at]);
  return id.slice(0, Math.max(shared + 1, 12));
}

describe("what", () => {
  test.each([
    ["a commit", () => oids["last"], "new 2\n", "at the last point\n"],
    ["a short commit", () => oids["last"]?.slice(0, 9), "new 2\n", "at the last point\n"],
    ["HEAD", () => "HEAD", "new 2\n", "at the last point\n"],
    ["HEAD~2, which was HEAD at the first point", () => "HEAD~2", "old 2\n", "at the first point\n"],
    ["a branch", () => "side", "old 2\n", "at the first point\n"],
    ["a tag", () => "v1", "old 2\n", "at the first point\n"],
    ["a point", () => ids[0], "old 2\n", "at the first point\n"],
    ["the beginning of a point", () => ownBeginning(ids[1], ids[0]), "new 2\n", "at the last point\n"],
    ["latest", () => "latest", "new 2\n", "at the last point\n"],
  ])("%s", async (_, what, tracked, untracked) => {
    const { code, stderr, read, target } = await restoreTo(what() ?? "");
    expect(stderr + code).toMatch(/^[^\n]+\.\nSigned by [^\n]+, which this machine trusts\.\n0$/);
    expect([read("tracked"), read("untracked")]).toEqual([tracked, untracked]);
    expect(repo.git("-C", target, "status", "--porcelain")).toBe("?? notes/\n?? untracked");
  });

  test("a commit between two points names the point whose files it takes, and how far it is", async () => {
    const { code, stderr, read } = await restoreTo(oids["between"] ?? "");
    expect([code, read("tracked")]).toEqual([0, "new 1\n"]);
    expect(stderr).toMatch(
      /untracked files of point \d{8}T\d{6}Z-[0-9a-f]{6} \(manual\), the nearest in time: (?:\d+ seconds? (?:before|after)|at the time of) the commit/,
    );
  });

  test("a commit older than the first point comes without untracked files, and says so", async () => {
    const { code, stderr, read, target } = await restoreTo(oids["ancient"] ?? "");
    expect([code, read("tracked"), existsSync(join(target, "untracked"))]).toEqual([0, "old 1\n", false]);
    expect(stderr).toContain("no untracked state is known: it is older than the first point");
  });

  test("a date takes the newest point up to it; before the first there is none", async () => {
    const { createdAt } = JSON.parse((await runCli(["show", ids[0] ?? "", "--json"], { cwd: repo.path })).stdout).point;
    const { code, read } = await restoreTo("--at", createdAt);
    expect([code, read("untracked")]).toEqual([0, "at the first point\n"]);
    expect((await restoreTo("--at", "now")).read("untracked")).toBe("at the last point\n");
    const early = await restoreTo("--at", "2 years ago");
    expect([early.code, early.stderr]).toEqual([1, expect.stringContaining("there is no point at or before")]);
    expect((await restoreTo("--at", "gibberish")).code).toBe(2);
  });

  test("--files-from chooses the untracked files, or none", async () => {
    const other = await restoreTo("HEAD", "--files-from", ids[0] ?? "");
    expect([other.read("tracked"), other.read("untracked")]).toEqual(["new 2\n", "at the first point\n"]);
    const none = await restoreTo("HEAD", "--files-from", "none");
    expect([none.read("tracked"), existsSync(join(none.target, "untracked"))]).toEqual(["new 2\n", false]);
  });

  test("unknown and ambiguous names are told apart", async () => {
    expect(await restoreTo("no-such-branch")).toMatchObject({ code: 1, stderr: expect.stringContaining("is called no-such-branch") });
    expect(await restoreTo("20")).toMatchObject({ code: expect.any(Number) });
    const late = commitNow("after the last point");
    expect(await restoreTo(late)).toMatchObject({ code: 1, stderr: expect.stringContaining("is not in any point yet") });
    repo.git("reset", "-q", "--soft", "HEAD~1");
  });
});

test("a commit whose tracked file stands where later untracked ones are: it wins, they are named, a hard link keeps its bytes", async () => {
  using here = gitRepo({ place: "a file\n", taken: "tracked\n", stays: "1\n" });
  const old = here.git("rev-parse", "HEAD");
  here.git("rm", "-q", "place", "taken");
  here.git("commit", "-q", "-m", "gone");
  here.write("place/below", "untracked\n");
  here.write("taken", "untracked\n");
  for (const name of ["zz", "zzz"]) linkSync(join(here.path, "taken"), join(here.path, name));
  using safe = await protect(here.path);
  const { manifest } = await safe.point();
  const { target, skipped } = await safe.restore(old, { filesFrom: manifest.id });
  expect([...skipped].sort()).toEqual(["place/below", "taken"]);
  expect(snapshotTree(target, { exclude: [".git"] }).map(({ path, size, sameFileAs }) => `${path} ${size} ${sameFileAs ?? ""}`)).toEqual([
    "place 7 ", "stays 2 ", "taken 8 ", "zz 10 zz", "zzz 10 zz",
  ]); // biome-ignore format: a tree
});

test("in a linked worktree HEAD is its own: now, in a point, and without git", async () => {
  using work = await workspace();
  const linked = join(work.path, "linked");
  work.repo.git("worktree", "add", "-q", "-b", "side", linked);
  await work.backup();
  writeFileSync(join(linked, "a.txt"), "side\n");
  execFileSync("git", ["commit", "-q", "-a", "-m", "side"], { cwd: linked });
  await work.backup();
  work.repo.write("a.txt", "main\n");
  work.repo.commit();
  await work.backup();
  const restored = async (...args: string[]): Promise<string> => {
    const target = mkdtempSync(join(work.path, "out-"));
    expect(await runRestore([...args, "--to", target], { cwd: linked })).toMatchObject({ code: 0 });
    return readFileSync(join(target, "a.txt"), "utf8");
  };
  expect([await restored("HEAD"), await restored("HEAD~1"), await restored("HEAD@{1}")]).toEqual(["side\n", "one\n", "one\n"]);
  expect([await restored("HEAD", "--at", "now"), await restored("HEAD", "--no-git")]).toEqual(["side\n", "side\n"]);
  const first = (await work.points())[0]?.createdAt ?? "";
  const early = await runRestore(["HEAD", "--at", first, "--to", join(work.path, "early")], { cwd: linked });
  expect(early).toMatchObject({ code: 1, stderr: expect.stringContaining("is called HEAD") });
});

test("a commit with --path compares what was chosen, and counts no more", async () => {
  using here = gitRepo({ "a.md": "a\n", "b.md": "b\n", "c.txt": "c\n" });
  here.git("update-index", "--add", "--cacheinfo", `160000,${here.git("rev-parse", "HEAD")},module`);
  here.git("commit", "-q", "-m", "a submodule");
  using safe = await protect(here.path);
  await safe.point();
  const points = await safe.points();
  const wish = { what: "HEAD", at: undefined, filesFrom: undefined, store: safe.store, catalogue: points, gitDir: undefined };
  const { plan } = await resolve({ ...wish, paths: ["*.md"] });
  const whole = await restore({ plan, store: safe.store, target: join(safe.scratch, "whole") });
  expect([whole.comparison.files, whole.comparison.differences, readdirSync(whole.target).sort()]).toEqual([2, [], ["a.md", "b.md"]]);
  const careless: RestoreGit = {
    ...gitProgram,
    async writeCommit(place, oid, options) {
      await gitProgram.writeCommit(place, oid, options);
      for (const name of ["b.md", "c.txt"]) writeFileSync(join(place.root, name), "other\n");
    },
  };
  const { comparison } = await restore({ plan, store: safe.store, target: join(safe.scratch, "other"), git: careless });
  expect(comparison).toMatchObject({ files: 2, differences: [{ path: "b.md", what: "differs from the commit" }] });
});

test("a link of .git that leads out of it is named, of a point and of a commit", async () => {
  using work = await workspace();
  rmSync(join(work.repo.path, ".git/info/exclude"), { force: true });
  mkdirSync(join(work.repo.path, ".git/info"), { recursive: true });
  symlinkSync(join(work.path, "exclude"), join(work.repo.path, ".git/info/exclude"));
  const id = await work.backup();
  for (const what of [[id], ["HEAD", "--files-from", id]]) {
    const { code, stdout } = await work.run(["restore", ...what, "--verify-only"]);
    expect([code, stdout]).toEqual([0, expect.stringContaining("\nNot restored, a link that leads out of .git: info/exclude\n")]);
    expect(stdout).not.toContain("the commit has a file there");
    expect(await work.json(["restore", ...what, "--verify-only"])).toMatchObject({ skipped: [], links: ["info/exclude"] });
  }
});

describe("where and how much", () => {
  test("a folder that is not empty is refused and left alone", async () => {
    const target = mkdtempSync(join(dir.path, "full-"));
    writeFileSync(join(target, "mine"), "mine\n");
    expect(await runRestore(["--to", target], { cwd: repo.path })).toMatchObject({ code: 2, stderr: expect.stringContaining("is not empty") });
    expect(readdirSync(target)).toEqual(["mine"]);
  });

  test("--path: tracked and untracked files by pattern; of a hard link also without its other name", async () => {
    const docs = await restoreTo("--path", "docs/*.md", "--path", "untracked");
    expect([docs.code, snapshotTree(docs.target).map(({ path }) => path)]).toEqual([0, ["docs", "docs/a.md", "untracked"]]);
    const link = await restoreTo("--path", "notes/two");
    expect([link.code, snapshotTree(link.target).map(({ path }) => path)]).toEqual([0, ["notes", "notes/two"]]);
    expect(link.read("notes/two")).toBe("linked\n");
    const commit = await restoreTo("v1", "--path", "tracked");
    expect([commit.code, snapshotTree(commit.target).map(({ path }) => path)]).toEqual([0, ["tracked"]]);
    expect(commit.read("tracked")).toBe("old 2\n");
  });

  test("--list, --dry-run and --verify-only write nothing and leave nothing behind", async () => {
    using temp = tempDir();
    const options = { cwd: repo.path, env: { TMPDIR: temp.path } };
    const list = await runRestore([ids[0] ?? "", "--list"], options);
    expect([list.code, list.stdout]).toEqual([0, expect.stringMatching(/untracked +19 B +untracked/)]);
    expect((await runRestore(["--list"], options)).stdout).toContain(ids[0]?.slice(0, 16));
    const dry = await runRestore(["HEAD", "--dry-run", "--to", join(dir.path, "never")], options);
    expect([dry.code, existsSync(join(dir.path, "never"))]).toEqual([0, false]);
    for (const what of ["latest", "HEAD~2"])
      expect(await runRestore([what, "--verify-only"], options)).toMatchObject({ code: 0, stdout: expect.stringContaining("all as captured") });
    expect(readdirSync(temp.path)).toEqual([]);
  });

  test("--json is one document with v 1, also of an error", async () => {
    for (const args of [
      ["--list"],
      ["latest", "--list"],
      ["HEAD", "--dry-run"],
      ["--verify-only"],
      ["nothing-like-it"],
      ["HEAD", "--in-place", "--dry-run"],
    ]) {
      const { stdout } = await runRestore([...args, "--json"], { cwd: repo.path });
      expect(JSON.parse(stdout), args.join(" ")).toMatchObject({ v: 1 });
    }
  });
});

test("--in-place: a plan with its conflicts, typed consent or --force, and a safety point that takes it back", async () => {
  const at = (path: string): string => join(repo.path, path);
  repo.write("tracked", "uncommitted\n");
  rmSync(at("docs"), { recursive: true });
  rmSync(at("untracked"));
  repo.write("other", "stays\n");
  const before = snapshotTree(repo.path, { exclude: [".git"] });
  const run = (...args: string[]): Promise<CliResult> => runRestore([...args, "--in-place"], { cwd: repo.path });
  const plan = await run(ids[0] ?? "", "--dry-run", "--json");
  const { inPlace } = JSON.parse(plan.stdout) as { inPlace: { files: { path: string; action: string }[]; conflicts: string[]; executed: boolean } };
  expect(inPlace).toMatchObject({ conflicts: ["tracked"], executed: false });
  expect(inPlace.files.map(({ path, action }) => `${action} ${path}`).sort()).toEqual([
    "create docs/a.md",
    "create docs/b.txt",
    "create untracked",
    "overwrite tracked",
  ]);
  expect(await run(ids[0] ?? "")).toMatchObject({ code: 2, stderr: expect.stringContaining("consent") });
  expect(snapshotTree(repo.path, { exclude: [".git"] })).toEqual(before);
  const head = repo.git("rev-parse", "HEAD");
  const done = await run(ids[0] ?? "", "--force", "--json");
  expect(done.code).toBe(0);
  const { safetyPoint } = (JSON.parse(done.stdout) as { inPlace: { safetyPoint: string } }).inPlace;
  expect([readFileSync(at("tracked"), "utf8"), readFileSync(at("untracked"), "utf8"), readFileSync(at("other"), "utf8")]).toEqual([
    "old 2\n",
    "at the first point\n",
    "stays\n",
  ]);
  expect(repo.git("rev-parse", "HEAD")).toBe(head);
  expect(
    readdirSync(at(".git/holdfast"))
      .filter((name) => name === "restoring")
      .flatMap((name) => readdirSync(at(`.git/holdfast/${name}`))),
  ).toEqual([]);
  expect((await run(safetyPoint, "--force")).code).toBe(0);
  expect([readFileSync(at("tracked"), "utf8"), existsSync(at("docs/a.md"))]).toEqual(["uncommitted\n", true]);
});

test("twenty of ten thousand commits equal git's own checkout", async () => {
  using big = gitRepo();
  const stream: string[] = [];
  for (let i = 1; i <= 10_000; i += 1) {
    const text = `version ${i}\n`;
    const path = i % 3 === 0 ? `d${i % 4}/f${i % 12}` : `f${i % 20}`;
    const drop = i % 11 === 0 ? `D f${(i * 7) % 20}\n` : "";
    stream.push(
      `commit refs/heads/main\ncommitter A <a@b.c> ${1_700_000_000 + i * 60} +0000\ndata 2\nc\n${drop}M ${i % 5 === 0 ? "100755" : "100644"} inline ${path}\ndata ${text.length}\n${text}\n`,
    );
  }
  execFileSync("git", ["fast-import", "--quiet"], { cwd: big.path, input: stream.join("") });
  big.git("reset", "-q", "--hard");
  using safe = await protect(big.path);
  await safe.point();
  const all = big.git("rev-list", "main").split("\n");
  const plain = (path: string) =>
    snapshotTree(path, { exclude: [".git"] })
      .filter(({ type }) => type !== "folder")
      .map(({ mtimeNs: _, ...entry }) => entry);
  for (let i = 0; i < 20; i += 1) {
    const oid = all[(i * 7919 + 13) % all.length] ?? "";
    const { target } = await safe.restore(oid, { filesFrom: "none" });
    const own = mkdtempSync(join(safe.scratch, "own-"));
    execFileSync("sh", ["-c", `git archive ${oid} | tar -x -C "$1"`, "sh", own], { cwd: big.path });
    expect(plain(target).map(({ path, sha256, type }) => `${path} ${sha256} ${type}`)).toEqual(
      plain(own).map(({ path, sha256, type }) => `${path} ${sha256} ${type}`),
    );
    for (const folder of [target, own]) rmSync(folder, { recursive: true });
  }
});
