/** `restore --lost` and what status says about forced history: the built program. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { runRestore } from "./support/cli.ts";
import { gitRepo } from "./support/repo.ts";
import { snapshotTree } from "./support/tree.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

let here: Workspace;
beforeEach(async () => {
  here = await workspace();
});
afterEach(() => here[Symbol.dispose]());

interface Lost {
  readonly lost: readonly {
    oid: string;
    subject: string;
    commits: number;
    isStash: boolean;
    refs: string[];
    point: string | null;
    isHere: boolean;
    commands: string[];
  }[];
  readonly commits: readonly { oid: string }[];
  readonly unread: readonly { id: string }[];
}

const lost = (...args: string[]): Promise<Lost> => here.json(["restore", "--lost", ...args]);
const head = (): string => here.repo.git("rev-parse", "HEAD");
const forgetAll = (): void => {
  here.repo.git("reflog", "expire", "--expire=now", "--all");
  here.repo.git("gc", "-q", "--prune=now");
};

/** A branch of three commits that is in a point, and is deleted. Gives its tip. */
async function loseBranch(): Promise<{ tip: string; point: string }> {
  here.repo.git("checkout", "-q", "-b", "topic");
  for (const name of ["one", "two", "three"]) {
    here.repo.write(name, `${name}\n`);
    here.repo.commit(`add ${name}`);
  }
  const tip = head();
  const point = await here.backup();
  here.repo.git("checkout", "-q", "main");
  here.repo.git("branch", "-q", "-D", "topic");
  return { tip, point };
}

test("nothing is lost", async () => {
  const { code, stdout } = await here.run(["restore", "--lost"]);
  expect([code, stdout]).toEqual([0, "Nothing is lost: some branch, tag or stash reaches every commit that is known.\n"]);
});

describe("a deleted branch is one line, with the branch, a point that has it, and a command that works", () => {
  test("while git still has it", async () => {
    const { tip, point } = await loseBranch();
    const { lost: lines, commits } = await lost();
    expect(lines).toMatchObject([{ oid: tip, subject: "add three", commits: 3, isStash: false, refs: ["refs/heads/topic"], point, isHere: true }]);
    expect(commits).toHaveLength(3);
    const { stdout } = await here.run(["restore", "--lost"]);
    expect(stdout).toBe(
      [
        `${tip.slice(0, 12)}  add three`,
        `    3 commits, ${/3 commits, (.+), was/.exec(stdout)?.[1]}, was on topic, in point ${point}`,
        `    git branch rescue-${tip.slice(0, 12)} ${tip.slice(0, 12)}`,
        `    restore-from-git ${tip.slice(0, 12)}`,
        "",
      ].join("\n"),
    );
    execFileSync("sh", ["-c", lines[0]?.commands[0] ?? "false"], { cwd: here.repo.path });
    expect((await lost()).lost).toEqual([]);
    expect(here.repo.git("rev-parse", `rescue-${tip.slice(0, 12)}`)).toBe(tip);
  });

  test("when gc has taken it: from the point, which restores it", async () => {
    const { tip, point } = await loseBranch();
    forgetAll();
    const { lost: lines } = await lost();
    expect(lines).toMatchObject([{ oid: tip, commits: 3, refs: ["refs/heads/topic"], point, isHere: false }]);
    expect(lines[0]?.commands).toEqual([`restore-from-git ${tip.slice(0, 12)}`]);
    const target = join(here.path, "rescued");
    expect((await runRestore([tip.slice(0, 12), "--to", target], { cwd: here.repo.path })).code).toBe(0);
    expect(readFileSync(join(target, "three"), "utf8")).toBe("three\n");
  });

  test("when gc has taken all that the pack stands on, too", async () => {
    const { tip } = await loseBranch();
    here.repo.git("checkout", "-q", "--orphan", "other");
    here.repo.commit("a new beginning");
    here.repo.git("branch", "-q", "-D", "main");
    forgetAll();
    const { lost: lines } = await lost();
    expect(lines).toMatchObject([{ oid: tip, commits: 4, isHere: false }]);
  });

  test("from another store", async () => {
    const { tip } = await loseBranch();
    const copy = join(here.path, "a copy");
    expect((await here.run(["store", "add", "copy", copy])).code).toBe(0);
    forgetAll();
    rmSync(here.store, { recursive: true });
    expect((await here.run(["restore", "--lost"])).code).toBe(10);
    expect((await lost("--from", "copy")).lost).toMatchObject([{ oid: tip, commands: [`restore-from-git ${tip.slice(0, 12)} --from copy`] }]);
    const [command = ""] = (await lost("--from", copy)).lost[0]?.commands ?? [];
    expect(command).toBe(`restore-from-git ${tip.slice(0, 12)} --from '${copy}'`);
  });
});

