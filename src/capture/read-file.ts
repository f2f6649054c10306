/** Opens a file that may change or vanish under our hands, and says whether what was read is what stood there. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { systemCode } from "../core/errors.ts";
import { encodePath } from "../core/paths.ts";
import { type FileStat, statOf } from "./observed.ts";

export type ReadOutcome<T> =
  | { readonly status: "read"; readonly value: T; readonly stat: FileStat; readonly isSteady: boolean }
  | { readonly status: "vanished" }
  | { readonly status: "unreadable"; readonly code: string };

const attempts = 3;
const pauseMs = 15;
/** Times on files move in steps of up to 10 ms: what was written twice within one shows the same time. */
const grainMs = 12;
/** A file of this size is not read a third time: by then it would have changed again. */
const longRead = 64n << 20n;

/**
 * Reads with `read(descriptor, stat)` until the file's stat is the same before and after, three times at most;
 * after that the last reading stands with `isSteady: false`. The stat given is the one that was read under.
 */
export async function readSteadily<T>(
  path: string,
  observed: FileStat,
  read: (descriptor: number, stat: FileStat) => T | Promise<T>,
): Promise<ReadOutcome<T>> {
  let expected: FileStat | undefined = observed;
  let lastChange: bigint | undefined;
  for (let attempt = 1; ; attempt += 1) {
    if (expected === undefined || !expected.isFile()) return { status: "vanished" };
    const startedMs = Date.now();
    const outcome = await readOnce(path, expected, read);
    const isLast = attempt === (expected.size > longRead ? attempts - 1 : attempts);
    if (outcome.status !== "read") {
      if (isLast || outcome.status === "vanished" || outcome.code !== "EAGAIN") return outcome;
    } else {
      const { ctimeNs } = outcome.stat;
      const isProven = outcome.isSteady && !isFresh(ctimeNs, startedMs);
      if (isProven) return outcome;
      // A clock of another machine may make every time look fresh: then it counts that the file stood still meanwhile.
      if (isLast) return { ...outcome, isSteady: outcome.isSteady && ctimeNs === lastChange };
      lastChange = ctimeNs;
    }
    await new Promise((resolve) => setTimeout(resolve, pauseMs * attempt));
    expected = statOf(path);
  }
}

/**
 * The whole of a file that `stat` says is small, in one synchronous go: the path of 100,000 notes.
 * The value is only good until the next call: one buffer serves them all.
 */
export function readWhole(path: string, stat: FileStat): ReadOutcome<Buffer> {
  const startedMs = Date.now();
  let descriptor: number;
  try {
    descriptor = openSync(encodePath(path), openFlags);
  } catch (error) {
    return failed(error);
  }
  try {
    const size = Number(stat.size);
    if (size > scratch.length) scratch = Buffer.allocUnsafeSlow(size);
    const bytes = scratch.subarray(0, size);
    let at = 0;
    while (at < size) {
      const count = readSync(descriptor, bytes, at, size - at, null);
      if (count === 0) break;
      at += count;
    }
    const after = fstatSync(descriptor, { bigint: true });
    const isSteady = at === size && isSameFile(stat, after) && !isFresh(after.ctimeNs, startedMs);
    return { status: "read", value: bytes.subarray(0, at), stat: after, isSteady };
  } catch (error) {
    return failed(error);
  } finally {
    closeSync(descriptor);
  }
}

/** The bytes of an open file from `offset`, in pieces of up to 1 MiB; ends early where the file does. */
export function* readPieces(descriptor: number, offset: number, length: number): Generator<Buffer> {
  let at = offset;
  const end = offset + length;
  while (at < end) {
    const piece = Buffer.allocUnsafe(Math.min(1 << 20, end - at));
    const count = readSync(descriptor, piece, 0, piece.length, at);
    if (count === 0) return;
    at += count;
    yield count === piece.length ? piece : piece.subarray(0, count);
  }
}

function isSameFile(a: FileStat, b: FileStat): boolean {
  return a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs && a.ino === b.ino && a.mode === b.mode;
}

let scratch = Buffer.allocUnsafeSlow(64 * 1024);

/** True when the file may have been written while it was read, from `startedMs` on, without a new time. */
function isFresh(ctimeNs: bigint, startedMs: number): boolean {
  const ageMs = startedMs - Number(ctimeNs / 1_000_000n);
  return ageMs > -2 && ageMs < grainMs;
}

/** Never through a symlink that came in the meantime, never waiting on a fifo that did. */
const openFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;

async function readOnce<T>(path: string, expected: FileStat, read: (descriptor: number, stat: FileStat) => T | Promise<T>): Promise<ReadOutcome<T>> {
  let descriptor: number;
  try {
    descriptor = openSync(encodePath(path), openFlags);
  } catch (error) {
    return failed(error);
  }
  try {
    const before = fstatSync(descriptor, { bigint: true });
    if (!before.isFile()) return { status: "vanished" };
    const value = await read(descriptor, before);
    const after = fstatSync(descriptor, { bigint: true });
    return { status: "read", value, stat: before, isSteady: isSameFile(before, after) && before.ino === expected.ino };
  } catch (error) {
    if (!isOfReading(error)) throw error;
    return failed(error);
  } finally {
    closeSync(descriptor);
  }
}

/** An abort, or a store that is full, says nothing of the file. */
function isOfReading(error: unknown): boolean {
  return systemCode(error) === "EAGAIN" || (error instanceof Error && "syscall" in error && ["read", "fstat"].includes(String(error.syscall)));
}

function failed(error: unknown): { status: "vanished" } | { status: "unreadable"; code: string } {
  const code = systemCode(error) ?? "unknown";
  return code === "ENOENT" || code === "ELOOP" || code === "ENOTDIR" ? { status: "vanished" } : { status: "unreadable", code };
}
