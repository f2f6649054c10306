/** Points encrypted again, with a failure at every call of the store; an encryption that only writes its recipients before the bytes. */
import { createHash } from "node:crypto";
import { mkdtempSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Fault, faultyStore } from "../../test/support/faulty-store.ts";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import { readSealed } from "../archive/artifact-file.ts";
import type { Decryptor, Encryptor } from "../core/encryption.ts";
import { BackupError } from "../core/errors.ts";
import { dayOf, type PointId } from "../core/ids.ts";
import { type Manifest, manifestKey, parseManifest, writeManifest } from "../core/manifest.ts";
import { replaceStale, type StaleOutcome } from "../replicate/stale.ts";
import { noteStale, takeStale } from "../replicate/stale-list.ts";
import { type RewrapPlan, wasReplaced, withDone, withReplaced } from "../state/rewrap.ts";
import { MemoryStore } from "../stores/memory.ts";
import { bytesSource, type LocalStore, readAll, type Store } from "../stores/store.ts";
import { readCatalogue } from "./catalogue.ts";
import { copyPoint } from "./publish.ts";
import { type RewrapOutcome, rewrapPoint } from "./rewrap.ts";

const ids: PointId[] = ["20261121T100000Z-000001", "20261121T110000Z-000002", "20261122T120000Z-000003"];
const plain = (id: PointId): string => `plain bytes of ${id}`;

const encryptorFor = (who: string): Encryptor => ({
  recipients: [who],
  async *encrypt(bytes) {
    yield Buffer.from(`${who}|`);
    yield* bytes;
  },
});
/** Opens what is for these. */
const decryptorFor = (...who: string[]): Decryptor => ({
  async *decrypt(stored) {
    const pieces: Uint8Array[] = [];
    for await (const piece of stored) pieces.push(piece);
    const [name = "", rest = ""] = Buffer.concat(pieces).toString().split("|");
    if (!who.includes(name)) throw new BackupError("key_wrong", `for ${name}`);
    yield Buffer.from(rest);
  },
});

let dir: TempDir;
let store: MemoryStore & LocalStore;
beforeEach(async () => {
  dir = tempDir();
  await newStore();
});
afterEach(() => dir[Symbol.dispose]());

/** A fresh primary; its spool folders are on the disk. */
async function newStore(): Promise<void> {
  const spool = (): string => mkdtempSync(join(dir.path, "spool-"));
  store = Object.assign(new MemoryStore("local"), { spool, fileOf: (key: string) => key });
  await publishAll(store);
}

async function publishAll(into: Store): Promise<void> {
  let previous: { id: PointId; sum: string } | undefined;
  for (const id of ids) {
    const bytes = Buffer.from(`old|${plain(id)}`);
    const manifest: Manifest = {
      format: 1, id, kind: "manual", createdAt: "2026-11-21T10:00:00.000Z", repository: "6f1a9c52-3b77-4c0e-9d5f-0a4f5b8c7e21", machine: "m",
      base: null, full: id, step: 0, level: 0, previous: previous?.id ?? null, previousSha256: previous?.sum ?? null, tool: "t",
      artifacts: [{ name: `${id}.bundle.age`, size: bytes.length, sha256: sumOf(bytes), plainSize: plain(id).length, plainSha256: sumOf(plain(id)) }],
      counts: { files: 0, bytes: 0, changed: 0, refs: 0, left: 0, problems: 0 }, consistent: true, screened: false, expires: null, retention: "policy",
      signature: "old signature",
    }; // biome-ignore format: a record
    await into.put(`${dayOf(id)}/${id}.bundle.age`, bytesSource(bytes));
    await into.put(manifestKey(id), bytesSource(writeManifest(manifest)));
    previous = { id, sum: sumOf(writeManifest(manifest)) };
  }
}

/** As the task does it: what was done and which sums were replaced is remembered from run to run. */
class Progress {
  readonly newest = new Map<PointId, string>();
  plan: RewrapPlan = { recipients: ["new"], until: ids.at(-1) ?? "", done: null, replaced: {} };

  async run(target: LocalStore): Promise<RewrapOutcome[]> {
    const outcomes: RewrapOutcome[] = [];
    for (const id of ids) {
      if (this.plan.done !== null && id < this.plan.done) continue;
      const outcome = await rewrapPoint(id, {
        store: target,
        encryptor: encryptorFor("new"),
        isDone: id === this.plan.done,
        replaced: { has: (earlier, sum) => wasReplaced(this.plan, earlier, sum) },
        beforeReplace: (point, sum) => {
          this.plan = withReplaced(this.plan, point, sum);
        },
        afterReplace: (point, sum) => void this.newest.set(point, sum),
      });
      outcomes.push(outcome);
      this.plan = withDone(this.plan, id, outcome.previous);
    }
    return outcomes;
  }
}

