/**
 * A kill at any instant loses no published point and needs no hand. Runs are killed with SIGKILL, the git processes
 * they started with them, at instants spread over capture and publishing. HOLDFAST_KILLS sets how many there are with those of commands-killed.test.ts.
 */
import { randomBytes } from "node:crypto";
import { appendFileSync, lutimesSync, mkdirSync, readdirSync, rmSync, watch } from "node:fs";
import { dirname, join } from "node:path";
import { describe, type ExpectStatic, test } from "vitest";
import { KnownState } from "../../src/capture/known.ts";
import type { Manifest } from "../../src/core/manifest.ts";
import { readCatalogue } from "../../src/points/catalogue.ts";
import { clearOrphans } from "../../src/points/leftovers.ts";
import { stateDirOf, stateLayout } from "../../src/state/layout.ts";
import { FolderStore } from "../../src/stores/folder.ts";
import { countAccidents } from "../support/accidents.ts";
import { effort } from "../support/effort.ts";
import { type KillableRun, startRun } from "../support/killable.ts";
import { seededRandom } from "../support/random.ts";
import { tempDir } from "../support/repo.ts";
import { restorePoint } from "../support/restore-point.ts";
import { snapshotTree, type TreeEntry } from "../support/tree.ts";
import { type Workspace, workspace } from "../support/workspace.ts";

const kills = Math.ceil(effort("HOLDFAST_KILLS", 120, 60) * 0.36);

/** What stood in the repository when a point may have been made of it. */
interface Moment {
  readonly tree: readonly TreeEntry[];
  readonly refs: string;
}

// Side by side: most of the time each waits for the run that it is going to kill.
describe.concurrent("killed at any instant", () => {
  for (const [lane, seed] of [1, 2].entries()) {
    const share = lane === 0 ? Math.ceil(kills / 2) : Math.floor(kills / 2);
    const timeout = 120_000 + share * 15_000;
    test(`${share} kills of backups and workers, seed ${seed}`, { timeout }, ({ expect }) => killBackups(share, seed, expect));
  }
  const fewer = Math.ceil(kills / 10);
  test(`${fewer} kills of syncs to a folder and a branch`, { timeout: 120_000 + fewer * 15_000 }, ({ expect }) => killSyncs(fewer, expect));
});

async function killBackups(wanted: number, seed: number, expect: ExpectStatic): Promise<void> {
  using work = await workspace({ files: files() });
  const journal = new Journal(work, seed, expect);
  const { random } = journal;
  await journal.complete(["backup", "--full"]);
  const lengthMs = await journal.complete(["backup"]);

  let killed = 0;
  for (let run = 1; killed < wanted; run += 1) {
    journal.change(run);
    const args = run % 8 === 0 ? journal.worker() : ["backup", ...(run % 9 === 0 ? ["--full"] : [])];
    // From the start of the process, of the capture, and of publishing, which is short.
    const [from, withinMs] =
      run % 6 === 0 ? (["publishing", 25] as const) : run % 6 > 3 ? (["start", lengthMs] as const) : (["capture", lengthMs * 0.5] as const);
    if (await journal.kill(args, from, withinMs * random())) killed += 1;
    await journal.check();
    if (run % 10 === 0) {
      await journal.complete(run % 40 === 0 ? journal.worker() : ["backup"]);
      expect(journal.remembered()).toBe(journal.newest());
    }
    if (run % 20 === 0) await journal.restoreSome(3);
  }
  await journal.complete(["backup"]);
  expect(journal.remembered()).toBe(journal.newest());

  // What the killed ones left stays for its grace, then goes; every point still restores.
  const left = leftovers(work.store);
  const state = join(work.repo.path, ".git/holdfast");
  for (const folder of [work.store, state]) setBack(folder);
  await journal.complete(["backup"]);
  expect(leftovers(work.store)).toEqual([]);
  const orphans = await clearOrphans(journal.store, new Date(Date.now() + 25 * 3_600_000));
  await journal.check();
  expect(await unowned(journal.store)).toEqual([]);
  expect(readdirSync(state).filter((name) => !stateNames.has(name))).toEqual([]);
  expect(readdirSync(join(work.repo.path, ".git/objects/pack")).filter((name) => name.startsWith("tmp_"))).toEqual([]);
  expect(readdirSync(join(state, "capture")).filter((name) => !["known", "tips", "chunks"].includes(name))).toEqual([]);
  const restored = await journal.restoreSome(Number.POSITIVE_INFINITY);
  const cleared = `${left.length} temporary and ${orphans.length} unowned files cleared`;
  countAccidents({ what: `kills of backups and workers of ${Math.round(lengthMs)} ms (${cleared})`, accidents: killed, points: restored });
}

