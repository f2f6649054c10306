/**
 * pax tar, as POSIX.1-2017 has it (pubs.opengroup.org, utility "pax"): what GNU tar and bsdtar read.
 * The header blocks are the library's; the pax records are written and read here, because names are bytes
 * (docs of `tar`: its Pax takes and gives UTF-8 only).
 */
import { Header } from "tar";
import type { FileEntry } from "../core/contents.ts";
import { decodePath, pathBytes } from "../core/paths.ts";

export const blockSize = 512;

/**
 * One member's blocks before its bytes: a pax header with the exact name, time and size, then the member's own header.
 * The buffer is used again by the next call.
 */
export function writeHeader(member: Omit<FileEntry, "sha256">): Buffer {
  const path = pathBytes(member.kind === "folder" ? `${member.path}/` : member.path);
  const target = member.target === undefined ? undefined : pathBytes(member.target);
  const size = member.kind === "file" ? (member.size ?? 0) : 0;
  const records = [paxRecord("mtime", Buffer.from(decimalSeconds(member.mtime)))];
  if (!fitsPlain(path)) records.push(paxRecord("path", path));
  if (target !== undefined && !fitsPlain(target)) records.push(paxRecord("linkpath", target));
  if (size >= largestPlainSize) records.push(paxRecord("size", Buffer.from(String(size))));
  const body = Buffer.concat(records);
  const length = blockSize + padded(body.length) + blockSize;
  if (length > scratch.length) scratch = Buffer.alloc(2 * length);
  const blocks = scratch.subarray(0, length).fill(0);
  paxHeader(body.length).copy(blocks, 0);
  body.copy(blocks, blockSize);
  writePlainHeader(blocks.subarray(-blockSize), member, {
    path: fitsPlain(path) ? path : Buffer.from("name-in-pax-header"),
    target: target === undefined || fitsPlain(target) ? target : Buffer.from("link-in-pax-header"),
    size,
  });
  return blocks;
}

export function padded(size: number): number {
  return Math.ceil(size / blockSize) * blockSize;
}

/** The two zero blocks at the end. */
export const endOfArchive = Buffer.alloc(2 * blockSize);

export interface PaxFields {
  path?: string;
  linkpath?: string;
  /** Nanoseconds. */
  mtime?: string;
  size?: number;
}

/** Reads the records `LENGTH KEY=VALUE\n`. Undefined when they are not well formed. */
export function parsePax(body: Buffer): PaxFields | undefined {
  const fields: PaxFields = {};
  let at = 0;
  while (at < body.length) {
    const space = body.indexOf(0x20, at);
    const length = decimal(body.toString("latin1", at, Math.max(at, space)));
    if (space === -1 || Number.isNaN(length) || length < 5 || at + length > body.length) return undefined;
    const equals = body.indexOf(0x3d, space);
    const end = at + length - 1;
    if (equals === -1 || equals >= end || body[end] !== 0x0a) return undefined;
    const value = body.subarray(equals + 1, end);
    switch (body.toString("latin1", space + 1, equals)) {
      case "path":
        fields.path = decodePath(value);
        break;
      case "linkpath":
        fields.linkpath = decodePath(value);
        break;
      case "mtime":
        fields.mtime = nanoseconds(value.toString("latin1"));
        break;
      case "size":
        fields.size = decimal(value.toString("latin1"));
        break;
      default: // other records say nothing that a restore needs
    }
    at += length;
  }
  return fields;
}

let scratch = Buffer.alloc(8 * blockSize);

const typeNames = { file: "File", symlink: "SymbolicLink", hardlink: "Link", folder: "Directory" } as const;

/** The library encodes ustar names as UTF-8; anything else, and anything long, goes into the pax header. */
function fitsPlain(path: Buffer): boolean {
  return path.length <= 99 && path.every((byte) => byte >= 0x20 && byte < 0x7f);
}

function paxRecord(key: string, value: Buffer): Buffer {
  const rest = key.length + value.length + 3;
  let length = rest + String(rest).length;
  if (String(length).length + rest !== length) length += 1;
  return Buffer.concat([Buffer.from(`${length} ${key}=`), value, Buffer.from("\n")]);
}

/** The nearest time that the plain header can say, in whole seconds; the exact one is in the pax header. */
function plainTime(nanos: string): Date {
  const seconds = Number(BigInt(nanos) / 1_000_000_000n);
  return new Date(Math.min(Math.max(0, seconds), 0o77777777777) * 1000);
}

const templates = new Map<string, Buffer>();

/**
 * The member's own header: the library's for its kind and mode, with name, size and time filled in.
 * (POSIX.1-2017, "ustar Interchange Format": name at 0, size at 124, mtime at 136, checksum at 148, linkname at 157.)
 */
function writePlainHeader(
  block: Buffer,
  member: Pick<FileEntry, "kind" | "mode" | "mtime">,
  plain: { path: Buffer; target: Buffer | undefined; size: number },
): void {
  const key = `${member.kind} ${member.mode}`;
  let template = templates.get(key);
  if (template === undefined) {
    template = Buffer.alloc(blockSize);
    new Header({ path: "", mode: member.mode, uid: 0, gid: 0, size: 0, mtime: new Date(0), type: typeNames[member.kind] }).encode(template, 0);
    templates.set(key, template);
  }
  template.copy(block);
  plain.path.copy(block, 0);
  plain.target?.copy(block, 157);
  block.write(octal(Math.min(plain.size, largestPlainSize)), 124, 11, "latin1");
  block.write(octal(Math.floor(plainTime(member.mtime).getTime() / 1000)), 136, 11, "latin1");
  block.fill(0x20, 148, 156);
  let sum = 0;
  for (let at = 0; at < blockSize; at += 1) sum += block[at] as number;
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, 8, "latin1");
}

const largestPlainSize = 0o77777777777;

function octal(value: number): string {
  return value.toString(8).padStart(11, "0");
}

const paxHeaders = new Map<number, Buffer>();

/** The header of a pax header: always the same for a body of one length, and it is on the path of every file. */
function paxHeader(size: number): Buffer {
  const known = paxHeaders.get(size);
  if (known !== undefined) return known;
  const block = Buffer.alloc(blockSize);
  new Header({ path: "PaxHeader/member", mode: 0o644, uid: 0, gid: 0, size, mtime: new Date(0), type: "ExtendedHeader" }).encode(block, 0);
  paxHeaders.set(size, block);
  return block;
}

function decimalSeconds(nanos: string): string {
  const value = BigInt(nanos);
  const seconds = value / 1_000_000_000n - (value < 0n && value % 1_000_000_000n !== 0n ? 1n : 0n);
  const fraction = value - seconds * 1_000_000_000n;
  // POSIX writes the decimal form of a negative time as a negative number: -1.5, not -2 + 0.5.
  if (seconds < 0n && fraction > 0n) return `-${-(seconds + 1n)}.${(1_000_000_000n - fraction).toString().padStart(9, "0")}`;
  return `${seconds}.${fraction.toString().padStart(9, "0")}`;
}

/** NaN for anything but digits, and for more than a number holds exactly. */
function decimal(text: string): number {
  return /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN;
}

/** Eleven digits of seconds: the nanoseconds fit where a time is kept, in 64 bits. */
function nanoseconds(seconds: string): string {
  const match = /^(-?)(\d{1,11})(?:\.(\d{1,9})\d*)?$/.exec(seconds);
  if (match === null) return "0";
  const value = BigInt(match[2] ?? "0") * 1_000_000_000n + BigInt((match[3] ?? "").padEnd(9, "0"));
  return String(match[1] === "-" ? -value : value);
}
