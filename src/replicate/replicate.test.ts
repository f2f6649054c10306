import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type Fault, faultyStore } from "../../test/support/faulty-store.ts";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import { publishSmallPoint, testIdentity } from "../../test/support/small-point.ts";
import { BackupError } from "../core/errors.ts";
import { manifestKey } from "../core/manifest.ts";
import { readCatalogue } from "../points/catalogue.ts";
import { writeIdentity } from "../points/identity.ts";
import { MemoryStore } from "../stores/memory.ts";
import type { Store } from "../stores/store.ts";
import { readCopyState } from "./copy-state.ts";
import { type CopyOutcome, type RoundRequest, replicate } from "./replicate.ts";

const identity = testIdentity;
const ids = ["20261121T100000Z-000001", "20261121T110000Z-000002", "20261122T120000Z-000003"];

let dir: TempDir;
let time: number;
let primaryFiles: Map<string, Buffer>;
let primary: MemoryStore;

beforeEach(async () => {
  dir = tempDir();
  time = Date.UTC(2026, 10, 22, 13);
  primaryFiles = new Map();
  primary = new MemoryStore("primary", primaryFiles);
  await writeIdentity(primary, identity);
  for (const id of ids) await publishSmallPoint(primary, id);
});
afterEach(() => dir[Symbol.dispose]());

describe("a failure at any call", () => {
  for (const does of ["fail", "after", "cut", "flip"] as const) {
    test(`of the copy (${does}) leaves only whole points there, and the next run finishes`, async () => {
      const calls = await countCalls((faulty) => run({ copies: [faulty] }), new MemoryStore("copy"));
      expect(calls).toBeGreaterThan(20);
      let failed = 0;
      for (let nth = 1; nth <= calls; nth += 1) {
        const { files, outcome, faults } = await withFaultyCopy([{ nth, does }]);
        expect(faults, `call ${nth}`).toBe(1);
        if (outcome?.status === "failed") {
          failed += 1;
          expect(outcome).toMatchObject({
            message: expect.stringMatching(/was made to fail|holdfast.json is not|other bytes came|another repository/),
            hint: expect.stringMatching(/\S/),
          });
        }
        await expectWholePoints(new MemoryStore("copy", files));
        expect(await run({ copies: [new MemoryStore("copy", files)], force: true }), `call ${nth}`).toEqual([
          { store: "copy", status: "ok", sent: expect.any(Number), missing: 0 },
        ]);
        expect(sortedKeys(files)).toEqual(sortedKeys(primaryFiles, true));
        newState();
      }
      // A `get` that ends early or gives other bytes need not be one: RECOVERY.md is then put anew.
      expect(failed).toBeGreaterThan(does === "cut" || does === "flip" ? calls / 2 : calls - 1);
    });
  }

  for (const does of ["fail", "cut", "flip", "stale"] as const) {
    test(`of the primary (${does}) copies no damaged byte`, async () => {
      const calls = await countCalls((faulty) => run({ primary: faulty }), primary);
      for (let nth = 1; nth <= calls; nth += 1) {
        const files = new Map<string, Buffer>();
        const [outcome] = await run({ primary: faultyStore(primary, [{ nth, does }]), copies: [new MemoryStore("copy", files)] });
        expect(outcome?.status === "ok" || outcome?.hint !== undefined, `call ${nth}`).toBe(true);
        await expectWholePoints(new MemoryStore("copy", files));
        for (const [key, bytes] of files) if (primaryFiles.has(key)) expect(bytes.equals(primaryFiles.get(key) as Buffer), key).toBe(true);
        expect(await run({ copies: [new MemoryStore("copy", files)], force: true })).toMatchObject([{ status: "ok", missing: 0 }]);
        newState();
      }
    });
  }

  test("an abort while the copy hangs is thrown at any call, and leaves only whole points", async () => {
    const calls = await countCalls((faulty) => run({ copies: [faulty] }), new MemoryStore("copy"));
    for (let nth = 1; nth <= calls; nth += 1) {
      const files = new Map<string, Buffer>();
      const controller = new AbortController();
      const copy = faultyStore(new MemoryStore("copy", files), [{ nth, does: "hang" }]);
      const running = run({ copies: [copy], signal: controller.signal });
      const ended = running.then(
        () => undefined,
        (error: unknown) => error,
      );
      while (copy.faults === 0) await new Promise((resolve) => setImmediate(resolve));
      controller.abort(new BackupError("interrupted", "interrupted"));
      expect(await ended, `call ${nth}`).toMatchObject({ code: "interrupted" });
      await expectWholePoints(new MemoryStore("copy", files));
      newState();
    }
  });
});

