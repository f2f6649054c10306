/**
 * The tree of a backup branch as files: which blobs make a key, and how two machines' trees become one. No git, no disk.
 */
import { createHash, type Hash } from "node:crypto";
import { BackupError } from "../core/errors.ts";
import { isContained, splitPaths } from "../core/paths.ts";
import { refuseOther, type Source } from "./store.ts";

export interface BranchFile {
  /** Null: the bytes are on the remote only, and nothing here tells how many. */
  readonly size: number | null;
  /** In order; one with the key's own path, or several `KEY.part001`, `KEY.part002`, …. */
  readonly parts: readonly BranchPart[];
}

export interface BranchPart {
  readonly path: string;
  readonly oid: string;
  /** Null: the blob is not on this machine. */
  readonly size: number | null;
}

export type BranchFiles = ReadonlyMap<string, BranchFile>;

/** What to make of a tree: null deletes the key. */
export type Changes = ReadonlyMap<string, BranchFile | null>;

/** Paths that begin so are no keys: what is on its way. */
const hiddenPrefix = ".holdfast-";

/** Where a part lies in the tree while the rest of its file is not yet on the remote. */
export function earlyPath(path: string): string {
  return `${hiddenPrefix}parts/${path}`;
}

const partSuffix = /\.part(\d{3})$/;
const mostParts = 999;

/** The paths of a new file. Throws RangeError for a key or a size that parts cannot say. */
export function partPaths(key: string, size: number, partSize: number): string[] {
  if (key.startsWith(hiddenPrefix)) throw new RangeError(`names that begin with ${hiddenPrefix} are for what is on its way`);
  if (partSuffix.test(key)) throw new RangeError("its name looks like a part of another file");
  if (size <= partSize) return [key];
  const count = Math.ceil(size / partSize);
  // Three digits, so that the shell's order of KEY.part* is the file's.
  if (count > mostParts) throw new RangeError(`it would need ${count} parts, ${mostParts} are the most; use a larger part size or another store`);
  return Array.from({ length: count }, (_, index) => `${key}.part${String(index + 1).padStart(3, "0")}`);
}

/**
 * Reads `git ls-tree -r -z`. Links, submodules and names that no store has are not seen: the branch may be anyone's.
 * `sizes` are those of the blobs that are on this machine, by oid.
 */
export function parseFiles(output: Buffer, sizes: ReadonlyMap<string, number>): Map<string, BranchFile> {
  const files = new Map<string, BranchFile>();
  const parted = new Map<string, BranchPart[]>();
  for (const { path, oid } of parseBlobs(output)) {
    const part = { path, oid, size: sizes.get(oid) ?? null };
    const suffix = partSuffix.exec(path);
    if (suffix === null) files.set(path, fileOf([part]));
    else parted.set(path.slice(0, suffix.index), [...(parted.get(path.slice(0, suffix.index)) ?? []), part]);
  }
  for (const [key, parts] of parted) {
    // A whole file wins over stray parts. A part that is missing in between shows in the size and the checksum.
    if (!files.has(key)) files.set(key, fileOf(parts));
  }
  return files;
}

export function parseBlobs(output: Buffer): { readonly path: string; readonly oid: string }[] {
  return splitPaths(output).flatMap((line) => {
    const [, oid = "", path = ""] = /^100(?:644|755) blob ([0-9a-f]+)\t(.+)$/s.exec(line) ?? [];
    return isContained(path) && !path.startsWith(hiddenPrefix) ? [{ path, oid }] : [];
  });
}

export function fileOf(parts: readonly BranchPart[]): BranchFile {
  return { size: parts.reduce<number | null>((sum, { size }) => (sum === null || size === null ? null : sum + size), 0), parts };
}

export function blobsOf(files: Iterable<BranchFile>): string[] {
  return [...files].flatMap(({ parts }) => parts.map(({ oid }) => oid));
}

export function pathsOf(file: BranchFile | undefined): string[] {
  return (file?.parts ?? []).map((part) => part.path);
}

/** The same bytes in the same parts. */
export function sameFile(a: BranchFile | undefined, b: BranchFile | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.parts.length === b.parts.length && a.parts.every((part, index) => part.oid === b.parts[index]?.oid && part.path === b.parts[index]?.path);
}

