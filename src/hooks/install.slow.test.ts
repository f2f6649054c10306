import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { needs } from "../../test/support/needs.ts";
import { openRepository } from "../git/repository.ts";
import { type StateLayout, stateLayout } from "../state/layout.ts";
import { block, ownHook } from "./block.ts";
import { hookNames } from "./events.ts";
import { type InstallResult, installHooks, uninstallHooks } from "./install.ts";
import { findOverwritten } from "./overwritten.ts";
import { hooksStatus } from "./status.ts";

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url));
const triggerTemplate = readFileSync(here("../../hooks/trigger"), "utf8");
// The tests may be run by an older Node than the one the project brings.
const pinned = here("../../node_modules/.bin/node");
const node = existsSync(pinned) ? pinned : process.execPath;
const lefthookProgram = here(`../../node_modules/lefthook-${process.platform}-${process.arch}/bin/lefthook`);
const hasPython = spawnSync("python3", ["-c", ""]).status === 0;

let folder: string;
let repo: string;
let main: string;
let state: StateLayout;

beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), "holdfast-hooks-")));
  repo = join(folder, "repo");
  state = stateLayout(join(repo, ".git/holdfast"));
  execFileSync("git", ["init", "-q", "-b", "main", repo]);
  main = join(folder, "main.sh");
  // A main script that only writes down that it was started. Its "runtime" is the shell.
  writeFileSync(main, `echo "$*" >>'${folder}/starts'\n`);
});
afterEach(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20 }));

const environment = {
  PATH: process.env["PATH"] ?? "",
  HOME: "/nonexistent",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "a",
  GIT_AUTHOR_EMAIL: "a@b",
  GIT_COMMITTER_NAME: "a",
  GIT_COMMITTER_EMAIL: "a@b",
};

/** The user's git: hooks run. */
function git(args: string[], cwd = repo, env: Record<string, string> = {}): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync("git", args, { cwd, env: { ...environment, ...env }, encoding: "utf8", input: "" });
  return { status, output: stdout + stderr };
}
const commit = (cwd = repo, env: Record<string, string> = {}) => git(["commit", "-q", "--allow-empty", "-m", "m"], cwd, env);
const install = async (cwd = repo, runtime = { node: "/bin/sh", main }): Promise<InstallResult> =>
  installHooks({ repository: await openRepository(cwd), runtime, triggerTemplate });
const uninstall = async (cwd = repo): Promise<string[]> => uninstallHooks(await openRepository(cwd));
const statesOf = async (cwd = repo): Promise<string[]> => [
  ...new Set((await hooksStatus(await openRepository(cwd))).hooks.map((hook) => hook.state)),
];
const marks = (): string[] => (existsSync(state.dirty) ? readFileSync(state.dirty, "utf8").split("\n").slice(0, -1) : []);
const starts = (): string[] => (existsSync(join(folder, "starts")) ? readFileSync(join(folder, "starts"), "utf8").split("\n").slice(0, -1) : []);

