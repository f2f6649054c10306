/**
 * Every way in which people have their hooks, with the real manager: a commit reaches two mirrors and the backup branch
 * without anybody's help, the user's own hooks run, and after removal everything is as it was.
 */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { stateDirOf, stateLayout } from "../src/state/layout.ts";
import { runCli } from "./support/cli.ts";
import { needs } from "./support/needs.ts";
import { gitRepo, type TestRepo, tempDir } from "./support/repo.ts";
import { snapshotTree } from "./support/tree.ts";
import { until } from "./support/until.ts";

interface Scene {
  readonly repo: TestRepo;
  /** A folder of this test's own. */
  readonly dir: string;
  /** Where the user's hooks write that they ran. */
  readonly ran: string;
}

interface Setup {
  readonly name: string;
  /** What its post-commit writes into `ran`. */
  readonly own?: string;
  /** Puts the setup in place; gives the worktree to work in when it is not the repository itself. */
  prepare(scene: Scene): string | undefined;
  /** Folders outside of the repository that hold hooks. */
  readonly outside?: (scene: Scene) => string[];
  /** In place of the whole of this process's PATH. */
  readonly path?: string;
  readonly skip?: boolean;
}

const program = (path: string): string => fileURLToPath(new URL(`../node_modules/${path}`, import.meta.url));
const lefthook = program(`lefthook-${process.platform}-${process.arch}/bin/lefthook`);

function hook(path: string, text: string): void {
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, text);
  chmodSync(path, 0o755);
}

const setups: Setup[] = [
  { name: "no hooks at all", prepare: () => undefined },
  {
    name: "hooks of the user's own, by a desktop program without PATH",
    own: "mine\n",
    path: "/usr/bin:/bin",
    prepare: ({ repo, ran }) => void hook(join(repo.path, ".git/hooks/post-commit"), `#!/bin/bash\necho mine >>'${ran}'\nexit 1\n`),
  },
  {
    name: "husky 9",
    own: "husky\n",
    prepare({ repo, ran }) {
      execFileSync(process.execPath, [program("husky/bin.js")], { cwd: repo.path });
      repo.write(".husky/post-commit", `echo husky >>'${ran}'\n`);
      return undefined;
    },
  },
  {
    name: "lefthook 2",
    own: "lefthook\n",
    skip: !needs("lefthook", "hooks beside lefthook", () => existsSync(lefthook)),
    prepare({ repo, ran }) {
      repo.write("lefthook.yml", `post-commit:\n  commands:\n    note:\n      run: echo lefthook >>'${ran}'\n`);
      execFileSync(lefthook, ["install"], { cwd: repo.path, stdio: "ignore" });
      return undefined;
    },
  },
  {
    name: "pre-commit 3",
    own: "pre-commit\n",
    skip: !needs("pre-commit", "hooks beside pre-commit"),
    prepare({ repo, ran }) {
      const note = `{id: note, name: note, language: system, entry: sh -c 'echo pre-commit >>${ran}', always_run: true, pass_filenames: false, stages: [post-commit]}`;
      repo.write(".pre-commit-config.yaml", `repos:\n  - repo: local\n    hooks:\n      - ${note}\n`);
      execFileSync("pre-commit", ["install", "-t", "post-commit"], { cwd: repo.path, stdio: "ignore" });
      return undefined;
    },
  },
  {
    name: "a relative core.hooksPath",
    own: "relative\n",
    prepare({ repo, ran }) {
      hook(join(repo.path, "tools/hooks/post-commit"), `#!/bin/sh\necho relative >>'${ran}'\n`);
      repo.git("config", "core.hooksPath", "tools/hooks");
      return undefined;
    },
  },
  {
    name: "an absolute core.hooksPath that other repositories use too",
    own: "global\n",
    outside: ({ dir }) => [join(dir, "global-hooks")],
    prepare({ repo, dir, ran }) {
      hook(join(dir, "global-hooks/post-commit"), `#!/bin/sh\necho global >>'${ran}'\n`);
      repo.git("config", "core.hooksPath", join(dir, "global-hooks"));
      return undefined;
    },
  },
  {
    name: "a linked worktree in which husky was never set up",
    prepare({ repo, dir }) {
      execFileSync(process.execPath, [program("husky/bin.js")], { cwd: repo.path });
      repo.git("worktree", "add", "-q", "-b", "linked", join(dir, "linked"));
      return join(dir, "linked");
    },
  },
  {
    name: "a submodule",
    prepare({ repo, dir }) {
      const library = join(dir, "library");
      repo.git("clone", "-q", repo.path, library);
      repo.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", library, "inner");
      for (const key of ["name", "email"]) execFileSync("git", ["config", `user.${key}`, "a@b"], { cwd: join(repo.path, "inner") });
      return join(repo.path, "inner");
    },
  },
];

