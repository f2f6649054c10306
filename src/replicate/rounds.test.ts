/** What a round costs, what it leaves out, and what happens when the place is not there. */
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { faultyStore } from "../../test/support/faulty-store.ts";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import { publishSmallPoint, testIdentity } from "../../test/support/small-point.ts";
import { BackupError } from "../core/errors.ts";
import { type Manifest, manifestKey, writeManifest } from "../core/manifest.ts";
import { findManifest, readCatalogue } from "../points/catalogue.ts";
import { withoutName, writeIdentity } from "../points/identity.ts";
import { MemoryStore } from "../stores/memory.ts";
import { bytesSource, copyKey, readAll, type Source, type Store } from "../stores/store.ts";
import { type CopyState, readCopyState } from "./copy-state.ts";
import { type CopyOutcome, type CopyProgress, type RoundRequest, replicate } from "./replicate.ts";
import { noteStale } from "./stale-list.ts";

const minute = 60_000;
const day = 24 * 60 * minute;
const monday = "20261116T100000Z-000001";
const tuesday = "20261117T100000Z-000002";
const wednesday = "20261118T100000Z-000003";

let dir: TempDir;
let time: number;
let primary: MemoryStore;
let files: Map<string, Buffer>;
let copy: MemoryStore;

beforeEach(async () => {
  dir = tempDir();
  time = Date.UTC(2026, 10, 18, 12);
  primary = new MemoryStore("primary");
  files = new Map();
  copy = new MemoryStore("copy", files);
  await writeIdentity(primary, testIdentity);
});
afterEach(() => dir[Symbol.dispose]());

function run(store: Store, changes: Partial<RoundRequest> = {}): Promise<CopyOutcome> {
  return replicate({
    primary,
    identity: testIdentity,
    name: "copy",
    url: copy.url,
    open: async () => store,
    stateFolder: dir.path,
    texts: { restoreSh: "#!/bin/sh\n", recoveryMd: "# how\n" },
    now: () => new Date(time),
    random: () => 0.5,
    ...changes,
  });
}

const state = (): CopyState => readCopyState(dir.path, copy);
const publish = (...ids: string[]): Promise<unknown> => Promise.all(ids.map((id) => publishSmallPoint(primary, id)));
const held = async (): Promise<string[]> => (await readCatalogue(copy)).points.map(({ id }) => id);
const listed = (store: ReturnType<typeof faultyStore>): string[] => store.calls.filter(({ method }) => method === "list").map(({ key }) => key);
const put = (store: ReturnType<typeof faultyStore>): string[] => store.calls.filter(({ method }) => method === "put").map(({ key }) => key);
/** As a folder on a disk that is not mounted. */
const absent = (): Store => new MemoryStore("copy");