describe("publishing into a store", () => {
  for (const does of ["fail", "after", "cut", "flip"] as const) {
    test(`a failure at any call (${does}) leaves no half point and can be made good by another try`, async () => {
      const calls = await countCalls((faulty) => publishSmallPoint(faulty, ids[0] as string), new MemoryStore("store"));
      expect(calls).toBe(4);
      for (let nth = 1; nth <= calls; nth += 1) {
        const files = new Map<string, Buffer>();
        const faulty = faultyStore(new MemoryStore("store", files), [{ nth, does }]);
        await expect(publishSmallPoint(faulty, ids[0] as string), `call ${nth}`).rejects.toMatchObject({ code: "store_failed" });
        const { points, damaged } = await readCatalogue(new MemoryStore("store", files));
        expect([points, damaged], `call ${nth}`).toEqual([[], []]);
        await publishSmallPoint(new MemoryStore("store", files), ids[0] as string);
        await expectWholePoints(new MemoryStore("store", files));
        expect(files.size).toBe(4);
      }
    });
  }

  test("a put that happens twice makes one point, and one that never answers none when it is ended", async () => {
    for (let nth = 1; nth <= 4; nth += 1) {
      const twice = new MemoryStore("store");
      await publishSmallPoint(faultyStore(twice, [{ nth, does: "twice" }]), ids[0] as string);
      await expectWholePoints(twice);
      const files = new Map<string, Buffer>();
      const hanging = faultyStore(new MemoryStore("store", files), [{ method: "put", nth, does: "hang" }]);
      await expect(publishSmallPoint(hanging, ids[0] as string, {}, { signal: AbortSignal.timeout(20) })).rejects.toThrow();
      expect([...files.keys()], `call ${nth}`).toEqual([]);
    }
  });

  test("where the store answers to nothing any more, the first error is the one that is thrown", async () => {
    const faulty = faultyStore(new MemoryStore("store"), [{ nth: 2, does: "fail", stays: true }]);
    await expect(publishSmallPoint(faulty, ids[0] as string)).rejects.toThrow(`put 20261121/${ids[0]}.tar.zst was made to fail`);
  });
});

describe("one copy and the others", () => {
  test("one that fails does not stop another, and each gives its outcome", async () => {
    const broken = faultyStore(new MemoryStore("broken"), [{ nth: 1, does: "fail", stays: true }]);
    const outcomes = await run({ copies: [broken, new MemoryStore("well")] });
    expect(outcomes).toMatchObject([
      { store: "broken", status: "failed", sent: 0, hint: "holdfast doctor" },
      { store: "well", status: "ok", sent: 3, missing: 0 },
    ]);
    expect(stateOf("broken")).toMatchObject({ failures: 1, error: expect.stringContaining("made to fail") });
  });

  test("one whose state cannot be written gives its outcome all the same", async () => {
    writeFileSync(join(dir.path, "copies"), "a file where the folder should be");
    const outcomes = await run({ copies: [new MemoryStore("one"), faultyStore(new MemoryStore("two"), [{ nth: 1, does: "fail" }])] });
    expect(outcomes.map(({ status }) => status)).toEqual(["ok", "failed"]);
  });

  test("a point that is damaged in the primary is not copied, is told, and does not hold up the later ones", async () => {
    for (const damage of [flip, cut, remove]) {
      const files = new Map(primaryFiles);
      damage(files, `20261121/${ids[1]}.tar.zst`);
      const copy = new MemoryStore("copy");
      const [outcome] = await run({ primary: new MemoryStore("primary", files), copies: [copy] });
      expect(outcome).toMatchObject({
        status: "failed",
        sent: 2,
        missing: 1,
        message: expect.stringContaining(`${ids[1]}.tar.zst`),
        hint: expect.stringContaining("holdfast points"),
      });
      const { points, damaged } = await readCatalogue(copy);
      expect([points.map(({ id }) => id), damaged]).toEqual([[ids[0], ids[2]], []]);
      newState();
    }
  });

  test("so is one whose manifest cannot be read", async () => {
    primaryFiles.set(manifestKey(ids[1] as string), Buffer.from("{"));
    expect(await run({})).toMatchObject([{ status: "failed", sent: 2, missing: 1, message: expect.stringContaining("is not JSON") }]);
  });

  test("what a broken transfer left in the copy with another size is replaced", async () => {
    const files = new Map([[`20261121/${ids[0]}.bundle`, Buffer.from("half")]]);
    expect(await run({ copies: [new MemoryStore("copy", files)] })).toMatchObject([{ status: "ok", sent: 3 }]);
    await expectWholePoints(new MemoryStore("copy", files));
  });

  test("a store of another repository gets nothing", async () => {
    const files = new Map<string, Buffer>();
    await writeIdentity(new MemoryStore("copy", files), { ...identity, repository: "00000000-0000-4000-8000-000000000000", name: "other" });
    expect(await run({ copies: [new MemoryStore("copy", files)] })).toMatchObject([
      { status: "failed", message: expect.stringContaining("another repository (other)") },
    ]);
    expect(files.size).toBe(1);
  });

  test("a copy that was whole and is empty now is not begun anew: the disk may not be mounted", async () => {
    const files = new Map<string, Buffer>();
    const copy = new MemoryStore("copy", files);
    await run({ copies: [copy] });
    files.clear();
    expect(await run({ copies: [copy] })).toMatchObject([
      { status: "failed", message: "the store copy is no longer at memory:copy", hint: expect.stringContaining("is the disk mounted?") },
    ]);
    expect(files.size).toBe(0);
  });
});

