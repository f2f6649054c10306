/**
 * The capture room. Words:
 *   observe   look at the repository and list what a point of this moment would hold; reads no contents
 *   known     what the last point held, as the machine remembers it (the state; it can be lost without harm)
 *   plan      observed against known: what must be read, what is gone, what stays as it is
 *   emit      write a file's bytes into the tarball
 */
import { type BigIntStats, constants, lstatSync } from "node:fs";
import type { EntryKind, LeftEntry, Problem } from "../core/contents.ts";
import { systemCode } from "../core/errors.ts";
import { encodePath } from "../core/paths.ts";

/** A file that belongs into the point. */
export interface ObservedFile {
  /** Entry path: see core/contents.ts. */
  readonly path: string;
  /** Where it stands on disk; absolute. "" for a virtual file. */
  readonly file: string;
  readonly kind: Exclude<EntryKind, "hardlink">;
  readonly stat: FileStat;
  /** Bytes that no file holds: facts for restore.sh that git has no file for. */
  readonly content?: Buffer;
}

export interface Finding {
  readonly left: LeftEntry[];
  readonly problems: Problem[];
}

/** What of a file's status matters here; Node's own object is five times as large, and there may be 100,000 of them. */
export type FileStat = Pick<
  BigIntStats,
  "size" | "mode" | "mtimeNs" | "ctimeNs" | "ino" | "dev" | "nlink" | "blocks" | "isFile" | "isDirectory" | "isSymbolicLink"
>;

/** The status of a path, or undefined when there is nothing (any more). */
export function statOf(path: string): FileStat | undefined {
  try {
    const stat = lstatSync(encodePath(path), { bigint: true, throwIfNoEntry: false });
    return stat === undefined ? undefined : new SmallStat(stat);
  } catch {
    // ENOTDIR (a parent became a file), EACCES: to the caller it is not there; reading reports what matters.
    return undefined;
  }
}

/** Why `statOf` gave nothing, where that is not simply that nothing is there: the system's code. */
export function whyHidden(path: string): string | undefined {
  try {
    lstatSync(encodePath(path));
    return undefined;
  } catch (error) {
    const code = systemCode(error);
    return code === "ENOENT" || code === "ENOTDIR" ? undefined : (code ?? "unknown");
  }
}

class SmallStat implements FileStat {
  readonly size: bigint;
  readonly mode: bigint;
  readonly mtimeNs: bigint;
  readonly ctimeNs: bigint;
  readonly ino: bigint;
  readonly dev: bigint;
  readonly nlink: bigint;
  readonly blocks: bigint;

  constructor(stat: FileStat) {
    this.size = stat.size;
    this.mode = stat.mode;
    this.mtimeNs = stat.mtimeNs;
    this.ctimeNs = stat.ctimeNs;
    this.ino = stat.ino;
    this.dev = stat.dev;
    this.nlink = stat.nlink;
    this.blocks = stat.blocks;
  }

  isFile(): boolean {
    return (Number(this.mode) & constants.S_IFMT) === constants.S_IFREG;
  }

  isDirectory(): boolean {
    return (Number(this.mode) & constants.S_IFMT) === constants.S_IFDIR;
  }

  isSymbolicLink(): boolean {
    return (Number(this.mode) & constants.S_IFMT) === constants.S_IFLNK;
  }
}

/** Undefined for sockets, fifos and devices. */
export function kindOf(stat: FileStat): ObservedFile["kind"] | undefined {
  if (stat.isFile()) return "file";
  if (stat.isSymbolicLink()) return "symlink";
  return stat.isDirectory() ? "folder" : undefined;
}

export function modeOf(stat: FileStat): number {
  return Number(stat.mode) & 0o7777;
}