function withFaults(script: readonly Fault[]): LocalStore & { readonly calls: readonly unknown[] } {
  const faulty = faultyStore(store, script);
  return Object.assign(faulty, {
    spool: store.spool,
    fileOf: store.fileOf,
    decryptor: decryptorFor("old", "new"),
  });
}

async function contentOf(from: Store, { id, artifacts }: Manifest): Promise<string> {
  const [artifact] = artifacts;
  const stored = artifact === undefined ? undefined : await from.get(`${dayOf(id)}/${artifact.name}`);
  if (artifact === undefined || stored === undefined) throw new Error(`${id} has no bundle`);
  const pieces: Buffer[] = [];
  for await (const piece of readSealed(artifact, stored, decryptorFor("old", "new"))) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

async function expectAllThere(from: Store, when: string): Promise<void> {
  const { points, damaged } = await readCatalogue(from);
  expect(damaged, when).toEqual([]);
  expect(
    points.map(({ id }) => id),
    when,
  ).toEqual(ids);
  for (const point of points) expect(await contentOf(from, point), when).toBe(plain(point.id));
}

async function expectDone(from: Store, revision: RegExp): Promise<void> {
  await expectAllThere(from, "afterwards");
  const keys: string[] = [];
  for await (const { key } of from.list("")) keys.push(key);
  expect(keys.filter((key) => key.includes(".bundle")).every((key) => revision.test(key))).toBe(true);
  expect(keys.length).toBe(2 * ids.length);
  let before: string | null = null;
  for (const id of ids) {
    const bytes = await readAll(from, manifestKey(id));
    const manifest = parseManifest(bytes?.toString() ?? "", manifestKey(id));
    expect(manifest.previousSha256).toBe(before);
    before = sumOf(bytes ?? "");
  }
}

test("all points are for the new recipients, the chain of sums holds, and no old artifact is left", async () => {
  store.decryptor = decryptorFor("old");
  const progress = new Progress();
  expect(await progress.run(store)).toEqual(ids.map((_, index) => ({ isRewrapped: true, previous: ids[index - 1] ?? null, kept: [] })));
  await expectDone(store, /\.r1\.bundle\.age$/);
  for (const { artifacts, signature } of (await readCatalogue(store)).points) {
    const stored = await readAll(store, `${dayOf(ids[0] ?? "")}/${artifacts[0]?.name}`);
    if (stored !== undefined) expect(stored.toString()).toMatch(/^new\|/);
    expect(signature).toBeNull();
  }
  const last = ids.at(-1) ?? "";
  expect(progress.newest.get(last)).toBe(sumOf((await readAll(store, manifestKey(last))) ?? ""));
});

describe("a failure at any call", () => {
  for (const does of ["fail", "after", "cut", "flip", "stale", "twice"] as const) {
    test(`(${does}) loses nothing, and the next run goes on`, async () => {
      const counting = withFaults([]);
      await new Progress().run(counting);
      const calls = counting.calls.length;
      expect(calls).toBeGreaterThan(20);
      for (let nth = 1; nth <= calls; nth += 1) {
        await newStore();
        const progress = new Progress();
        await progress.run(withFaults([{ nth, does }])).catch((error: unknown) => {
          if (!(error instanceof BackupError)) throw error;
        });
        await expectAllThere(store, `call ${nth}`);
        if (progress.plan.done === ids.at(-1)) progress.plan = new Progress().plan;
        await progress.run(withFaults([]));
        await expectDone(store, /\.r\d\.bundle\.age$/);
      }
    }, 60_000);
  }
});

test("what the store does not delete is told, and harms nothing", async () => {
  const outcomes = await new Progress().run(withFaults([{ method: "delete", nth: 1, does: "fail", stays: true }]));
  expect(outcomes.flatMap(({ kept }) => kept)).toEqual(ids.map((id) => `${dayOf(id)}/${id}.bundle.age`));
  await expectAllThere(store, "with old ones beside");
});

test("a wrong key or a damaged artifact leaves the point as it was", async () => {
  store.decryptor = decryptorFor("somebody");
  await expect(new Progress().run(store)).rejects.toMatchObject({ code: "key_wrong" });
  await expectAllThere(store, "after a wrong key");
  store.decryptor = decryptorFor("old");
  await store.replace(`20261121/${ids[0]}.bundle.age`, bytesSource("old|other bytes"));
  await expect(new Progress().run(store)).rejects.toMatchObject({ code: "damaged" });
  expect(await store.stat(`20261121/${ids[0]}.r1.bundle.age`)).toBeUndefined();
});

test("a link that did not hold before is left as it is: it tells of something else", async () => {
  const key = manifestKey(ids[1] ?? "");
  const forged = parseManifest(((await readAll(store, key)) ?? "").toString(), key);
  await store.replace(key, bytesSource(writeManifest({ ...forged, previousSha256: sumOf("x") })));
  store.decryptor = decryptorFor("old");
  await new Progress().run(store);
  expect(parseManifest(((await readAll(store, key)) ?? "").toString(), key).previousSha256).toBe(sumOf("x"));
});

describe("a copy", () => {
  const copies = async (): Promise<MemoryStore> => {
    const copy = new MemoryStore("copy");
    for (const manifest of (await readCatalogue(store)).points) await copyPoint(store, copy, manifest);
    return copy;
  };
  const state = (): string => join(dir.path, "copies");
  const nothingLeft = { kept: [], damage: undefined };
  const replace = (copy: Store, now = () => new Date(0)): Promise<StaleOutcome> =>
    replaceStale({ primary: store, copy, stateFolder: state(), now, settleEveryMs: 60_000 }, {});

  test("gets what is noted for it, and loses the old artifacts last", async () => {
    const copy = await copies();
    store.decryptor = decryptorFor("old");
    await new Progress().run(store);
    for (const id of [...ids, ids[0] ?? ""]) noteStale(state(), ["copy", "other"], id);
    expect(await replace(copy)).toEqual(nothingLeft);
    await expectDone(copy, /\.r1\.bundle\.age$/);
    expect(takeStale(state(), "copy")).toEqual([]);
    expect(takeStale(state(), "other")).toEqual(ids);
    expect(await replace(copy)).toEqual(nothingLeft);
  });

  test.each(["fail", "after", "cut", "flip", "stale", "twice"] as const)(
    "is whole after a failure at any call (%s), and the next run goes on",
    async (does) => {
      const before = await copies();
      store.decryptor = decryptorFor("old");
      await new Progress().run(store);
      const fresh = async (): Promise<MemoryStore> => {
        const copy = new MemoryStore("copy");
        for await (const { key } of before.list("")) await copy.put(key, bytesSource((await readAll(before, key)) ?? ""));
        for (const id of ids) noteStale(state(), ["copy"], id);
        return copy;
      };
      const counting = faultyStore(await fresh());
      await replace(counting);
      expect(counting.calls.length).toBeGreaterThan(15);
      for (let nth = 1; nth <= counting.calls.length; nth += 1) {
        const copy = await fresh();
        await replace(faultyStore(copy, [{ nth, does }])).catch((error: unknown) => {
          if (!(error instanceof BackupError)) throw error;
        });
        await expectAllThere(copy, `call ${nth}`);
        for (const id of takeStale(state(), "copy")) noteStale(state(), ["copy"], id);
        const { kept } = await replace(copy);
        expect(kept).toEqual([]);
        await expectAllThere(copy, `after call ${nth}`);
      }
    },
    60_000,
  );

  test("gets all but what is damaged in the primary, which stays on the list and is told", async () => {
    for (const rot of [`20261121/${ids[0]}.r1.bundle.age`, manifestKey(ids[0] ?? "")]) {
      await newStore();
      const copy = await copies();
      store.decryptor = decryptorFor("old");
      await new Progress().run(store);
      for (const id of ids) noteStale(state(), ["copy"], id);
      const good = await readAll(store, rot);
      await store.replace(rot, bytesSource("rotten"));
      expect(await replace(copy)).toMatchObject({ kept: [], damage: { code: "damaged", message: expect.stringContaining(ids[0] ?? "") } });
      await expectAllThere(copy, "beside a damaged one");
      expect(await copy.stat(`20261121/${ids[0]}.bundle.age`)).toBeDefined();
      expect(takeStale(state(), "copy")).toEqual([ids[0]]);
      await store.replace(rot, bytesSource(good ?? ""));
      expect(await replace(copy)).toEqual(nothingLeft);
      await expectDone(copy, /\.r1\.bundle\.age$/);
    }
  });

  test("has what came until then after a kill amid a long list", async () => {
    const copy = await copies();
    store.decryptor = decryptorFor("old");
    await new Progress().run(store);
    for (const id of ids) noteStale(state(), ["copy"], id);
    let minutes = 0;
    const slow = (): Date => {
      minutes += 1;
      return new Date(minutes * 60_000);
    };
    await expect(replace(faultyStore(copy, [{ method: "replace", nth: 3, does: "fail" }]), slow)).rejects.toMatchObject({ code: "store_failed" });
    expect(takeStale(state(), "copy")).toEqual([ids[2]]);
    expect(await copy.stat(`20261121/${ids[1]}.bundle.age`)).toBeUndefined();
  });

  test("that lacks a point is left to the next copying, and a list that was half taken is not lost", async () => {
    const copy = new MemoryStore("copy");
    noteStale(state(), ["copy"], ids[0] ?? "");
    expect(takeStale(state(), "copy")).toEqual([ids[0]]);
    noteStale(state(), ["copy"], ids[1] ?? "");
    writeFileSync(join(state(), "copy.stale.next"), `${ids[2]}\n`);
    expect(takeStale(state(), "copy")).toEqual(ids);
    expect(await replace(copy)).toEqual(nothingLeft);
  });
});

function sumOf(bytes: Buffer | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}
