/** Reads a tar as it arrives, chunk by chunk, without holding a file in memory. Hostile input: every length is checked. */
import { Header } from "tar";
import type { EntryKind } from "../core/contents.ts";
import { BackupError } from "../core/errors.ts";
import { blockSize, type PaxFields, padded, parsePax } from "./tar-format.ts";

export interface TarMember {
  readonly path: string;
  readonly kind: EntryKind;
  readonly mode: number;
  /** Nanoseconds. */
  readonly mtime: string;
  readonly size: number;
  readonly target?: string;
}

export interface TarVisitor {
  member(member: TarMember): void;
  /** Pieces of the last member's bytes, in order; only valid during the call. */
  data(piece: Buffer): void;
  end(): void;
}

const paxLimit = 1 << 20;
/** Programs fill up their last record with zeros; a few bytes of zstd are gigabytes of them. */
const zeroLimit = 4096;

export class TarReader {
  readonly #visitor: TarVisitor;
  readonly #name: string;
  #pending = Buffer.alloc(0);
  #left = 0;
  #padding = 0;
  #pax: { fields: PaxFields } | { body: Buffer[]; size: number } | undefined;
  #zeroBlocks = 0;
  #isOpen = false;

  constructor(name: string, visitor: TarVisitor) {
    this.#name = name;
    this.#visitor = visitor;
  }

  write(chunk: Buffer): void {
    let buffer = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
    while (buffer.length > 0) {
      const used = this.#step(buffer);
      if (used === 0) break;
      buffer = buffer.subarray(used);
    }
    this.#pending = buffer.length === 0 ? Buffer.alloc(0) : Buffer.from(buffer);
  }

  /** Throws `damaged` when the archive ends before it should. */
  finish(): void {
    if (this.#isOpen || this.#left > 0 || this.#zeroBlocks < 2 || this.#pending.length > 0) throw this.#damaged("ends too early");
  }

  #step(buffer: Buffer): number {
    if (this.#left > 0) return this.#takeData(buffer);
    if (this.#padding > 0) {
      const used = Math.min(this.#padding, buffer.length);
      this.#padding -= used;
      return used;
    }
    if (this.#isOpen) this.#close();
    if (buffer.length < blockSize) return 0;
    this.#takeHeader(buffer.subarray(0, blockSize));
    return blockSize;
  }

  #takeData(buffer: Buffer): number {
    const piece = buffer.subarray(0, Math.min(this.#left, buffer.length));
    this.#left -= piece.length;
    if (this.#pax !== undefined && "body" in this.#pax) {
      this.#pax.body.push(Buffer.from(piece));
      if (this.#left === 0) this.#pax = { fields: this.#parsed(this.#pax.body) };
    } else {
      this.#visitor.data(piece);
    }
    if (this.#left === 0 && this.#padding === 0 && this.#isOpen) this.#close();
    return piece.length;
  }

  #takeHeader(block: Buffer): void {
    const header = this.#parseHeader(block);
    if (header.nullBlock) {
      this.#zeroBlocks += 1;
      if (this.#zeroBlocks > zeroLimit) throw this.#damaged("does not come to its end");
      return;
    }
    if (this.#zeroBlocks > 0) throw this.#damaged("goes on after its end");
    if (!header.cksumValid) throw this.#damaged("has a header with a wrong checksum");
    if (header.type === "ExtendedHeader") {
      const size = header.size ?? 0;
      if (size <= 0 || size > paxLimit || this.#pax !== undefined) throw this.#damaged("has a bad extended header");
      this.#pax = { body: [], size };
      this.#left = size;
      this.#padding = padded(size) - size;
      return;
    }
    this.#open(header);
  }

  /** The library throws its own errors for numbers that no number holds. */
  #parseHeader(block: Buffer): Header {
    try {
      return new Header(block, 0);
    } catch {
      throw this.#damaged("has a header that is not understood");
    }
  }

  #open(header: Header): void {
    const fields = this.#pax !== undefined && "fields" in this.#pax ? this.#pax.fields : {};
    this.#pax = undefined;
    const kind = kinds[header.type];
    const path = (fields.path ?? header.path ?? "").replace(/\/$/, "");
    const size = kind === "file" ? (fields.size ?? header.size ?? -1) : 0;
    if (kind === undefined) throw this.#damaged(`has a member of type ${header.type}`);
    if (path === "" || !Number.isSafeInteger(size) || size < 0) throw this.#damaged("has a member without a name or a size");
    const target = kind === "symlink" || kind === "hardlink" ? (fields.linkpath ?? header.linkpath ?? "") : undefined;
    this.#left = size;
    this.#padding = padded(size) - size;
    this.#isOpen = true;
    const millis = header.mtime?.getTime() ?? 0;
    const mtime = fields.mtime ?? String(BigInt(Number.isNaN(millis) ? 0 : millis) * 1_000_000n);
    this.#visitor.member({ path, kind, mode: (header.mode ?? 0) & 0o7777, mtime, size, ...(target === undefined ? {} : { target }) });
    if (size === 0) this.#close();
  }

  #close(): void {
    this.#isOpen = false;
    this.#visitor.end();
  }

  #parsed(body: Buffer[]): PaxFields {
    const fields = parsePax(Buffer.concat(body));
    if (fields === undefined) throw this.#damaged("has a bad extended header");
    return fields;
  }

  #damaged(how: string): BackupError {
    return new BackupError("damaged", `${this.#name} ${how}`);
  }
}

const kinds: Readonly<Record<string, EntryKind>> = {
  File: "file",
  OldFile: "file",
  SymbolicLink: "symlink",
  Link: "hardlink",
  Directory: "folder",
};
