/**
 * Every command that writes, killed with SIGKILL at random instants of its length. After each kill every point that was
 * published is there, the settings can be read, and the same command works without a hand; at the end nothing is left of any of
 * them and every point restores. HOLDFAST_KILLS sets how many kills there are with those of backups-killed.test.ts.
 */
import { appendFileSync, existsSync, lutimesSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, type ExpectStatic, test } from "vitest";
import { parseConfig } from "../../src/core/config.ts";
import { dayOf } from "../../src/core/ids.ts";
import type { Manifest } from "../../src/core/manifest.ts";
import { makeKeyPair } from "../../src/keys/age-library.ts";
import { readCatalogue } from "../../src/points/catalogue.ts";
import { clearOrphans } from "../../src/points/leftovers.ts";
import { readTrash } from "../../src/points/trash.ts";
import { stateDirOf, stateLayout } from "../../src/state/layout.ts";
import { FolderStore } from "../../src/stores/folder.ts";
import { countAccidents } from "../support/accidents.ts";
import { decryptorOf } from "../support/age.ts";
import { effort } from "../support/effort.ts";
import { type Ended, runKilled, startRun } from "../support/killable.ts";
import { seededRandom } from "../support/random.ts";
import { gitRepo, type TestRepo, tempDir } from "../support/repo.ts";
import { restorePoint } from "../support/restore-point.ts";

const kills = Math.ceil(effort("HOLDFAST_KILLS", 120, 60) * 0.6);

interface Command {
  readonly name: string;
  /** Makes sure that the run has something to do. */
  prepare?(scene: Scene, number: number): unknown;
  args(scene: Scene, number: number): readonly string[];
  /** What a person runs after the accident; the same when absent. */
  again?(scene: Scene, number: number): readonly string[];
  /** What must be so after that. */
  after?(scene: Scene, number: number): unknown;
}

const backup: Command = { name: "backup", prepare: (scene, number) => scene.change(number), args: () => ["backup"] };
const full: Command = { name: "backup --full", prepare: (scene, number) => scene.change(number), args: () => ["backup", "--full"] };
const sync: Command = {
  name: "sync",
  prepare: (scene, number) => scene.point(number),
  args: () => ["sync"],
  after: (scene) => scene.copiesAreWhole(),
};

const making: readonly Command[] = [
  backup,
  full,
  {
    name: "worker",
    prepare(scene, number) {
      scene.change(number);
      appendFileSync(scene.state.dirty, "post-commit\n");
    },
    args: (scene) => ["worker", join(scene.repo.path, ".git")],
    // Its marks are taken again by the next hook's.
    again(scene) {
      appendFileSync(scene.state.dirty, "post-commit\n");
      return ["worker", join(scene.repo.path, ".git")];
    },
  },
  { name: "session", prepare: (scene, number) => scene.change(number), args: () => ["session"] },
  sync,
  {
    name: "mirror",
    prepare: (scene, number) => scene.change(number),
    args: () => ["mirror"],
    after: (scene) =>
      scene.expect(scene.repo.git("--git-dir", scene.folder("nas.git"), "rev-parse", "main")).toBe(scene.repo.git("rev-parse", "main")),
  },
  {
    name: "restore --in-place",
    prepare(scene, number) {
      scene.change(number);
      scene.repo.write("src/file-1.txt", `spoilt ${number}\n`);
    },
    args: (scene) => ["restore", scene.newest, "--in-place", "--force"],
    after: (scene) => scene.expect(readFileSync(join(scene.repo.path, "src/file-1.txt"), "utf8")).not.toContain("spoilt"),
  },
  {
    name: "verify --repair",
    prepare: (scene) => scene.damage(),
    args: () => ["verify", "--read-data", "--repair"],
    after: (scene) => scene.isWhole(),
  },
  {
    name: "prune",
    prepare: (scene) => scene.crowd(),
    args: () => ["prune", "--force"],
    // Nothing of it is left to be done.
    after: async (scene) => scene.expect(await scene.pruneAgain()).toEqual([]),
  },
  {
    name: "undelete",
    prepare: (scene) => scene.pruned(),
    args: (scene) => ["undelete", scene.wanted],
    again: (scene) => (scene.isLiving(scene.wanted) ? ["mark", scene.wanted, "pinned"] : ["undelete", scene.wanted]),
    after: (scene) => scene.expect(scene.isLiving(scene.wanted)).toBe(true),
  },
];

