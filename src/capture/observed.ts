/**
 * The capture room. Words:
 *   observe   look at the repository and list what a point of this moment would hold; reads no contents
 *   known     what the last point held, as the machine remembers it (the state; it can be lost without harm)
 *   plan      observed against known: what must be read, what is gone, what stays as it is
 *   emit      write a file's bytes into the tarball
 */
import { type BigIntStats, lstatSync } from "node:fs";
import type { EntryKind, LeftEntry, Problem } from "../core/contents.ts";
import { encodePath } from "../core/paths.ts";

/** A file that belongs into the point. */
export interface ObservedFile {
  /** Entry path: see core/contents.ts. */
  readonly path: string;
  /** Where it stands on disk; absolute. "" for a virtual file. */
  readonly file: string;
  readonly kind: Exclude<EntryKind, "hardlink">;
  readonly stat: BigIntStats;
  /** Bytes that no file holds: facts for restore.sh that git has no file for. */
  readonly content?: Buffer;
}

export interface Finding {
  readonly left: LeftEntry[];
  readonly problems: Problem[];
}

/** The status of a path, or undefined when there is nothing (any more). */
export function statOf(path: string): BigIntStats | undefined {
  try {
    return lstatSync(encodePath(path), { bigint: true, throwIfNoEntry: false });
  } catch {
    // ENOTDIR (a parent became a file), EACCES: to the caller it is not there; reading reports what matters.
    return undefined;
  }
}

/** Undefined for sockets, fifos and devices. */
export function kindOf(stat: BigIntStats): ObservedFile["kind"] | undefined {
  if (stat.isFile()) return "file";
  if (stat.isSymbolicLink()) return "symlink";
  return stat.isDirectory() ? "folder" : undefined;
}

export function modeOf(stat: BigIntStats): number {
  return Number(stat.mode) & 0o7777;
}