describe("a look", () => {
  test("lists only the days since the copy was whole, on both sides, and all of it once a day or when asked", async () => {
    await publish(monday, tuesday);
    await run(copy);
    await publish(wednesday);
    const [ours, theirs] = [faultyStore(primary), faultyStore(copy)];
    expect(await run(theirs, { primary: ours })).toMatchObject({ status: "ok", sent: 1 });
    expect([listed(ours), listed(theirs)]).toEqual([
      ["20261117/", "20261118/"],
      ["20261117/", "20261118/"],
    ]);
    time += minute;
    const idle = faultyStore(copy);
    expect(await run(idle)).toMatchObject({ status: "ok", sent: 0 });
    expect([listed(idle), put(idle)]).toEqual([["20261118/"], []]);
    const asked = faultyStore(copy);
    await run(asked, { isThorough: true });
    expect(listed(asked)).toEqual([""]);
    time += day;
    const daily = faultyStore(copy);
    await run(daily);
    expect(listed(daily)).toEqual([""]);
  });

  test("finds within a day what the copy has lost, and from then on trusts nothing until it is there again", async () => {
    await publish(monday, tuesday, wednesday);
    await run(copy);
    for (const key of files.keys()) if (key.includes(monday)) files.delete(key);
    time += minute;
    expect(await run(copy)).toMatchObject({ status: "ok", sent: 0 });
    time += day;
    const failing = faultyStore(copy, [{ method: "put", nth: 1, does: "fail" }]);
    expect(await run(failing)).toMatchObject({ status: "failed", missing: 1 });
    time += 10 * minute;
    expect(await run(copy)).toMatchObject({ status: "ok", sent: 1 });
    expect(await held()).toEqual([monday, tuesday, wednesday]);
  });

  test("of all finds an artifact that the copy has lost, or of which a part is gone, and sends it and no other", async () => {
    await publish(monday, tuesday, wednesday);
    await run(copy);
    files.delete(`20261116/${monday}.bundle`);
    files.set(`20261117/${tuesday}.tar.zst`, Buffer.from("half"));
    time += minute;
    expect(await run(copy)).toMatchObject({ status: "ok", sent: 0 });
    const failing = faultyStore(copy, [{ method: "put", nth: 1, does: "fail" }]);
    expect(await run(failing, { isThorough: true })).toMatchObject({ status: "failed", missing: 2 });
    time += 10 * minute;
    const again = faultyStore(copy);
    expect(await run(again)).toMatchObject({ status: "ok", sent: 2, missing: 0 });
    expect(again.calls.filter(({ method, key }) => /put|replace/.test(method) && !key.endsWith(".json")).map(({ key }) => key)).toEqual([
      `20261116/${monday}.bundle`,
      `20261117/${tuesday}.tar.zst`,
    ]);
    expect((await readCatalogue(copy)).damaged).toEqual([]);
  });

  test("leaves alone what differs in files beside the artifacts, and what has another manifest", async () => {
    await publish(monday, tuesday);
    await run(copy);
    await primary.put(`20261116/${monday}.r1.bundle.age`, bytesSource("of a rewrap that was killed"));
    files.delete(`20261117/${tuesday}.bundle`);
    files.set(`20261117/${tuesday}.json`, Buffer.from("{"));
    expect(await run(copy, { isThorough: true })).toEqual({ store: "copy", status: "ok", sent: 0, missing: 0 });
  });

  test("within a budget counts what was lost as held: newer points do not take its room", async () => {
    await publishSmallPoint(primary, monday, { size: 10_000 });
    await run(copy, { maxBytes: 13_000 });
    files.delete(`20261116/${monday}.tar.zst`);
    await publishSmallPoint(primary, tuesday, { size: 5_000 });
    expect(await run(copy, { maxBytes: 13_000 })).toMatchObject({ status: "ok", sent: 1, beyond: { points: 1, hasNewest: false } });
    expect((await readCatalogue(copy)).damaged).toEqual([]);
    expect(await held()).toEqual([monday]);
  });

  test("that is out of date sends again what is there, which does no harm; so does a put that happens twice", async () => {
    await publish(monday);
    await run(copy);
    await publish(tuesday);
    const stale = faultyStore(copy, [
      { method: "list", nth: 1, does: "stale", stays: true },
      { method: "put", nth: 2, does: "twice" },
    ]);
    expect(await run(stale)).toMatchObject({ status: "ok", sent: 1 });
    expect(await run(stale)).toMatchObject({ status: "ok" });
    expect(await held()).toEqual([monday, tuesday]);
  });
});