const looking: readonly Command[] = [
  { name: "mark", args: ({ newest }, number) => ["mark", newest, number % 2 === 0 ? "pinned" : "unpinned"] },
  {
    name: "catalogue",
    args: () => ["catalogue"],
    after: ({ expect, store }) => expect(() => JSON.parse(readFileSync(join(store.url, "backup_metadata.json"), "utf8"))).not.toThrow(),
  },
  {
    name: "restore --to",
    args: (scene, number) => ["restore", "--to", scene.target(number)],
    again: (scene, number) => ["restore", "--to", scene.target(number + 0.5)],
  },
  {
    name: "recover",
    args: (scene, number) => ["recover", scene.folder("disk"), scene.target(number), "--primary", scene.folder(`primary-${number}`)],
    // What a killed one left is no repository to go on with: it goes, as its hint says.
    again: (scene, number) => ["recover", scene.folder("disk"), scene.target(number + 0.5), "--primary", scene.folder(`primary-${number}`)],
  },
  { name: "drill", args: () => ["drill", "--store", "disk"] },
  { name: "verify --decode", args: () => ["verify", "--decode"] },
  { name: "doctor", args: () => ["doctor"] },
  {
    name: "hooks install",
    prepare: (scene) => scene.complete(["hooks", "uninstall"]),
    args: () => ["hooks", "install"],
    after: ({ repo, expect }) => expect(readFileSync(join(repo.path, ".git/hooks/post-commit"), "utf8")).toContain("holdfast"),
  },
  {
    name: "hooks uninstall",
    prepare: (scene) => scene.complete(["hooks", "install"]),
    args: () => ["hooks", "uninstall"],
    async after(scene) {
      scene.expect(existsSync(join(scene.repo.path, ".git/hooks/post-commit"))).toBe(false);
      await scene.complete(["hooks", "install"]);
    },
  },
  {
    name: "store add",
    args: (scene, number) => ["store", "add", `extra-${number}`, scene.folder(`extra-${number}`)],
    again: (scene, number) => (scene.names(`extra-${number}`) ? ["sync"] : ["store", "add", `extra-${number}`, scene.folder(`extra-${number}`)]),
    async after(scene, number) {
      scene.expect(scene.names(`extra-${number}`)).toBe(true);
      await scene.complete(["store", "remove", `extra-${number}`]);
    },
  },
  {
    name: "store remove",
    prepare: (scene, number) => scene.complete(["store", "add", `extra-${number}`, scene.folder(`extra-${number}`)]),
    args: (_, number) => ["store", "remove", `extra-${number}`],
    again: (scene, number) => (scene.names(`extra-${number}`) ? ["store", "remove", `extra-${number}`] : ["sync"]),
    after: (scene, number) => scene.expect(scene.names(`extra-${number}`)).toBe(false),
  },
  { name: "store check", args: () => ["store", "check", "disk"] },
  sync,
];

const encrypted: readonly Command[] = [
  backup,
  full,
  sync,
  {
    name: "key rotate --rewrap",
    args: () => ["key", "rotate", "--rewrap"],
    again: () => ["key", "rewrap"],
  },
  {
    name: "key add-recipient",
    prepare: (scene) => scene.newFriend(),
    args: (scene) => ["key", "add-recipient", scene.friend],
    again: (scene) => (scene.names(scene.friend) ? ["key", "rewrap"] : ["key", "add-recipient", scene.friend]),
    after: (scene) => scene.expect(scene.names(scene.friend)).toBe(true),
  },
  {
    name: "key rewrap",
    async prepare(scene) {
      await scene.newFriend();
      await scene.complete(["key", "add-recipient", scene.friend]);
    },
    args: () => ["key", "rewrap"],
  },
];