test("an amended commit, a dropped stash below another, a detached HEAD's commit and a deleted annotated tag's, each as what it was", async () => {
  here.repo.write("a.txt", "first stash\n");
  here.repo.git("stash", "push", "-q", "-m", "older");
  const stash = here.repo.git("rev-parse", "stash@{0}");
  here.repo.write("a.txt", "second stash\n");
  here.repo.git("stash", "push", "-q", "-m", "newer");
  here.repo.write("b.txt", "1\n");
  const amended = here.repo.commit("before the amend");
  await here.backup();
  here.repo.git("commit", "-q", "--amend", "-m", "after it");
  here.repo.git("checkout", "-q", "--detach");
  const detached = here.repo.commit("on no branch");
  here.repo.git("checkout", "-q", "main");
  here.repo.git("checkout", "-q", "--detach");
  const tagged = here.repo.commit("tagged");
  here.repo.git("tag", "-a", "-m", "t", "v1");
  here.repo.git("checkout", "-q", detached);
  await here.backup();
  here.repo.git("checkout", "-q", "main");
  here.repo.git("tag", "-d", "v1");
  here.repo.git("stash", "drop", "-q", "stash@{1}");
  forgetAll();
  const { lost: lines } = await lost();
  const found = Object.fromEntries(lines.map(({ oid, refs, isStash }) => [oid, `${refs.join()}${isStash ? " stash" : ""}`]));
  expect(found).toEqual({
    [amended]: "refs/heads/main",
    [stash]: "refs/stash stash",
    [detached]: "HEAD",
    [tagged]: "refs/tags/v1",
  });
});

test("what is in no point yet is found too, and said to be here alone", async () => {
  const oid = here.repo.commit("never in a point");
  here.repo.git("reset", "-q", "--hard", "HEAD~1");
  const { lost: lines } = await lost();
  expect(lines).toMatchObject([{ oid, point: null, isHere: true, refs: ["refs/heads/main"] }]);
  expect(lines[0]?.commands).toHaveLength(1);
  await here.backup();
  // Its reflog entry made the point take it.
  expect((await lost()).lost).toMatchObject([{ oid, point: (await here.points()).at(-1)?.id, isHere: true }]);
});

test("a ref whose object is gone hides nothing", async () => {
  const { tip } = await loseBranch();
  here.repo.write(".git/refs/heads/broken", `${"1".repeat(40)}\n`);
  expect((await lost()).lost).toMatchObject([{ oid: tip, commits: 3 }]);
});

test("a subject that would steer a terminal is shown, not sent", async () => {
  here.repo.commit("red \u001b[31malert\u0007 \u202e!");
  await here.backup();
  here.repo.git("reset", "-q", "--hard", "HEAD~1");
  const { stdout } = await here.run(["restore", "--lost"]);
  expect(stdout).toContain("red \\u{1b}[31malert\\u{7} \\u{202e}!");
});

test("a store with a damaged point says what is missing from the answer, and answers", async () => {
  const { tip } = await loseBranch();
  here.repo.write("later", "1\n");
  here.repo.commit("later");
  const later = await here.backup();
  const contents = join(here.store, later.slice(0, 8), `${later}.contents.zst`);
  truncateSync(contents, 20);
  const { code, stdout, stderr } = await here.run(["restore", "--lost"]);
  expect([code, stdout.includes(tip.slice(0, 12))]).toEqual([3, true]);
  expect(stderr).toContain(`what point ${later} saw is not among these`);
});