describe("what was sent counts only when it arrived", () => {
  test("bytes that change on the way into the copy: it does not count, is told, and the next round mends it", async () => {
    await publish(monday);
    for (const nth of [2, 3, 4, 5]) {
      files.clear();
      await writeIdentity(copy, testIdentity);
      const flipping = faultyStore(copy, [{ method: "put", nth: nth - 1, does: "flip" }]);
      expect(await run(flipping, { force: true }), `put ${nth}`).toMatchObject({
        status: "failed",
        code: "store_failed",
        message: expect.stringContaining("other bytes came than were announced"),
      });
      expect(state()).toMatchObject({ lastOkAt: null, newest: null, missing: 1 });
      expect(await held()).toEqual([]);
    }
    expect(await run(copy, { force: true })).toMatchObject({ status: "ok", sent: 1 });
  });

  test("a round that was killed goes on behind the last artifact that is there, and needs no right to delete", async () => {
    await publish(monday, tuesday);
    await run(faultyStore(copy, [{ method: "put", nth: 4, does: "hang" }]), { signal: AbortSignal.timeout(50) }).catch(() => undefined);
    files.set(`20261117/${tuesday}.bundle`, Buffer.from("of another length"));
    const noDeletes = faultyStore(copy, [{ method: "delete", nth: 1, does: "fail", stays: true }]);
    expect(await run(noDeletes)).toMatchObject({ status: "ok", sent: 2 });
    expect(put(noDeletes)).toEqual([
      `20261116/${monday}.contents.zst`,
      `20261116/${monday}.json`,
      `20261117/${tuesday}.tar.zst`,
      `20261117/${tuesday}.contents.zst`,
      `20261117/${tuesday}.json`,
    ]);
    expect(await held()).toEqual([monday, tuesday]);
  });

  test("amid a long round what is there already is noted: a kill loses a minute of it, not all", async () => {
    await publish(monday, tuesday, wednesday);
    const slow = faultyStore(copy, [{ method: "put", nth: 12, does: "hang" }]);
    const controller = new AbortController();
    const running = run(slow, {
      signal: controller.signal,
      now: () => {
        time += 2 * minute;
        return new Date(time);
      },
    });
    while (slow.faults === 0) await new Promise((resolve) => setImmediate(resolve));
    controller.abort(new BackupError("interrupted", "interrupted"));
    await expect(running).rejects.toThrow("interrupted");
    expect(state()).toMatchObject({ seenTo: tuesday, missing: 1, lastOkAt: null });
  });

  test("progress is told in points and bytes", async () => {
    await publish(monday, tuesday);
    const events: CopyProgress[] = [];
    await run(copy, { onEvent: (event) => events.push(event) });
    const last = events.at(-1);
    expect(last).toMatchObject({ store: "copy", done: 2, total: 2 });
    expect(last?.doneBytes).toBe(last?.totalBytes);
    expect(events.every((event, at) => event.doneBytes >= (events[at - 1]?.doneBytes ?? 0))).toBe(true);
  });
});

describe("a place that comes and goes", () => {
  test("is away, without failure or delay; what waits is known from the primary alone; all of it goes when it is back", async () => {
    await publish(monday);
    await run(copy, { mayBeAway: true });
    time += minute;
    const leftAt = new Date(time).toISOString();
    await publish(tuesday);
    expect(await run(absent(), { mayBeAway: true })).toMatchObject({
      status: "away",
      missing: 1,
      awaySince: leftAt,
      hint: expect.stringContaining("mounted"),
    });
    for (let number = 0; number < 7; number += 1) {
      time += day;
      await publish(`202611${20 + number}T100000Z-00000${number}`);
      expect(await run(absent(), { mayBeAway: true })).toMatchObject({ status: "away", missing: number + 2 });
    }
    expect(state()).toMatchObject({ awaySince: leftAt, failures: 0, nextAttemptAt: null, error: null, missing: 8, seenTo: monday });
    expect(state().missingBytes).toBeGreaterThan(1000);
    expect(await run(copy, { mayBeAway: true })).toEqual({ store: "copy", status: "ok", sent: 8, missing: 0 });
    expect(state()).toMatchObject({ awaySince: null, missing: 0, missingBytes: 0 });
    expect(await held()).toHaveLength(9);
  });

  test("that was never there is a failure: its address may be wrong", async () => {
    await publish(monday);
    const gone: Store = Object.assign(new MemoryStore("copy"), {
      get: async () => {
        throw new BackupError("store_missing", "no such folder");
      },
    });
    expect(await run(gone, { mayBeAway: true })).toMatchObject({ status: "failed", code: "store_missing", missing: 1 });
    expect(state().nextAttemptAt).not.toBeNull();
  });

  test("at another address is another place: nothing is known of it, and it is begun there", async () => {
    await publish(monday);
    await run(copy);
    const moved = { name: "copy", url: "memory:moved" };
    expect(readCopyState(dir.path, moved)).toMatchObject({ lastOkAt: null, begunAt: null, seenTo: null });
    expect(await run(absent(), { url: moved.url })).toMatchObject({ status: "ok", sent: 1 });
    expect(readCopyState(dir.path, moved)).toMatchObject({ seenTo: monday });
  });

  test("and was begun, but never whole, is not begun anew on an empty mount point", async () => {
    await publish(monday);
    await run(faultyStore(copy, [{ method: "put", nth: 4, does: "fail" }]), { mayBeAway: true });
    const empty = new Map<string, Buffer>();
    expect(await run(new MemoryStore("copy", empty), { mayBeAway: true, force: true })).toMatchObject({ status: "away" });
    expect(empty.size).toBe(0);
  });

  test("a bucket that has lost its identity is no disk in a drawer", async () => {
    await publish(monday);
    await run(copy);
    expect(await run(absent())).toMatchObject({ status: "failed", code: "store_missing" });
  });

  test("a copy that cannot even be opened fails alone, with what waits for it", async () => {
    await publish(monday, tuesday);
    const open = (): Promise<Store> => Promise.reject(new BackupError("config_invalid", "there is no remote called x"));
    expect(await run(copy, { open })).toMatchObject({ status: "failed", code: "config_invalid", missing: 2, message: "there is no remote called x" });
    expect(state()).toMatchObject({ error: "there is no remote called x" });
  });
});

