/** Real hooks and the built program: a commit is backed up without anybody waiting, whatever becomes of stores and mirrors. */
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { appendFileSync, chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { readCatalogue } from "../src/points/catalogue.ts";
import { type StateLayout, stateLayout } from "../src/state/layout.ts";
import { type RunEvent, readRunLog } from "../src/state/run-log.ts";
import { FolderStore } from "../src/stores/folder.ts";
import { gitRepo, tempDir } from "./support/repo.ts";
import { restorePoint } from "./support/restore-point.ts";
import { snapshotTree, type TreeEntry } from "./support/tree.ts";
import { until } from "./support/until.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

const program = fileURLToPath(new URL("../dist/bin/holdfast.js", import.meta.url));
const stateOf = ({ repo }: Workspace): StateLayout => stateLayout(join(repo.path, ".git/holdfast"));
const events = (work: Workspace): RunEvent[] => readRunLog(stateOf(work).root, 1000);

/** No mark is waiting and no worker is there. */
function settled(work: Workspace): Promise<void> {
  const { dirty, dirtyTaken, lease, workerLock } = stateOf(work);
  return until("the worker has ended", () => ![dirty, dirtyTaken, lease, workerLock].some((path) => existsSync(path)));
}

/** A commit in the background of whose worker nobody waits; throws when it takes as long as what hangs. */
function commitQuickly(work: Workspace, message: string): string {
  const startedAt = performance.now();
  const oid = work.repo.commit(message);
  expect(performance.now() - startedAt).toBeLessThan(20_000);
  return oid;
}

async function holds(work: Workspace, oid: string): Promise<boolean> {
  const store = new FolderStore("local", work.store);
  const points = await work.points();
  const newest = points.at(-1);
  if (newest === undefined) return false;
  return restorePoint(store, points, newest, work.path, (root) => spawnSync("git", ["-C", root, "cat-file", "-e", oid]).status === 0);
}

describe("a commit", () => {
  test("makes a point, and nobody waits for it", async () => {
    using work = await workspace({ init: [] });
    work.repo.write("b.txt", "two\n");
    const oid = commitQuickly(work, "second");
    await until("there is a second point", async () => (await work.points()).length >= 2);
    expect((await work.points()).at(-1)?.kind).toBe("commit");
    expect(await holds(work, oid)).toBe(true);
    await settled(work);
  });

  test("of sixty quick ones makes a few points, by one worker at a time, and all sixty can be restored", async () => {
    using work = await workspace({ init: [] });
    const oids = Array.from({ length: 60 }, (_, at) => {
      work.repo.write(`file-${at % 7}.txt`, `${at}\n`);
      return work.repo.commit(`quick ${at}`);
    });
    await settled(work);
    const points = await work.points();
    expect(points.length).toBeGreaterThan(1);
    // How few depends on how busy the machine is.
    expect(points.length).toBeLessThan(60);
    // Each run of a worker, from its start to its end; none begins before the last has ended.
    const runs = events(work).filter(({ event }) => event.startsWith("point_"));
    const spans = runs
      .map(({ time, facts }) => ({ from: Date.parse(time) - Number(facts["ms"] ?? 0), to: Date.parse(time) }))
      .sort((a, b) => a.from - b.from);
    for (const [at, span] of spans.entries()) if (at > 0) expect(span.from).toBeGreaterThanOrEqual((spans[at - 1]?.to ?? 0) - 5);
    const newest = points.at(-1);
    if (newest === undefined) throw new Error("no point");
    await restorePoint(new FolderStore("local", work.store), points, newest, work.path, (root) => {
      const found = execFileSync("git", ["-C", root, "cat-file", "--batch-check=%(objecttype)"], { input: oids.join("\n"), encoding: "utf8" });
      expect(found.trim().split("\n")).toEqual(oids.map(() => "commit"));
      expect(execFileSync("git", ["-C", root, "rev-parse", "HEAD"], { encoding: "utf8" }).trim()).toBe(oids.at(-1));
    });
  });

  test("is not held up by a mirror that hangs, nor are the points", async () => {
    using work = await workspace({ init: [] });
    const pids = join(work.path, "pids");
    const ssh = join(work.path, "hanging-ssh");
    writeFileSync(ssh, `#!/bin/sh\necho $$ >>'${pids}'\nexec sleep 300\n`);
    chmodSync(ssh, 0o755);
    writeFileSync(pids, "");
    work.repo.git("config", "core.sshCommand", ssh);
    work.repo.git("remote", "add", "far", "ssh://nowhere.invalid/repo.git");
    const settings = join(work.repo.path, "backup.yaml");
    writeFileSync(settings, readFileSync(settings, "utf8").replace("mirrors: []", "mirrors:\n  - far"));
    try {
      commitQuickly(work, "first");
      await until("the mirror hangs", () => readFileSync(pids, "utf8") !== "");
      await until("there is a point", async () => (await work.points()).length >= 2);
      const oid = commitQuickly(work, "second");
      await until("there is another point while it hangs", async () => (await work.points()).length === 3);
      expect(await holds(work, oid)).toBe(true);
      expect(isAlive(Number(readFileSync(pids, "utf8").split("\n")[0]))).toBe(true);
    } finally {
      const worker = Number(readFileSync(stateOf(work).lease, "utf8"));
      process.kill(worker, "SIGTERM");
      await until("the worker has ended", () => !isAlive(worker));
      for (const pid of readFileSync(pids, "utf8").split("\n").filter(Boolean).map(Number)) if (isAlive(pid)) process.kill(pid, "SIGKILL");
    }
  });

  test("is not held up by a store that is gone; status tells, and the next point has it all", async () => {
    using work = await workspace({ init: [] });
    renameSync(work.store, `${work.store}-away`);
    const oid = commitQuickly(work, "while it is gone");
    await until("it is noted", () => events(work).some(({ event }) => event === "point_failed"));
    await settled(work);
    expect(existsSync(work.store)).toBe(false);
    expect((await work.json(["status"], 1)).findings[0].what).toMatch(/there is no store/);
    renameSync(`${work.store}-away`, work.store);
    expect((await work.json(["status"], 3)).findings.map(({ what }: { what: string }) => what).join()).toMatch(/the last point could not be made/);
    commitQuickly(work, "it is back");
    await until("there is a point", async () => (await work.points()).length >= 2);
    expect(await holds(work, oid)).toBe(true);
    await settled(work);
  });

  test("reaches a mirror and a branch store", async () => {
    using work = await workspace({ isProtected: false });
    const remote = join(work.path, "remote.git");
    work.repo.git("init", "--quiet", "--bare", remote);
    work.repo.git("remote", "add", "hub", remote);
    const init = await work.run(["init", "--yes", "--store", work.store, "--store", "branch:hub/holdfast/backup", "--mirror", "hub"]);
    expect(init.stderr).toBe("");
    const oid = commitQuickly(work, "to be seen far away");
    const far = (...args: string[]): string => spawnSync("git", ["--git-dir", remote, ...args], { encoding: "utf8" }).stdout.trim();
    await until("the mirror has it", () => far("rev-parse", "--verify", "-q", "refs/heads/main") === oid);
    await until("the branch has the point", async () => {
      const newest = (await work.points()).at(-1)?.id ?? "none";
      return (await work.points()).length > 1 && far("ls-tree", "-r", "--name-only", "refs/heads/holdfast/backup").includes(`${newest}.json`);
    });
    await settled(work);
    expect(await work.json(["status"])).toMatchObject({ protection: "protected", findings: [] });
  });

  test("with HOLDFAST_DISABLE leaves no mark and starts nothing", async () => {
    using work = await workspace({ init: [] });
    const { dirty, lease } = stateOf(work);
    process.env["HOLDFAST_DISABLE"] = "1";
    try {
      work.repo.commit("in peace");
    } finally {
      delete process.env["HOLDFAST_DISABLE"];
    }
    expect([existsSync(dirty), existsSync(lease)]).toEqual([false, false]);
    expect(await work.points()).toHaveLength(1);
  });
});

describe("the worker", () => {
  test("is not ended by Ctrl-C or by a closed terminal", async () => {
    using work = await workspace();
    const { dirty, lease } = stateOf(work);
    work.repo.write("b.txt", "two\n");
    appendFileSync(dirty, "post-commit\n");
    const worker = spawn(process.execPath, [program, "worker", join(work.repo.path, ".git")], { stdio: "ignore" });
    const ended = new Promise<number | null>((resolve) => worker.once("close", resolve));
    await until("it is at work", () => existsSync(lease));
    worker.kill("SIGINT");
    worker.kill("SIGHUP");
    expect(await ended).toBe(0);
    expect(await work.points()).toHaveLength(2);
  });
});

describe("installed and taken out again", () => {
  test("everything is byte for byte as before, but for the settings, their line in info/exclude, and the state", async () => {
    using work = await workspace({ isProtected: false });
    const { repo } = work;
    const hook = join(repo.path, ".git/hooks/post-commit");
    mkdirSync(join(repo.path, ".git/hooks"), { recursive: true });
    writeFileSync(hook, "#!/bin/sh\n# mine, without a line end at its end\nexit 0");
    chmodSync(hook, 0o750);
    writeFileSync(join(repo.path, ".git/hooks/pre-push"), "#!/usr/bin/env python3\nprint('mine')\n");
    chmodSync(join(repo.path, ".git/hooks/pre-push"), 0o755);
    repo.write("untracked.txt", "u\n");
    repo.git("status");
    const before = stateBesideOurs(repo.path);
    const exclude = join(repo.path, ".git/info/exclude");
    const excludeBefore = existsSync(exclude) ? readFileSync(exclude, "utf8") : "";
    expect((await work.run(["init", "--yes", "--store", work.store])).code).toBe(0);
    expect(stateBesideOurs(repo.path)).not.toEqual(before);
    await work.json(["restore", "latest", "--verify-only"]);
    expect((await work.run(["hooks", "uninstall"])).stdout).toMatch(/^Removed/);
    expect(stateBesideOurs(repo.path)).toEqual(before);
    expect(readFileSync(exclude, "utf8")).toBe(`${excludeBefore}/backup.yaml\n`);
    const names = new Set(["backup.yaml", ...Object.values(stateOf(work)).map((path) => path.slice(stateOf(work).root.length + 1))]);
    expect(readdirSync(stateOf(work).root).filter((name) => !names.has(name))).toEqual([]);
    repo.commit("unseen");
    expect([existsSync(stateOf(work).dirty), (await work.points()).length]).toEqual([false, 1]);
  });

  test("beside husky: its hooks and ours both run, and its folder is as before afterwards", async () => {
    using repo = gitRepo({ "a.txt": "one\n" });
    using dir = tempDir();
    const husky = fileURLToPath(new URL("../node_modules/husky/bin.js", import.meta.url));
    execFileSync(process.execPath, [husky], { cwd: repo.path, env: process.env });
    const ran = join(dir.path, "ran");
    repo.write(".husky/post-commit", `echo post >>'${ran}'\n`);
    repo.write(".husky/pre-commit", `echo pre >>'${ran}'\n`);
    const before = snapshotTree(join(repo.path, ".husky")).map(withoutTime);
    const { runCli } = await import("./support/cli.ts");
    const store = join(dir.path, "store");
    const run = (...args: string[]): ReturnType<typeof runCli> => runCli(args, { cwd: repo.path });
    expect((await run("init", "--yes", "--store", store)).code).toBe(0);
    expect((await run("hooks", "status")).code).toBe(0);
    repo.commit("through husky");
    const count = async (): Promise<number> => (await readCatalogue(new FolderStore("local", store))).points.length;
    await until("there is a point", async () => (await count()) >= 2);
    expect(readFileSync(ran, "utf8")).toBe("pre\npost\n");
    const { lease, workerLock } = stateLayout(join(repo.path, ".git/holdfast"));
    await until("the worker has ended", () => !existsSync(lease) && !existsSync(workerLock));
    await run("hooks", "uninstall");
    expect(snapshotTree(join(repo.path, ".husky")).map(withoutTime)).toEqual(before);
  });
});

/** The repository without what is Holdfast's own. Hook files are written anew, folders get entries: their times are let go. */
function stateBesideOurs(root: string): Partial<TreeEntry>[] {
  const ours = ["backup.yaml", ".git/holdfast", ".git/info/exclude"];
  return snapshotTree(root, { exclude: ours }).map((entry) =>
    entry.type === "folder" || entry.path.startsWith(".git/hooks/") ? withoutTime(entry) : entry,
  );
}

function withoutTime({ mtimeNs: _, ...entry }: TreeEntry): Partial<TreeEntry> {
  return entry;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
