import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { destinationOf, inertFolder, type TargetLayout } from "./place.ts";

const layout: TargetLayout = { root: "/t", gitDir: "/t/.git", worktrees: new Map([["side", "/t.worktrees/side"]]) };
const bare: TargetLayout = { root: "/t", gitDir: "/t", worktrees: new Map() };

describe("what a point holds goes", () => {
  test.each([
    ["untracked/a/b", "/t", "a/b"],
    ["modified/README.md", "/t", "README.md"],
    ["folder/empty", "/t", "empty"],
    ["worktrees/side/untracked/a", "/t.worktrees/side", "a"],
    ["git/HEAD", "/t/.git", "HEAD"],
    ["git/index", "/t/.git", "index"],
    ["git/logs/refs/heads/config", "/t/.git", "logs/refs/heads/config"],
    ["git/info/exclude", "/t/.git", "info/exclude"],
    ["git/rebase-merge/done", "/t/.git", "rebase-merge/done"],
    ["git/lfs/objects/ab/cd/abcd", "/t/.git", "lfs/objects/ab/cd/abcd"],
    ["git/worktrees/side/HEAD", "/t/.git", "worktrees/side/HEAD"],
    ["git/worktrees/side/logs/HEAD", "/t/.git", "worktrees/side/logs/HEAD"],
    ["git/modules/lib/HEAD", "/t/.git", "modules/lib/HEAD"],
    ["git/modules/lib/objects/pack/x.pack", "/t/.git", "modules/lib/objects/pack/x.pack"],
    // Nested repositories, and names that only look like git's.
    ["untracked/lib/.git/HEAD", "/t", "lib/.git/HEAD"],
    ["untracked/.gitignore", "/t", ".gitignore"],
    ["untracked/.github/x", "/t", ".github/x"],
    ["untracked/.git2/x", "/t", ".git2/x"],
    ["untracked/x.git/config", "/t", "x.git/config"],
    ["untracked/git/config", "/t", "git/config"],
    ["untracked/\udcff", "/t", "\udcff"],
  ])("%j below %s as %j", (entry, root, path) => {
    expect(destinationOf(entry, layout)).toEqual({ root, path });
  });

  test.each([
    "config",
    "Config",
    "CONFIG",
    "config.worktree",
    "hooks",
    "hooks/pre-commit",
    "Hooks/pre-commit",
    "hooks/deep/x",
    "worktrees/side/config.worktree",
    "worktrees/side/CONFIG.worktree",
    "worktrees/side/hooks/x",
    "Worktrees/side/config.worktree",
    "modules/lib/config",
    "modules/lib/hooks/post-checkout",
    "modules/a/modules/b/config",
    "Modules/lib/Config",
    "modules/lib/config.worktree",
    "modules/lib/worktrees/x/config.worktree",
    "modules/lib/commondir",
    "worktrees/side/modules/lib/config",
  ])("beside, put to no work: git/%s", (path) => {
    // biome-ignore format: a list of words
    expect(destinationOf(`git/${path}`, layout)).toEqual({ root: "/t/.git", path: `${inertFolder}/${path}`, live: path });
  });

  test.each([
    ["lib/.git/config", "lib/.git/holdfast-restored/config"],
    ["lib/.git/hooks/pre-commit", "lib/.git/holdfast-restored/hooks/pre-commit"],
    ["holdfast-restored/lib/.git/config", "holdfast-restored/lib/.git/holdfast-restored/config"],
    ["a/.git/x/.git/config", "a/.git/x/.git/holdfast-restored/config"],
    ["a/.git/hooks/.git/config", "a/.git/holdfast-restored/hooks/.git/holdfast-restored/config"],
    ["a/.git/modules/m/config", "a/.git/holdfast-restored/modules/m/config"],
    ["lib/.git", "lib/.git.holdfast-restored"],
    ["lib/.GIT", "lib/.GIT.holdfast-restored"],
    ["a/.git/x/.git", "a/.git/x/.git.holdfast-restored"],
  ])("beside, in a nested repository: untracked/%s", (live, path) => {
    expect(destinationOf(`untracked/${live}`, layout)).toEqual({ root: "/t", path, live });
  });

  test.each([
    ["x/.git/config", "x/.git/holdfast-restored/config"],
    ["x/.git/hooks/pre-commit", "x/.git/holdfast-restored/hooks/pre-commit"],
    ["worktrees/side/x/.git/config", "worktrees/side/x/.git/holdfast-restored/config"],
    ["modules/m/x/.git/config", "holdfast-restored/modules/m/x/.git/holdfast-restored/config"],
    ["hooks/.git/HEAD", "holdfast-restored/hooks/.git/HEAD"],
    ["x/.git", "x/.git.holdfast-restored"],
  ])("beside, in a repository within the git directory: git/%s", (live, path) => {
    expect(destinationOf(`git/${live}`, layout)).toEqual({ root: "/t/.git", path, live });
  });

  test("folders of a nested repository where git looks for them", () => {
    expect(destinationOf("folder/lib/.git/hooks", layout)).toEqual({ root: "/t", path: "lib/.git/hooks" });
  });

  test.each([
    "tracked/a",
    "worktrees/side/tracked/a",
    "worktrees/side/git/HEAD",
    "worktrees/unknown/untracked/a",
    "git/holdfast-symrefs",
    "git/holdfast-restored/config",
    "git/Holdfast-restored/x",
    "git/worktrees/side/gitdir",
    "git/worktrees/side/commondir",
    "git/worktrees/side/CommonDir",
    "git/WORKTREES/side/gitdir",
  ])("nowhere: %j", (entry) => {
    // biome-ignore format: a list of words
    expect(destinationOf(entry, layout)).toBeUndefined();
  });
});

