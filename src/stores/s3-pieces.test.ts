import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { noise } from "../../test/support/noise.ts";
import { etagLike, isSame, pieces } from "./s3-pieces.ts";
import { partSizeFor } from "./s3-upload.ts";
import { bytesSource, type Source } from "./store.ts";

function chunked(bytes: Buffer, sizes: readonly number[], size = bytes.length): Source {
  return {
    size,
    async *open() {
      let at = 0;
      for (let turn = 0; at < bytes.length; turn += 1) {
        const length = sizes[turn % sizes.length] ?? 1;
        yield bytes.subarray(at, at + length);
        at += length;
      }
    },
  };
}

async function collect(source: Source, size: number): Promise<Buffer[]> {
  const all: Buffer[] = [];
  for await (const piece of pieces("a", source, size)) all.push(piece);
  return all;
}

const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 5 });

test("property: pieces are of one size but for the last, and together the source, however it comes", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), sizes, fc.integer({ min: 1, max: 60 }), async (array, chunks, size) => {
      const bytes = Buffer.from(array);
      const all = await collect(chunked(bytes, chunks), size);
      expect(Buffer.concat(all).equals(bytes)).toBe(true);
      expect(all).toHaveLength(Math.max(1, Math.ceil(bytes.length / size)));
      for (const piece of all.slice(0, -1)) expect(piece).toHaveLength(size);
    }),
  );
});

test.each([-1, 1, -10, 10])("a source that gives %i bytes more than announced never gives its last piece", async (more) => {
  const bytes = noise(100, 1);
  const seen: number[] = [];
  const read = (async () => {
    for await (const piece of pieces("a", chunked(bytes, [7], bytes.length - more), 30)) seen.push(piece.length);
  })();
  await expect(read).rejects.toMatchObject({ code: "store_failed", message: expect.stringMatching(/^a: .*announced/) });
  expect(seen.reduce((sum, length) => sum + length, 0)).toBeLessThan(bytes.length - more);
});

test("property: the same bytes are the same however they are cut, and no others are", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 100 }), sizes, sizes, fc.nat(), async (array, ours, theirs, at) => {
      const bytes = Buffer.from(array);
      const stored = (other: Buffer): AsyncIterable<Uint8Array> => chunked(other, theirs).open();
      expect(await isSame("a", chunked(bytes, ours), stored(bytes))).toBe(true);
      const longer = Buffer.concat([bytes, Buffer.of(1)]);
      expect(await isSame("a", chunked(bytes, ours), stored(longer))).toBe(false);
      expect(await isSame("a", chunked(longer, ours), stored(bytes))).toBe(false);
      if (bytes.length === 0) return;
      const flipped = Buffer.from(bytes);
      flipped[at % bytes.length] = (flipped[at % bytes.length] ?? 0) ^ 1;
      expect(await isSame("a", chunked(bytes, ours), stored(flipped))).toBe(false);
    }),
  );
});

test("an ETag is the MD5, or in parts that of the parts' sums", async () => {
  const bytes = noise(25, 2);
  const sum = (part: Buffer): Buffer => createHash("md5").update(part).digest();
  expect(await etagLike("d41d8cd98f00b204e9800998ecf8427e", "a", bytesSource(bytes), 10)).toBe(sum(bytes).toString("hex"));
  const parts = [bytes.subarray(0, 10), bytes.subarray(10, 20), bytes.subarray(20)].map(sum);
  expect(await etagLike("x-7", "a", bytesSource(bytes), 10)).toBe(`${sum(Buffer.concat(parts)).toString("hex")}-3`);
});

test("parts grow where there would be more than 10,000", () => {
  const mebibyte = 1 << 20;
  expect(partSizeFor(1024 * mebibyte, 8 * mebibyte)).toBe(8 * mebibyte);
  for (const size of [80_000 * mebibyte, 80_001 * mebibyte, 5 * 2 ** 40]) {
    const part = partSizeFor(size, 8 * mebibyte);
    expect(Math.ceil(size / part)).toBeLessThanOrEqual(10_000);
    expect(part % mebibyte).toBe(0);
  }
});