test("the user's repository is only read", async () => {
  await loseBranch();
  forgetAll();
  const before = snapshotTree(here.repo.path);
  await lost();
  expect(snapshotTree(here.repo.path)).toEqual(before);
  expect(readdirSync(process.env["TMPDIR"] ?? "").filter((name) => name.startsWith("holdfast-lost-"))).toEqual([]);
});

test("where nothing is protected it says so, and with other options it is wrong usage", async () => {
  using bare = gitRepo({ a: "1" });
  expect(await runRestore(["--lost"], { cwd: bare.path })).toMatchObject({ code: 10, stderr: expect.stringContaining("not protected yet") });
  for (const args of [
    ["latest", "--lost"],
    ["--lost", "--in-place"],
    ["--lost", "--path", "a"],
    ["--lost", "--list"],
  ]) {
    expect(await here.run(["restore", ...args]), args.join(" ")).toMatchObject({ code: 2, stderr: expect.stringContaining("--lost goes alone") });
  }
  for (const day of readdirSync(here.store).filter((name) => /^\d{8}$/.test(name))) rmSync(join(here.store, day), { recursive: true });
  expect(await here.run(["restore", "--lost"])).toMatchObject({ code: 1, stderr: expect.stringContaining("holds no point yet") });
});

describe("status", () => {
  /** A colleague pushes two commits, which are fetched and in a point, and then forces them away. */
  async function forcePush(): Promise<string> {
    const [origin, colleague] = [join(here.path, "origin.git"), join(here.path, "colleague")];
    const run = (...args: string[]): unknown => execFileSync("git", ["-C", colleague, "-c", "user.name=B", "-c", "user.email=b@x", ...args]);
    here.repo.git("init", "-q", "--bare", "--initial-branch=main", origin);
    here.repo.git("remote", "add", "origin", origin);
    here.repo.git("push", "-q", "origin", "main");
    execFileSync("git", ["clone", "-q", origin, colleague]);
    for (const message of ["theirs 1", "theirs 2"]) run("commit", "-q", "--allow-empty", "-m", message);
    run("push", "-q");
    here.repo.git("fetch", "-q");
    const point = await here.backup();
    run("reset", "-q", "--hard", "HEAD~2");
    run("commit", "-q", "--allow-empty", "-m", "rubbish");
    run("push", "-q", "--force");
    here.repo.git("fetch", "-q");
    await here.backup();
    return point;
  }
  const said = async (): Promise<string[]> =>
    (await here.json(["status"], 3)).notices.map(({ what }: { what: string }) => what).filter((what: string) => what.includes("force-pushed"));

  test("says that a remote was force-pushed and where the commits are, until a person has seen it", async () => {
    const point = await forcePush();
    expect(await said()).toEqual([`origin/main was force-pushed: 2 commits are in no ref any more, point ${point} has them`]);
    expect((await here.json(["status"], 3)).rewrites).toMatchObject([{ ref: "refs/remotes/origin/main", lost: 2, point, isOurs: false }]);
    expect(readFileSync(join(here.repo.path, ".git/holdfast/log.ndjson"), "utf8")).toContain('"event":"rewrite_seen"');
    expect(await here.run(["status", "--acknowledge"])).toMatchObject({ stderr: expect.stringContaining("Seen: origin/main was force-pushed") });
    expect(await said()).toEqual([]);
    expect((await lost()).lost).toMatchObject([{ subject: "theirs 2", commits: 2, refs: ["refs/remotes/origin/main"] }]);
  });

  test("is silent about amends and rebases of branches here", async () => {
    here.repo.git("commit", "-q", "--amend", "-m", "amended");
    await here.backup();
    expect((await here.json(["status"], 3)).rewrites).toEqual([]);
    expect(readFileSync(join(here.repo.path, ".git/holdfast/rewrites.ndjson"), "utf8")).toContain('"ref":"refs/heads/main"');
  });

  test("is silent about the branch that Holdfast itself rewrites", async () => {
    await forcePush();
    here.repo.write(
      "backup.yaml",
      readFileSync(join(here.repo.path, "backup.yaml"), "utf8").replace(/(stores:\n)/, "$1  - name: offsite\n    url: branch:origin/main\n"),
    );
    expect(await said()).toEqual([]);
  });
});
