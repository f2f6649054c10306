/** Retention through the built program: prune, the trash, undelete, copies, and what a capture builds on. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import * as z from "zod";
import type { Manifest } from "../src/core/manifest.ts";
import { readCatalogue } from "../src/points/catalogue.ts";
import { metadataSchema } from "../src/points/metadata.ts";
import { readPruned } from "../src/points/pruned.ts";
import { readTrash, type TrashedPoint } from "../src/points/trash.ts";
import { stateLayout } from "../src/state/layout.ts";
import { FolderStore } from "../src/stores/folder.ts";
import { fakeManifest, putFakePoints } from "./support/fake-points.ts";
import { runKilled, startRun } from "./support/killable.ts";
import { seededRandom } from "./support/random.ts";
import { tempDir } from "./support/repo.ts";
import { until } from "./support/until.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

const lastTwo = "retention: {keep_last: 2, keep_within: 0, keep_daily: 0, keep_weekly: 0, keep_monthly: 0}\n";

function configure(work: Workspace, text: string): void {
  const file = join(work.repo.path, "backup.yaml");
  writeFileSync(file, readFileSync(file, "utf8").replace(/\nretention: .*\n/, "\n") + text);
}

/** `count` full points, each with a file of its own number. */
async function fullPoints(work: Workspace, count: number): Promise<string[]> {
  const ids: string[] = [];
  for (let number = 1; number <= count; number += 1) {
    work.repo.write("notes/number.txt", `${number}\n`);
    ids.push(await work.backup("--full", "-m", `number ${number}`));
  }
  return ids;
}

async function idsIn(work: Workspace, ...args: readonly string[]): Promise<string[]> {
  return ((await work.json(["points", ...args])).points as { id: string }[]).map(({ id }) => id);
}

