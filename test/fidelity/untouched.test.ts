/** A point and a restore change nothing of the user's: not a byte, a time or an object, of the worktree or of .git. */
import { execFileSync } from "node:child_process";
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, test } from "vitest";
import { runCli } from "../support/cli.ts";
import { gitRepo, type TempDir, tempDir } from "../support/repo.ts";
import { snapshotTree } from "../support/tree.ts";

interface Case {
  /** Where the command runs, and all that must stay. */
  readonly root: string;
  readonly watched: readonly string[];
  readonly dirs: readonly TempDir[];
}

const cases: Record<string, () => Case> = {
  plain: () => {
    const repo = gitRepo({ file: "1\n", ".gitignore": "*.db\n", other: "2\n" });
    repo.write("file", "modified\n");
    repo.write("untracked", "u\n");
    repo.write("app.db", "ignored\n");
    repo.write("other", "staged\n");
    repo.git("add", "other");
    repo.git("stash", "push", "-q");
    repo.write("file", "modified again\n");
    return { root: repo.path, watched: [repo.path], dirs: [repo] };
  },
  "linked worktree": () => {
    const repo = gitRepo({ file: "1\n" });
    const beside = tempDir();
    repo.git("worktree", "add", "-q", "-b", "side", join(beside.path, "side"));
    writeFileSync(join(beside.path, "side/file"), "modified\n");
    return { root: join(beside.path, "side"), watched: [repo.path, beside.path], dirs: [repo, beside] };
  },
  submodule: () => {
    const library = gitRepo({ file: "1\n" });
    const repo = gitRepo({ file: "1\n" });
    repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library.path, "lib");
    repo.commit();
    repo.write("lib/file", "modified\n");
    return { root: repo.path, watched: [repo.path, library.path], dirs: [repo, library] };
  },
  "partial clone": () => {
    const source = gitRepo({ file: "1\n" });
    source.write("file", "2\n");
    source.commit();
    source.git("config", "uploadpack.allowFilter", "true");
    const dir = tempDir();
    execFileSync("git", ["clone", "-q", "--filter=blob:none", pathToFileURL(source.path).href, join(dir.path, "c")]);
    return { root: join(dir.path, "c"), watched: [dir.path, source.path], dirs: [dir, source] };
  },
};

describe("nothing changes", () => {
  test.each(Object.keys(cases))("%s", async (name) => {
    const { root, watched, dirs } = (cases[name] as () => Case)();
    using store = tempDir();
    const env = { HOLDFAST_STORE: join(store.path, "points") };
    try {
      expect(await runCli(["init", "--yes", "--no-hooks", "--store", env.HOLDFAST_STORE], { cwd: root })).toMatchObject({
        code: name === "partial clone" ? expect.any(Number) : 0,
      });
      const look = () => watched.map((path) => snapshotTree(path, { exclude: (entry) => /(?:^|\/)\.git\/holdfast$/.test(entry) }));
      const before = look();
      const few = [
        ["backup", "--full"],
        ["restore", "HEAD", "--verify-only"],
      ];
      const all = [["backup"], ...few, ["backup", "--dry-run"], ["status"], ["restore", "--verify-only"], ["restore", "--list"]];
      for (const args of name === "plain" ? all : few) {
        const { code, stderr } = await runCli(args, { cwd: root });
        expect([0, 3, 13].includes(code) ? "" : `${code} ${stderr}`, args.join(" ")).toBe("");
        expect(look(), args.join(" ")).toEqual(before);
      }
    } finally {
      for (const dir of dirs) rmSync(dir.path, { recursive: true, force: true });
    }
  });
});