describe("a hostile point cannot write", () => {
  test.each([
    "git/objects/x",
    "git/objects",
    "git/OBJECTS/info/alternates",
    "git/refs/heads/x",
    "git/Refs/x",
    "git/packed-refs",
    "git/Packed-Refs",
    "git/reftable/x",
    "git/commondir",
    "git/CommonDir",
    "git/gitdir",
    "untracked/.git/config",
    "untracked/.git",
    "untracked/.GIT/x",
    "untracked/.Git/hooks/x",
    "untracked/.git./x",
    "untracked/.git /x",
    "untracked/.git. . /x",
    "untracked/git~1/x",
    "untracked/GIT~1/config",
    "untracked/.g\u200cit/config",
    "untracked/\ufeff.git/x",
    "modified/.git/config",
    "folder/.git/hooks",
    "worktrees/side/untracked/.git",
    "worktrees/side/untracked/.GIT",
    "untracked/a/../../x",
    "untracked/../x",
    "untracked//etc/passwd",
    "/etc/passwd",
    "untracked/",
    "git/../x",
    "git/a/../../x",
    "worktrees/../x",
    "worktrees/../untracked/x",
    "worktrees/side/untracked/../../x",
    "worktrees/./untracked/x",
    "other/x",
    "",
  ])("%j", (entry) => {
    // biome-ignore format: a list of words
    expect(() => destinationOf(entry, layout)).toThrow(expect.objectContaining({ code: "hostile" }));
  });

  test.each(["untracked/config", "untracked/hooks/pre-receive", "modified/HEAD", "folder/objects"])(
    "files of a worktree into a bare repository: %j",
    (entry) => {
      expect(() => destinationOf(entry, bare)).toThrow(expect.objectContaining({ code: "hostile" }));
      expect(destinationOf("git/HEAD", bare)).toEqual({ root: "/t", path: "HEAD" });
      expect(destinationOf("git/config", bare)).toEqual({ root: "/t", path: `${inertFolder}/config`, live: "config" });
    },
  );

  test("property: whatever an entry is called, it lies below a root of the target, and never where git finds commands", () => {
    const part = fc.constantFrom(
      "..",
      ".",
      "",
      "a",
      ".git",
      ".GIT",
      "config",
      "Hooks",
      "hooks",
      "worktrees",
      "side",
      "modules",
      "objects",
      "commondir",
      "git",
      "untracked",
      "modified",
      "folder",
      "tracked",
      "\0",
    );
    fc.assert(
      fc.property(fc.array(part, { minLength: 1, maxLength: 6 }), (parts) => {
        let place: ReturnType<typeof destinationOf>;
        try {
          place = destinationOf(parts.join("/"), layout);
        } catch (error) {
          expect(error).toMatchObject({ code: "hostile" });
          return;
        }
        if (place === undefined) return;
        expect([layout.root, layout.gitDir, ...layout.worktrees.values()]).toContain(place.root);
        expect(place.path).not.toMatch(/(?:^|\/)(?:\.\.?)?(?:\/|$)|\0/);
        if (place.root === layout.gitDir) expect(place.path).not.toMatch(/^(?:config|hooks|objects|refs|commondir)(?:\/|$)/i);
        else expect(place.path).not.toMatch(/^\.git(?:\/|$)/i);
        if (!/^(?:folder|worktrees\/side\/folder)\//.test(parts.join("/")))
          expect(place.path).not.toMatch(/(?:^|\/)\.git(?:\/(?:config|hooks|commondir))?$/i);
      }),
      { numRuns: 2000 },
    );
  });
});
