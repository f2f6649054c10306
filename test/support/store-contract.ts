/**
 * What every store promises (src/stores/store.ts), as tests that each backend passes: the program's own checks
 * (src/stores/contract.ts), and heavier ones. Call it in a test file:
 * `storeContract("folder", async () => ({ store, reopen, [Symbol.asyncDispose] }))`.
 */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { contractChecks, type OpenedStore } from "../../src/stores/contract.ts";
import { bytesSource, readAll, type Source, type Store, type StoreEntry } from "../../src/stores/store.ts";
import { tempDir } from "./repo.ts";

export interface ContractTraits {
  /** The backend holds its files in memory, so a large one is no test of it. */
  readonly holdsAll?: boolean;
  /** How to open a store for the large file, where that differs. */
  readonly openLarge?: () => Promise<OpenedStore>;
  /** A size around which the backend behaves differently, in bytes. Default 1000. */
  readonly edge?: number;
  /** Runs of the property test. Default 12. */
  readonly runs?: number;
  /** Bytes that a large file may hold in memory on its way. Default 24 MiB. */
  readonly heldBytes?: number;
}

export function storeContract(
  name: string,
  open: () => Promise<OpenedStore>,
  { holdsAll = false, openLarge = open, edge = 1000, runs = 12, heldBytes = 24 * 1024 * 1024 }: ContractTraits = {},
): void {
  describe(`store contract: ${name}`, () => {
    for (const check of contractChecks) test(check.name, () => check.run(open, edge));

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
        expect(memory.peakBytes()).toBeLessThan(heldBytes);
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
