/** status, doctor, sync, store and recover through the command line: what they say, do and answer with --json. */
import { appendFileSync, existsSync, mkdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { describe, expect, test } from "vitest";
import { program } from "./support/age.ts";
import { runCli } from "./support/cli.ts";
import { tempDir } from "./support/repo.ts";
import { repositoryState } from "./support/repository-state.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

const branch = (work: Workspace): string => {
  const remote = join(work.path, "remote.git");
  if (!existsSync(remote)) work.repo.git("init", "--quiet", "--bare", remote);
  return `branch:${remote}#holdfast/backup`;
};

describe("status", () => {
  test("is 1 while unprotected, 3 at risk, 0 when protected, and says the same in JSON", async () => {
    using work = await workspace({ isProtected: false });
    const none = await work.json(["status"], 1);
    expect(none).toMatchObject({ protection: "unprotected", points: 0, last: null, wholeCopies: 0 });
    expect(none.findings[0].what).toMatch(/is not protected yet/);
    expect((await work.run(["status"])).stdout).toMatch(/^UNPROTECTED {2}/);

    await work.run(["init", "--yes", "--store", work.store]);
    const risk = await work.json(["status"], 3);
    expect(risk).toMatchObject({
      protection: "at_risk",
      points: 1,
      wholeCopies: 1,
      findings: [{ what: expect.stringContaining("one copy only") }],
      hooks: "firing",
      damaged: [],
    });
    expect((await work.run(["status"])).stdout).toMatch(/^AT RISK {2}/);

    await work.json(["store", "add", "far", branch(work)]);
    const well = await work.json(["status"]);
    expect(well).toMatchObject({ protection: "protected", wholeCopies: 2, findings: [], copies: [{ name: "far", missing: 0, error: null }] });
    expect((await work.run(["status"])).stdout).toMatch(/^PROTECTED {2}/);

    work.repo.write("new.txt", "n\n");
    // The settings are a file of the worktree too, and have the new store in them.
    expect(await work.json(["status"])).toMatchObject({ unsaved: { files: 2, refs: 0 }, unsavedExamples: ["new.txt", "backup.yaml"] });
    await work.run(["hooks", "uninstall"]);
    expect((await work.json(["status"], 3)).findings).toMatchObject([
      { what: expect.stringContaining("no hooks are installed"), hint: "holdfast hooks install" },
    ]);
  });

  test("is at risk where what changed cannot be told, and says why", async () => {
    using work = await workspace();
    writeFileSync(join(work.repo.path, ".git/index"), "DIRC, and torn");
    const { findings, unsaved, unsavedError } = await work.json(["status"], 3);
    expect(unsaved).toBeUndefined();
    expect(findings).toContainEqual({
      what: `what changed since the last point cannot be told: ${unsavedError.message}`,
      hint: expect.stringContaining("holdfast doctor"),
    });
    expect((await work.run(["status"])).stdout).toMatch(/would be lost +not known: what changed since cannot be told\n[\s\S]*index/);
  });
});

describe("doctor", () => {
  test("mends removed hooks, a moved runtime, and what a killed restore left", async () => {
    using work = await workspace({ init: [] });
    const checks = async (code: number, ...args: string[]): Promise<Record<string, string>> => {
      const { checks: all } = await work.json(["doctor", ...args], code);
      return Object.fromEntries(all.map(({ name, status }: { name: string; status: string }) => [name, status]));
    };
    expect(await checks(0)).toMatchObject({ git: "ok", store: "ok", hooks: "ok", lock: "ok" });

    rmSync(join(work.repo.path, ".git/hooks/post-commit"));
    expect(await checks(3, "--no-mend")).toMatchObject({ hooks: "wrong" });
    expect(existsSync(join(work.repo.path, ".git/hooks/post-commit"))).toBe(false);
    expect(await checks(0)).toMatchObject({ hooks: "mended" });
    expect(await checks(0)).toMatchObject({ hooks: "ok" });

    const trigger = join(work.repo.path, ".git/holdfast/hook");
    writeFileSync(trigger, readFileSync(trigger, "utf8").replace(/^node=.*$/m, "node='/gone/bin/node'"));
    expect((await work.json(["hooks", "status"], 3)).trigger).toMatchObject({ state: "runtime_missing", missing: ["/gone/bin/node"] });
    expect(await checks(0)).toMatchObject({ hooks: "mended" });
    expect(readFileSync(trigger, "utf8")).toContain(`node='${process.execPath}'`);

    const unfinished = join(work.repo.path, ".git/holdfast/restoring-0a1b2c3d");
    mkdirSync(unfinished);
    const longAgo = new Date(Date.now() - 2 * 86_400_000);
    utimesSync(unfinished, longAgo, longAgo);
    expect(await checks(0)).toMatchObject({ leftovers: "mended" });
    expect(existsSync(unfinished)).toBe(false);
  });

  test("names a damaged point and a store that is gone", async () => {
    using work = await workspace();
    const id = await work.backup();
    rmSync(join(work.store, id.slice(0, 8), `${id}.contents.zst`));
    const { checks } = await work.json(["doctor"], 3);
    expect(checks).toContainEqual({
      name: "store",
      status: "wrong",
      detail: expect.stringContaining(`${id}.contents.zst is missing`),
      hint: expect.stringContaining("--from STORE"),
    });
    rmSync(work.store, { recursive: true });
    expect((await work.json(["doctor"], 3)).checks).toContainEqual({
      name: "store",
      status: "wrong",
      detail: expect.stringContaining("there is no store"),
      hint: expect.stringContaining("mounted"),
    });
    expect(existsSync(work.store)).toBe(false);
  });
});

describe("copies", () => {
  test("sync brings a folder and a branch up to date; recover gives the same repository from each", async () => {
    using work = await workspace({ files: { "a.txt": "one\n", "folder/b.txt": "two\n" } });
    using bare = tempDir();
    const disk = join(work.path, "disk");
    await work.json(["store", "add", "disk", disk]);
    await work.json(["store", "add", "hub", branch(work)]);
    work.repo.write("untracked.txt", "u\n");
    work.repo.write("a.txt", "changed\n");
    work.repo.git("stash", "push", "--include-untracked", "--quiet");
    work.repo.write("untracked.txt", "again\n");
    work.repo.write("folder/c.txt", "staged\n");
    work.repo.git("add", "folder/c.txt");
    await work.backup();
    await work.backup();
    const { copies } = await work.json(["sync", "--wait"]);
    expect(copies).toEqual([
      { store: "disk", status: "ok", sent: 2, missing: 0 },
      { store: "hub", status: "ok", sent: 2, missing: 0 },
    ]);
    const state = (root: string) => repositoryState(root);
    const before = state(work.repo.path);
    for (const [name, url] of [
      ["disk", disk],
      ["hub", branch(work)],
    ] as const) {
      const target = join(bare.path, name);
      const result = await runCli(["recover", url, target, "--json"], { cwd: bare.path });
      expect({ code: result.code, stderr: result.stderr }).toEqual({ code: 0, stderr: "" });
      expect(JSON.parse(result.stdout)).toMatchObject({ v: 1, comparison: { differences: [] } });
      expect(state(target)).toEqual(before);
    }
  });

  test("stores are added, listed and removed; what is in one that is removed stays", async () => {
    using work = await workspace();
    const disk = join(work.path, "disk");
    expect(await work.json(["store", "add", disk])).toMatchObject({ name: "local2", url: disk, copy: { status: "ok", sent: 1 } });
    expect((await work.json(["store", "list"])).stores).toEqual([
      { name: "local", url: work.store },
      { name: "local2", url: disk },
    ]);
    expect((await work.run(["store", "add", "local2", disk])).code).toBe(2);
    expect((await work.run(["store", "add", "x", "s4://nonsense"])).code).toBe(2);
    await work.json(["store", "remove", "local2"]);
    expect((await work.run(["store", "remove", "local2"])).code).toBe(2);
    expect((await work.json(["store", "list"])).stores).toHaveLength(1);
    expect((await work.json(["points", "--store", disk])).points).toHaveLength(1);
  });

  test("a mirror and a copy go on where the other cannot be reached", async () => {
    using work = await workspace();
    branch(work);
    const settings = join(work.repo.path, "backup.yaml");
    writeFileSync(
      settings,
      readFileSync(settings, "utf8").replace("mirrors: []", `mirrors:\n  - ${join(work.path, "remote.git")}\n  - ${join(work.path, "nowhere.git")}`),
    );
    rmSync(work.store, { recursive: true });
    appendFileSync(join(work.repo.path, "a.txt"), "more\n");
    const oid = work.repo.commit();
    await work.json(["store", "add", "disk", join(work.path, "disk")], 10);
    expect((await work.run(["sync"])).code).toBe(10);
    expect(work.repo.git("--git-dir", join(work.path, "remote.git"), "rev-parse", "refs/heads/main")).toBe(oid);
  });
});

test("every reading command answers with one JSON document", async () => {
  using work = await workspace();
  for (const args of [
    ["points"],
    ["show", "latest"],
    ["show", "latest", "--files"],
    ["status", "--files"],
    ["config", "show"],
    ["config", "check"],
    ["store", "list"],
    ["sync"],
    ["backup", "--dry-run"],
  ])
    await work.json(args);
  for (const args of [
    ["restore", "--list"],
    ["restore", "latest", "--list"],
    ["restore", "latest", "--dry-run"],
    ["restore", "latest", "--verify-only"],
  ])
    await work.json(args);
  await work.json(["hooks", "status"], 3);
});

test("init whose first point does not restore as it was says so, 13, with one JSON document", async () => {
  using work = await workspace({ isProtected: false });
  const bin = join(work.path, "bin");
  mkdirSync(bin);
  // A git that leaves other bytes in what it checks out.
  const meddle = 'case " $* " in *" checkout-index "*) echo two >a.txt ;; esac';
  program(bin, "git", `PATH='${process.env["PATH"]}' git "$@" || exit\n${meddle}`);
  const env = { PATH: `${bin}${delimiter}${process.env["PATH"]}` };
  const { code, stdout, stderr } = await work.run(["init", "--yes", "--no-hooks", "--store", work.store, "--json"], { env });
  expect(JSON.parse(stdout)).toMatchObject({ v: 1, proof: { comparison: { differences: [{ path: "a.txt" }] } } });
  expect({ code, stderr }).toEqual({ code: 13, stderr: "warning: the first point does not restore as it was captured; holdfast doctor\n" });
});

test("a remote whose URL is a relative path is found from the worktree's root, from wherever it is asked", async () => {
  using work = await workspace();
  work.repo.git("init", "--quiet", "--bare", join(work.repo.path, "../beside.git"));
  try {
    work.repo.git("remote", "add", "beside", "../beside.git");
    mkdirSync(join(work.repo.path, "below"));
    const added = await work.json(["-C", join(work.repo.path, "below"), "store", "add", "branch:beside/holdfast/backup"]);
    expect(added.copy).toMatchObject({ status: "ok", sent: 1 });
  } finally {
    rmSync(join(work.repo.path, "../beside.git"), { recursive: true });
  }
});

describe("a backup.yaml that nobody here has agreed to", () => {
  const elsewhere = (work: Workspace): string => join(work.path, "elsewhere");

  test("came with the repository: nothing is sent where it says, until that is asked for", async () => {
    using work = await workspace({ isProtected: false });
    const theirs = join(work.path, "theirs.git");
    work.repo.git("init", "--quiet", "--bare", theirs);
    work.repo.write("backup.yaml", `mirrors: [{remote: ${theirs}}]\nstores: [{name: theirs, url: ${elsewhere(work)}}]\n`);
    work.repo.commit("settings of somebody");
    for (const args of [["init", "--yes"], ["mirror"], ["sync"]]) {
      const { code, stderr } = await work.run(args);
      expect({ args, code, stderr }).toEqual({
        args,
        code: 2,
        stderr: expect.stringMatching(/came with this repository, and would send everything to .*elsewhere/),
      });
      expect(stderr).toContain("hint: look at it; if these are your own: holdfast init --yes --trust-config");
    }
    expect(existsSync(elsewhere(work))).toBe(false);
    expect(work.repo.git("--git-dir", theirs, "for-each-ref")).toBe("");
    expect((await work.run(["init", "--yes", "--no-hooks", "--trust-config"])).code).toBe(0);
    expect(existsSync(join(elsewhere(work), "holdfast.json"))).toBe(true);
  });

  test("lies where no repository is: it is the user's own", async () => {
    using work = await workspace({ isProtected: false });
    const settings = join(work.path, "settings.yaml");
    writeFileSync(settings, `stores:\n  - {name: mine, url: ${elsewhere(work)}}\n`);
    const { code, stderr } = await work.run(["init", "--yes", "--no-hooks"], { env: { HOLDFAST_CONFIG: settings } });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(existsSync(elsewhere(work))).toBe(true);
  });
});