async function killSyncs(wanted: number, expect: ExpectStatic): Promise<void> {
  using work = await workspace({ files: files() });
  using far = tempDir();
  const journal = new Journal(work, 3, expect);
  work.repo.git("init", "--quiet", "--bare", join(far.path, "remote.git"));
  await work.json(["store", "add", "disk", join(far.path, "disk")]);
  await work.json(["store", "add", "git", `branch:${join(far.path, "remote.git")}#holdfast/backup`]);
  const disk = new FolderStore("disk", join(far.path, "disk"));
  const seen = new Set<string>();

  let killed = 0;
  for (let run = 1; killed < wanted; run += 1) {
    journal.change(run);
    await journal.complete(["backup"]);
    if (await journal.kill(["sync"], "start", 80 + 500 * journal.random())) killed += 1;
    const { points, damaged } = await readCatalogue(disk);
    expect(damaged.map(({ error }) => error.message)).toEqual([]);
    const there = new Set(points.map(({ id }) => id));
    expect([...seen].filter((id) => !there.has(id))).toEqual([]);
    for (const id of there) seen.add(id);
    if (run % 6 === 0) await journal.complete(["sync"]);
  }
  await journal.complete(["sync"]);
  const primary = (await work.points()).map(({ id }) => id);
  const { points } = await readCatalogue(disk);
  expect(points.map(({ id }) => id)).toEqual(primary);
  expect((await work.json(["points", "--store", "git"])).points.map(({ id }: Manifest) => id)).toEqual(primary);
  const newest = points.at(-1);
  if (newest !== undefined) await restorePoint(disk, points, newest, work.path, () => undefined);
  for (const from of ["disk", "git"]) await work.json(["restore", "latest", "--verify-only", "--from", from]);
  countAccidents({ what: "kills of syncs to a folder and a branch", accidents: killed, points: primary.length });
}

