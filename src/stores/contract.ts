/**
 * What every store promises (store.ts), as checks that run against a real place: in the project's own tests against each backend,
 * and by `holdfast store check` against a user's.
 */
import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { systemCode } from "../core/errors.ts";
import { bytesSource, copyKey, readAll, type Source, type Store, type StoreEntry } from "./store.ts";

/** A place with nothing in it, which goes when it is disposed of. */
export interface OpenedStore extends AsyncDisposable {
  readonly store: Store;
  /** Another store object onto the same place, as a later process would open it. */
  reopen(): Promise<Store>;
}

export interface ContractCheck {
  /** A sentence: what holds. */
  readonly name: string;
  /** Throws an AssertionError, or what the store throws, where it does not hold. `edge`: a size around which the backend behaves differently. */
  run(open: () => Promise<OpenedStore>, edge: number): Promise<void>;
  /** It deletes: not for a place where nobody may. */
  readonly deletes?: boolean;
}

export const contractChecks: readonly ContractCheck[] = [
  {
    name: "an empty store knows that keys are missing",
    deletes: true,
    async run(open) {
      await using opened = await open();
      const { store } = opened;
      assert.equal(await store.get("20261121/x"), undefined);
      assert.equal(await store.stat("20261121/x"), undefined);
      assert.deepEqual(await listed(store, ""), []);
      await store.delete("20261121/x");
      await store.flush();
      assert.equal(await (await opened.reopen()).stat("20261121/x"), undefined);
    },
  },
  {
    name: "a finished put is visible at once, and after a flush to everyone",
    async run(open) {
      await using opened = await open();
      const { store } = opened;
      await store.put("20261121/a.json", bytesSource("one"));
      await store.put("holdfast.json", bytesSource("two"));
      const seen = [
        { key: "20261121/a.json", size: 3 },
        { key: "holdfast.json", size: 3 },
      ];
      assert.deepEqual(await listed(store, ""), seen);
      assert.deepEqual(await store.stat("20261121/a.json"), seen[0]);
      await store.flush();
      assert.deepEqual(await listed(store, ""), seen);
      const later = await opened.reopen();
      assert.deepEqual(await listed(later, ""), seen);
      assert.equal(await text(later, "holdfast.json"), "two");
    },
  },
  {
    name: "another store object that is open already sees what was flushed",
    async run(open) {
      await using opened = await open();
      const other = await opened.reopen();
      assert.deepEqual(await listed(other, ""), []);
      await opened.store.put("20261121/a", bytesSource("one"));
      await opened.store.flush();
      assert.equal(await text(other, "20261121/a"), "one");
      assert.equal((await listed(other, "")).length, 1);
    },
  },
  {
    name: "files of odd sizes come back byte for byte, before and after the flush",
    async run(open, edge) {
      await using opened = await open();
      const sizes = [0, 1, 2, edge - 1, edge, edge + 1, 2 * edge, 3 * edge + 7, 70_000];
      const files = new Map(sizes.map((size) => [`20261121/${size}`, randomBytes(size)]));
      for (const [key, bytes] of files) await opened.store.put(key, inChunks(bytes, 777));
      const expectAll = async (store: Store): Promise<void> => {
        for (const [key, bytes] of files) {
          assert.deepEqual(await store.stat(key), { key, size: bytes.length });
          assert.ok((await readAll(store, key))?.equals(bytes), `${key} has other bytes`);
        }
        assert.equal((await listed(store, "20261121/")).length, files.size);
      };
      await expectAll(opened.store);
      await opened.store.flush();
      await expectAll(opened.store);
      await expectAll(await opened.reopen());
    },
  },
  {
    name: "a range gives its bytes, none beyond the end",
    async run(open, edge) {
      await using opened = await open();
      const { store } = opened;
      const bytes = randomBytes(3 * edge + 7);
      await store.put("20261121/a", bytesSource(bytes));
      await store.put("20261121/empty", bytesSource(""));
      const offsets = [0, 1, edge - 1, edge, edge + 1, 2 * edge, bytes.length - 1, bytes.length, bytes.length + 5];
      for (const offset of offsets) {
        for (const length of [0, 1, 10, edge, edge + 1, bytes.length, bytes.length + 100]) {
          const given = await collect(await store.get("20261121/a", { range: { offset, length } }));
          assert.ok(given.equals(bytes.subarray(offset, offset + length)), `the range ${offset}+${length} has other bytes`);
        }
      }
      assert.equal((await collect(await store.get("20261121/empty", { range: { offset: 0, length: 5 } }))).length, 0);
      assert.equal(await store.get("20261121/none", { range: { offset: 0, length: 5 } }), undefined);
    },
  },
  {
    name: "the same key with the same bytes is done; with others it is refused, and the first stay",
    async run(open, edge) {
      await using opened = await open();
      const bytes = randomBytes(2 * edge + 1);
      const other = Buffer.from(bytes);
      other[other.length - 1] = (other.at(-1) ?? 0) ^ 1;
      const check = async (store: Store): Promise<void> => {
        await store.put("20261121/a", inChunks(bytes, 333));
        for (const wrong of [other, bytes.subarray(1), Buffer.concat([bytes, Buffer.of(0)]), Buffer.alloc(0)])
          await refused(store.put("20261121/a", bytesSource(wrong)));
        assert.ok((await readAll(store, "20261121/a"))?.equals(bytes), "the first bytes are gone");
      };
      await opened.store.put("20261121/a", bytesSource(bytes));
      await check(opened.store);
      await opened.store.flush();
      await check(opened.store);
      await check(await opened.reopen());
    },
  },
  {
    name: "a key that was deleted is gone, and may be put anew with other bytes",
    deletes: true,
    async run(open, edge) {
      await using opened = await open();
      const { store } = opened;
      await store.put("20261121/a", bytesSource("old"));
      await store.put("20261121/b", bytesSource(randomBytes(edge + 1)));
      await store.flush();
      await store.delete("20261121/a");
      await store.delete("20261121/b");
      await store.delete("20261121/b");
      assert.equal(await store.stat("20261121/a"), undefined);
      assert.equal(await store.get("20261121/b"), undefined);
      assert.deepEqual(await listed(store, ""), []);
      await store.put("20261121/a", bytesSource("newer"));
      await store.flush();
      const later = await opened.reopen();
      assert.equal(await text(later, "20261121/a"), "newer");
      assert.deepEqual(await listed(later, ""), [{ key: "20261121/a", size: 5 }]);
    },
  },
  {
    name: "a replaced key has the new bytes, whatever stood there; a source that breaks leaves the old ones",
    async run(open, edge) {
      await using opened = await open();
      const { store } = opened;
      const [old, fresh] = [randomBytes(2 * edge + 1), randomBytes(edge + 3)];
      await store.replace("RECOVERY.md", bytesSource("first"));
      await store.put("20261121/a", bytesSource(old));
      await store.flush();
      await refused(store.replace("20261121/a", { ...bytesSource(fresh), size: fresh.length + 1 }));
      assert.ok((await readAll(store, "20261121/a"))?.equals(old), "the old bytes are gone");
      await store.replace("20261121/a", bytesSource(fresh));
      await store.replace("RECOVERY.md", bytesSource("second"));
      assert.ok((await readAll(store, "20261121/a"))?.equals(fresh), "the old bytes are still there");
      await store.flush();
      const later = await opened.reopen();
      assert.ok((await readAll(later, "20261121/a"))?.equals(fresh), "the new bytes are gone after the flush");
      assert.equal(await text(later, "RECOVERY.md"), "second");
      assert.equal((await listed(later, "")).length, 2);
    },
  },
  {
    name: "a copied key has the bytes of the other, and stays when that one goes; it is never put over others",
    deletes: true,
    async run(open, edge) {
      await using opened = await open();
      const { store } = opened;
      const bytes = randomBytes(2 * edge + 7);
      await store.put("20261121/a.tar.zst", bytesSource(bytes));
      await store.put("20261121/small", bytesSource("small"));
      await store.flush();
      const later = await opened.reopen();
      await copyKey(later, "20261121/a.tar.zst", "trash/20261128/a.tar.zst");
      await copyKey(later, "20261121/a.tar.zst", "trash/20261128/a.tar.zst");
      await refused(copyKey(later, "20261121/small", "trash/20261128/a.tar.zst"));
      await refused(copyKey(later, "20261121/none", "trash/20261128/none"));
      await later.delete("20261121/a.tar.zst");
      assert.equal(await later.stat("20261121/a.tar.zst"), undefined);
      await later.flush();
      const last = await opened.reopen();
      assert.ok((await readAll(last, "trash/20261128/a.tar.zst"))?.equals(bytes), "the copy has other bytes");
      assert.deepEqual(await listed(last, ""), [
        { key: "20261121/small", size: 5 },
        { key: "trash/20261128/a.tar.zst", size: bytes.length },
      ]);
    },
  },
  {
    name: "the folders at the top are named, each once",
    async run(open) {
      await using opened = await open();
      assert.deepEqual(await opened.store.folders(), []);
      for (const key of ["20261120/a", "20261121/a", "20261121/b", "trash/20261121/a", "RECOVERY.md"]) await opened.store.put(key, bytesSource(key));
      assert.deepEqual((await opened.store.folders()).sort(), ["20261120", "20261121", "trash"]);
      await opened.store.flush();
      assert.deepEqual((await (await opened.reopen()).folders()).sort(), ["20261120", "20261121", "trash"]);
    },
  },
  {
    name: "a list gives the keys that begin with its prefix, whole folder names or not",
    async run(open) {
      await using opened = await open();
      const keys = ["20261120/a", "20261121/a.json", "20261121/ab", "20261121/b", "trash/20261121/a", "RECOVERY.md"];
      for (const key of keys) await opened.store.put(key, bytesSource(key));
      for (const prefix of ["", "2026", "20261121", "20261121/", "20261121/a", "trash/", "trash/2", "none/", "R"]) {
        const given = (await listed(opened.store, prefix)).map((entry) => entry.key);
        assert.deepEqual(given, keys.filter((key) => key.startsWith(prefix)).sort(), `the list of "${prefix}"`);
      }
    },
  },
  {
    name: "a source that breaks, or gives more or less than it announced, leaves no key",
    async run(open, edge) {
      await using opened = await open();
      const { store } = opened;
      const broken: Source = {
        size: 3 * edge,
        async *open() {
          yield Buffer.alloc(edge + 5);
          throw new Error("the disk is gone");
        },
      };
      await assert.rejects(store.put("20261121/a", broken), /the disk is gone/);
      for (const size of [0, 10, 2 * edge, 3 * edge - 1, 3 * edge + 1, 9 * edge])
        await refused(store.put("20261121/a", { ...bytesSource(randomBytes(3 * edge)), size }));
      assert.equal(await store.stat("20261121/a"), undefined);
      await store.flush();
      assert.deepEqual(await listed(await opened.reopen(), ""), []);
      await store.put("20261121/a", bytesSource("now it works"));
      assert.equal(await text(store, "20261121/a"), "now it works");
    },
  },
  {
    name: "bytes other than the source announced are refused, put or replaced: they changed on the way",
    async run(open, edge) {
      await using opened = await open();
      const { store } = opened;
      const bytes = randomBytes(2 * edge + 1);
      const changed = { ...bytesSource(bytes), sha256: "0".repeat(64) };
      await store.put("RECOVERY.md", bytesSource("first"));
      await refused(store.put("20261121/a", changed));
      await refused(store.replace("RECOVERY.md", changed));
      await store.put("20261121/b", { ...changed, sha256: createHash("sha256").update(bytes).digest("hex") });
      await store.flush();
      const later = await opened.reopen();
      assert.deepEqual(
        (await listed(later, "")).map(({ key }) => key),
        ["20261121/b", "RECOVERY.md"],
      );
      assert.equal(await text(later, "RECOVERY.md"), "first");
    },
  },
  {
    name: "an abort, before or amid a put, throws and leaves no key; the store goes on",
    async run(open, edge) {
      await using opened = await open();
      const { store } = opened;
      await assert.rejects(store.put("20261121/a", bytesSource("x"), { signal: AbortSignal.abort() }));
      const controller = new AbortController();
      const source: Source = {
        size: 5 * edge,
        async *open() {
          for (let part = 0; part < 5; part += 1) {
            yield randomBytes(edge);
            if (part === 2) controller.abort();
          }
        },
      };
      await assert.rejects(store.put("20261121/a", source, { signal: controller.signal }));
      assert.equal(await store.stat("20261121/a"), undefined);
      await store.put("20261121/b", bytesSource("b"));
      await store.flush();
      assert.deepEqual(await listed(await opened.reopen(), ""), [{ key: "20261121/b", size: 1 }]);
    },
  },
  {
    name: "an abort ends a read, and a reader may leave early",
    async run(open) {
      await using opened = await open();
      const { store } = opened;
      const bytes = randomBytes(4_000_000);
      await store.put("20261121/a", bytesSource(bytes));
      const controller = new AbortController();
      const reading = (async () => {
        for await (const _ of (await store.get("20261121/a", { signal: controller.signal })) ?? []) controller.abort();
      })();
      await assert.rejects(reading);
      for await (const chunk of (await store.get("20261121/a")) ?? []) {
        assert.ok(chunk.length > 0, "an empty piece");
        break;
      }
      assert.ok((await readAll(store, "20261121/a"))?.equals(bytes), "other bytes after an abort");
    },
  },
  {
    name: "puts side by side all arrive",
    async run(open, edge) {
      await using opened = await open();
      const keys = Array.from({ length: 12 }, (_, index) => `20261121/${String(index).padStart(2, "0")}`);
      await Promise.all(keys.map((key) => opened.store.put(key, bytesSource(key.repeat(Math.ceil(edge / 8))))));
      await opened.store.flush();
      const later = await opened.reopen();
      assert.deepEqual(
        (await listed(later, "")).map((entry) => entry.key),
        keys,
      );
      assert.equal(await text(later, "20261121/07"), "20261121/07".repeat(Math.ceil(edge / 8)));
    },
  },
];

async function refused(call: Promise<unknown>): Promise<void> {
  await assert.rejects(call, (error) => systemCode(error) === "store_failed");
}

async function text(store: Store, key: string): Promise<string | undefined> {
  return (await readAll(store, key))?.toString();
}

async function listed(store: Store, prefix: string): Promise<StoreEntry[]> {
  const entries: StoreEntry[] = [];
  for await (const { key, size } of store.list(prefix)) entries.push({ key, size });
  return entries.sort((a, b) => (a.key < b.key ? -1 : 1));
}

async function collect(stream: AsyncIterable<Uint8Array> | undefined): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream ?? []) chunks.push(Uint8Array.from(chunk));
  return Buffer.concat(chunks);
}

/** Chunks whose ends fall anywhere but on the backend's own edges. */
function inChunks(bytes: Buffer, size: number): Source {
  return {
    size: bytes.length,
    async *open() {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    },
  };
}
