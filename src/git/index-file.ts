/** The index as a file: read where there is no git to list it, and written for a checkout without one. sha1 only. (gitformat-index(5)) */
import { createHash } from "node:crypto";
import { type BigIntStats, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { BackupError, systemCode } from "../core/errors.ts";
import { decodePath, pathBytes } from "../core/paths.ts";
import type { IndexEntry } from "./index-entries.ts";

interface RawEntry {
  /** Empty in a split index where the entry takes the place of one in the shared index. */
  readonly path: Buffer;
  readonly mode: number;
  readonly oid: string;
  readonly flags: number;
  /** skip-worktree, intent-to-add; of version 3 and newer. */
  readonly more: number;
}

/** Entries of the index at `file`, those of its shared index included; folders of a sparse index are left out: they are not checked out. Throws `damaged`. */
export function readIndexFile(file: string): IndexEntry[] {
  try {
    return listEntries(file);
  } catch (error) {
    // Read beyond its end, as some length in it is not true; or its shared index is not there.
    if (error instanceof RangeError || systemCode(error) === "ENOENT")
      throw new BackupError("damaged", `the index ${file} cannot be read`, { cause: error });
    throw error;
  }
}

function listEntries(file: string): IndexEntry[] {
  const { entries, link } = parse(readFileSync(file), file);
  const all = link === undefined ? entries : merge(parse(readFileSync(join(dirname(file), `sharedindex.${link.base}`)), file).entries, entries, link);
  return all
    .filter(({ mode }) => mode !== sparseFolder)
    .map((entry) => ({
      path: decodePath(entry.path),
      mode: entry.mode.toString(8).padStart(6, "0"),
      oid: entry.oid,
      stage: (entry.flags >> 12) & 3,
      tag: tagOf(entry),
    }));
}

/** As `git ls-files -v` shows it. */
function tagOf({ flags, more }: RawEntry): string {
  const tag = ((flags >> 12) & 3) > 0 ? "M" : (more & skipWorktree) !== 0 ? "S" : "H";
  return (flags & 0x8000) === 0 ? tag : tag.toLowerCase();
}

const sparseFolder = 0o040000;
const skipWorktree = 0x4000;
const idSize = 20;

interface Link {
  readonly base: string;
  readonly deleted: ReadonlySet<number>;
  readonly replaced: readonly number[];
}

interface Parsed {
  readonly entries: RawEntry[];
  /** Undefined: it stands alone. */
  readonly link: Link | undefined;
}

function parse(bytes: Buffer, file: string): Parsed {
  const broken = (): BackupError => new BackupError("damaged", `the index ${file} cannot be read`);
  const version = bytes.length < 12 + idSize || bytes.toString("latin1", 0, 4) !== "DIRC" ? 0 : bytes.readUInt32BE(4);
  if (version < 2 || version > 4) throw broken();
  const entries: RawEntry[] = [];
  let at = 12;
  let previous = Buffer.alloc(0);
  const end = bytes.length - idSize;
  for (let left = bytes.readUInt32BE(8); left > 0; left -= 1) {
    const start = at;
    if (at + 62 > end) throw broken();
    const flags = bytes.readUInt16BE(at + 60);
    const isExtended = version > 2 && (flags & 0x4000) !== 0;
    const more = isExtended ? bytes.readUInt16BE(at + 62) : 0;
    const head = { mode: bytes.readUInt32BE(at + 24), oid: bytes.toString("hex", at + 40, at + 60), flags, more };
    at += isExtended ? 64 : 62;
    let kept = Buffer.alloc(0);
    if (version === 4) {
      const [drop, next] = readOffset(bytes, at);
      if (drop > previous.length) throw broken();
      kept = previous.subarray(0, previous.length - drop);
      at = next;
    }
    const stop = bytes.indexOf(0, at);
    if (stop === -1 || stop >= end) throw broken();
    const path = Buffer.concat([kept, bytes.subarray(at, stop)]);
    at = version === 4 ? stop + 1 : start + ((stop - start + 8) & ~7);
    entries.push({ path, ...head });
    previous = path;
  }
  while (at + 8 <= end) {
    const size = bytes.readUInt32BE(at + 4);
    const name = bytes.toString("latin1", at, at + 4);
    const data = bytes.subarray(at + 8, at + 8 + size);
    if (at + 8 + size > end) throw broken();
    if (name === "link") return { entries, link: parseLink(data) };
    // Extensions that a reader must understand begin with a small letter.
    if (/^[a-z]/.test(name) && name !== "sdir") throw broken();
    at += 8 + size;
  }
  return { entries, link: undefined };
}

/** A number whose every further byte also counts one more: the offsets of packs, and the prefixes of version 4. */
function readOffset(bytes: Buffer, start: number): [value: number, next: number] {
  let at = start;
  let byte = bytes[at++] ?? 0;
  let value = byte & 0x7f;
  while ((byte & 0x80) !== 0) {
    byte = bytes[at++] ?? 0;
    value = (value + 1) * 128 + (byte & 0x7f);
  }
  return [value, at];
}

function parseLink(data: Buffer): Link | undefined {
  const base = data.toString("hex", 0, idSize);
  if (/^0*$/.test(base)) return undefined;
  if (data.length === idSize) return { base, deleted: new Set(), replaced: [] };
  const deleted = readBitmap(data, idSize);
  return { base, deleted: new Set(deleted.bits), replaced: readBitmap(data, deleted.next).bits };
}

const mostEntries = 1 << 24;

/** Positions of the set bits of an EWAH bitmap. (gitformat-bitmap(5), appendix A) */
function readBitmap(data: Buffer, start: number): { bits: number[]; next: number } {
  const words = data.readUInt32BE(start + 4);
  const bits: number[] = [];
  let position = 0;
  const word = (index: number): bigint => data.readBigUInt64BE(start + 8 + index * 8);
  for (let index = 0; index < words; ) {
    const marker = word(index++);
    const run = Number((marker >> 1n) & 0xffffffffn) * 64;
    if (position + run > mostEntries) throw new RangeError("a bitmap of more entries than any index has");
    if ((marker & 1n) === 1n) for (let bit = 0; bit < run; bit += 1) bits.push(position + bit);
    position += run;
    for (let literals = Number(marker >> 33n); literals > 0; literals -= 1, position += 64) {
      const literal = word(index++);
      for (let bit = 0; bit < 64; bit += 1) if (((literal >> BigInt(bit)) & 1n) === 1n) bits.push(position + bit);
    }
  }
  return { bits, next: start + 8 + words * 8 + 4 };
}

/** The first entries of a split index take the places that are said to be replaced, under the names that stand there. */
function merge(shared: readonly RawEntry[], own: readonly RawEntry[], { deleted, replaced }: Link): RawEntry[] {
  const places = new Map(replaced.map((place, at) => [place, own[at]]));
  const kept = shared.flatMap((entry, at) => {
    if (deleted.has(at)) return [];
    const other = places.get(at);
    return [other === undefined ? entry : { ...other, path: entry.path }];
  });
  return [...kept, ...own.slice(replaced.length)].sort((a, b) => Buffer.compare(a.path, b.path) || (a.flags & 0x3000) - (b.flags & 0x3000));
}

export interface NewIndexEntry {
  readonly path: string;
  /** As a tree says: 100644, 100755, 120000, 160000. */
  readonly mode: string;
  readonly oid: string;
  /** Of the file as it was written; git then need not read it again. */
  readonly stat: BigIntStats;
}

/** An index of version 2 over files that were just checked out. */
export function writeIndexFile(entries: readonly NewIndexEntry[]): Buffer {
  const sorted = entries.map((entry) => ({ ...entry, name: pathBytes(entry.path) })).sort((a, b) => Buffer.compare(a.name, b.name));
  const head = Buffer.alloc(12);
  head.write("DIRC", "latin1");
  head.writeUInt32BE(2, 4);
  head.writeUInt32BE(sorted.length, 8);
  const bytes = Buffer.concat([head, ...sorted.map(writeEntry)]);
  return Buffer.concat([bytes, createHash("sha1").update(bytes).digest()]);
}

function writeEntry({ name, mode, oid, stat }: NewIndexEntry & { readonly name: Buffer }): Buffer {
  const entry = Buffer.alloc((62 + name.length + 8) & ~7);
  const second = 1_000_000_000n;
  const isFile = mode !== "160000";
  const numbers = isFile
    ? [stat.ctimeNs / second, stat.ctimeNs % second, stat.mtimeNs / second, stat.mtimeNs % second, stat.dev, stat.ino]
    : [0n, 0n, 0n, 0n, 0n, 0n];
  const owner = isFile ? [stat.uid, stat.gid, stat.size] : [0n, 0n, 0n];
  for (const [at, number] of [...numbers, BigInt(Number.parseInt(mode, 8)), ...owner].entries())
    entry.writeUInt32BE(Number(BigInt.asUintN(32, number)), at * 4);
  entry.write(oid, 40, "hex");
  entry.writeUInt16BE(Math.min(name.length, 0xfff), 60);
  name.copy(entry, 62);
  return entry;
}
