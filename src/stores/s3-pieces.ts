/** A source, cut into pieces, and the ETag that it has as an object. */
import { createHash } from "node:crypto";
import { BackupError } from "../core/errors.ts";
import { refuseOther, type Source } from "./store.ts";

/**
 * Pieces of `size` bytes, the last one shorter; of an empty source one empty piece. The last one comes only after the source
 * has ended as announced. Throws `store_failed` where it gives more, less or other bytes than that, and what the source throws.
 * `used`: pieces that the caller has done with, to be filled again.
 */
export async function* pieces(
  key: string,
  source: Source,
  size: number,
  signal?: AbortSignal | undefined,
  used: Buffer[] = [],
): AsyncGenerator<Buffer> {
  const empty = (length: number): Buffer => (used.pop() ?? Buffer.allocUnsafeSlow(Math.min(size, source.size))).subarray(0, length);
  let left = source.size;
  let piece = empty(Math.min(size, left));
  let filled = 0;
  const sum = source.sha256 === undefined ? undefined : createHash("sha256");
  for await (const chunk of source.open()) {
    signal?.throwIfAborted();
    sum?.update(chunk);
    if (chunk.length > left) throw new BackupError("store_failed", `${key}: more bytes came than the ${source.size} that were announced`);
    left -= chunk.length;
    for (let rest = chunk; rest.length > 0; ) {
      if (filled === piece.length) {
        yield piece;
        piece = empty(Math.min(size, left + rest.length));
        filled = 0;
      }
      const taken = Math.min(piece.length - filled, rest.length);
      piece.set(rest.subarray(0, taken), filled);
      filled += taken;
      rest = rest.subarray(taken);
    }
  }
  signal?.throwIfAborted();
  if (left > 0) throw new BackupError("store_failed", `${key}: ${source.size - left} bytes came, ${source.size} were announced`);
  if (sum !== undefined) refuseOther(key, source, sum.digest("hex"));
  yield piece;
}

export function md5(bytes: Uint8Array): Buffer {
  return createHash("md5").update(bytes).digest();
}

/** Of an object that came in parts: the MD5 of their MD5s, and how many. (Amazon S3 user guide, "Checking object integrity") */
export function etagOfParts(sums: readonly Buffer[]): string {
  return `${md5(Buffer.concat(sums)).toString("hex")}-${sums.length}`;
}

/** The ETag of the source as an object, in the form of `etag`: whole, or in parts of `partSize`. */
export async function etagLike(etag: string, key: string, source: Source, partSize: number, signal?: AbortSignal | undefined): Promise<string> {
  if (!etag.includes("-")) {
    const whole = createHash("md5");
    for await (const piece of pieces(key, source, partSize, signal)) whole.update(piece);
    return whole.digest("hex");
  }
  const sums: Buffer[] = [];
  for await (const piece of pieces(key, source, partSize, signal)) sums.push(md5(piece));
  return etagOfParts(sums);
}

/** Whether the source has these bytes. Reads both no further than to the first difference. */
export async function isSame(key: string, source: Source, stored: AsyncIterable<Uint8Array>): Promise<boolean> {
  const ours = pieces(key, source, 1 << 20);
  let piece: Buffer = Buffer.alloc(0);
  try {
    for await (const chunk of stored) {
      for (let rest = chunk; rest.length > 0; ) {
        if (piece.length === 0) piece = (await ours.next()).value ?? piece;
        const length = Math.min(piece.length, rest.length);
        if (length === 0 || !piece.subarray(0, length).equals(rest.subarray(0, length))) return false;
        piece = piece.subarray(length);
        rest = rest.subarray(length);
      }
    }
    return piece.length === 0 && ((await ours.next()).value ?? piece).length === 0;
  } finally {
    await ours.return(undefined);
  }
}
