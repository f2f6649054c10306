/**
 * Writes a point's tarball: files whole, large ones as patches to the base's version, deletions, and the modes and
 * times of what git gives back. The members and their order are described in docs/format.md.
 */

import { createHash, hash } from "node:crypto";
import { readlinkSync } from "node:fs";
import type { ArtifactWriter } from "../archive/artifact-file.ts";
import { Chunker, type ChunkList, chunkBits, chunkSum, type PatchStep, patchSteps, patchThreshold } from "../archive/chunks.ts";
import { endOfArchive, padded, writeHeader } from "../archive/tar-format.ts";
import { type FileEntry, type Problem, placeOf } from "../core/contents.ts";
import { systemCode } from "../core/errors.ts";
import { decodePath, encodePath, pathBytes, printablePath } from "../core/paths.ts";
import type { KnownFile } from "./known.ts";
import { type FileStat, modeOf, type ObservedFile } from "./observed.ts";
import { readPieces, readSteadily, readWhole } from "./read-file.ts";

/** How the base's version of a large file can be found. */
export interface PatchBase {
  readonly sha256: string;
  readonly chunks: ChunkList;
}

export interface TarballRequest {
  readonly writer: ArtifactWriter;
  /** The base's version of this path, when it can be patched. */
  patchBase(path: string): PatchBase | undefined;
  /** Chunks of a large file's content that was just read. */
  keepChunks(sha256: string, chunks: ChunkList): void;
  /** True when the entry is what the last point held: it need not be stored after all. */
  isAsKnown(entry: FileEntry): boolean;
  readonly signal?: AbortSignal | undefined;
}

/** What became of an observed file. */
export interface Emitted {
  readonly entry: FileEntry;
  /** The stat under which it was read. */
  readonly stat: FileStat;
  /** False: it is as the last point held it, nothing was written. */
  readonly isStored: boolean;
}

interface LargeReading extends Omit<Emitted, "stat"> {
  /** Writes the prepared patch. */
  write?(): void;
}

export class Tarball {
  readonly problems: Problem[] = [];
  readonly #request: TarballRequest;
  /** Inode to the entry that holds its bytes. */
  readonly #links = new Map<string, FileEntry>();
  readonly #times: string[] = [];
  #patches = 0;
  #members = 0;

  constructor(request: TarballRequest) {
    this.#request = request;
  }

  /** Entry paths that a restore must remove before it unpacks this tarball. First in the archive. */
  writeDeleted(paths: readonly string[]): void {
    const held = paths.filter((path) => placeOf(path).area !== "tracked");
    if (held.length > 0) this.#writeBytes("deleted", Buffer.concat(held.flatMap((path) => [pathBytes(path), Buffer.of(0)])));
  }