// Side by side: most of the time each waits for the run that it is going to kill.
describe.concurrent("killed at any instant", () => {
  const lane = (part: number, what: string, run: (wanted: number, expect: ExpectStatic) => Promise<void>): void => {
    const share = Math.ceil(kills * part);
    test(`${share} kills ${what}`, { timeout: 120_000 + share * 30_000 }, ({ expect }) => run(share, expect));
  };
  lane(0.45, "of commands that make, copy, mend and prune points", (wanted, expect) => killAll(making, wanted, 31, expect));
  lane(0.35, "of commands that read points, and change settings and hooks", (wanted, expect) => killAll(looking, wanted, 32, expect));
  lane(0.15, "where points are encrypted", (wanted, expect) => killAll(encrypted, wanted, 33, expect));
  lane(0.05, "of init", (wanted, expect) => killInit(wanted, 34, expect));
});

/** In a new scene after every sixty: every look is at all its points, and their number grows with the kills. */
async function killAll(commands: readonly Command[], wanted: number, seed: number, expect: ExpectStatic): Promise<void> {
  const atOnce = 60;
  let points = 0;
  for (let left = wanted; left > 0; left -= atOnce) points += await killSome(commands, Math.min(left, atOnce), seed + 100 * left, expect);
  countAccidents({ what: `kills of ${commands.map(({ name }) => name).join(", ")}`, accidents: wanted, points });
}

/** Gives how many points were restored at the end. */
async function killSome(commands: readonly Command[], wanted: number, seed: number, expect: ExpectStatic): Promise<number> {
  using scene = await Scene.open(seed, expect, commands === encrypted);
  const lengths = new Map<Command, number>();
  let killed = 0;
  for (let number = 0; killed < wanted; number += 1) {
    const command = commands[number % commands.length] as Command;
    await command.prepare?.(scene, number);
    const args = command.args(scene, number);
    const length = lengths.get(command);
    if (length === undefined) {
      // Once to its end: how long that takes is what its kills are spread over.
      lengths.set(command, await scene.complete(args));
    } else {
      const { signal } = await runKilled(args, scene.repo.path, length * (0.2 + 0.9 * scene.random()), scene.environment);
      if (signal === "SIGKILL") killed += 1;
      await scene.check(`${command.name}, kill ${killed}`);
      if (killed % 4 === 0) await scene.statusIsTrue(`${command.name}, kill ${killed}`);
      if (signal === "SIGKILL") await scene.complete(command.again?.(scene, number) ?? args, `${command.name}, after kill ${killed}`);
    }
    await scene.check(command.name);
    await command.after?.(scene, number);
    if (number % 25 === 24) await scene.restoreSome(2);
  }
  await scene.nothingIsLeft();
  return await scene.restoreSome(Number.POSITIVE_INFINITY);
}

async function killInit(wanted: number, seed: number, expect: ExpectStatic): Promise<void> {
  const random = seededRandom(seed);
  let lengthMs = 0;
  for (let killed = 0; killed < wanted; ) {
    using scene = Scene.bare(seed + killed, expect);
    const args = ["init", "--yes", ...(killed % 2 === 0 ? ["--no-hooks"] : []), "--store", scene.store.url, "--store", scene.folder("disk")];
    if (lengthMs === 0) {
      lengthMs = await scene.complete(args);
      continue;
    }
    const { signal } = await runKilled(args, scene.repo.path, lengthMs * (0.2 + 0.9 * random()), scene.environment);
    if (signal === "SIGKILL") killed += 1;
    if (existsSync(scene.store.url)) await scene.check(`init, kill ${killed}`);
    await scene.complete(args, `init after kill ${killed}`);
    await scene.complete(["sync"]);
    await scene.check(`init after kill ${killed}`);
    await scene.copiesAreWhole(["disk"]);
    expect(await scene.restoreSome(1)).toBe(1);
  }
  countAccidents({ what: "kills of init", accidents: wanted, points: wanted });
}

