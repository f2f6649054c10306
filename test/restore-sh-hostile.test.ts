/** restore.sh and stores that somebody else has written to: nothing outside of the target changes, and nothing is made ready to run. */
import { execFileSync, spawnSync } from "node:child_process";
import { hash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeRecoveryFiles } from "../src/points/recovery-files.ts";
import { needs } from "./support/needs.ts";
import { type ProtectedRepository, protect } from "./support/protected.ts";
import { gitRepo, type TestRepo, tempDir } from "./support/repo.ts";
import { recoveryTexts, runScript } from "./support/restore-script.ts";
import { snapshotTree, type TreeEntry } from "./support/tree.ts";

describe.skipIf(!needs("zstd", "restore.sh tests"))("restore.sh", () => {
  const scratch = tempDir();
  const victim = join(scratch.path, "victim");
  let repo: TestRepo;
  let safe: ProtectedRepository;
  const ids: string[] = [];
  let untouched: TreeEntry[];

  beforeAll(async () => {
    repo = gitRepo({ "a.txt": "one\n", "way/inner": "tracked\n" });
    safe = await protect(repo.path);
    await writeRecoveryFiles(safe.store, recoveryTexts);
    for (const name of ["first.txt", "second.txt"]) {
      repo.write(name, `${name}\n`);
      ids.push((await safe.point()).manifest.id);
    }
    for (const folder of ["empty", "git/hooks", "wt/untracked/x/.git/hooks"]) mkdirSync(join(victim, folder), { recursive: true });
    writeFileSync(join(victim, "precious"), "mine\n", { mode: 0o600 });
    writeFileSync(join(victim, "wt/untracked/x/.git/hooks/post-commit"), "#!/bin/sh\n", { mode: 0o755 });
    untouched = snapshotTree(scratch.path);
  });
  afterAll(() => {
    safe?.[Symbol.dispose]();
    repo?.[Symbol.dispose]();
    scratch[Symbol.dispose]();
  });

  /** What each of the two points holds instead of its own files: archives of folders, one after another. */
  type Forgery = readonly ((folder: string) => void)[][];

  const link = (path: string, target: string) => (folder: string) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    symlinkSync(target, join(folder, path));
  };
  const file = (path: string, text: string | Buffer) => (folder: string) => {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  };

  const forgeries: [string, Forgery][] = [
    ["a link, and a file through it", [[link("untracked/out", victim), file("modified/out/file", "evil")]]],
    ["a file through a link that an earlier point made", [[link("untracked/out", victim)], [file("untracked/out/file", "evil")]]],
    [
      "a deletion through a link that an earlier point made",
      [[link("untracked/out", victim)], [file("deleted", "untracked/out/precious\0untracked/out/empty\0")]],
    ],
    ["a list of deletions that is a link", [[link("deleted", join(victim, "precious"))]]],
    ["an absent file through a link", [[link("git/keep", victim), file("git/holdfast-absent", "../victim/precious\0way/../../victim/precious\0")]]],
    ["folders of worktrees that are elsewhere", [[link("worktrees", victim)], [file("deleted", "nothing\0")]]],
    ["a worktree that is elsewhere", [[link("worktrees/wt", join(victim, "wt")), file("times", "D 700 1.0 worktrees/wt/folder/x\0")]]],
    ["untracked files that are elsewhere", [[link("untracked", join(victim, "wt/untracked"))]]],
    ["a git directory that is elsewhere", [[link("git", join(victim, "git"))]]],
    [
      "times of files outside",
      [
        [
          file(
            "times",
            "F 777 1.0 worktrees/../tracked/victim/precious\0D 777 1.0 worktrees/../folder/victim\0F 777 1.0 tracked/../victim/precious\0",
          ),
        ],
      ],
    ],
    [
      "a patch whose file is behind a link",
      [
        [link("untracked/out", victim)],
        [file("patches/0/path", "untracked/out/precious"), file("patches/0/steps", "data 0 4\n"), file("patches/0/data", "evil")],
      ],
    ],
    ["a pipe where a list should be", [[(folder) => execFileSync("mkfifo", [join(folder, "times")])]]],
    ["a pipe among the files", [[(folder) => execFileSync("mkfifo", [join(folder, "untracked")])]]],
    ["a .git of the files' own", [[file("untracked/.git/hooks/post-commit", "evil")]]],
    ["a .git that is a link", [[link("untracked/.git", victim)]]],
    [
      "a HEAD that is a link, of a submodule of a nested repository",
      [[link("untracked/o/.git/modules/m/HEAD", join(victim, "wt/untracked/x/.git"))]],
    ],
  ];

  test.each(forgeries)("%s: nothing outside changes", (name, forgery) => {
    const store = forge(name, forgery);
    const target = join(scratch.path, "target");
    runScript(store, ["latest", target]);
    for (const made of [target, `${target}.worktrees`, store]) rmSync(made, { recursive: true, force: true });
    expect(snapshotTree(scratch.path)).toEqual(untouched);
  });

  test.each([
    ["the git directory", "xgit/hooks/post-checkout", ".git/hooks/post-checkout"],
    ["a folder outside", "up/victim/precious", "../victim/precious"],
  ])("an index that names %s: nothing is written", (_, name, hostile) => {
    using evil = gitRepo({ [name]: "evil\n" });
    const index = readFileSync(join(evil.path, ".git/index"));
    const forged = Buffer.from(index.subarray(0, -20).toString("latin1").replace(name, hostile), "latin1");
    const store = forge("index", [[file("git/index", Buffer.concat([forged, hash("sha1", forged, "buffer")]))]]);
    const target = join(scratch.path, "target");
    const { status, stderr } = runScript(store, ["latest", target]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^error: the point (names a path outside of its folder|wants to write into \.git)\nhint: do not trust this store$/m);
    expect(readdirSync(target)).toEqual([".git"]);
    for (const made of [target, store]) rmSync(made, { recursive: true, force: true });
    expect(snapshotTree(scratch.path)).toEqual(untouched);
  });

  test("a folder of linked worktrees that is there already is not written to", () => {
    const target = join(scratch.path, "taken");
    mkdirSync(`${target}.worktrees/linked`, { recursive: true });
    expect(runScript(safe.store.url, ["latest", target])).toMatchObject({
      status: 1,
      stderr: expect.stringContaining("taken.worktrees is not empty"),
    });
    for (const made of [target, `${target}.worktrees`]) rmSync(made, { recursive: true });
  });

  test("nested repositories: what can run commands waits beside, also behind links, and what a link leads to stays", async () => {
    const hooks = join(scratch.path, "shared-hooks");
    mkdirSync(hooks);
    writeFileSync(join(hooks, "post-commit"), "#!/bin/sh\n", { mode: 0o755 });
    const nest = (name: string): string => {
      execFileSync("git", ["init", "-q", "-b", "main", join(repo.path, name)]);
      return join(repo.path, name, ".git");
    };
    const [linked, odd, plain] = [nest("linked"), nest("new\nline"), nest("plain")];
    rmSync(join(linked, "hooks"), { recursive: true });
    symlinkSync(hooks, join(linked, "hooks"));
    for (const dir of [linked, odd]) {
      execFileSync("git", ["config", "--file", join(dir, "config"), "extensions.worktreeConfig", "true"]);
      execFileSync("git", ["config", "--file", join(dir, "config.worktree"), "core.fsmonitor", "touch /tmp/evil"]);
    }
    execFileSync("git", ["config", "--file", join(odd, "config"), "core.fsmonitor", "touch /tmp/evil"]);
    execFileSync("git", ["config", "--file", join(linked, "config"), "alias.x", "!evil"]);
    execFileSync("git", ["config", "--file", join(linked, "config"), "remote.origin.url", "https://example.org/linked.git"]);
    writeFileSync(join(plain, "hooks/pre-push"), "#!/bin/sh\n");
    chmodSync(join(plain, "hooks/pre-push"), 0o755);
    await safe.point();
    const target = join(scratch.path, "nested");
    expect(runScript(safe.store.url, ["latest", target])).toMatchObject({ status: 0, stderr: "" });
    expect(readdirSync(hooks)).toEqual(["post-commit"]);
    const restored = (name: string, path: string): string => join(target, name, ".git", path);
    for (const name of ["linked", "new\nline"]) {
      expect(existsSync(restored(name, "config.worktree"))).toBe(false);
      expect(existsSync(restored(name, "holdfast-restored/config.worktree"))).toBe(true);
    }
    expect(existsSync(restored("linked", "hooks"))).toBe(false);
    expect(readdirSync(restored("linked", "holdfast-restored")).sort()).toEqual(["config", "config.worktree", "hooks"]);
    expect(readFileSync(restored("linked", "config"), "utf8")).toMatch(/url = https:\/\/example\.org\/linked\.git/);
    expect(readFileSync(restored("linked", "config"), "utf8")).not.toMatch(/alias/);
    expect(existsSync(restored("new\nline", "config"))).toBe(false);
    expect(readdirSync(restored("plain", "holdfast-restored/hooks"))).toEqual(["pre-push"]);
    expect(readFileSync(restored("plain", "config"), "utf8")).toBe(readFileSync(join(plain, "config"), "utf8"));
  });

  const ran = join(scratch.path, "ran");
  /** All that git asks of a repository, with a command in its settings. */
  const repository = (place: string) => (folder: string) => {
    for (const [name, text] of [
      ["HEAD", "ref: refs/heads/main\n"],
      ["objects/x", ""],
      ["refs/x", ""],
      ["config", `[core]\n\tfsmonitor = "touch ${ran}"\n`],
    ] as const)
      file(`${place}/${name}`, text)(folder);
  };

  test.each<[string, ((folder: string) => void)[], string]>([
    ["a file that leads to other files", [repository("untracked/evil"), file("untracked/n/.git", "gitdir: ../evil\n")], "n"],
    ["a link to other files", [repository("untracked/evil"), link("untracked/n/.git", "../evil")], "n"],
    ["a file in a folder of odd name", [repository("untracked/evil"), file("untracked/n\nn/.git", "gitdir: ../evil\n")], "n\nn"],
    ["a file that leads into a nested repository", [repository("untracked/o/.git/x"), file("untracked/n/.git", "gitdir: ../o/.git/x\n")], "n"],
    ["a file that leads into .git", [repository("git/info/x"), file("untracked/n/.git", "gitdir: ../.git/info/x\n")], "n"],
    [
      "a way back out of .git/modules",
      [repository("git/info/x"), file("git/modules/m/HEAD", ""), file("untracked/n/.git", "gitdir: ../.git/modules/../info/x\n")],
      "n",
    ],
    [
      "another path after a NUL",
      [repository("git/mod"), file("git/modules/m/HEAD", ""), file("untracked/n/.git", "gitdir: ../.git/mod\0ules/m\n")],
      "n",
    ],
    [
      "modules behind a link",
      [repository("untracked/evil/m"), link("untracked/o/.git/modules", "../../evil"), file("untracked/n/.git", "gitdir: ../o/.git/modules/m\n")],
      "n",
    ],
    [
      "the modules of a nested repository",
      [repository("untracked/o/.git/modules/m"), file("untracked/n/.git", "gitdir: ../o/.git/modules/m\n")],
      "n",
    ],
    ["the modules themselves", [repository("git/modules"), file("untracked/n/.git", "gitdir: ../.git/modules\n")], "n"],
    [
      "a name that is taken",
      [repository("untracked/n/evil"), file("untracked/n/.git.holdfast-restored/x", ""), file("untracked/n/.git", "gitdir: ../n/evil\n")],
      "n/.git.holdfast-restored",
    ],
    ["a second .git", [repository("untracked/n/.git/x/.git")], "n/.git/x"],
    ["a second .git among hooks", [repository("untracked/n/.git/hooks/.git")], "n/.git/hooks"],
    ["a repository within .git", [repository("git/x/.git")], ".git/x"],
    ["a file within .git", [repository("git/evil"), file("git/x/.git", "gitdir: ../evil\n")], ".git/x"],
    ["tracked files", [repository("modified/n/.git")], "n"],
    ["folders", [repository("folder/n/.git")], "n"],
  ])("a nested .git, by %s: no command of the store runs", (name, steps, place) => {
    const store = forge(name, [steps]);
    const target = join(scratch.path, "target");
    runScript(store, ["latest", target]);
    for (const folder of [place, "n/.git.holdfast-restored", "n/.git/holdfast-restored/hooks"])
      if (existsSync(join(target, folder))) spawnSync("git", ["-C", join(target, folder), "status"]);
    const hasRun = existsSync(ran);
    for (const made of [target, store, ran]) rmSync(made, { recursive: true, force: true });
    expect(hasRun).toBe(false);
  });

  test("what waits beside as the .git of the whole stays there", () => {
    const lead = "gitdir: ../.git/modules/m\n";
    const store = forge("top", [[file("git/modules/m/HEAD", ""), file("untracked/.git.holdfast-restored", lead)]]);
    const target = join(scratch.path, "target");
    expect(runScript(store, ["latest", target])).toMatchObject({ status: 0, stderr: "" });
    expect(readFileSync(join(target, ".git.holdfast-restored"), "utf8")).toBe(lead);
    for (const made of [target, store]) rmSync(made, { recursive: true, force: true });
  });

  test("a .git file of a submodule comes back, in a nested repository too; another one waits beside and is told of", async () => {
    const git = (cwd: string, ...args: string[]): string =>
      execFileSync("git", ["-c", "protocol.file.allow=always", ...args], { cwd, encoding: "utf8" });
    using library = gitRepo({ "lib.txt": "l\n" });
    using parent = gitRepo({ "a.txt": "a\n" });
    git(parent.path, "clone", "-q", library.path, "o");
    for (const folder of [parent.path, join(parent.path, "o")]) git(folder, "submodule", "--quiet", "add", library.path, "sub");
    git(parent.path, "clone", "-q", "--separate-git-dir", join(scratch.path, "separate.git"), library.path, "separate");
    using one = await protect(parent.path);
    await writeRecoveryFiles(one.store, recoveryTexts);
    await one.point();
    const target = join(scratch.path, "files");
    const { status, stdout, stderr } = runScript(one.store.url, ["latest", target]);
    expect([status, stderr, stdout]).toEqual([0, "", expect.stringMatching(/^note: .* kept as \.git\.holdfast-restored$/m)]);
    for (const folder of ["sub", "o/sub"])
      expect(git(join(target, folder), "status", "--porcelain", "--branch"), folder).toBe("## main...origin/main\n");
    expect(readdirSync(join(target, "separate")).sort()).toEqual([".git.holdfast-restored", "lib.txt"]);
  });

  /** A copy of the store whose points hold these archives; their manifests fit. */
  function forge(name: string, forgery: Forgery): string {
    const store = join(scratch.path, "forged");
    execFileSync("cp", ["-R", safe.store.url, store]);
    forgery.forEach((steps, at) => {
      // The last archives belong to the newest point.
      const id = ids[ids.length - forgery.length + at] ?? "";
      const archive = join(store, "archive.tar");
      for (const step of steps) {
        using part = tempDir();
        step(part.path);
        execFileSync("tar", ["-C", part.path, existsSync(archive) ? "-rf" : "-cf", archive, ...readdirSync(part.path)]);
      }
      const tarball = join(store, id.slice(0, 8), `${id}.tar.zst`);
      execFileSync("zstd", ["-q", "-f", "--rm", archive, "-o", tarball]);
      const manifest = join(store, id.slice(0, 8), `${id}.json`);
      const sum = hash("sha256", readFileSync(tarball), "hex");
      const text = readFileSync(manifest, "utf8").replace(/("name":"[^"]*\.tar\.zst","size":\d+,"sha256":")[0-9a-f]{64}/, `$1${sum}`);
      expect(text, name).toContain(sum);
      writeFileSync(manifest, text);
    });
    return store;
  }
});
