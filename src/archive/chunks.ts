/**
 * Content-defined chunks of large files, so that a file that changed a little costs a little: a boundary stands
 * where a rolling "gear" sum of the last 32 bytes has zeros under a mask, so it moves with the content
 * (FastCDC, Xia et al., USENIX ATC 2016). Chunks never reach a store: they only tell which ranges of the new
 * version stood in the old one.
 */
import { hash } from "node:crypto";

/** Files of this size and more are stored as changes to their last version. */
export const patchThreshold = 64 * 1024;

export interface ChunkList {
  /** Average chunk size as a power of two; kept for the life of a file, or no chunk would match again. */
  readonly bits: number;
  readonly lengths: readonly number[];
  /** The first 20 bytes of each chunk's sha256, hexadecimal. */
  readonly sums: readonly string[];
}

/** A range of the new version: copied from the old one, or new bytes. Offsets and lengths in bytes. */
export type PatchStep =
  | { readonly from: "base"; readonly offset: number; readonly length: number }
  | { readonly from: "data"; readonly offset: number; readonly length: number };

export function chunkBits(size: number): number {
  return size < 4 << 20 ? 12 : size < 64 << 20 ? 14 : size < 2 ** 30 ? 16 : 20;
}

/** Cuts a file as its bytes arrive. */
export class Chunker {
  readonly #bits: number;
  readonly #min: number;
  readonly #max: number;
  readonly #mask: number;
  readonly #lengths: number[] = [];
  readonly #sums: string[] = [];
  #rest: Buffer = Buffer.alloc(0);

  constructor(bits: number) {
    this.#bits = bits;
    this.#min = 1 << (bits - 2);
    this.#max = 1 << (bits + 2);
    // The sum's high bits depend on the most bytes.
    this.#mask = ((1 << bits) - 1) << (31 - bits);
  }

  /** The bytes are read before the call returns. */
  write(bytes: Buffer): void {
    const buffer = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let start = 0;
    while (buffer.length - start >= this.#max) {
      const end = this.#cut(buffer, start);
      this.#add(buffer.subarray(start, end));
      start = end;
    }
    this.#rest = Buffer.from(buffer.subarray(start));
  }

  finish(): ChunkList {
    let start = 0;
    while (start < this.#rest.length) {
      const end = this.#cut(this.#rest, start);
      this.#add(this.#rest.subarray(start, end));
      start = end;
    }
    return { bits: this.#bits, lengths: this.#lengths, sums: this.#sums };
  }

  #add(chunk: Buffer): void {
    this.#lengths.push(chunk.length);
    this.#sums.push(chunkSum(chunk));
  }

  #cut(buffer: Buffer, start: number): number {
    const end = Math.min(start + this.#max, buffer.length);
    const first = start + this.#min;
    if (first >= end) return end;
    const mask = this.#mask;
    let sum = 0;
    for (let i = Math.max(start, first - 32); i < first; i += 1) sum = ((sum << 1) + (gear[buffer[i] as number] as number)) | 0;
    for (let i = first; i < end; i += 1) {
      sum = ((sum << 1) + (gear[buffer[i] as number] as number)) | 0;
      if ((sum & mask) === 0) return i + 1;
    }
    return end;
  }
}

export function chunkSum(chunk: Buffer): string {
  return hash("sha256", chunk, "hex").slice(0, 40);
}

/** How `next` is put together from `base`; neighbours are joined. Pure. */
export function patchSteps(base: ChunkList, next: ChunkList): PatchStep[] {
  const known = new Map<string, number>();
  let at = 0;
  base.sums.forEach((sum, index) => {
    known.set(sum, at);
    at += base.lengths[index] ?? 0;
  });
  const steps: PatchStep[] = [];
  let offset = 0;
  next.sums.forEach((sum, index) => {
    const length = next.lengths[index] ?? 0;
    const found = known.get(sum);
    const last = steps.at(-1);
    if (found === undefined) {
      if (last?.from === "data") steps[steps.length - 1] = { ...last, length: last.length + length };
      else steps.push({ from: "data", offset, length });
    } else if (last?.from === "base" && last.offset + last.length === found) {
      steps[steps.length - 1] = { ...last, length: last.length + length };
    } else {
      steps.push({ from: "base", offset: found, length });
    }
    offset += length;
  });
  return steps;
}

/** 256 numbers from a fixed seed (splitmix-like); they only have to look random and never change. */
const gear = Int32Array.from({ length: 256 }, (_, index) => {
  let x = Math.imul(index + 1, 0x9e3779b9);
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return x ^ (x >>> 16);
});
