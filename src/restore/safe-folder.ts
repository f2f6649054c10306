/** Makes folders and files below a root, and never through a symlink: what a store says must not lead out of the target. */
import {
  closeSync,
  constants,
  fchmodSync,
  ftruncateSync,
  futimesSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeSync,
} from "node:fs";
import { BackupError } from "../core/errors.ts";
import { encodePath, parentOf, pathBytes } from "../core/paths.ts";

export class SafeFolder {
  readonly root: string;
  readonly #checked = new Set<string>([""]);
  readonly #folderMode: number;

  /** `root` must exist and be ours. New folders are ours alone, until they get the mode that was captured; or as `folderMode` says. */
  constructor(root: string, folderMode = 0o700) {
    this.root = root;
    this.#folderMode = folderMode;
  }

  /** The path to hand to the file system. Throws `hostile` when a part of it above the last is not a real folder. */
  at(path: string): string | Buffer {
    this.folder(parentOf(path));
    return encodePath(`${this.root}/${path}`);
  }

  /** Makes the folder and those above it. */
  folder(path: string): void {
    if (this.#checked.has(path)) return;
    this.folder(parentOf(path));
    const full = encodePath(`${this.root}/${path}`);
    const stat = lstatSync(full, { throwIfNoEntry: false });
    if (stat === undefined) mkdirSync(full, { mode: this.#folderMode });
    else if (!stat.isDirectory())
      throw new BackupError("hostile", `${JSON.stringify(path)} should be a folder and is not: nothing is written through it`);
    this.#checked.add(path);
  }

  /** The path, where every folder above it is a real one; undefined where it is not to be touched, or not there. */
  find(path: string): string | Buffer | undefined {
    const parent = parentOf(path);
    if (!this.#checked.has(parent)) {
      const above = this.find(parent);
      if (above === undefined || lstatSync(above, { throwIfNoEntry: false })?.isDirectory() !== true) return undefined;
      this.#checked.add(parent);
    }
    const full = encodePath(`${this.root}/${path}`);
    return lstatSync(full, { throwIfNoEntry: false }) === undefined ? undefined : full;
  }

  /** A file that may be read: a real one, no link that leads elsewhere. Undefined for all else. */
  findFile(path: string): string | Buffer | undefined {
    const full = this.find(path);
    return full !== undefined && lstatSync(full).isFile() ? full : undefined;
  }

  exists(path: string): boolean {
    return lstatSync(encodePath(`${this.root}/${path}`), { throwIfNoEntry: false }) !== undefined;
  }

  /** Removes what stands at the path, so that it can be written anew. */
  clear(path: string): void {
    rmSync(this.at(path), { recursive: true, force: true });
    // All of them: where case or Unicode forms do not count, the folder is known under another spelling.
    this.#checked.clear();
    this.#checked.add("");
  }

  /** A new file, for writing; an old one at this path is removed first. */
  create(path: string): number {
    const full = this.at(path);
    try {
      return openSync(full, newFile, 0o600);
    } catch {
      this.clear(path);
      return openSync(this.at(path), newFile, 0o600);
    }
  }

  /** Renames a file of this root over another. */
  replace(from: string, to: string): void {
    renameSync(this.at(from), this.at(to));
  }

  symlink(path: string, target: string): void {
    if (this.exists(path)) this.clear(path);
    symlinkSync(pathBytes(target), this.at(path));
  }

  /** A hard link to another file that we made. */
  link(path: string, target: string | Buffer): void {
    if (this.exists(path)) this.clear(path);
    linkSync(target, this.at(path));
  }
}

/** Finishes an open file at `path`: mode and time, then closes it. */
export function settle(descriptor: number, path: string | Buffer, mode: number, mtimeNs: string): void {
  fchmodSync(descriptor, mode);
  const time = secondsOf(mtimeNs);
  futimesSync(descriptor, time, time);
  closeSync(descriptor);
  // `futimes` has no times before 1970.
  if (mtimeNs.startsWith("-")) lutimesSync(path, time, time);
}

export function touchLink(path: string | Buffer, mtimeNs: string): void {
  const time = secondsOf(mtimeNs);
  lutimesSync(path, time, time);
}

/**
 * Node takes seconds as a double, good to a quarter of a microsecond today; the middle of the microsecond survives
 * its rounding, so the restored time is right to the microsecond.
 */
export function secondsOf(mtimeNs: string): number | string {
  const micros = microsOf(BigInt(mtimeNs));
  const seconds = (Number(micros) + 0.5) / 1e6;
  // Before 1970: Node takes a negative number for "now", but not its text.
  return seconds < 0 ? String(seconds) : seconds;
}

/** Floored. */
export function microsOf(nanos: bigint): bigint {
  return nanos / 1000n - (nanos < 0n && nanos % 1000n !== 0n ? 1n : 0n);
}

/** Writes all of the bytes; where `holes` is set, runs of zeros are skipped, not written. */
export function writeAll(descriptor: number, bytes: Buffer, position: number, holes: boolean): void {
  if (!holes) {
    for (let at = 0; at < bytes.length; ) at += writeSync(descriptor, bytes, at, bytes.length - at, position + at);
    return;
  }
  for (let at = 0; at < bytes.length; at += holeSize) {
    const piece = bytes.subarray(at, at + holeSize);
    if (piece.some((byte) => byte !== 0)) writeAll(descriptor, piece, position + at, false);
  }
  ftruncateSync(descriptor, position + bytes.length);
}

const holeSize = 4096;
const newFile = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