describe("holdfast prune", () => {
  test("explains every point, asks before more than half go, and what went can be restored and brought back", async () => {
    using work = await workspace();
    const first = (await work.points())[0]?.id ?? "";
    const ids = await fullPoints(work, 4);
    configure(work, lastTwo);

    const dry = await work.run(["prune", "--dry-run"]);
    expect(dry).toMatchObject({ code: 0, stderr: "" });
    expect(dry.stdout).toMatch(new RegExp(`remove +${first} .* no rule keeps it`));
    expect(dry.stdout).toMatch(new RegExp(`keep +${ids[3]} .* last, the next point builds on it, newest`));
    expect(dry.stdout).toContain("3 points would go; more than half of this machine's points: that needs --force.");
    const refused = await work.run(["prune"]);
    expect(refused.code).toBe(2);
    expect(refused.stderr).toMatch(/error: 3 of 5 points .*\nhint: holdfast prune --dry-run .*holdfast prune --force\n/);
    expect(await idsIn(work)).toHaveLength(5);

    const { stores } = await work.json(["prune", "--force"]);
    expect(stores).toMatchObject([{ store: "local", status: "done", waiting: 0, deleted: [] }]);
    expect([...stores[0].removed].sort()).toEqual([first, ids[0], ids[1]]);
    expect(await idsIn(work)).toEqual(ids.slice(2));
    const deleted = await work.json(["points", "--deleted"]);
    expect(deleted.deleted.map(({ point }: { point: { id: string } }) => point.id)).toEqual([first, ids[0], ids[1]]);

    using target = tempDir();
    const restored = await work.run(["restore", ids[0] ?? "", "--to", join(target.path, "r")]);
    expect(restored.code).toBe(0);
    expect(restored.stderr).toContain(`pruned: holdfast undelete ${ids[0]} brings it back`);
    expect(readFileSync(join(target.path, "r/notes/number.txt"), "utf8")).toBe("1\n");

    const back = await work.run(["undelete", ids[0] ?? ""]);
    expect(back).toMatchObject({ code: 0, stdout: expect.stringContaining(`Point ${ids[0]} is back, and pinned`) });
    expect([...(await readPruned(new FolderStore("local", work.store))).keys()].sort()).toEqual([first, ids[1]]);
    expect(await idsIn(work)).toEqual([ids[0], ...ids.slice(2)]);
    expect((await work.json(["prune"])).stores[0]).toMatchObject({ removed: [] });
    expect((await work.run(["undelete", "20200101T000000Z"])).stderr).toContain("hint: holdfast points --deleted");

    await work.run(["mark", ids[0] ?? "", "unpinned"]);
    expect((await work.json(["prune"])).stores[0]).toMatchObject({ removed: [ids[0]] });
  });

  test("the next point builds on what is there: after a prune it is incremental, and every point restores", async () => {
    using work = await workspace();
    for (let number = 1; number <= 9; number += 1) {
      work.repo.write(`notes/${number}.txt`, `${number}\n`.repeat(50));
      await work.backup();
    }
    configure(work, lastTwo.replace("keep_last: 2", "keep_last: 1"));
    await work.json(["prune", "--force"]);
    const before = await work.points();
    expect(before.length).toBeLessThan(9);
    work.repo.write("notes/10.txt", "ten\n");
    const id = await work.backup();
    const made = (await work.points()).find((point) => point.id === id);
    expect(made?.base).not.toBeNull();
    for (const point of await work.points()) expect((await work.run(["restore", point.id, "--verify-only"])).code).toBe(0);
  });

  test("copies lose what the primary has pruned, and nothing is brought back to them", async () => {
    using work = await workspace();
    const copy = join(work.path, "copy");
    await work.json(["store", "add", "disk", copy]);
    const ids = await fullPoints(work, 5);
    await work.json(["sync"]);
    expect(await idsIn(work, "--store", "disk")).toHaveLength(6);
    configure(work, lastTwo);
    const { stores } = await work.json(["prune", "--force"]);
    expect(stores).toMatchObject([
      { store: "local", status: "done" },
      { store: "disk", status: "done" },
    ]);
    const sync = await work.json(["sync"]);
    expect(sync.copies).toMatchObject([{ status: "ok", sent: 0 }]);
    expect(await idsIn(work, "--store", "disk")).toEqual(ids.slice(3));
    expect((await work.json(["status"], 3)).copies).toMatchObject([{ missing: 0 }]);

    // The primary is lost and made anew: what the copy alone has is left alone, until the copy is named.
    rmSync(work.store, { recursive: true });
    expect((await work.run(["init", "--yes", "--no-hooks"])).code).toBe(0);
    await work.json(["sync"]);
    await work.backup("--full");
    await work.json(["sync"]);
    const left = await work.json(["prune", "--dry-run"]);
    expect(left.stores[1].points.filter(({ keep }: { keep: boolean }) => !keep)).toEqual([]);
    const named = await work.json(["prune", "--dry-run", "--store", "disk"]);
    expect(named.stores[0].points.filter(({ reasons }: { reasons: string[] }) => reasons.includes("in the store local"))).toHaveLength(2);
    // Under its address it is the same store, with the same lock and memory.
    expect((await work.json(["prune", "--dry-run", "--store", `${work.path}/./copy`])).stores).toMatchObject([{ store: "disk" }]);
    expect(readdirSync(join(copy, "trash"))).toHaveLength(1);
  });

  test("happens by itself after a backup and a sync, once a day, and never takes more than half", async () => {
    using work = await workspace();
    await work.json(["store", "add", "disk", join(work.path, "copy")]);
    await fullPoints(work, 5);
    await work.json(["sync"]);
    const prunes = join(work.repo.path, ".git/holdfast/prunes");
    expect(readdirSync(prunes).sort()).toEqual(["disk.json", "local.json"]);
    configure(work, lastTwo.replace("keep_last: 2", "keep_last: 1"));
    await work.backup();
    expect(await idsIn(work)).toHaveLength(7);
    rmSync(prunes, { recursive: true });
    await work.backup("--full");
    expect(await idsIn(work)).toHaveLength(4);
    await work.json(["sync"]);
    expect((await idsIn(work, "--store", "disk")).length).toBeLessThanOrEqual(4);
  });
});

