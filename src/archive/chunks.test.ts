import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Chunker, type ChunkList, chunkBits, chunkSum, patchSteps } from "./chunks.ts";

const bits = 12;

/** Looks random, and is the same on every machine. */
function noise(size: number, seed: string | number): Buffer {
  const blocks: Buffer[] = [];
  for (let index = 0; index * 32 < size; index += 1) blocks.push(createHash("sha256").update(`${seed} ${index}`).digest());
  return Buffer.concat(blocks).subarray(0, size);
}

function cut(bytes: Buffer, sizes: readonly number[] = [bytes.length], of = bits): ChunkList {
  const chunker = new Chunker(of);
  for (let at = 0, index = 0; at < bytes.length; index += 1) {
    const size = Math.max(1, sizes[index % sizes.length] ?? 1);
    const piece = Buffer.from(bytes.subarray(at, at + size));
    chunker.write(piece);
    piece.fill(0xee); // the chunker must not look at it any more
    at += size;
  }
  return chunker.finish();
}

function patched(base: Buffer, next: Buffer, steps: ReturnType<typeof patchSteps>): Buffer {
  return Buffer.concat(steps.map(({ from, offset, length }) => (from === "base" ? base : next).subarray(offset, offset + length)));
}

const text = noise(200_000, "text");
const zeros = Buffer.alloc(120_000);

describe("chunks", () => {
  test("are all of the file, each with its sum", () => {
    const { lengths, sums } = cut(text);
    expect(lengths.reduce((sum, length) => sum + length, 0)).toBe(text.length);
    expect(sums[0]).toBe(chunkSum(text.subarray(0, lengths[0])));
    expect(sums[0]).toMatch(/^[0-9a-f]{40}$/);
    expect(cut(Buffer.alloc(0))).toEqual({ bits, lengths: [], sums: [] });
  });

  test("keep their bounds, whatever the content; the last one may be short", () => {
    for (const bytes of [text, zeros, Buffer.alloc(50_000, 0xff)]) {
      const { lengths } = cut(bytes);
      for (const length of lengths.slice(0, -1)) expect(length).toBeGreaterThan(1 << (bits - 2));
      for (const length of lengths) expect(length).toBeLessThanOrEqual(1 << (bits + 2));
    }
  });

  test("are about as large as the bits say", () => {
    for (const of of [12, 14]) {
      const bytes = noise(40 << of, of);
      const average = bytes.length / cut(bytes, [bytes.length], of).lengths.length;
      expect(average).toBeGreaterThan(0.6 * 2 ** of);
      expect(average).toBeLessThan(1.8 * 2 ** of);
    }
  });

  test("grow with the file, so that a list stays short", () => {
    expect([1, (4 << 20) - 1, 4 << 20, 64 << 20, 2 ** 30, 2 ** 40].map(chunkBits)).toEqual([12, 12, 14, 16, 20, 20]);
  });

  test("never change: the lists of older points must go on to match", () => {
    const { lengths, sums } = cut(text);
    expect(lengths.slice(0, 4)).toMatchInlineSnapshot(`
      [
        4557,
        1896,
        2485,
        2796,
      ]
    `);
    expect(sums[0]).toMatchInlineSnapshot(`"70ed1c95306ef3fbcfface9417fa9501bf7dc7ad"`);
  });

  test("property: do not depend on the sizes in which the bytes come", () => {
    const whole = cut(text);
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 30_000 }), { minLength: 1, maxLength: 6 }), (sizes) => {
        const average = sizes.reduce((sum, size) => sum + size, 0) / sizes.length;
        expect(cut(text, average < 300 ? [...sizes, 10_000] : sizes)).toEqual(whole);
      }),
      { numRuns: 20 },
    );
    expect(cut(text.subarray(0, 20_000), [1])).toEqual(cut(text.subarray(0, 20_000)));
  });

  test("property: move with the content when something is put before it", () => {
    const whole = cut(text);
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 5000 }), (prefix) => {
        const moved = cut(Buffer.concat([prefix, text]));
        const shared = moved.sums.filter((sum) => whole.sums.includes(sum)).length;
        expect(shared).toBeGreaterThanOrEqual(whole.sums.length - 6);
      }),
      { numRuns: 15 },
    );
  });
});

describe("patchSteps", () => {
  test("copies the whole of what did not change, in one step", () => {
    expect(patchSteps(cut(text), cut(text))).toEqual([{ from: "base", offset: 0, length: text.length }]);
    expect(patchSteps(cut(Buffer.alloc(0)), cut(text))).toEqual([{ from: "data", offset: 0, length: text.length }]);
    expect(patchSteps(cut(text), cut(Buffer.alloc(0)))).toEqual([]);
  });

  test("takes little new for a little change, anywhere", () => {
    const next = Buffer.concat([text.subarray(0, 100_000), Buffer.from("a few words"), text.subarray(100_000)]);
    const steps = patchSteps(cut(text), cut(next));
    const fresh = steps.reduce((sum, { from, length }) => sum + (from === "data" ? length : 0), 0);
    expect(fresh).toBeLessThan(40_000);
    expect(patched(text, next, steps).equals(next)).toBe(true);
  });

  test("property: put together from the base and the new bytes, gives the next version", () => {
    const size = 60_000;
    const edit = fc.record({
      at: fc.nat(size),
      cut: fc.oneof(fc.nat(20), fc.nat(20_000)),
      put: fc.oneof(
        fc.uint8Array({ maxLength: 20 }),
        fc.nat(15_000).map((length) => noise(length, length)),
        fc.nat(20_000).map((length) => Buffer.alloc(length)),
      ),
    });
    const base = Buffer.concat([noise(40_000, "base"), Buffer.alloc(20_000)]);
    const list = cut(base);
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 4 }), fc.boolean(), (edits, turns) => {
        let next = turns ? Buffer.concat([base.subarray(30_000), base.subarray(0, 30_000)]) : base;
        for (const { at, cut: gone, put } of edits) next = Buffer.concat([next.subarray(0, at), put, next.subarray(at + gone)]);
        const steps = patchSteps(list, cut(next));
        expect(patched(base, next, steps).equals(next)).toBe(true);
        // Neighbours are joined: no two steps could be one.
        for (let index = 1; index < steps.length; index += 1) {
          const [before, step] = [steps[index - 1], steps[index]];
          const follows = before?.from === step?.from && (before?.offset ?? 0) + (before?.length ?? 0) === step?.offset;
          expect(follows).toBe(false);
        }
        for (const { from, offset, length } of steps) expect(offset + length).toBeLessThanOrEqual(from === "base" ? base.length : next.length);
      }),
      { numRuns: 60 },
    );
  });
});