describe.each(setups)("$name", (setup) => {
  test.skipIf(setup.skip === true)("a commit is mirrored and backed up by itself; uninstall leaves no trace", async () => {
    using repo = gitRepo({ "a.txt": "one\n" });
    using folder = tempDir();
    const scene: Scene = { repo, dir: folder.path, ran: join(folder.path, "ran") };
    const place = setup.prepare(scene) ?? repo.path;
    const git = (args: string[], env: Record<string, string> = {}): string =>
      execFileSync("git", args, { cwd: place, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"], env: { ...process.env, ...env } }).trim();
    const commonDir = git(["rev-parse", "--path-format=absolute", "--git-common-dir"]);
    const remotes = ["left", "right", "safe"].map((name) => join(scene.dir, `${name}.git`));
    for (const remote of remotes) git(["init", "-q", "--bare", remote]);
    const [left = "", right = "", safe = ""] = remotes;
    const asBefore = (): unknown => [
      git(["status", "--porcelain", "--untracked-files=all"]),
      readFileSync(join(commonDir, "config"), "utf8"),
      [join(commonDir, "hooks"), ...(setup.outside?.(scene) ?? [])].map((path) => snapshotTree(path).map(({ mtimeNs: _, ...entry }) => entry)),
    ];
    const before = asBefore();

    const stores = ["--store", join(scene.dir, "store"), "--store", `branch:${safe}#holdfast/backup`, "--mirror", left, "--mirror", right];
    const run = async (...args: string[]): Promise<void> => {
      const { code, stderr } = await runCli(args, { cwd: place });
      expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    };
    await run("init", "--yes", ...stores);
    await run("hooks", "status");
    const startedAt = performance.now();
    git(["commit", "-q", "--allow-empty", "-m", "by itself"], setup.path === undefined ? {} : { PATH: setup.path });
    const oid = git(["rev-parse", "HEAD"]);
    const branch = git(["symbolic-ref", "HEAD"]);
    const tip = (remote: string, ref: string): string => git(["--git-dir", remote, "for-each-ref", "--format=%(objectname)", ref]);
    const points = (): number =>
      git(["--git-dir", safe, "ls-tree", "-r", "--name-only", "holdfast/backup"])
        .split("\n")
        .filter((name) => /^\d{8}\/.*\.json$/.test(name)).length;
    await until("both mirrors have it", () => tip(left, branch) === oid && tip(right, branch) === oid);
    await until("the branch has it", () => points() >= 2);
    console.log(`${setup.name}: everywhere after ${Math.round(performance.now() - startedAt)} ms`);
    if (setup.own !== undefined) expect(readFileSync(scene.ran, "utf8")).toBe(setup.own);

    const { dirty, lease, workerLock } = stateLayout(stateDirOf(commonDir));
    await until("the worker has ended", () => ![dirty, lease, workerLock].some((path) => existsSync(path)));
    await run("hooks", "uninstall");
    git(["reset", "-q", "--soft", "HEAD~1"]);
    expect(asBefore()).toEqual(before);
  });
});