describe("who can write into a store", () => {
  /** As somebody would who has the rights to: the files of a point go, and a line says that it was pruned. */
  const takeAway = (store: string, { id, previous }: Manifest): void => {
    const day = join(store, id.slice(0, 8));
    for (const name of readdirSync(day)) if (name.startsWith(id)) rmSync(join(day, name));
    mkdirSync(join(store, "pruned"), { recursive: true });
    const line = JSON.stringify({ id, sha256: "0".repeat(64), previous, signature: null });
    writeFileSync(join(store, "pruned/202601-somebody.ndjson"), `${line}\n`, { flag: "a" });
  };

  test("cannot take a point away and explain it, nor make the copies lose theirs", async () => {
    using work = await workspace();
    await work.json(["store", "add", "disk", join(work.path, "copy")]);
    const ids = await fullPoints(work, 4);
    await work.json(["sync"]);
    const [, second] = await work.points();
    takeAway(work.store, second as Manifest);
    const { findings } = await work.json(["verify"], 3);
    expect(findings).toMatchObject([
      { kind: "history", weight: "doubt", point: ids[0], message: expect.stringContaining("not signed by a key that this") },
    ]);
    const { stores } = await work.json(["prune"]);
    expect(stores[1]).toMatchObject({ store: "disk", removed: [] });
    expect(stores[1].points).toContainEqual(
      expect.objectContaining({ id: ids[0], reasons: ["pruned from the store local by nobody who is trusted"] }),
    );
  });

  test("what this machine pruned leaves no hole, also in a copy that never had it", async () => {
    using work = await workspace();
    const ids = await fullPoints(work, 4);
    configure(work, lastTwo);
    await work.json(["prune", "--force"]);
    await work.json(["store", "add", "disk", join(work.path, "copy")]);
    await work.json(["sync"]);
    for (const store of ["local", "disk"]) expect((await work.json(["verify", "--store", store])).findings).toEqual([]);
    // Beside a point that was pruned nobody misses its neighbour, but for the record.
    const records = join(work.store, "pruned");
    for (const name of readdirSync(records)) {
      const lines = readFileSync(join(records, name), "utf8").split("\n");
      writeFileSync(join(records, name), lines.filter((line) => !line.includes(`"id":"${ids[0]}"`)).join("\n"));
    }
    expect((await work.json(["verify"], 3)).findings).toMatchObject([{ kind: "history", point: ids[0] }]);
  });
});

test("happens by itself after a hook's point, the primary before its copies", async () => {
  using work = await workspace({ init: [] });
  const copy = join(work.path, "copy");
  await work.json(["store", "add", "disk", copy]);
  await fullPoints(work, 4);
  const prunes = join(work.repo.path, ".git/holdfast/prunes");
  rmSync(prunes, { recursive: true, force: true });
  configure(work, lastTwo);
  work.repo.write("a.txt", "two\n");
  work.repo.git("commit", "-q", "-a", "-m", "by a hook");
  await until("both stores are pruned", () => ["local.json", "disk.json"].every((name) => existsSync(join(prunes, name))));
  const { lease, workerLock } = stateLayout(join(work.repo.path, ".git/holdfast"));
  await until("the worker has ended", () => !existsSync(lease) && !existsSync(workerLock));
  // Of six points at most half go by themselves.
  const standing = (await work.points()).map(({ id }) => id);
  expect(standing).toHaveLength(3);
  expect((await readCatalogue(new FolderStore("disk", copy))).points.map(({ id }) => id)).toEqual(standing);
});

test("killed at any instant it leaves every point whole in its folder or in the trash, and the next run ends it", async () => {
  using work = await workspace();
  configure(work, lastTwo.replace("keep_last: 2", "keep_last: 1"));
  const random = seededRandom(7);
  const store = new FolderStore("local", work.store);
  const manifests = Array.from({ length: 60 }, (_, at) => fakeManifest(new Date(Date.UTC(2026, 0, 1, at)), at, { machine: hostname() }));
  await putFakePoints(store, manifests);
  let killed = 0;
  const { lengthMs } = await startRun(["prune", "--dry-run"], work.repo.path).ended;
  for (let round = 0; round < 12; round += 1) {
    // The end of a dry run is where the moving begins.
    const { signal } = await runKilled(["prune", "--force"], work.repo.path, lengthMs * (0.7 + 0.8 * random()));
    if (signal === "SIGKILL") killed += 1;
    const { points, damaged } = await readCatalogue(store);
    expect(damaged.map(({ key }) => key)).toEqual([]);
    const trash = await readTrash(store);
    const inTrash = await wholeInTrash(store, trash);
    for (const { id } of manifests) expect(points.some((point) => point.id === id) || inTrash.has(id), `round ${round}, point ${id}`).toBe(true);
  }
  expect(killed).toBeGreaterThan(0);
  await work.json(["prune", "--force"]);
  expect((await readCatalogue(store)).points.filter(({ id }) => manifests.some((manifest) => manifest.id === id))).toEqual([]);
  expect(await readTrash(store)).toHaveLength(60);
  expect(readdirSync(work.store, { recursive: true, encoding: "utf8" }).filter((path) => /^2026010/.test(path) && path.includes("."))).toEqual([]);
});