test("a failure that was noted by a clock ten years ahead holds nothing up when the clock is right again", async () => {
  await publish(monday);
  const right = time;
  time += 3650 * day;
  expect(await run(faultyStore(copy, [{ method: "put", nth: 1, does: "fail" }]))).toMatchObject({ status: "failed" });
  expect(await run(copy)).toMatchObject({ status: "waiting" });
  time = right;
  expect(await run(copy)).toMatchObject({ status: "ok", sent: 1 });
});

test("a primary that goes away amid a round is no fault of the copy, and nothing counts as seen that was not", async () => {
  await publish(monday);
  await run(copy, { mayBeAway: true });
  const before = state();
  const ours = new Map<string, Buffer>();
  const leaving = new MemoryStore("primary", ours);
  await writeIdentity(leaving, testIdentity);
  for (const id of [monday, tuesday, wednesday]) await publishSmallPoint(leaving, id);
  const inner = new MemoryStore("copy", files);
  const pulled = Object.assign(new MemoryStore("copy", files), {
    put: (key: string, source: Source) => {
      ours.clear(); // after the look, before the first byte
      return inner.put(key, source);
    },
  });
  await expect(run(pulled, { primary: leaving, mayBeAway: true })).rejects.toMatchObject({ code: "store_missing" });
  expect(state()).toMatchObject({ seenTo: before.seenTo, lastOkAt: before.lastOkAt, awaySince: null });
});