/** A repository with its places, and what is known to be published. */
class Scene implements Disposable {
  readonly repo: TestRepo;
  readonly store: FolderStore;
  readonly state;
  readonly random: () => number;
  readonly expect: ExpectStatic;
  readonly environment: Record<string, string>;
  /** The point that `undelete` shall bring back; the recipient that was added last. */
  wanted = "";
  friend = "";
  readonly #place = tempDir();
  /** Ids of the primary's points that were seen, and of each copy's. */
  readonly #seen = new Set<string>();
  #points: readonly Manifest[] = [];

  static bare(seed: number, expect: ExpectStatic): Scene {
    return new Scene(seed, expect);
  }

  static async open(seed: number, expect: ExpectStatic, isEncrypted: boolean): Promise<Scene> {
    const scene = new Scene(seed, expect);
    scene.repo.git("init", "--quiet", "--bare", scene.folder("nas.git"));
    scene.repo.git("init", "--quiet", "--bare", scene.folder("far.git"));
    scene.repo.git("remote", "add", "nas", scene.folder("nas.git"));
    await scene.complete(["init", "--yes", "--no-hooks", "--store", scene.store.url, isEncrypted ? "--encrypt" : "--no-encrypt", "--mirror", "nas"]);
    await scene.complete(["store", "add", "disk", scene.folder("disk")]);
    if (!isEncrypted) await scene.complete(["store", "add", "git", `branch:${scene.folder("far.git")}#holdfast/backup`]);
    await scene.complete(["hooks", "install"]);
    await scene.complete(["sync"]);
    return scene;
  }

  private constructor(seed: number, expect: ExpectStatic) {
    this.expect = expect;
    this.random = seededRandom(seed);
    this.repo = gitRepo(files());
    this.store = new FolderStore("local", this.folder("store"));
    this.state = stateLayout(stateDirOf(join(this.repo.path, ".git")));
    mkdirSync(this.folder("tmp"));
    this.environment = { HOLDFAST_CONFIG_DIR: this.folder("keys"), HOLDFAST_LOCK_WAIT: "60", TMPDIR: this.folder("tmp") };
  }

  [Symbol.dispose](): void {
    this.repo[Symbol.dispose]();
    this.#place[Symbol.dispose]();
  }