/** The points of the trash that are whole there. */
async function wholeInTrash(store: FolderStore, trash: readonly TrashedPoint[]): Promise<Set<string>> {
  const whole = new Set<string>();
  for (const { manifest, folder } of trash) {
    const sizes = await Promise.all(manifest.artifacts.map(async ({ name }) => (await store.stat(`${folder}/${name}`))?.size));
    if (manifest.artifacts.every(({ size }, at) => sizes[at] === size)) whole.add(manifest.id);
  }
  return whole;
}

describe("marks and the catalogue", () => {
  test("a point that is marked verified says so everywhere, and the copies know it", async () => {
    using work = await workspace();
    const id = await work.backup("--kind", "pre-change", "--ticket", "CHG-7", "-m", "before the upgrade");
    expect((await work.run(["mark", id, "verified"])).stderr).toContain(`hint: holdfast mark ${id} verified --by NAME`);
    expect((await work.run(["mark", id, "good"])).code).toBe(2);
    expect((await work.run(["mark", id, "verified", "--by", "Ann", "--note", "opened it"])).code).toBe(0);
    await work.json(["store", "add", "disk", join(work.path, "copy")]);
    await work.json(["sync"]);
    await work.json(["catalogue", "--store", "disk"]);
    for (const store of [work.store, join(work.path, "copy")]) {
      const document = metadataSchema.parse(JSON.parse(readFileSync(join(store, "backup_metadata.json"), "utf8")));
      expect(document.pre_change).toMatchObject([
        {
          id,
          status: "verified",
          verified: true,
          verified_by: "Ann",
          notes: "opened it",
          change_ticket: "CHG-7",
          description: "before the upgrade",
          retention: "until_verified",
          expires: null,
        },
      ]);
    }
  });

  test("the catalogue tells sizes, sums, a database's log, days that are over, and what is in the trash", async () => {
    using work = await workspace();
    work.repo.write("data.db", "not really\n");
    work.repo.write("data.db-wal", "log\n");
    const withWal = await work.backup("--full", "--retain", "days_3");
    await fullPoints(work, 3);
    configure(work, lastTwo.replace("keep_last: 2", "keep_last: 3"));
    await work.json(["prune"]);
    await work.json(["catalogue"]);
    const { manual } = metadataSchema.parse(JSON.parse(readFileSync(join(work.store, "backup_metadata.json"), "utf8")));
    const first = manual.find(({ id }) => id === withWal);
    expect(first?.files[`${withWal}.tar.zst`]).toMatchObject({ has_wal: true, hash: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(first).toMatchObject({ status: "active", creator: expect.any(String), purpose: "asked for by hand" });
    expect(Date.parse(first?.expires ?? "") - Date.parse(first?.created ?? "")).toBe(3 * 86_400_000);
    expect(manual.filter(({ folder }) => folder.startsWith("trash/"))).toMatchObject([{ status: "expired" }]);
    expect(existsSync(join(work.store, manual[0]?.folder ?? "", `${manual[0]?.id}.json`))).toBe(true);

    // The published schemas take the real files, and nothing that is not one.
    const check = (name: string, file: string, change: (document: Record<string, unknown>) => void = () => undefined): boolean => {
      const schema = readFileSync(new URL(`../docs/schemas/${name}.schema.json`, import.meta.url), "utf8");
      const document = JSON.parse(readFileSync(join(work.store, file), "utf8")) as Record<string, unknown>;
      change(document);
      return z.fromJSONSchema(JSON.parse(schema)).safeParse(document).success;
    };
    const manifest = `${withWal.slice(0, 8)}/${withWal}.json`;
    expect(check("manifest", manifest)).toBe(true);
    expect(check("manifest", manifest, (document) => Object.assign(document, { id: "yesterday" }))).toBe(false);
    expect(check("backup_metadata", "backup_metadata.json")).toBe(true);
    expect(check("backup_metadata", "backup_metadata.json", (document) => Object.assign(document, { manual: {} }))).toBe(false);
  });
});