describe("trying again", () => {
  test("a failed copy waits its turn, longer each time; force does not wait; success forgets", async () => {
    const files = new Map<string, Buffer>();
    const broken = (): Store => faultyStore(new MemoryStore("copy", files), [{ nth: 1, does: "fail", stays: true }]);
    const well = new MemoryStore("copy", files);
    expect(await run({ copies: [broken()] })).toMatchObject([{ status: "failed" }]);
    const firstTurn = Date.parse(stateOf("copy").nextAttemptAt ?? "");
    expect(firstTurn - time).toBe(30_000);
    expect(await run({ copies: [well] })).toEqual([
      { store: "copy", status: "waiting", sent: 0, missing: 3, missingBytes: expect.any(Number), message: expect.stringContaining("made to fail") },
    ]);
    expect(files.size).toBe(0);

    time = firstTurn;
    expect(await run({ copies: [broken()] })).toMatchObject([{ status: "failed" }]);
    expect(Date.parse(stateOf("copy").nextAttemptAt ?? "") - time).toBe(60_000);
    expect(await run({ copies: [well] })).toMatchObject([{ status: "waiting" }]);
    expect(await run({ copies: [well], force: true })).toMatchObject([{ status: "ok", sent: 3 }]);
    const at = new Date(time).toISOString();
    expect(stateOf("copy")).toEqual({
      url: "memory:copy",
      begunAt: at,
      lastOkAt: at,
      newest: ids[2],
      seenTo: ids[2],
      lookedAt: at,
      clearedAt: null,
      awaySince: null,
      withheld: null,
      medium: null,
      missing: 0,
      missingBytes: 0,
      beyond: null,
      failures: 0,
      nextAttemptAt: null,
      error: null,
      hint: null,
    });
  });

  test("what is there already is not sent again", async () => {
    const files = new Map<string, Buffer>();
    await run({ copies: [new MemoryStore("copy", files)] });
    const copy = faultyStore(new MemoryStore("copy", files));
    expect(await run({ copies: [copy] })).toMatchObject([{ status: "ok", sent: 0 }]);
    expect(copy.calls.filter(({ method }) => method === "put")).toEqual([]);
  });
});

describe("a budget", () => {
  const size = (files: ReadonlyMap<string, Buffer>): number => [...files.values()].reduce((sum, { length }) => sum + length, 0);

  test("gives the copy the newest points that fit, says what does not, and is no failure", async () => {
    const whole = new Map<string, Buffer>();
    await run({ copies: [new MemoryStore("copy", whole)] });
    newState();
    const files = new Map<string, Buffer>();
    const maxBytes = size(whole) - 1;
    const request = { copies: [new MemoryStore("copy", files)], budgets: new Map([["copy", maxBytes]]) };
    const beyond = { points: 1, maxBytes, hasNewest: true };
    expect(await run(request)).toEqual([{ store: "copy", status: "ok", sent: 2, missing: 0, beyond }]);
    expect((await readCatalogue(new MemoryStore("copy", files))).points.map(({ id }) => id)).toEqual(ids.slice(1));
    expect(stateOf("copy")).toMatchObject({ missing: 0, newest: ids[2], beyond, error: null });
    expect(await run(request)).toEqual([{ store: "copy", status: "ok", sent: 0, missing: 0, beyond }]);
    expect(await run({ ...request, budgets: new Map([["copy", maxBytes + 1]]) })).toEqual([{ store: "copy", status: "ok", sent: 1, missing: 0 }]);
    expect(stateOf("copy").beyond).toBe(null);
  });

  test("that is full deletes nothing, and says that the newest point is not in the copy", async () => {
    const files = new Map<string, Buffer>();
    await run({ copies: [new MemoryStore("copy", files)] });
    const before = sortedKeys(files);
    await publishSmallPoint(primary, "20261123T120000Z-000004");
    const budgets = new Map([["copy", size(files)]]);
    expect(await run({ copies: [new MemoryStore("copy", files)], budgets })).toMatchObject([
      { status: "ok", sent: 0, beyond: { points: 1, hasNewest: false } },
    ]);
    expect(sortedKeys(files)).toEqual(before);
    expect(stateOf("copy")).toMatchObject({ newest: ids[2] });
  });
});