function writeHook(name: string, text: string, mode = 0o755, hooks = join(repo, ".git/hooks")): string {
  mkdirSync(hooks, { recursive: true });
  const path = join(hooks, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

/** Every path below `root` with its kind, mode and bytes. */
function fingerprint(root: string): Record<string, string> {
  const entries = readdirSync(root, { recursive: true, encoding: "utf8" }).map((name) => {
    const path = join(root, name);
    const stat = lstatSync(path);
    const content = stat.isSymbolicLink()
      ? readlinkSync(path)
      : stat.isFile()
        ? createHash("sha256").update(readFileSync(path)).digest("hex")
        : "folder";
    return [name, `${stat.mode.toString(8)} ${content}`] as const;
  });
  return Object.fromEntries(entries);
}

describe("a plain repository", () => {
  test("marks each of the six events and starts the worker with the common directory", async () => {
    const { hooks } = await install();
    expect(hooks.map(({ name, change }) => [name, change])).toEqual(hookNames.map((name) => [name, "create"]));
    expect(statSync(join(repo, ".git/hooks/post-commit")).mode & 0o777).toBe(0o755);
    commit();
    git(["checkout", "-q", "-b", "side"]);
    commit();
    git(["checkout", "-q", "main"]);
    git(["merge", "-q", "--no-ff", "side", "-m", "merge"]);
    git(["commit", "-q", "--amend", "--allow-empty", "-m", "amended"]);
    git(["init", "-q", "--bare", join(folder, "remote.git")]);
    expect(git(["push", "-q", join(folder, "remote.git"), "main"]).status).toBe(0);
    writeFileSync(join(repo, "f"), "one\n");
    git(["add", "f"]);
    commit();
    const patch = git(["format-patch", "-1", "--stdout"]).output;
    git(["reset", "-q", "--hard", "HEAD~1"]);
    writeFileSync(join(folder, "patch"), patch);
    expect(git(["am", "-q", join(folder, "patch")]).status).toBe(0);
    expect(new Set(marks())).toEqual(new Set(hookNames));
    await expect.poll(() => starts()[0]).toBe(`worker ${join(repo, ".git")}`);
    expect(await statesOf()).toEqual(["installed"]);
  });

  test("a second installation changes nothing, and removal leaves every byte and mode as it was", async () => {
    commit();
    writeHook("post-commit", "#!/bin/sh\nexit 1\n", 0o750);
    writeHook("pre-push", "#!/bin/sh", 0o700);
    writeHook("post-merge", "#!/bin/bash\r\necho caf\xe9\r\n", 0o755);
    writeHook("post-checkout", "#!/usr/bin/env python3\nprint(1)\n", 0o711);
    writeHook("post-rewrite", "#!/bin/sh\necho switched off\n", 0o644);
    symlinkSync("../description", join(repo, ".git/hooks/post-applypatch"));
    const before = fingerprint(repo);
    const first = await install();
    expect(first.hooks.map(({ change }) => change)).toEqual(["edit", "edit", "wrap", "wrap", "wrap", "edit"]);
    const installed = fingerprint(repo);
    const second = await install();
    expect(second.hooks.map(({ change }) => change)).toEqual(Array(6).fill("none"));
    expect(fingerprint(repo)).toEqual(installed);
    await uninstall();
    expect(fingerprint(repo)).toEqual(before);
    expect(await uninstall()).toEqual([]);
  });

  test("removal works without the record: our files go, blocks go, the user's stay", async () => {
    writeHook("post-commit", "#!/bin/sh\nexit 1\n");
    writeHook("post-checkout", "#!/usr/bin/env python3\n");
    const before = fingerprint(repo);
    await install();
    rmSync(state.root, { recursive: true });
    expect(await statesOf()).toEqual(["installed"]);
    await uninstall();
    expect(fingerprint(repo)).toEqual(before);
  });

  test("what the user changed since stays changed", async () => {
    const hook = writeHook("post-commit", "#!/bin/sh\necho one\n");
    await install();
    appendFileSync(hook, "echo two\n");
    await uninstall();
    expect(readFileSync(hook, "utf8")).toBe("#!/bin/sh\necho one\necho two\n");
  });

  test("folders made for it go with it", async () => {
    rmSync(join(repo, ".git/hooks"), { recursive: true });
    git(["config", "core.hooksPath", "tools/git/hooks"]);
    const before = fingerprint(repo);
    await install();
    expect(await statesOf()).toEqual(["installed"]);
    commit();
    expect(marks()).toEqual(["post-commit"]);
    rmSync(state.dirty);
    await uninstall();
    expect(fingerprint(join(repo))).toMatchObject(before);
    expect(existsSync(join(repo, "tools"))).toBe(false);
  });

  test("a bare repository is covered too", async () => {
    const bare = join(folder, "bare.git");
    git(["clone", "-q", "--bare", repo, bare]);
    await install(bare);
    git(["push", "-q", join(folder, "nowhere"), "--all"], bare);
    expect(await statesOf(bare)).toEqual(["installed"]);
  });
});

describe("hooks of the user's", () => {
  test("keep their failure, arguments and stdin in sh", async () => {
    writeHook("pre-push", `#!/bin/sh -e\necho "$@" >'${folder}/args'\ncat >'${folder}/stdin'\nexit 1\n`);
    writeHook("post-checkout", "#!/bin/bash -eu\nexit 7\n");
    await install();
    commit();
    git(["init", "-q", "--bare", join(folder, "remote.git")]);
    git(["remote", "add", "there", join(folder, "remote.git")]);
    expect(git(["push", "-q", "there", "main"]).status).not.toBe(0);
    expect(readFileSync(join(folder, "args"), "utf8")).toBe(`there ${join(folder, "remote.git")}\n`);
    expect(readFileSync(join(folder, "stdin"), "utf8")).toMatch(/^refs\/heads\/main [0-9a-f]{40} refs\/heads\/main 0{40}\n$/);
    expect(git(["checkout", "-q", "-b", "side"]).status).toBe(1);
    expect(marks()).toEqual(["post-commit", "pre-push", "post-checkout"]);
  });

  test.runIf(hasPython)("keep all of it in another language", async () => {
    const python = `#!/usr/bin/env python3\nimport sys\nopen("${folder}/args", "w").write(" ".join(sys.argv[1:]))\nopen("${folder}/stdin", "w").write(sys.stdin.read())\nsys.exit(1)\n`;
    writeHook("pre-push", python);
    await install();
    commit();
    git(["init", "-q", "--bare", join(folder, "remote.git")]);
    const url = join(folder, "remote.git");
    expect(git(["push", "-q", url, "main"], repo, { HOME: process.env["HOME"] ?? "" }).status).not.toBe(0);
    expect(readFileSync(join(folder, "args"), "utf8")).toBe(`${url} ${url}`);
    expect(readFileSync(join(folder, "stdin"), "utf8")).toMatch(/^refs\/heads\/main /);
    expect(marks()).toEqual(["post-commit", "pre-push"]);
  });

  test("that were switched off stay off", async () => {
    writeHook("post-commit", `#!/bin/sh\ntouch '${folder}/ran'\n`, 0o644);
    await install();
    commit();
    expect(marks()).toEqual(["post-commit"]);
    expect(existsSync(join(folder, "ran"))).toBe(false);
  });

  test("two for one event are the user's to join, and nothing is changed before", async () => {
    writeHook("post-rewrite", "#!/usr/bin/env python3\n");
    writeHook("post-rewrite.holdfast-user", "#!/usr/bin/env python3\n# older\n");
    const before = fingerprint(repo);
    await expect(install()).rejects.toMatchObject({ code: "usage" });
    expect(fingerprint(repo)).toEqual(before);
  });

  test("moved aside by an installation that was cut short come back", async () => {
    const hook = writeHook("post-commit", "#!/usr/bin/env python3\n");
    const before = fingerprint(repo);
    await install();
    rmSync(hook);
    expect((await install()).hooks[0]?.change).toBe("create");
    await uninstall();
    expect(fingerprint(repo)).toEqual(before);
  });
});

describe("husky 9", () => {
  beforeEach(() => {
    const husky = JSON.stringify(pathToFileURL(here("../../node_modules/husky/index.js")).href);
    // In a process of its own: husky writes below the current folder and asks the git there.
    execFileSync(node, ["-e", `import(${husky}).then(({ default: install }) => install())`], { cwd: repo, env: environment });
  });

  test("blocks go into .husky, work under sh -e, and leave as they came", async () => {
    writeFileSync(join(repo, ".husky/post-commit"), `touch '${folder}/ran'\n`, { mode: 0o644 });
    const before = fingerprint(repo);
    const { place } = await install();
    expect(place).toMatchObject({ manager: "husky", folder: join(repo, ".husky"), gitFolder: join(repo, ".husky/_") });
    expect(readFileSync(join(repo, ".husky/pre-push"), "utf8")).toBe(`${block}\n`);
    expect(await statesOf()).toEqual(["installed"]);
    const { output, status } = commit();
    expect({ output, status }).toEqual({ output: "", status: 0 });
    expect(existsSync(join(folder, "ran"))).toBe(true);
    expect(marks()).toEqual(["post-commit"]);
    await uninstall();
    rmSync(state.root, { recursive: true, force: true });
    const after = fingerprint(repo);
    for (const [path, was] of Object.entries(before)) if (!path.startsWith(".git/")) expect([path, after[path]]).toEqual([path, was]);
    expect(readdirSync(join(repo, ".husky")).toSorted()).toEqual(["_", "post-commit"]);
  });

  test("a committed block does nothing, and fails nothing, where holdfast is not installed", async () => {
    await install();
    rmSync(state.root, { recursive: true });
    expect(commit()).toEqual({ status: 0, output: "" });
    expect(existsSync(state.root)).toBe(false);
  });

  test("installed after us shadows us", async () => {
    commit();
    await install();
    git(["config", "core.hooksPath", "elsewhere"]);
    expect(await statesOf()).toEqual(["shadowed"]);
  });

  test("a linked worktree in which husky was not set up gets hooks that git does not list", async () => {
    commit();
    await install();
    const linked = join(folder, "linked");
    git(["worktree", "add", "-q", linked, "-b", "linked"]);
    const before = git(["status", "--porcelain"], linked);
    expect(await statesOf(linked)).toEqual(["shadowed"]);
    await install(linked);
    expect(await statesOf(linked)).toEqual(["installed"]);
    expect(git(["status", "--porcelain"], linked)).toEqual(before);
    rmSync(state.dirty, { force: true });
    expect(commit(linked)).toEqual({ status: 0, output: "" });
    expect(marks()).toEqual(["post-commit"]);
    await uninstall(linked);
    expect(existsSync(join(linked, ".husky"))).toBe(false);
  });

  test("reference-transaction, which husky does not know, stands beside husky's own", async () => {
    const before = readdirSync(join(repo, ".husky/_"));
    await installHooks({ repository: await openRepository(repo), runtime: { node: "/bin/sh", main }, triggerTemplate, everyRef: true });
    git(["commit", "-q", "--allow-empty", "-m", "m"]);
    rmSync(state.dirty);
    expect(git(["branch", "other"])).toEqual({ status: 0, output: "" });
    expect(marks()).toEqual(["reference-transaction"]);
    await uninstall();
    expect(readdirSync(join(repo, ".husky/_"))).toEqual(before);
  });
});

describe("reference-transaction", () => {
  const installRefs = async (everyRef?: boolean): Promise<InstallResult> =>
    installHooks({ repository: await openRepository(repo), runtime: { node: "/bin/sh", main }, triggerTemplate, everyRef });
  const hook = (): string => join(repo, ".git/hooks/reference-transaction");

  test("marks what no other hook sees; it is asked for, stays, and goes when it is not wanted", async () => {
    commit();
    await install();
    expect(existsSync(hook())).toBe(false);
    await installRefs(true);
    expect((await hooksStatus(await openRepository(repo))).hooks.map(({ name }) => name)).toContain("reference-transaction");
    for (const args of [
      ["branch", "topic"],
      ["branch", "-D", "topic"],
      ["tag", "v1"],
      ["tag", "-d", "v1"],
      ["reset", "-q", "--soft", "HEAD"],
      ["update-ref", "refs/notes/x", "HEAD"],
    ]) {
      rmSync(state.dirty, { force: true });
      expect(git(args).status).toBe(0);
      expect([args, new Set(marks())]).toEqual([args, new Set(["reference-transaction"])]);
    }
    git(["config", "core.hooksPath", "elsewhere"]);
    expect((await install()).hooks.map(({ name }) => name)).toContain("reference-transaction");
    expect(await statesOf()).toEqual(["installed"]);
    git(["config", "--unset", "core.hooksPath"]);
    expect((await install()).hooks.map(({ name }) => name)).toContain("reference-transaction");
    await installRefs(false);
    expect(existsSync(hook())).toBe(false);
    expect(await statesOf()).toEqual(["installed"]);
  });

  test("marks once a change is done, not while it may still be refused", async () => {
    commit();
    writeHook("reference-transaction", `#!/bin/sh\n[ "$1" != prepared ]\n`);
    await installRefs(true);
    expect(git(["branch", "refused"]).status).not.toBe(0);
    expect(marks()).toEqual([]);
  });

  test("of the user's keeps its arguments and its stdin, and comes back as it was", async () => {
    commit();
    writeHook("reference-transaction", `#!/bin/sh -eu\n{ echo "$1"; cat; } >>'${folder}/seen'\n`);
    const before = fingerprint(repo);
    await installRefs(true);
    git(["branch", "topic"]);
    expect(readFileSync(join(folder, "seen"), "utf8")).toMatch(
      /^prepared\n0{40} [0-9a-f]{40} refs\/heads\/topic\ncommitted\n0{40} [0-9a-f]{40} refs\/heads\/topic\n$/,
    );
    git(["branch", "-D", "topic"]);
    rmSync(join(folder, "seen"));
    await uninstall();
    rmSync(state.dirty, { force: true });
    rmSync(state.root, { recursive: true, force: true });
    expect(fingerprint(repo)).toMatchObject(Object.fromEntries(Object.entries(before).filter(([path]) => path.startsWith(".git/hooks"))));
  });

  test("never refuses a change: with the runtime, the package or the state folder gone, or a file in its place", async () => {
    commit();
    await installHooks({
      repository: await openRepository(repo),
      runtime: { node: join(folder, "gone"), main: join(folder, "gone.js") },
      triggerTemplate,
      everyRef: true,
    });
    const fine = { status: 0, output: "" };
    expect(git(["branch", "a"])).toEqual(fine);
    rmSync(state.root, { recursive: true });
    expect(git(["branch", "b"])).toEqual(fine);
    writeFileSync(state.root, "");
    expect([git(["branch", "c"]), git(["update-ref", "-d", "refs/heads/a"])]).toEqual([fine, fine]);
  });
});

describe.skipIf(!needs("pre-commit", "hooks beside pre-commit"))("pre-commit", () => {
  const setUp = (...args: string[]): void => {
    const config = `repos:\n  - repo: local\n    hooks:\n      - {id: note, name: note, language: system, entry: sh -c 'echo ran >>${folder}/ran', always_run: true, pass_filenames: false, stages: [post-commit]}\n`;
    writeFileSync(join(repo, ".pre-commit-config.yaml"), config);
    const home = { PRE_COMMIT_HOME: join(folder, "pre-commit"), HOME: folder, PATH: process.env["PATH"] ?? "" };
    execFileSync("pre-commit", args, { cwd: repo, env: { ...environment, ...home }, stdio: "ignore" });
    environment.HOME = folder;
  };
  const ran = (): string => (existsSync(join(folder, "ran")) ? readFileSync(join(folder, "ran"), "utf8") : "");

  test("installed before us: both run, and its hook is as before afterwards", async () => {
    setUp("install", "-t", "post-commit", "-t", "pre-push");
    const before = fingerprint(join(repo, ".git/hooks"));
    await install();
    expect(await statesOf()).toEqual(["installed"]);
    commit(repo, { PRE_COMMIT_HOME: join(folder, "pre-commit") });
    expect([marks(), ran()]).toEqual([["post-commit"], "ran\n"]);
    await uninstall();
    expect(fingerprint(join(repo, ".git/hooks"))).toEqual(before);
  });

  test("installed after us: it calls us under another name, and nothing of ours is left when we go", async () => {
    await install();
    setUp("install", "-t", "post-commit", "-t", "pre-push");
    expect(await statesOf()).toEqual(["installed"]);
    expect((await install()).hooks.map(({ change }) => change)).toEqual(Array(6).fill("none"));
    commit(repo, { PRE_COMMIT_HOME: join(folder, "pre-commit") });
    expect([marks(), ran()]).toEqual([["post-commit.legacy"], "ran\n"]);
    await uninstall();
    expect(readdirSync(join(repo, ".git/hooks")).filter((name) => !name.endsWith(".sample"))).toEqual(["post-commit", "pre-push"]);
  });
});

describe.skipIf(!needs("lefthook", "hooks beside lefthook", () => existsSync(lefthookProgram)))("lefthook", () => {
  const lefthook = (...args: string[]): void => {
    writeFileSync(
      join(repo, "lefthook.yml"),
      `post-commit:\n  commands:\n    note:\n      run: echo ran >>'${folder}/ran'\npre-push:\n  commands:\n    note:\n      run: "true"\n`,
    );
    execFileSync(lefthookProgram, args, { cwd: repo, env: environment, stdio: "ignore" });
  };

  test("beside it both run, and its hooks are as before afterwards", async () => {
    lefthook("install");
    const before = fingerprint(join(repo, ".git/hooks"));
    await install();
    expect(await statesOf()).toEqual(["installed"]);
    expect(commit().status).toBe(0);
    expect([marks(), readFileSync(join(folder, "ran"), "utf8")]).toEqual([["post-commit"], "ran\n"]);
    await uninstall();
    expect(fingerprint(join(repo, ".git/hooks"))).toEqual(before);
  });

  test("what it overwrites is found; what a person took out is left", async () => {
    lefthook("install");
    await install();
    expect(await findOverwritten(await openRepository(repo))).toEqual([]);
    lefthook("install", "--force");
    rmSync(join(repo, ".git/hooks/post-merge"));
    writeHook("post-rewrite", "#!/bin/sh\necho mine\n");
    const overwritten = await findOverwritten(await openRepository(repo));
    expect(overwritten.map((path) => basename(path)).toSorted()).toEqual(["post-commit", "pre-push"]);
    await install();
    expect(await statesOf()).toEqual(["installed"]);
    await uninstall();
    expect(
      readdirSync(join(repo, ".git/hooks"))
        .filter((name) => !name.endsWith(".sample"))
        .toSorted(),
    ).toEqual(["post-commit", "post-rewrite", "pre-push"]);
  });
});

describe("where git looks", () => {
  test("a folder that repositories share: ours does nothing in the others, and goes with the last that uses it", async () => {
    const shared = join(folder, "global");
    const post = writeHook("post-commit", `#!/bin/sh\necho mine >>'${folder}/ran'\n`, 0o755, shared);
    const before = fingerprint(shared);
    const [second, bystander] = ["second", "bystander"].map((name) => join(folder, name)) as [string, string];
    for (const path of [second, bystander]) execFileSync("git", ["init", "-q", path]);
    for (const path of [repo, second, bystander]) git(["config", "core.hooksPath", shared], path);
    const { place } = await install();
    expect(place.isShared).toBe(true);
    await install(second);
    expect((await install(second)).hooks.map(({ change }) => change)).toEqual(Array(6).fill("none"));
    for (const path of [repo, second, bystander]) expect(commit(path)).toEqual({ status: 0, output: "" });
    expect(readFileSync(join(folder, "ran"), "utf8")).toBe("mine\nmine\nmine\n");
    expect(marks()).toEqual(["post-commit"]);
    expect(existsSync(join(second, ".git/holdfast/dirty"))).toBe(true);
    expect(existsSync(join(bystander, ".git/holdfast"))).toBe(false);
    await uninstall();
    expect([await statesOf(second), readFileSync(post, "utf8").includes(block)]).toEqual([["installed"], true]);
    await uninstall(second);
    expect(fingerprint(shared)).toEqual(before);
  });

  test("a shared folder that is not ours to change is said, with another way", async () => {
    writeFileSync(join(folder, "global"), "in the way");
    git(["config", "core.hooksPath", join(folder, "global/hooks")]);
    await expect(install()).rejects.toMatchObject({ code: "io_failed", hint: expect.stringContaining("core.hooksPath .githooks") });
    expect(await statesOf()).toEqual(["missing"]);
  });

  test("in a new worktree a relative core.hooksPath leads nowhere: status says it, an installation there mends it", async () => {
    writeHook("post-commit", "#!/bin/sh\n", 0o755, join(repo, "tools"));
    git(["config", "core.hooksPath", "tools"]);
    git(["commit", "-q", "--allow-empty", "-m", "m"]);
    await install();
    const linked = join(folder, "linked");
    git(["worktree", "add", "-q", linked, "-b", "linked"]);
    expect(await statesOf(linked)).toEqual(["shadowed"]);
    await install(linked);
    expect(await statesOf(linked)).toEqual(["installed"]);
    rmSync(state.dirty, { force: true });
    expect(commit(linked)).toEqual({ status: 0, output: "" });
    expect(marks()).toEqual(["post-commit"]);
    await uninstall(linked);
    expect(existsSync(join(linked, "tools"))).toBe(false);
    expect(readFileSync(join(repo, "tools/post-commit"), "utf8")).toBe("#!/bin/sh\n");
  });

  test("a linked worktree marks the shared state folder, with git's variables set", async () => {
    commit();
    await install();
    git(["worktree", "add", "-q", join(folder, "linked"), "-b", "linked"]);
    rmSync(state.dirty);
    expect(commit(join(folder, "linked"))).toEqual({ status: 0, output: "" });
    expect(marks()).toEqual(["post-commit"]);
    await expect.poll(() => starts().at(-1)).toBe(`worker ${join(repo, ".git")}`);
    expect(await statesOf(join(folder, "linked"))).toEqual(["installed"]);
  });

  test("a submodule marks its own", async () => {
    commit();
    git(["-c", "protocol.file.allow=always", "submodule", "--quiet", "add", repo, "inner"]);
    const inner = join(repo, "inner");
    await install(inner);
    expect(commit(inner).status).toBe(0);
    expect(readFileSync(join(repo, ".git/modules/inner/holdfast/dirty"), "utf8")).toBe("post-commit\n");
    expect(existsSync(state.root)).toBe(false);
  });

  test("with --git-dir the repository that is worked on is marked, not the one that stands there", async () => {
    const other = join(folder, "other");
    execFileSync("git", ["init", "-q", other]);
    await install(other);
    await install();
    git(["--git-dir", join(other, ".git"), "--work-tree", repo, "commit", "-q", "--allow-empty", "-m", "m"]);
    expect(marks()).toEqual([]);
    expect(readFileSync(join(other, ".git/holdfast/dirty"), "utf8")).toBe("post-commit\n");
  });
});

describe("never in the way", () => {
  test("sixty quick commits start one worker at a time, and the last mark is seen", { timeout: 60_000 }, async () => {
    const script = join(folder, "main.ts");
    writeFileSync(
      script,
      `import { appendFileSync } from "node:fs";
       import { runWorker } from ${JSON.stringify(new URL("./worker.ts", import.meta.url).href)};
       const note = (line) => appendFileSync(${JSON.stringify(join(folder, "starts"))}, line + "\\n");
       const result = await runWorker({ stateDir: process.argv[3] + "/holdfast", now: () => new Date(), signal: new AbortController().signal, log: { write() {} },
         makePoint: async (events) => note("point " + events.length), startReplication: () => ({ request() {}, idle: async () => {} }) });
       note(result.status);`,
    );
    await install(repo, { node, main: script });
    for (let i = 0; i < 60; i += 1) expect(commit().status).toBe(0);
    await expect.poll(() => starts().includes("done") && marks().length === 0, { timeout: 60_000 }).toBe(true);
    const points = starts().filter((line) => line.startsWith("point "));
    expect(points.reduce((sum, line) => sum + Number(line.slice(6)), 0)).toBe(60);
    // How few depends on how busy the machine is.
    expect(points.length).toBeLessThan(60);
    expect(starts().filter((line) => line === "done").length).toBeLessThan(60);
    expect(readdirSync(state.root).filter((name) => name.startsWith("worker"))).toEqual([]);
  });

  test("a missing runtime, a deleted package, a missing state folder or a file in its place fail nothing", async () => {
    git(["init", "-q", "--bare", join(folder, "remote.git")]);
    await install(repo, { node: join(folder, "gone/node"), main: join(folder, "gone/main.js") });
    expect((await hooksStatus(await openRepository(repo))).trigger).toMatchObject({
      state: "runtime_missing",
      missing: [join(folder, "gone/node"), join(folder, "gone/main.js")],
    });
    const both = () => [commit(), git(["push", "-q", join(folder, "remote.git"), "HEAD:main"])];
    const fine = { status: 0, output: "" };
    expect(both()).toEqual([fine, fine]);
    rmSync(state.root, { recursive: true });
    expect((await hooksStatus(await openRepository(repo))).trigger.state).toBe("missing");
    expect(both()).toEqual([fine, fine]);
    writeFileSync(state.root, "");
    expect(both()).toEqual([fine, fine]);
  });

  test("who reads git's output to its end does not wait for the worker", async () => {
    writeFileSync(main, `sleep 600 & echo $! >>'${folder}/pids'; wait\n`);
    await install();
    const { status } = spawnSync("sh", ["-c", "git commit -q --allow-empty -m m 3>&1 9>&1 | cat"], { cwd: repo, env: environment, timeout: 60_000 });
    expect(status).toBe(0);
    const pid = (): number => (existsSync(join(folder, "pids")) ? Number.parseInt(readFileSync(join(folder, "pids"), "utf8"), 10) : 0);
    await expect.poll(pid).toBeGreaterThan(1);
    process.kill(pid());
  });

  test("HOLDFAST_DISABLE and our own git calls leave no mark", async () => {
    await install();
    commit(repo, { HOLDFAST_DISABLE: "1" });
    commit(repo, { HOLDFAST_ACTIVE: "1" });
    expect(marks()).toEqual([]);
  });

  test("status sees a hook that lost its executable bit, and the next installation mends it", async () => {
    await install();
    const hook = join(repo, ".git/hooks/pre-push");
    chmodSync(hook, 0o644);
    expect(await statesOf()).toEqual(["installed", "not_executable"]);
    await install();
    expect(await statesOf()).toEqual(["installed"]);
    expect(readFileSync(hook, "utf8")).toBe(ownHook("pre-push"));
  });
});