  /** A file that did not change, but shares its inode with others that may follow. */
  noteUnchanged(file: ObservedFile, known: KnownFile): void {
    if (file.kind !== "file" || file.stat.nlink < 2n || known.kind !== "file" || known.sha256 === undefined) return;
    this.#links.set(inodeOf(file.stat), {
      path: file.path,
      kind: "file",
      mode: known.mode,
      mtime: String(known.mtimeNs),
      size: known.size,
      sha256: known.sha256,
    });
  }

  /** Stores one observed file. Undefined when it could not be read: `problems` says why. */
  async emit(file: ObservedFile): Promise<Emitted | undefined> {
    const { path, stat } = file;
    const common = { path, mode: modeOf(stat), mtime: String(stat.mtimeNs) };
    if (file.content !== undefined) return this.#emitBytes(file, file.content, { ...common, mode: 0o600, mtime: "0" }, stat);
    const area = placeOf(path).area;
    if (file.kind === "folder") {
      const entry: FileEntry = { ...common, kind: "folder" };
      if (this.#request.isAsKnown(entry)) return { entry, stat, isStored: false };
      this.#push(writeHeader(entry));
      if (area === "folder") this.#noteTimes("D", entry);
      return { entry, stat, isStored: true };
    }
    if (area === "tracked") {
      const entry: FileEntry = { ...common, kind: file.kind, size: Number(stat.size) };
      if (this.#request.isAsKnown(entry)) return { entry, stat, isStored: false };
      this.#noteTimes(file.kind === "symlink" ? "L" : "F", entry);
      return { entry, stat, isStored: true };
    }
    if (file.kind === "symlink") return this.#emitSymlink(file, common);
    return this.#emitFile(file);
  }

  /** Ends the archive. False when nothing was written: then there is no tarball. */
  async finish(): Promise<boolean> {
    if (this.#times.length > 0) this.#writeBytes("times", Buffer.concat(this.#times.flatMap((line) => [pathBytes(line), Buffer.of(0)])));
    if (this.#members === 0) return false;
    await this.#request.writer.write(endOfArchive);
    return true;
  }

  async #emitFile(file: ObservedFile): Promise<Emitted | undefined> {
    const linked = file.stat.nlink > 1n ? this.#links.get(inodeOf(file.stat)) : undefined;
    if (linked !== undefined && linked.path !== file.path) {
      const { sha256, size } = linked;
      const entry: FileEntry = {
        path: file.path,
        kind: "hardlink",
        mode: linked.mode,
        mtime: linked.mtime,
        target: linked.path,
        ...(size === undefined ? {} : { size }),
        ...(sha256 === undefined ? {} : { sha256 }),
      };
      if (this.#request.isAsKnown(entry)) return { entry, stat: file.stat, isStored: false };
      this.#push(writeHeader(entry));
      return { entry, stat: file.stat, isStored: true };
    }
    const emitted = file.stat.size < BigInt(patchThreshold) ? await this.#emitSmall(file) : await this.#emitLarge(file);
    if (emitted !== undefined && file.stat.nlink > 1n) this.#links.set(inodeOf(emitted.stat), emitted.entry);
    return emitted;
  }

  async #emitSmall(file: ObservedFile): Promise<Emitted | undefined> {
    const first = readWhole(file.file, file.stat);
    const outcome =
      first.status === "read" && first.isSteady
        ? first
        : await readSteadily(file.file, file.stat, (descriptor, stat) => Buffer.concat([...readPieces(descriptor, 0, Number(stat.size))]));
    if (outcome.status !== "read") return this.#failed(file, outcome);
    if (!outcome.isSteady) this.#changed(file);
    return this.#emitBytes(file, outcome.value, { path: file.path, mode: modeOf(outcome.stat), mtime: String(outcome.stat.mtimeNs) }, outcome.stat);
  }

  async #emitBytes(_file: ObservedFile, bytes: Buffer, common: Pick<FileEntry, "path" | "mode" | "mtime">, stat: FileStat): Promise<Emitted> {
    const entry: FileEntry = { ...common, kind: "file", size: bytes.length, sha256: hash("sha256", bytes, "hex") };
    if (this.#request.isAsKnown(entry)) return { entry, stat, isStored: false };
    this.#push(writeHeader(entry));
    this.#pushPadded(bytes);
    if (this.#request.writer.isFull) await this.#request.writer.relieve();
    return { entry, stat, isStored: true };
  }

  async #emitSymlink(file: ObservedFile, common: Pick<FileEntry, "path" | "mode" | "mtime">): Promise<Emitted | undefined> {
    try {
      const target = decodePath(readlinkSync(encodePath(file.file), { encoding: "buffer" }));
      const entry: FileEntry = { ...common, kind: "symlink", target };
      if (this.#request.isAsKnown(entry)) return { entry, stat: file.stat, isStored: false };
      this.#push(writeHeader(entry));
      return { entry, stat: file.stat, isStored: true };
    } catch (error) {
      const code = systemCode(error) ?? "unknown";
      return this.#failed(file, code === "ENOENT" || code === "EINVAL" ? { status: "vanished" } : { status: "unreadable", code });
    }
  }

  async #emitLarge(file: ObservedFile): Promise<Emitted | undefined> {
    // A patch is written once its reading stands; after a whole member was written, only another whole one can replace it.
    // A file of several names is never patched: the patch would take the place of one name only.
    let base = file.stat.nlink > 1n ? undefined : this.#request.patchBase(file.path);
    const read = async (descriptor: number, stat: FileStat): Promise<LargeReading> => {
      const patch = base === undefined ? undefined : this.#preparePatch(file, descriptor, stat, base);
      if (patch !== undefined) return patch;
      base = undefined;
      return this.#storeWhole(file, descriptor, stat);
    };
    let outcome = await readSteadily(file.file, file.stat, read);
    if (outcome.status === "unreadable" && outcome.code === "EAGAIN") {
      // It changes all the time, and a patch has to be read twice: the whole of it is better than nothing.
      base = undefined;
      outcome = await readSteadily(file.file, file.stat, read);
    }
    if (outcome.status !== "read") return this.#failed(file, outcome);
    if (!outcome.isSteady) this.#changed(file);
    const { entry, isStored, write } = outcome.value;
    write?.();
    return { entry, isStored, stat: outcome.stat };
  }

  /**
   * Streams the file in. When it shrinks under our hands the rest is zeros; the caller sees the changed stat and
   * reads again, and of two members with one name the later one counts.
   */
  async #storeWhole(file: ObservedFile, descriptor: number, stat: FileStat): Promise<LargeReading> {
    const { writer } = this.#request;
    const size = Number(stat.size);
    const sum = createHash("sha256");
    const chunker = new Chunker(chunkBits(size));
    this.#push(writeHeader({ path: file.path, kind: "file", mode: modeOf(stat), mtime: String(stat.mtimeNs), size }));
    let at = 0;
    for (const piece of withZeros(readPieces(descriptor, 0, size), size)) {
      this.#request.signal?.throwIfAborted();
      sum.update(piece);
      chunker.write(piece);
      await writer.write(piece);
      at += piece.length;
    }
    if (padded(at) > at) await writer.write(Buffer.alloc(padded(at) - at));
    const entry = this.#largeEntry(file, stat, sum.digest("hex"));
    this.#request.keepChunks(entry.sha256 ?? "", chunker.finish());
    return { entry, isStored: true };
  }

  /** Undefined where a patch would not pay. */
  #preparePatch(file: ObservedFile, descriptor: number, stat: FileStat, base: PatchBase): LargeReading | undefined {
    const size = Number(stat.size);
    const sum = createHash("sha256");
    const chunker = new Chunker(base.chunks.bits);
    for (const piece of withZeros(readPieces(descriptor, 0, size), size)) {
      this.#request.signal?.throwIfAborted();
      sum.update(piece);
      chunker.write(piece);
    }
    const chunks = chunker.finish();
    const entry = this.#largeEntry(file, stat, sum.digest("hex"));
    if (this.#request.isAsKnown(entry)) return { entry, isStored: false };
    const steps = patchSteps(base.chunks, chunks);
    const dataSize = steps.reduce((total, step) => total + (step.from === "data" ? step.length : 0), 0);
    if (dataSize * 2 > size || dataSize > patchLimit) return undefined;
    const data = readAgain(descriptor, chunks, steps);
    return {
      entry,
      isStored: true,
      write: () => {
        this.#writePatch(entry, steps, data);
        this.#request.keepChunks(entry.sha256 ?? "", chunks);
      },
    };
  }

  #writePatch(entry: FileEntry, steps: readonly PatchStep[], data: Buffer): void {
    this.#patches += 1;
    const folder = `patches/${String(this.#patches).padStart(6, "0")}`;
    let at = 0;
    const lines = steps.map((step) => {
      const line = step.from === "base" ? `base ${step.offset} ${step.length}\n` : `data ${at} ${step.length}\n`;
      if (step.from === "data") at += step.length;
      return line;
    });
    this.#writeBytes(`${folder}/path`, pathBytes(entry.path));
    this.#writeBytes(`${folder}/steps`, Buffer.from(lines.join("")));
    this.#push(writeHeader({ path: `${folder}/data`, kind: "file", mode: entry.mode, mtime: entry.mtime, size: data.length }));
    this.#pushPadded(data);
  }

  #largeEntry(file: ObservedFile, stat: FileStat, sha256: string): FileEntry {
    const isSparse = stat.blocks * 512n < stat.size;
    return {
      path: file.path,
      kind: "file",
      mode: modeOf(stat),
      mtime: String(stat.mtimeNs),
      size: Number(stat.size),
      sha256,
      ...(isSparse ? { sparse: true as const } : {}),
    };
  }

  #failed(file: ObservedFile, outcome: { status: "vanished" } | { status: "unreadable"; code: string }): undefined {
    const path = problemPath(file.path);
    if (outcome.status === "vanished") this.problems.push({ code: "vanished", path, message: "vanished while it was captured" });
    else this.problems.push({ code: "unreadable", path, message: `cannot be read: ${outcome.code}` });
    return undefined;
  }

  #changed(file: ObservedFile): void {
    this.problems.push({ code: "changed", path: problemPath(file.path), message: "changed each time it was read; the last reading is in the point" });
  }

  #noteTimes(type: "F" | "D" | "L", entry: FileEntry): void {
    const seconds = `${entry.mtime.padStart(10, "0").slice(0, -9)}.${entry.mtime.padStart(10, "0").slice(-9)}`;
    this.#times.push(`${type} ${entry.mode.toString(8)} ${seconds} ${entry.path}`);
  }

  #writeBytes(path: string, bytes: Buffer): void {
    this.#push(writeHeader({ path, kind: "file", mode: 0o600, mtime: "0", size: bytes.length }));
    this.#pushPadded(bytes);
  }

  #pushPadded(bytes: Buffer): void {
    this.#request.writer.push(bytes);
    const rest = padded(bytes.length) - bytes.length;
    if (rest > 0) this.#request.writer.push(zeros.subarray(0, rest));
  }

  #push(header: Buffer): void {
    this.#members += 1;
    this.#request.writer.push(header);
  }
}

