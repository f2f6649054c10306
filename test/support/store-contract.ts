/**
 * What every store promises (src/stores/store.ts), as tests that each backend passes. Call it in a test file:
 * `storeContract("folder", async () => ({ store, reopen, [Symbol.asyncDispose] }))`.
 */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { bytesSource, copyKey, readAll, type Source, type Store, type StoreEntry } from "../../src/stores/store.ts";
import { tempDir } from "./repo.ts";

export interface OpenedStore extends AsyncDisposable {
  readonly store: Store;
  /** Another store object onto the same place, as a later process would open it. */
  reopen(): Promise<Store>;
}

export interface ContractTraits {
  /** The backend holds its files in memory, so a large one is no test of it. */
  readonly holdsAll?: boolean;
  /** How to open a store for the large file, where that differs. */
  readonly openLarge?: () => Promise<OpenedStore>;
  /** A size around which the backend behaves differently, in bytes. Default 1000. */
  readonly edge?: number;
  /** Runs of the property test. Default 12. */
  readonly runs?: number;
}

export function storeContract(
  name: string,
  open: () => Promise<OpenedStore>,
  { holdsAll = false, openLarge = open, edge = 1000, runs = 12 }: ContractTraits = {},
): void {
  describe(`store contract: ${name}`, () => {
    test("an empty store knows that keys are missing", async () => {
      await using opened = await open();
      const { store } = opened;
      expect(await store.get("20261121/x")).toBeUndefined();
      expect(await store.stat("20261121/x")).toBeUndefined();
      expect(await listed(store, "")).toEqual([]);
      await store.delete("20261121/x");
      await store.flush();
      expect(await (await opened.reopen()).stat("20261121/x")).toBeUndefined();
    });

    test("a finished put is visible at once, and after a flush to everyone", async () => {
      await using opened = await open();
      const { store } = opened;
      await store.put("20261121/a.json", bytesSource("one"));
      await store.put("holdfast.json", bytesSource("two"));
      const seen = [
        { key: "20261121/a.json", size: 3 },
        { key: "holdfast.json", size: 3 },
      ];
      expect(await listed(store, "")).toEqual(seen);
      expect(await store.stat("20261121/a.json")).toEqual(seen[0]);
      await store.flush();
      expect(await listed(store, "")).toEqual(seen);
      const later = await opened.reopen();
      expect(await listed(later, "")).toEqual(seen);
      expect((await readAll(later, "holdfast.json"))?.toString()).toBe("two");
    });

    test("another store object that is open already sees what was flushed", async () => {
      await using opened = await open();
      const other = await opened.reopen();
      expect(await listed(other, "")).toEqual([]);
      await opened.store.put("20261121/a", bytesSource("one"));
      await opened.store.flush();
      expect((await readAll(other, "20261121/a"))?.toString()).toBe("one");
      expect(await listed(other, "")).toHaveLength(1);
    });

    test("files of odd sizes come back byte for byte, before and after the flush", async () => {
      await using opened = await open();
      const sizes = [0, 1, 2, edge - 1, edge, edge + 1, 2 * edge, 3 * edge + 7, 70_000];
      const files = new Map(sizes.map((size) => [`20261121/${size}`, randomBytes(size)]));
      for (const [key, bytes] of files) await opened.store.put(key, inChunks(bytes, 777));
      const expectAll = async (store: Store): Promise<void> => {
        for (const [key, bytes] of files) {
          expect(await store.stat(key)).toEqual({ key, size: bytes.length });
          expect((await readAll(store, key))?.equals(bytes), key).toBe(true);
        }
        expect(await listed(store, "20261121/")).toHaveLength(files.size);
      };
      await expectAll(opened.store);
      await opened.store.flush();
      await expectAll(opened.store);
      await expectAll(await opened.reopen());
    });

    test("a range gives its bytes, none beyond the end", async () => {
      await using opened = await open();
      const { store } = opened;
      const bytes = randomBytes(3 * edge + 7);
      await store.put("20261121/a", bytesSource(bytes));
      await store.put("20261121/empty", bytesSource(""));
      const offsets = [0, 1, edge - 1, edge, edge + 1, 2 * edge, bytes.length - 1, bytes.length, bytes.length + 5];
      for (const offset of offsets) {
        for (const length of [0, 1, 10, edge, edge + 1, bytes.length, bytes.length + 100]) {
          const given = await collect(await store.get("20261121/a", { range: { offset, length } }));
          expect(given.equals(bytes.subarray(offset, offset + length)), `${offset}+${length}`).toBe(true);
        }
      }
      expect(await collect(await store.get("20261121/empty", { range: { offset: 0, length: 5 } }))).toHaveLength(0);
      expect(await store.get("20261121/none", { range: { offset: 0, length: 5 } })).toBeUndefined();
    });

    test("the same key with the same bytes is done; with others it is refused, and the first stay", async () => {
      await using opened = await open();
      const bytes = randomBytes(2 * edge + 1);
      const other = Buffer.from(bytes);
      other[other.length - 1] = (other.at(-1) ?? 0) ^ 1;
      const check = async (store: Store): Promise<void> => {
        await store.put("20261121/a", inChunks(bytes, 333));
        for (const wrong of [other, bytes.subarray(1), Buffer.concat([bytes, Buffer.of(0)]), Buffer.alloc(0)]) {
          await expect(store.put("20261121/a", bytesSource(wrong))).rejects.toMatchObject({ code: "store_failed" });
        }
        expect((await readAll(store, "20261121/a"))?.equals(bytes)).toBe(true);
      };
      await opened.store.put("20261121/a", bytesSource(bytes));
      await check(opened.store);
      await opened.store.flush();
      await check(opened.store);
      await check(await opened.reopen());
    });

    test("a key that was deleted is gone, and may be put anew with other bytes", async () => {
      await using opened = await open();
      const { store } = opened;
      await store.put("20261121/a", bytesSource("old"));
      await store.put("20261121/b", bytesSource(randomBytes(edge + 1)));
      await store.flush();
      await store.delete("20261121/a");
      await store.delete("20261121/b");
      await store.delete("20261121/b");
      expect(await store.stat("20261121/a")).toBeUndefined();
      expect(await store.get("20261121/b")).toBeUndefined();
      expect(await listed(store, "")).toEqual([]);
      await store.put("20261121/a", bytesSource("newer"));
      await store.flush();
      const later = await opened.reopen();
      expect((await readAll(later, "20261121/a"))?.toString()).toBe("newer");
      expect(await listed(later, "")).toEqual([{ key: "20261121/a", size: 5 }]);
    });

    test("a replaced key has the new bytes, whatever stood there; a source that breaks leaves the old ones", async () => {
      await using opened = await open();
      const { store } = opened;
      const [old, fresh] = [randomBytes(2 * edge + 1), randomBytes(edge + 3)];
      await store.replace("RECOVERY.md", bytesSource("first"));
      await store.put("20261121/a", bytesSource(old));
      await store.flush();
      await expect(store.replace("20261121/a", { ...bytesSource(fresh), size: fresh.length + 1 })).rejects.toMatchObject({ code: "store_failed" });
      expect((await readAll(store, "20261121/a"))?.equals(old)).toBe(true);
      await store.replace("20261121/a", bytesSource(fresh));
      await store.replace("RECOVERY.md", bytesSource("second"));
      expect((await readAll(store, "20261121/a"))?.equals(fresh)).toBe(true);
      await store.flush();
      const later = await opened.reopen();
      expect((await readAll(later, "20261121/a"))?.equals(fresh)).toBe(true);
      expect((await readAll(later, "RECOVERY.md"))?.toString()).toBe("second");
      expect(await listed(later, "")).toHaveLength(2);
    });

    test("a copied key has the bytes of the other, and stays when that one goes; it is never put over others", async () => {
      await using opened = await open();
      const { store } = opened;
      const bytes = randomBytes(2 * edge + 7);
      await store.put("20261121/a.tar.zst", bytesSource(bytes));
      await store.put("20261121/small", bytesSource("small"));
      await store.flush();
      const later = await opened.reopen();
      await copyKey(later, "20261121/a.tar.zst", "trash/20261128/a.tar.zst");
      await copyKey(later, "20261121/a.tar.zst", "trash/20261128/a.tar.zst");
      await expect(copyKey(later, "20261121/small", "trash/20261128/a.tar.zst")).rejects.toMatchObject({ code: "store_failed" });
      await expect(copyKey(later, "20261121/none", "trash/20261128/none")).rejects.toMatchObject({ code: "store_failed" });
      await later.delete("20261121/a.tar.zst");
      expect(await later.stat("20261121/a.tar.zst")).toBeUndefined();
      await later.flush();
      const last = await opened.reopen();
      expect((await readAll(last, "trash/20261128/a.tar.zst"))?.equals(bytes)).toBe(true);
      expect(await listed(last, "")).toEqual([
        { key: "20261121/small", size: 5 },
        { key: "trash/20261128/a.tar.zst", size: bytes.length },
      ]);
    });

    test("the folders at the top are named, each once", async () => {
      await using opened = await open();
      expect(await opened.store.folders()).toEqual([]);
      for (const key of ["20261120/a", "20261121/a", "20261121/b", "trash/20261121/a", "RECOVERY.md"]) await opened.store.put(key, bytesSource(key));
      expect((await opened.store.folders()).sort()).toEqual(["20261120", "20261121", "trash"]);
      await opened.store.flush();
      expect((await (await opened.reopen()).folders()).sort()).toEqual(["20261120", "20261121", "trash"]);
    });

    test("a list gives the keys that begin with its prefix, whole folder names or not", async () => {
      await using opened = await open();
      const keys = ["20261120/a", "20261121/a.json", "20261121/ab", "20261121/b", "trash/20261121/a", "RECOVERY.md"];
      for (const key of keys) await opened.store.put(key, bytesSource(key));
      for (const prefix of ["", "2026", "20261121", "20261121/", "20261121/a", "trash/", "trash/2", "none/", "R"]) {
        expect((await listed(opened.store, prefix)).map((entry) => entry.key)).toEqual(keys.filter((key) => key.startsWith(prefix)).sort());
      }
    });

    test("a source that breaks, or gives more or less than it announced, leaves no key", async () => {
      await using opened = await open();
      const { store } = opened;
      const broken: Source = {
        size: 3 * edge,
        async *open() {
          yield Buffer.alloc(edge + 5);
          throw new Error("the disk is gone");
        },
      };
      await expect(store.put("20261121/a", broken)).rejects.toThrow("the disk is gone");
      for (const size of [0, 10, 2 * edge, 3 * edge - 1, 3 * edge + 1, 9 * edge]) {
        await expect(store.put("20261121/a", { ...bytesSource(randomBytes(3 * edge)), size })).rejects.toMatchObject({ code: "store_failed" });
      }
      expect(await store.stat("20261121/a")).toBeUndefined();
      await store.flush();
      expect(await listed(await opened.reopen(), "")).toEqual([]);
      await store.put("20261121/a", bytesSource("now it works"));
      expect((await readAll(store, "20261121/a"))?.toString()).toBe("now it works");
    });

    test("an abort, before or amid a put, throws and leaves no key; the store goes on", async () => {
      await using opened = await open();
      const { store } = opened;
      await expect(store.put("20261121/a", bytesSource("x"), { signal: AbortSignal.abort() })).rejects.toThrow();
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
      await expect(store.put("20261121/a", source, { signal: controller.signal })).rejects.toThrow();
      expect(await store.stat("20261121/a")).toBeUndefined();
      await store.put("20261121/b", bytesSource("b"));
      await store.flush();
      expect(await listed(await opened.reopen(), "")).toEqual([{ key: "20261121/b", size: 1 }]);
    });

    test("an abort ends a read, and a reader may leave early", async () => {
      await using opened = await open();
      const { store } = opened;
      const bytes = randomBytes(4_000_000);
      await store.put("20261121/a", bytesSource(bytes));
      const controller = new AbortController();
      const reading = (async () => {
        for await (const _ of (await store.get("20261121/a", { signal: controller.signal })) ?? []) controller.abort();
      })();
      await expect(reading).rejects.toThrow();
      for await (const chunk of (await store.get("20261121/a")) ?? []) {
        expect(chunk.length).toBeGreaterThan(0);
        break;
      }
      expect((await readAll(store, "20261121/a"))?.equals(bytes)).toBe(true);
    });

    test("puts side by side all arrive", async () => {
      await using opened = await open();
      const keys = Array.from({ length: 12 }, (_, index) => `20261121/${String(index).padStart(2, "0")}`);
      await Promise.all(keys.map((key) => opened.store.put(key, bytesSource(key.repeat(edge)))));
      await opened.store.flush();
      const later = await opened.reopen();
      expect((await listed(later, "")).map((entry) => entry.key)).toEqual(keys);
      expect((await readAll(later, "20261121/07"))?.toString()).toBe("20261121/07".repeat(edge));
    });

    test("a source that is a file gives its bytes", async () => {
      await using opened = await open();
      using dir = tempDir();
      const bytes = randomBytes(2 * edge + 3);
      const file = join(dir.path, "spooled");
      writeFileSync(file, bytes);
      await opened.store.put("20261121/a", { ...bytesSource(bytes), file });
      await opened.store.flush();
      expect((await readAll(await opened.reopen(), "20261121/a"))?.equals(bytes)).toBe(true);
    });

    // A store in memory holds what it is given.
    if (!holdsAll) {
      test("64 MiB stream through in bounded memory", { timeout: 60_000 }, async () => {
        await using opened = await openLarge();
        const [chunks, chunkSize] = [64, 1 << 20];
        const seed = randomBytes(chunkSize);
        const memory = watchMemory();
        const source: Source = {
          size: chunks * chunkSize,
          async *open() {
            for (let index = 0; index < chunks; index += 1) {
              memory.look();
              const chunk = Buffer.from(seed);
              chunk.writeUInt32BE(index);
              yield chunk;
            }
          },
        };
        await opened.store.put("20261121/large", source);
        await opened.store.flush();
        let size = 0;
        for await (const chunk of (await (await opened.reopen()).get("20261121/large")) ?? []) {
          const before = Math.floor(size / chunkSize);
          size += chunk.length;
          if (Math.floor(size / chunkSize) !== before) memory.look();
        }
        expect(size).toBe(source.size);
        expect(memory.peakBytes()).toBeLessThan(24 * 1024 * 1024);
      });
    }

    test("property: whatever is put, deleted and flushed, the store is what a map would be", { timeout: 60_000 }, async () => {
      const key = fc.constantFrom("20261121/a", "20261121/b", "20261120/a", "holdfast.json");
      const action = fc.oneof(
        fc.record({ kind: fc.constant("put" as const), key, size: fc.constantFrom(0, 1, edge, 2 * edge + 1) }),
        fc.record({ kind: fc.constant("delete" as const), key }),
        fc.record({ kind: fc.constant("flush" as const) }),
        fc.record({ kind: fc.constant("reopen" as const) }),
      );
      const property = fc.asyncProperty(fc.array(action, { maxLength: 14 }), async (actions) => {
        await using opened = await open();
        let { store } = opened;
        const model = new Map<string, number>();
        for (const step of actions) {
          if (step.kind === "put") {
            const putting = store.put(step.key, bytesSource(Buffer.alloc(step.size, step.key)));
            const there = model.get(step.key);
            if (there !== undefined && there !== step.size) await expect(putting).rejects.toMatchObject({ code: "store_failed" });
            else await putting.then(() => model.set(step.key, step.size));
          } else if (step.kind === "delete") {
            await store.delete(step.key);
            model.delete(step.key);
          } else {
            await store.flush();
            if (step.kind === "reopen") store = await opened.reopen();
          }
          expect(await listed(store, "")).toEqual([...model].map(([name, size]) => ({ key: name, size })).sort(byKey));
        }
        for (const [name, size] of model) expect((await readAll(store, name))?.equals(Buffer.alloc(size, name))).toBe(true);
      });
      await fc.assert(property, { numRuns: runs });
    });
  });
}

async function listed(store: Store, prefix: string): Promise<StoreEntry[]> {
  const entries: StoreEntry[] = [];
  for await (const entry of store.list(prefix)) entries.push(entry);
  return entries.sort(byKey);
}

function byKey(a: StoreEntry, b: StoreEntry): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
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

/** Live bytes outside the JavaScript heap, above those at the start. Garbage is collected before each look. */
function watchMemory(): { look(): void; peakBytes(): number } {
  setFlagsFromString("--expose-gc");
  const collectGarbage = runInNewContext("gc") as () => void;
  collectGarbage();
  const start = process.memoryUsage().arrayBuffers;
  let peak = start;
  let looks = 0;
  return {
    look() {
      looks += 1;
      if (looks % 8 !== 0) return;
      collectGarbage();
      peak = Math.max(peak, process.memoryUsage().arrayBuffers);
    },
    peakBytes: () => peak - start,
  };
}