describe("points that are not encrypted", () => {
  const encrypted = (id: string, base?: string): Promise<unknown> =>
    publishSmallPoint(primary, id, { isEncrypted: true, ...(base === undefined ? {} : { base }) });

  test("stay here, and are told as long as the newest is among them", async () => {
    await publish(monday, tuesday);
    expect(await run(copy, { onlyEncrypted: true })).toEqual({
      store: "copy",
      status: "ok",
      sent: 0,
      missing: 0,
      withheld: { points: 2, hasNewest: false },
    });
    expect(state().newest).toBeNull();
    expect([...files.keys()].some((key) => key.startsWith("2026"))).toBe(false);
    await encrypted(wednesday);
    expect(await run(copy, { onlyEncrypted: true })).toMatchObject({ sent: 1, withheld: { points: 2, hasNewest: true } });
    expect(await held()).toEqual([wednesday]);
    expect(state()).toMatchObject({ newest: wednesday, withheld: { points: 2, hasNewest: true } });
    // The same numbers without looking at everything again.
    expect(await run(copy, { onlyEncrypted: true })).toMatchObject({ sent: 0, withheld: { points: 2, hasNewest: true } });
    await publish("20261119T100000Z-000004");
    expect(await run(copy, { onlyEncrypted: true })).toMatchObject({ sent: 0, withheld: { points: 3, hasNewest: false } });
    expect(state().newest).toBe(wednesday);
  });

  test("that a newer, encrypted one builds on: the newest is not in the copy before they are", async () => {
    await publish(monday);
    await encrypted(tuesday, monday);
    expect(await run(copy, { onlyEncrypted: true })).toMatchObject({ sent: 1, withheld: { points: 1, hasNewest: false } });
  });

  test("are counted once, also where a round was cut off between them", async () => {
    await encrypted(monday);
    await run(copy, { onlyEncrypted: true });
    await encrypted(tuesday);
    await publish(wednesday);
    const failing = faultyStore(copy, [{ method: "flush", nth: 2, does: "after" }]);
    const passing = (): Date => {
      time += 2 * minute;
      return new Date(time);
    };
    expect(await run(failing, { onlyEncrypted: true, now: passing })).toMatchObject({ status: "failed" });
    expect(await run(copy, { onlyEncrypted: true, force: true })).toMatchObject({ status: "ok", withheld: { points: 1, hasNewest: false } });
  });

  test("go at once where the settings allow it from now on", async () => {
    await publish(monday, tuesday);
    await run(copy, { onlyEncrypted: true });
    expect(await run(copy, {})).toEqual({ store: "copy", status: "ok", sent: 2, missing: 0 });
    expect(state().withheld).toBeNull();
  });

  test("take no room of a budget", async () => {
    await publishSmallPoint(primary, monday, { size: 100_000 });
    await encrypted(tuesday);
    const budget = { onlyEncrypted: true, maxBytes: 20_000 };
    const withheld = { points: 1, hasNewest: true };
    expect(await run(copy, budget)).toEqual({ store: "copy", status: "ok", sent: 1, missing: 0, withheld });
    await publish(wednesday);
    const fresh = { points: 2, hasNewest: false };
    expect(await run(copy, budget)).toMatchObject({ sent: 0, withheld: fresh });
    // Where nothing is new, nothing is counted again.
    expect(await run(copy, budget)).toMatchObject({ sent: 0, withheld: fresh });
    await publishSmallPoint(primary, "20261119T100000Z-000004", { isEncrypted: true, size: 100_000 });
    expect(await run(copy, budget)).toMatchObject({ withheld: { points: 2, hasNewest: true }, beyond: { points: 1, hasNewest: false } });
  });

  test("a copy that was begun with the repository's name loses it when only encrypted points go there", async () => {
    await publish(monday);
    await run(copy);
    expect(files.get("holdfast.json")?.toString()).toContain('"test"');
    const hidden = withoutName(testIdentity);
    await run(copy, { identity: hidden, onlyEncrypted: true });
    expect(files.get("holdfast.json")?.toString()).toContain('"encrypted-6f1a9c52"');
    await run(copy);
    expect(files.get("holdfast.json")?.toString()).toContain('"encrypted-6f1a9c52"');
  });
});