describe("a store that two machines begin at once", () => {
  test.each([
    ["of the same repository, gets the points of both", identity.repository, "ok"],
    ["of another repository, gets none of ours", "00000000-0000-4000-8000-000000000000", "failed"],
  ])("one %s", async (_, repository, status) => {
    const files = new Map<string, Buffer>();
    const theirs = { ...identity, repository, created: "2026-02-02T00:00:00.000Z" };
    /** As a branch does: another machine's identity was there first when ours is pushed. */
    const copy = new MemoryStore("copy", files);
    copy.flush = async () => {
      if (files.get("holdfast.json")?.toString().includes(theirs.created) === true) return;
      files.delete("holdfast.json");
      await writeIdentity(new MemoryStore("copy", files), theirs);
      throw new BackupError("store_failed", "holdfast.json: theirs stay", { details: { keys: ["holdfast.json"] } });
    };
    expect(await run({ copies: [copy] })).toMatchObject([{ status, sent: status === "ok" ? 3 : 0 }]);
    expect(files.get("holdfast.json")?.toString()).toContain(theirs.created);
    expect([...files.keys()].filter((key) => key.startsWith("2026")).length > 0).toBe(status === "ok");
  });
});

let states = 0;
function newState(): void {
  states += 1;
}

function stateFolder(): string {
  return join(dir.path, "copies", states === 0 ? "" : String(states));
}

const stateOf = (store: string): ReturnType<typeof readCopyState> => readCopyState(stateFolder(), { name: store, url: `memory:${store}` });

interface RunRequest extends Partial<Omit<RoundRequest, "name" | "open" | "maxBytes">> {
  readonly copies?: readonly Store[];
  readonly budgets?: ReadonlyMap<string, number>;
}

/** A round for each copy, side by side. */
function run({ copies = [new MemoryStore("copy")], budgets, ...changes }: RunRequest): Promise<CopyOutcome[]> {
  const rounds = copies.map((copy) => {
    const maxBytes = budgets?.get(copy.name);
    return replicate({
      primary,
      identity,
      name: copy.name,
      url: copy.url,
      open: async () => copy,
      stateFolder: stateFolder(),
      texts: { restoreSh: "#!/bin/sh\n", recoveryMd: "# how\n" },
      now: () => new Date(time),
      random: () => 0.5,
      ...(maxBytes === undefined ? {} : { maxBytes }),
      ...changes,
    });
  });
  return Promise.all(rounds);
}

async function withFaultyCopy(script: readonly Fault[]): Promise<{ files: Map<string, Buffer>; outcome: CopyOutcome | undefined; faults: number }> {
  const files = new Map<string, Buffer>();
  const copy = faultyStore(new MemoryStore("copy", files), script);
  const [outcome] = await run({ copies: [copy] });
  return { files, outcome, faults: copy.faults };
}

async function countCalls(act: (faulty: Store) => Promise<unknown>, inner: Store): Promise<number> {
  const faulty = faultyStore(inner);
  await act(faulty);
  newState();
  return faulty.calls.length;
}

/** No manifest without every artifact of it, byte for byte. */
async function expectWholePoints(store: Store): Promise<void> {
  const { points, damaged } = await readCatalogue(store);
  expect(damaged.map(({ error }) => error.message)).toEqual([]);
  for (const { id, artifacts } of points) {
    for (const { name, sha256 } of artifacts) {
      const sum = createHash("sha256");
      for await (const chunk of (await store.get(`${id.slice(0, 8)}/${name}`)) ?? []) sum.update(chunk);
      expect(sum.digest("hex"), name).toBe(sha256);
    }
  }
}

function sortedKeys(files: ReadonlyMap<string, Buffer>, withTexts = false): string[] {
  return [...new Set([...files.keys(), ...(withTexts ? ["restore.sh", "RECOVERY.md"] : [])])].sort();
}

function flip(files: Map<string, Buffer>, key: string): void {
  const bytes = Buffer.from(files.get(key) ?? []);
  bytes[0] = (bytes[0] ?? 0) ^ 1;
  files.set(key, bytes);
}

function cut(files: Map<string, Buffer>, key: string): void {
  files.set(key, (files.get(key) ?? Buffer.alloc(0)).subarray(1));
}

function remove(files: Map<string, Buffer>, key: string): void {
  files.delete(key);
}