/** The path as people know it: in the worktree, or below .git. */
function problemPath(entry: string): string {
  const { worktree, area, path } = placeOf(entry);
  const local = area === "git" ? `.git/${path}` : path;
  return printablePath(worktree === "" ? local : `${worktree}:${local}`);
}

/**
 * The new bytes of a patch, in memory. The file is read a second time for them: a chunk that is not what was summed
 * the first time shows that it changed in between, and nothing of the patch has been written yet.
 */
function readAgain(descriptor: number, chunks: ChunkList, steps: readonly PatchStep[]): Buffer {
  const wanted = steps.filter((step) => step.from === "data");
  const data = Buffer.concat(wanted.flatMap((step) => [...readPieces(descriptor, step.offset, step.length)]));
  let offset = 0;
  let at = 0;
  let next = 0;
  chunks.sums.forEach((sum, index) => {
    const length = chunks.lengths[index] ?? 0;
    while (wanted[next] !== undefined && offset >= end(wanted[next])) next += 1;
    const step = wanted[next];
    if (step !== undefined && offset >= step.offset) {
      if (chunkSum(data.subarray(at, at + length)) !== sum) throw Object.assign(new Error("changed between two readings"), { code: "EAGAIN" });
      at += length;
    }
    offset += length;
  });
  return data;
}

function end(step: PatchStep | undefined): number {
  return step === undefined ? 0 : step.offset + step.length;
}

/**
 * The pieces, and zeros where they end before `size` or cannot be read: a member must be as long as its header says.
 * A failed reading is thrown after the last piece.
 */
function* withZeros(pieces: Iterable<Buffer>, size: number): Generator<Buffer> {
  let left = size;
  let failure: unknown;
  try {
    for (const piece of pieces) {
      left -= piece.length;
      yield piece;
    }
  } catch (error) {
    failure = error;
  }
  for (; left > 0; left -= Math.min(left, 1 << 20)) yield Buffer.alloc(Math.min(left, 1 << 20));
  if (failure !== undefined) throw failure;
}

const zeros = Buffer.alloc(512);
/** A patch is held in memory; a larger change is stored as the whole file, which is streamed. */
const patchLimit = 32 << 20;

function inodeOf(stat: FileStat): string {
  return `${stat.dev}:${stat.ino}`;
}