export interface Merge {
  /** What to change in `theirs`; null deletes. */
  readonly changes: ReadonlyMap<string, BranchFile | null>;
  /** Keys that both sides made, with other bytes. Theirs stay: they are published. */
  readonly conflicts: readonly string[];
}

/**
 * Brings our changes since `base` onto `theirs`. No key is lost: one is left out only when a side deleted it, and
 * `theirs` can have deleted only when it `hasGrown` from `base`.
 */
export function mergeFiles(base: BranchFiles, ours: BranchFiles, theirs: BranchFiles, hasGrown: boolean): Merge {
  const changes = new Map<string, BranchFile | null>();
  const conflicts: string[] = [];
  for (const [key, file] of ours) {
    const before = base.get(key);
    const there = theirs.get(key);
    if (sameFile(file, there)) continue;
    const isOurs = !sameFile(file, before);
    if (there === undefined) {
      if (isOurs || !hasGrown) changes.set(key, file);
    } else if (isOurs && before === undefined) conflicts.push(key);
    else if (isOurs) changes.set(key, file);
  }
  for (const [key, before] of base) {
    // Deleted here, and there still as we knew it. Replaced there meanwhile: the newer one stays.
    if (!ours.has(key) && sameFile(theirs.get(key), before)) changes.set(key, null);
  }
  return { changes, conflicts };
}

/**
 * Has `source` the bytes of these parts? The oid of a blob is a hash over its size and its bytes, so nothing of the
 * repository is read.
 */
export async function isMadeOf(
  parts: readonly { readonly oid: string; readonly size: number }[],
  source: Source,
  objectFormat: "sha1" | "sha256",
): Promise<boolean> {
  if (parts.reduce((sum, { size }) => sum + size, 0) !== source.size) return false;
  const reader = new PartReader("", source);
  try {
    for (const { oid, size } of parts) {
      const hash = createHash(objectFormat).update(`blob ${size}\0`);
      for await (const piece of reader.take(size)) hash.update(piece);
      if (hash.digest("hex") !== oid) return false;
    }
    await reader.expectEnd();
    return true;
  } finally {
    await reader[Symbol.asyncDispose]();
  }
}

/** Cuts one pass over a source into pieces. Throws `store_failed` where the source has not the length or the bytes that it announced. */
export class PartReader implements AsyncDisposable {
  readonly #key: string;
  readonly #source: Source;
  readonly #sum: Hash | undefined;
  readonly #signal: AbortSignal | undefined;
  readonly #iterator: AsyncIterator<Uint8Array>;
  #rest: Uint8Array = new Uint8Array(0);
  #takenBytes = 0;

  constructor(key: string, source: Source, signal?: AbortSignal | undefined) {
    this.#key = key;
    this.#source = source;
    this.#sum = source.sha256 === undefined ? undefined : createHash("sha256");
    this.#signal = signal;
    this.#iterator = source.open()[Symbol.asyncIterator]();
  }

  /** The next `size` bytes. */
  async *take(size: number): AsyncIterable<Uint8Array> {
    for (let left = size; left > 0; ) {
      if (this.#rest.length === 0 && !(await this.#more())) throw this.#wrongSize();
      const piece = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(piece.length);
      left -= piece.length;
      yield piece;
    }
  }

  async expectEnd(): Promise<void> {
    if (this.#rest.length > 0 || (await this.#more())) throw this.#wrongSize();
    if (this.#sum !== undefined) refuseOther(this.#key, this.#source, this.#sum.digest("hex"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#iterator.return?.();
  }

  async #more(): Promise<boolean> {
    for (;;) {
      this.#signal?.throwIfAborted();
      const next = await this.#iterator.next();
      this.#signal?.throwIfAborted();
      if (next.done === true) return false;
      this.#takenBytes += next.value.length;
      this.#sum?.update(next.value);
      this.#rest = next.value;
      if (next.value.length > 0) return true;
    }
  }

  #wrongSize(): BackupError {
    return new BackupError("store_failed", `${this.#key}: ${this.#takenBytes} bytes came, ${this.#source.size} were announced`);
  }
}
