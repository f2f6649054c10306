import { existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import type { FileEntry } from "../core/contents.ts";
import { ownHook } from "../hooks/block.ts";
import { applyConfig } from "./config.ts";
import { listHooks, settleGitLinks, settleNested } from "./git-dir.ts";
import type { TargetLayout } from "./place.ts";
import { gitProgram } from "./with-git.ts";
import { withoutGit } from "./without-git.ts";

const harmless = "[core]\n\tfilemode = true\n";
const hostile = '[core]\n\tfsmonitor = "touch marker"\n';

let dir: TempDir;
let layout: TargetLayout = { root: "", gitDir: "", worktrees: new Map() };
beforeEach(() => {
  dir = tempDir();
  const root = join(dir.path, "target");
  layout = { root, gitDir: join(root, ".git"), worktrees: new Map() };
  mkdirSync(layout.gitDir, { recursive: true });
});
afterEach(() => dir[Symbol.dispose]());

const at = (path: string): string => join(layout.root, path);
function write(path: string, text: string): void {
  mkdirSync(dirname(at(path)), { recursive: true });
  writeFileSync(at(path), text);
}
function link(path: string, target: string): void {
  mkdirSync(dirname(at(path)), { recursive: true });
  symlinkSync(target, at(path));
}
const settle = (git: typeof gitProgram, ...entries: string[]): Promise<string[]> =>
  settleNested(git, layout, new Map(entries.map((path): [string, FileEntry] => [path, { path, kind: "file", mode: 0o644, mtime: "0" }])));

describe.each([
  ["with git", gitProgram],
  ["without git", withoutGit()],
])("a captured configuration that is a link, %s", (_, git) => {
  test("takes no place in a nested repository: from there it would lead to other settings", async () => {
    write("n/.git/evil", harmless);
    write("n/evil", hostile);
    link("n/.git/holdfast-restored/config", "../evil");
    expect(await settle(git, "untracked/n/.git/config")).toEqual(["n/.git/config: config"]);
    expect(existsSync(at("n/.git/config"))).toBe(false);
    expect(readlinkSync(at("n/.git/holdfast-restored/config"))).toBe("../evil");
  });

  test("takes no place in a submodule", async () => {
    write(".git/holdfast-restored/modules/m/evil", harmless);
    write(".git/modules/m/evil", hostile);
    link(".git/holdfast-restored/modules/m/config", "evil");
    expect(await settle(git, "git/modules/m/config")).toEqual(["modules/m/config: config"]);
    expect(readdirSync(at(".git/modules/m"))).toEqual(["evil"]);
  });

  test("is not read, whatever it leads to, nor those of worktrees", async () => {
    write(".git/config", harmless);
    mkdirSync(at(".git/worktrees/side"), { recursive: true });
    for (const path of ["config", "config.worktree", "worktrees/side/config.worktree"]) link(`.git/holdfast-restored/${path}`, "/dev/zero");
    expect(await applyConfig(git, layout.gitDir, ["side"])).toEqual({ leftOut: ["config"] });
    expect(readFileSync(at(".git/config"), "utf8")).toBe(harmless);
    expect([...readdirSync(layout.gitDir), ...readdirSync(at(".git/worktrees/side"))].sort()).toEqual(["config", "holdfast-restored", "worktrees"]);
  });
});

test("the settings of a nested repository take their place in it, though a folder above has the name of the inert one", async () => {
  const outside = join(dir.path, "outside");
  mkdirSync(outside);
  write("holdfast-restored/a/.git/holdfast-restored/config", harmless);
  link("a/.git/holdfast-restored", outside);
  expect(await settle(gitProgram, "untracked/holdfast-restored/a/.git/config")).toEqual([]);
  expect(readFileSync(at("holdfast-restored/a/.git/config"), "utf8")).toBe(harmless);
  expect(readdirSync(outside)).toEqual([]);
});

describe("a nested .git that is a file or a link", () => {
  const put = (...entries: string[]): string[] =>
    settleGitLinks(layout, new Map(entries.map((path): [string, FileEntry] => [path, { path, kind: "file", mode: 0o644, mtime: "0" }])));
  beforeEach(() => {
    for (const path of [".git/modules/m/refs/config", ".git/info/x/HEAD", "other/.git/modules/m/HEAD", "other/.git/x/HEAD", "evil/HEAD"])
      write(path, "");
  });

  test.each(["../.git/modules/m", "../.git/modules/m/", "../.git/modules/m/refs", "../.git/modules/absent", "../other/.git/modules/m"])(
    "takes its place where it leads to a submodule's repository: %s",
    (lead) => {
      write("n/.git.holdfast-restored", `gitdir: ${lead}\n`);
      link("l/.git.holdfast-restored", lead);
      expect(put("untracked/n/.git", "untracked/l/.git")).toEqual([]);
      expect([readFileSync(at("n/.git"), "utf8"), readlinkSync(at("l/.git"))]).toEqual([`gitdir: ${lead}\n`, lead]);
      expect([...readdirSync(at("n")), ...readdirSync(at("l"))]).toEqual([".git", ".git"]);
    },
  );

  test.each([
    "",
    "../evil",
    "../.git",
    "../.git/modules",
    "../.git/info/x",
    "../.git/worktrees/side",
    "../.git/modules/../info/x",
    "../.git/./modules/m",
    "../.git//modules/m",
    "../evil/../.git/modules/m",
    ".git/modules/m",
    "../../target/.git/modules/m",
    "../../../.git/modules/m",
    "../.GIT/modules/m",
    "../other/.git",
    "../other/.git/x",
    "../other/.git/worktrees/x",
    "../modules/m",
    "../.git/modules/m\0",
    "../.git/modules/through",
    "../.git/modules/through/m",
    "../link/m",
  ])("stays beside where it leads elsewhere: %j", (lead) => {
    link(".git/modules/through", "../info");
    link("link", ".git/modules");
    write("n/.git.holdfast-restored", `gitdir: ${lead}\n`);
    expect(put("untracked/n/.git")).toEqual(["n/.git"]);
    expect(readdirSync(at("n"))).toEqual([".git.holdfast-restored"]);
    if (lead === "" || lead.includes("\0")) return;
    link("l/.git.holdfast-restored", lead);
    expect(put("untracked/l/.git")).toEqual(["l/.git"]);
    expect(readdirSync(at("l"))).toEqual([".git.holdfast-restored"]);
  });

  test("stays beside where it is absolute, no such file, or a .git stands there", () => {
    write("a/.git.holdfast-restored", `gitdir: ${at(".git/modules/m")}\n`);
    write("b/.git.holdfast-restored", "../.git/modules/m\n");
    write("other/.git.holdfast-restored", "gitdir: ../.git/modules/m\n");
    expect(put("untracked/a/.git", "untracked/b/.git", "untracked/other/.git", "untracked/absent/.git")).toEqual(["a/.git", "b/.git", "other/.git"]);
  });

  test("is none of the git directory's, and in a linked worktree leads nowhere", () => {
    const side = join(dir.path, "target.worktrees/side");
    layout = { ...layout, worktrees: new Map([["side", side]]) };
    mkdirSync(join(side, "n"), { recursive: true });
    writeFileSync(join(side, ".git"), `gitdir: ${at(".git/worktrees/side")}\n`);
    writeFileSync(join(side, "n/.git.holdfast-restored"), "gitdir: ../.git/modules/m\n");
    write(".git/x/.git.holdfast-restored", "gitdir: ../modules/m\n");
    expect(put("worktrees/side/untracked/n/.git", "git/x/.git")).toEqual(["n/.git", "x/.git"]);
  });
});

test.each(["untracked/a/.git/x/.git/config", "git/x/.git/config"])(
  "the settings of a repository within a git directory are looked at: %s",
  async (entry) => {
    const path = entry.replace("untracked/", "").replace(/^git/, ".git");
    write(path.replace(/config$/, "holdfast-restored/config"), `${harmless}${hostile}`);
    expect(await settle(gitProgram, entry)).toEqual([expect.stringMatching(/config: core\.fsmonitor$/)]);
    expect(readFileSync(at(path), "utf8")).toBe('[core]\n\tfilemode = "true"\n');
  },
);

describe("captured hooks", () => {
  test("are named, our own are not, and a link is named unread", () => {
    write(".git/holdfast-restored/hooks/pre-commit", "#!/bin/sh\nmine\n");
    write(".git/holdfast-restored/hooks/post-merge", ownHook("post-merge"));
    link(".git/holdfast-restored/hooks/post-commit", "/dev/zero");
    expect(listHooks(layout.gitDir).sort()).toEqual(["post-commit", "pre-commit"]);
  });

  test("behind a link are not looked for", () => {
    write("hooks/pre-commit", "#!/bin/sh\n");
    link(".git/holdfast-restored/hooks", "../../hooks");
    expect(listHooks(layout.gitDir)).toEqual(["hooks"]);
  });
});