const stateNames = new Set(["backup.yaml", ...Object.values(stateLayout("")).map((path) => path.replace(/^\//, ""))]);

class Journal {
  readonly store: FolderStore;
  readonly random: () => number;
  readonly #work: Workspace;
  readonly #state;
  readonly #expect: ExpectStatic;
  /** The moment that each point shows, by its id. */
  readonly #moments = new Map<string, Moment>();
  #current: Moment;
  #points: readonly Manifest[] = [];

  constructor(work: Workspace, seed: number, expect: ExpectStatic) {
    this.#expect = expect;
    this.#work = work;
    this.store = new FolderStore("local", work.store);
    this.random = seededRandom(seed);
    this.#state = stateLayout(stateDirOf(join(work.repo.path, ".git")));
    this.#current = momentOf(work);
  }

  /** Some of each: a tracked file changed, a new one, an untracked one, one gone, a commit. */
  change(run: number): void {
    const { repo } = this.#work;
    repo.write(`src/file-${run % 60}.txt`, `${run}\n`.repeat(50));
    repo.write(`notes/note-${run}.md`, randomBytes(3000));
    if (run % 3 === 0) repo.write("data.bin", randomBytes(400_000));
    if (run % 5 === 0) rmSync(join(repo.path, `notes/note-${run - 3}.md`), { force: true });
    if (run % 6 === 0) repo.commit(`run ${run}`);
    this.#current = momentOf(this.#work);
  }

  /** Leaves a mark as a hook does and gives the arguments of the worker that it starts. */
  worker(): string[] {
    appendFileSync(this.#state.dirty, "post-commit\n");
    return ["worker", join(this.#work.repo.path, ".git")];
  }

  /** A run to its end, which must be a good one. Gives how long it took, in ms. */
  async complete(args: readonly string[]): Promise<number> {
    const { code, signal, stderr, lengthMs } = await this.#start(args).ended;
    this.#expect({ code, signal, stderr }, args.join(" ")).toEqual({ code: 0, signal: null, stderr: "" });
    await this.check();
    return lengthMs;
  }

  /** Kills a run so long after its start, after its spool has appeared, or its first artifact. False when it had ended before. */
  async kill(args: readonly string[], from: "start" | "capture" | "publishing", afterMs: number): Promise<boolean> {
    let run: KillableRun | undefined;
    let timer: NodeJS.Timeout | undefined;
    const arm = (): void => {
      timer ??= setTimeout(() => run?.kill(), afterMs);
    };
    const isSign = (name: string): boolean => (from === "capture" ? name.includes(".holdfast-spool-") : /^\d{8}\/\d{8}T/.test(name));
    using _ = watchFolder(this.store.url, (name) => isSign(name) && arm());
    run = this.#start(args);
    if (from === "start") arm();
    const { signal } = await run.ended;
    clearTimeout(timer);
    return signal === "SIGKILL";
  }

  /** Every point ever seen is still in the catalogue, whole; new ones show the moment before the last run. */
  async check(): Promise<void> {
    const { points, damaged } = await readCatalogue(this.store);
    this.#expect(damaged.map(({ error }) => error.message)).toEqual([]);
    const ids = new Set(points.map(({ id }) => id));
    this.#expect([...this.#moments.keys()].filter((id) => !ids.has(id))).toEqual([]);
    for (const { id } of points) if (!this.#moments.has(id)) this.#moments.set(id, this.#current);
    this.#points = points;
    const remembered = this.remembered();
    if (remembered !== undefined) this.#expect(ids).toContain(remembered);
  }

  remembered(): string | undefined {
    return new KnownState(this.#state.captureState).load()?.id;
  }

  newest(): string | undefined {
    return this.#points.at(-1)?.id;
  }

  /** Gives how many were restored. */
  async restoreSome(count: number): Promise<number> {
    const chosen =
      count >= this.#points.length
        ? [...this.#points]
        : Array.from({ length: count }, () => this.#points[Math.floor(this.random() * this.#points.length)]);
    for (let at = 0; at < chosen.length; at += 3) {
      await Promise.all(
        [...new Set(chosen.slice(at, at + 3))].map(async (point) => {
          if (point === undefined) return;
          const found = await restorePoint(this.store, this.#points, point, this.#work.path, (root) => ({
            tree: treeOf(root),
            refs: refsOf(this.#work, root),
          }));
          this.#expect(found, point.id).toEqual(this.#moments.get(point.id));
        }),
      );
    }
    return chosen.length;
  }

  #start(args: readonly string[]): KillableRun {
    return startRun(args, this.#work.repo.path);
  }
}

function watchFolder(folder: string, onName: (name: string) => void): Disposable {
  const today = new Date().toISOString().slice(0, 10).replaceAll("-", "");
  mkdirSync(join(folder, today), { recursive: true }); // on a new day nothing has made it yet
  const watchers = ["", today].map((sub) => watch(join(folder, sub), (_, name) => name !== null && onName(sub === "" ? name : `${sub}/${name}`)));
  return {
    [Symbol.dispose]() {
      for (const watcher of watchers) watcher.close();
    },
  };
}

function momentOf(work: Workspace): Moment {
  return { tree: treeOf(work.repo.path), refs: refsOf(work, work.repo.path) };
}

function treeOf(root: string): TreeEntry[] {
  return snapshotTree(root, { exclude: [".git", "backup.yaml"] });
}

function refsOf({ repo }: Workspace, root: string): string {
  return repo.git("-C", root, "for-each-ref", "--format=%(objectname) %(refname)");
}

/** Temporary files and folders, wherever they are. */
function leftovers(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => /(?:^|\/)\.holdfast-/.test(path));
}

/** Files of the store that no manifest names. */
async function unowned(store: FolderStore): Promise<string[]> {
  const { points } = await readCatalogue(store);
  const owned = new Set(points.flatMap(({ id, artifacts }) => [`${id}.json`, ...artifacts.map(({ name }) => name)]));
  const names = readdirSync(store.url, { recursive: true, encoding: "utf8" }).map((path) => path.slice(path.lastIndexOf("/") + 1));
  return names.filter((name) => /^\d{8}T/.test(name) && !owned.has(name));
}

/** All that is there becomes two hours old. */
function setBack(folder: string): void {
  const then = new Date(Date.now() - 2 * 3_600_000);
  for (const path of readdirSync(folder, { recursive: true, encoding: "utf8" }))
    lutimesSync(join(dirname(folder), folder.slice(dirname(folder).length + 1), path), then, then);
}

function files(): Record<string, string | Uint8Array> {
  const random = seededRandom(1);
  const made: Record<string, string | Uint8Array> = { "data.bin": Uint8Array.from({ length: 400_000 }, () => random() * 256) };
  for (let at = 0; at < 60; at += 1) made[`src/file-${at}.txt`] = `line ${at}\n`.repeat(40);
  return made;
}