describe("points that were encrypted again", () => {
  /** As a rewrap does it: new artifacts, the manifest, and the old artifacts go. */
  const rewrap = async (id: string, revision = 1): Promise<void> => {
    const before = (await findManifest(primary, id)) as Manifest;
    const artifacts = before.artifacts.map((artifact) => ({ ...artifact, name: artifact.name.replace(/(\.r\d)?\./, `.r${revision}.`) }));
    const day = id.slice(0, 8);
    for (const [at, { name }] of before.artifacts.entries()) await copyKey(primary, `${day}/${name}`, `${day}/${artifacts[at]?.name}`);
    noteStale(dir.path, ["copy"], id);
    await primary.replace(manifestKey(id), bytesSource(writeManifest({ ...before, artifacts })));
    for (const { name } of before.artifacts) await primary.delete(`${day}/${name}`);
  };
  const publishEncrypted = (id: string): Promise<Manifest> => publishSmallPoint(primary, id, { isEncrypted: true });
  const keysOf = (id: string): string[] => [...files.keys()].filter((key) => key.includes(id));

  test("and rotted before the copy got them keep no new one from it, and are told until they are mended", async () => {
    await publishEncrypted(monday);
    await run(copy);
    await rewrap(monday);
    const good = (await readAll(primary, manifestKey(monday))) ?? "";
    await primary.replace(manifestKey(monday), bytesSource("{"));
    await publishEncrypted(tuesday);
    expect(await run(copy)).toMatchObject({
      status: "failed",
      code: "damaged",
      sent: 1,
      message: expect.stringContaining("cannot be copied: manifest"),
    });
    expect(await held()).toEqual([monday, tuesday]);
    await primary.replace(manifestKey(monday), bytesSource(good));
    expect(await run(copy, { force: true })).toMatchObject({ status: "ok", missing: 0 });
    expect(files.get(manifestKey(monday))?.toString()).toBe(good.toString());
  });

  test("after a try that was cut had sent a part of them leave nothing there for the old keys", async () => {
    await publishEncrypted(monday);
    expect(await run(faultyStore(copy, [{ method: "put", nth: 4, does: "fail" }]))).toMatchObject({ status: "failed" });
    expect(keysOf(monday).length).toBeGreaterThan(0);
    await rewrap(monday);
    // It does not fit: its old artifacts go all the same.
    expect(await run(copy, { force: true, maxBytes: 1 })).toMatchObject({ status: "ok", beyond: { points: 1 } });
    expect(keysOf(monday)).toEqual([]);
  });

  test.each(["sent", "replaced"])("while they are %s go as they are now, and no damage is told", async (how) => {
    await publishEncrypted(monday);
    if (how === "replaced") {
      await run(copy);
      await rewrap(monday);
    }
    let isDone = false;
    const meeting = Object.assign(faultyStore(copy), {
      put: async (key: string, source: Source) => {
        await copy.put(key, source);
        if (!key.includes(monday) || isDone) return;
        isDone = true;
        await rewrap(monday, 2);
      },
    });
    expect(await run(meeting)).toEqual({ store: "copy", status: "ok", sent: how === "sent" ? 1 : 0, missing: 0 });
    expect(await run(copy)).toMatchObject({ status: "ok", sent: 0 });
    expect(keysOf(monday).filter((key) => !/\.r2\.|\.json$/.test(key))).toEqual([]);
    expect((await readCatalogue(copy)).damaged).toEqual([]);
  });

  test("are left to their list by a look at all of it", async () => {
    await publishEncrypted(monday);
    await run(copy);
    await rewrap(monday);
    await primary.put(`20261116/${monday}.r2.bundle.age`, bytesSource("of a rewrap that was killed"));
    expect(await run(copy, { isThorough: true })).toEqual({ store: "copy", status: "ok", sent: 0, missing: 0 });
    expect(keysOf(monday).filter((key) => !/\.r1\.|\.json$/.test(key))).toEqual([]);
    expect((await readCatalogue(copy)).damaged).toEqual([]);
  });
});

describe("what killed runs left in a copy", () => {
  test("is cleared once a day, after the points; where that is refused the copy is whole all the same", async () => {
    await publish(monday);
    let cleared = 0;
    const tidy = Object.assign(copy, {
      clearLeftovers: async () => {
        cleared += 1;
        expect(await held()).toEqual([monday]);
      },
    });
    for (const at of [0, minute, day, minute]) {
      time += at;
      await run(tidy);
    }
    expect(cleared).toBe(2);
    time += day;
    const refusing = Object.assign(copy, { clearLeftovers: () => Promise.reject(new BackupError("store_failed", "access denied")) });
    expect(await run(refusing)).toMatchObject({ status: "ok", leftovers: "access denied" });
    expect(await run(refusing)).not.toHaveProperty("leftovers");
  });
});
