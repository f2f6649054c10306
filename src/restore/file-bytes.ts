/** Reads files that may be larger than memory: piece by piece. */
import { createHash, hash } from "node:crypto";
import { type BigIntStats, closeSync, constants, openSync, readFileSync, readSync } from "node:fs";
import { encodePath } from "../core/paths.ts";

const pieceSize = 1 << 20;

/** Each of a mebibyte, but the last. It is overwritten by the next. */
export function* pieces(path: string, { size }: BigIntStats): Generator<Buffer> {
  if (size <= BigInt(pieceSize)) {
    yield readFileSync(encodePath(path));
    return;
  }
  const descriptor = openSync(encodePath(path), constants.O_RDONLY | constants.O_NOFOLLOW);
  const buffer = Buffer.allocUnsafe(pieceSize);
  try {
    for (let length = fill(descriptor, buffer); length > 0; length = fill(descriptor, buffer)) yield buffer.subarray(0, length);
  } finally {
    closeSync(descriptor);
  }
}

export function sumOf(path: string, stat: BigIntStats): string {
  if (stat.size <= BigInt(pieceSize)) return hash("sha256", readFileSync(encodePath(path)), "hex");
  const sum = createHash("sha256");
  for (const piece of pieces(path, stat)) sum.update(piece);
  return sum.digest("hex");
}

export function haveSameBytes(one: string, oneStat: BigIntStats, other: string, otherStat: BigIntStats): boolean {
  if (oneStat.size !== otherStat.size) return false;
  const others = pieces(other, otherStat);
  try {
    for (const piece of pieces(one, oneStat)) {
      const { value } = others.next();
      if (value?.equals(piece) !== true) return false;
    }
    return true;
  } finally {
    others.return(undefined);
  }
}

/** As many bytes as there are, up to the size of the buffer: one read may give fewer. */
function fill(descriptor: number, buffer: Buffer): number {
  let length = 0;
  while (length < buffer.length) {
    const count = readSync(descriptor, buffer, length, buffer.length - length, null);
    if (count === 0) break;
    length += count;
  }
  return length;
}