  folder(name: string): string {
    return join(this.#place.path, name);
  }

  /** A new folder to restore to; the one before it goes. */
  target(number: number): string {
    for (const name of readdirSync(this.#place.path))
      if (/^(?:target|primary)-/.test(name) && name !== `primary-${Math.floor(number)}`) rmSync(this.folder(name), { recursive: true, force: true });
    return this.folder(`target-${number}`);
  }

  change(number: number): void {
    this.repo.write(`src/file-${number % 10}.txt`, `${number}\n`.repeat(50));
    this.repo.write(`notes/note-${number % 7}.md`, `note ${number}\n`.repeat(200));
    if (number % 3 !== 0) return;
    this.repo.git("add", "--all", "src");
    // Without our hooks: their workers would make the points that are to be made here.
    this.repo.git("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--message", `number ${number}`);
  }

  async point(number: number): Promise<void> {
    this.change(number);
    await this.complete(["backup"]);
  }

  /** To its end, which must be a good one. Gives how long it took, in ms. */
  async complete(args: readonly string[], when = args.join(" ")): Promise<number> {
    const { code, stderr, stdout, lengthMs }: Ended = await startRun(args, this.repo.path, this.environment).ended;
    this.expect({ when, args, code, words: code === 0 ? "" : stderr + stdout }).toEqual({ when, args, code: 0, words: "" });
    return lengthMs;
  }

  /** Every point ever seen is whole in its folder or in the trash, and the settings can be read. */
  async check(when: string): Promise<void> {
    const { points, damaged } = await readCatalogue(this.store);
    this.expect(
      damaged.filter(({ id }) => id !== this.#damaged).map(({ error }) => error.message),
      when,
    ).toEqual([]);
    const whole = new Set<string>();
    for (const point of points) if (await this.#hasAll(point, dayOf(point.id))) whole.add(point.id);
    // A point of the folder is whole there: only `damage` takes something away, until it is mended.
    const torn = points.filter(({ id }) => !whole.has(id) && id !== this.#damaged);
    this.expect(
      torn.map(({ id }) => id),
      when,
    ).toEqual([]);
    for (const { manifest, folder } of await readTrash(this.store)) if (await this.#hasAll(manifest, folder)) whole.add(manifest.id);
    this.expect(
      [...this.#seen].filter((id) => !whole.has(id) && id !== this.#damaged),
      when,
    ).toEqual([]);
    for (const { id } of points) this.#seen.add(id);
    this.#points = points;
    const file = join(this.repo.path, "backup.yaml");
    if (existsSync(file)) this.expect(() => parseConfig(readFileSync(file, "utf8"), file), when).not.toThrow();
    this.expect(
      readdirSync(join(this.repo.path, ".git")).filter((name) => name.endsWith(".lock")),
      when,
    ).toEqual([]);
  }

  async #hasAll({ artifacts }: Manifest, folder: string): Promise<boolean> {
    const sizes = await Promise.all(artifacts.map(async ({ name }) => (await this.store.stat(`${folder}/${name}`))?.size));
    return artifacts.every(({ size }, at) => sizes[at] === size);
  }

  /** What status says of the newest point and of the copies is so. */
  async statusIsTrue(when: string): Promise<void> {
    const { code, stdout, stderr } = await startRun(["status", "--json"], this.repo.path, this.environment).ended;
    this.expect([0, 1, 3], `status, ${when}: ${stderr}`).toContain(code);
    const status = JSON.parse(stdout) as { last: Manifest | null; points: number; copies: { name: string; missing: number }[] };
    this.expect(status.last?.id, when).toBe(this.newest);
    this.expect(status.points, when).toBe(this.#points.length);
    const disk = status.copies.find(({ name }) => name === "disk");
    if (disk?.missing === 0) await this.copiesAreWhole(["disk"]);
  }

  get newest(): string {
    return this.#points.at(-1)?.id ?? "latest";
  }

  isLiving(id: string): boolean {
    return existsSync(join(this.store.url, dayOf(id), `${id}.json`));
  }

  /** Is it in the settings? */
  names(words: string): boolean {
    return readFileSync(join(this.repo.path, "backup.yaml"), "utf8").includes(words);
  }

  async copiesAreWhole(names: readonly string[] = this.names("far.git") ? ["disk", "git"] : ["disk"]): Promise<void> {
    const wanted = (await readCatalogue(this.store)).points.map(({ id }) => id);
    for (const name of names) {
      if (name === "git") {
        const keys = this.repo.git("--git-dir", this.folder("far.git"), "ls-tree", "-r", "--name-only", "holdfast/backup").split("\n");
        this.expect(
          wanted.filter((id) => !keys.includes(`${dayOf(id)}/${id}.json`)),
          name,
        ).toEqual([]);
        continue;
      }
      const { points, damaged } = await readCatalogue(new FolderStore(name, this.folder(name)));
      this.expect(damaged, name).toEqual([]);
      const there = new Set(points.map(({ id }) => id));
      this.expect(
        wanted.filter((id) => !there.has(id)),
        name,
      ).toEqual([]);
    }
  }

  #damaged: string | undefined;

  /** The newest point loses an artifact, which the copy has. */
  async damage(): Promise<void> {
    await this.complete(["sync"]);
    await this.check("before the damage");
    const point = this.#points.at(-1);
    const name = point?.artifacts[0]?.name;
    if (point === undefined || name === undefined) throw new Error("no point to damage");
    rmSync(join(this.store.url, dayOf(point.id), name));
    this.#damaged = point.id;
  }

  async isWhole(): Promise<void> {
    this.#damaged = undefined;
    await this.check("after the repair");
  }

  /** More points than retention keeps. */
  async crowd(): Promise<void> {
    this.#retain(3);
    for (let at = 0; at < 3; at += 1) await this.complete(["backup", "--full"]);
    await this.check("before a prune");
  }

  /** A point is in the trash. */
  async pruned(): Promise<void> {
    await this.crowd();
    await this.complete(["prune", "--force"]);
    const living = new Set((await readCatalogue(this.store)).points.map(({ id }) => id));
    this.wanted = (await readTrash(this.store)).findLast(({ manifest }) => !living.has(manifest.id))?.manifest.id ?? "";
    await this.check("before an undelete");
  }

  /** What one more run removes from the primary. */
  async pruneAgain(): Promise<readonly string[]> {
    const { stdout } = await startRun(["prune", "--force", "--json"], this.repo.path, this.environment).ended;
    const { stores } = JSON.parse(stdout) as { stores: { removed: string[] }[] };
    return stores[0]?.removed ?? ["no answer"];
  }

  #retain(last: number): void {
    const file = join(this.repo.path, "backup.yaml");
    if (!this.names("keep_last"))
      writeFileSync(
        file,
        `${readFileSync(file, "utf8")}retention: {keep_last: ${last}, keep_within: 0, keep_daily: 0, keep_weekly: 0, keep_monthly: 0}\n`,
      );
  }

  /** Somebody whom points are not encrypted for yet. */
  async newFriend(): Promise<void> {
    this.friend = (await makeKeyPair()).recipient;
  }

  /** Restores so many of the points that stand now; gives how many. */
  async restoreSome(count: number): Promise<number> {
    this.#points = (await readCatalogue(this.store)).points;
    const key = this.folder("keys/identity.txt");
    if (existsSync(key)) this.store.decryptor = decryptorOf(key);
    const chosen =
      count >= this.#points.length
        ? this.#points
        : Array.from({ length: count }, () => this.#points[Math.floor(this.random() * this.#points.length)]);
    for (const point of chosen) if (point !== undefined) await restorePoint(this.store, this.#points, point, this.#place.path, () => undefined);
    return chosen.length;
  }

  /** When the graces are over and one more run of each kind was there, nothing that was cut off stands anywhere. */
  async nothingIsLeft(): Promise<void> {
    for (const path of [this.store.url, this.folder("disk"), this.state.root]) setBack(path);
    rmSync(this.state.swept, { force: true });
    for (const name of readdirSync(this.state.copies)) forgetSweep(join(this.state.copies, name));
    for (const args of [["backup"], ["sync"], ["doctor"]]) await this.complete(args);
    await clearOrphans(this.store, new Date(Date.now() + 25 * 3_600_000));
    for (const path of [this.store.url, this.folder("disk")]) this.expect(temporary(path), path).toEqual([]);
    const known = new Set(Object.values(stateLayout("")).map((path) => path.replace(/^\//, "")));
    this.expect(readdirSync(this.state.root).filter((name) => !known.has(name) && name !== "mirror.git" && name !== "backup.yaml")).toEqual([]);
    for (const lock of [this.state.lock, this.state.workerLock, this.state.drillLock]) this.expect(existsSync(lock), lock).toBe(false);
    this.expect([
      ...(existsSync(this.state.scratch) ? readdirSync(this.state.scratch) : []),
      ...readdirSync(this.folder("tmp")).filter((name) => name.startsWith("holdfast-")),
    ]).toEqual([]);
    this.expect(readdirSync(this.repo.path).sort()).toEqual([".git", "backup.yaml", "notes", "src"]);
    this.expect(readdirSync(join(this.repo.path, ".git/hooks")).filter((name) => /tmp|holdfast-/.test(name))).toEqual([]);
    this.expect(readdirSync(join(this.repo.path, ".git/objects/pack")).filter((name) => name.startsWith("tmp_"))).toEqual([]);
    await this.check("at the end");
  }
}

/** Temporary files and folders, wherever they are. */
function temporary(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => /(?:^|\/)\.holdfast-/.test(path));
}

/** All that is there becomes two days old. */
function setBack(folder: string): void {
  const then = new Date(Date.now() - 48 * 3_600_000);
  for (const path of readdirSync(folder, { recursive: true, encoding: "utf8" })) lutimesSync(join(folder, path), then, then);
}

/** As if the copy had not been swept for a day. */
function forgetSweep(file: string): void {
  if (file.endsWith(".json")) writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, "utf8")), clearedAt: null }));
}

function files(): Record<string, string> {
  return Object.fromEntries(Array.from({ length: 10 }, (_, at) => [`src/file-${at}.txt`, `line ${at}\n`.repeat(40)]));
}
