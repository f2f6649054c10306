import { describe, expect, test } from "vitest";
import { LimitedStore } from "./limited.ts";
import { MemoryStore } from "./memory.ts";
import { bytesSource, type CallOptions, readAll, type Source } from "./store.ts";

/** A clock that stands still but for sleeping: how long a put takes is what was slept. */
function fakeClock() {
  let time = 0;
  return {
    now: () => time,
    async sleep(ms: number) {
      const until = time + ms;
      await Promise.resolve();
      time = Math.max(time, until);
    },
    pass: (ms: number) => {
      time += ms;
    },
  };
}

describe("a limited store", () => {
  test("takes so many bytes a second, whatever the size of the chunks, and gives the same bytes back", async () => {
    const clock = fakeClock();
    const store = new LimitedStore(new MemoryStore("m"), 1_000_000, clock);
    const bytes = Buffer.alloc(3_000_000, 7);
    await store.put("20261121/one", bytesSource(bytes));
    expect(clock.now()).toBeCloseTo(3000, 5);
    await store.put("20261121/many", {
      size: bytes.length,
      async *open() {
        for (let at = 0; at < bytes.length; at += 333) yield bytes.subarray(at, at + 333);
      },
    });
    expect(clock.now()).toBeCloseTo(6000, 5);
    await store.replace("RECOVERY.md", bytesSource(bytes.subarray(0, 500_000)));
    expect(clock.now()).toBeCloseTo(6500, 5);
    expect((await readAll(store, "20261121/many"))?.equals(bytes)).toBe(true);
  });

  test("saves nothing up while it rests: no second ever sees more than the limit", async () => {
    const clock = fakeClock();
    const store = new LimitedStore(new MemoryStore("m"), 1000, clock);
    clock.pass(3_600_000);
    const before = clock.now();
    await store.put("a", bytesSource(Buffer.alloc(5000)));
    expect(clock.now() - before).toBeCloseTo(5000, 5);
  });

  test("shares its limit among puts side by side", async () => {
    const clock = fakeClock();
    const store = new LimitedStore(new MemoryStore("m"), 100_000, clock);
    await Promise.all(["a", "b", "c", "d"].map((key) => store.put(key, bytesSource(Buffer.alloc(50_000)))));
    expect(clock.now()).toBeCloseTo(2000, 5);
  });

  test("an abort ends the wait at once, with its reason, and nothing is put", async () => {
    const inner = new MemoryStore("m");
    const store = new LimitedStore(inner, 10);
    const controller = new AbortController();
    const putting = store.put("a", bytesSource(Buffer.alloc(1_000_000)), { signal: controller.signal });
    setImmediate(() => controller.abort(new Error("enough")));
    await expect(putting).rejects.toThrow("enough");
    expect(await inner.stat("a")).toBeUndefined();
  });

  test("never hands a file on to be renamed, and keeps the sum that the source announces", async () => {
    const seen: Source[] = [];
    const inner = new MemoryStore("m");
    inner.put = async (_key: string, source: Source, _options?: CallOptions) => void seen.push(source);
    await new LimitedStore(inner, 10, fakeClock()).put("a", { ...bytesSource("x"), file: "/nowhere", sha256: "ab" });
    expect(seen).toMatchObject([{ size: 1, sha256: "ab" }]);
    expect(seen[0]).not.toHaveProperty("file");
  });

  test("clears leftovers where the store under it does, and is asked for its decryptor there", async () => {
    await new LimitedStore(new MemoryStore("m"), 10).clearLeftovers(new Date(5));
    const cleared: Date[] = [];
    const tidy = Object.assign(new MemoryStore("m"), { clearLeftovers: async (now: Date) => void cleared.push(now) });
    const limited = new LimitedStore(tidy, 10);
    await limited.clearLeftovers(new Date(5));
    expect(cleared).toEqual([new Date(5)]);
    const decryptor = { decrypt: (stored: AsyncIterable<Uint8Array>) => stored };
    limited.decryptor = decryptor;
    expect([tidy.decryptor, limited.decryptor]).toEqual([decryptor, decryptor]);
  });
});
