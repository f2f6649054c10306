/**
 * A lock between processes: one file that says who holds it. Node has no flock(2), and a lock that a
 * killed run leaves behind must not need a hand.
 *
 * House rules:
 * - The file appears whole, by link(2) of a finished one; its mtime is the owner's heartbeat.
 * - A lock with token T is replaced or removed only by the holder of its claim, `<lock>.stale.T`, and only
 *   after reading T in it again. So of two who saw the same dead owner, the second finds the claim taken or,
 *   later, another token: it cannot remove the first one's new lock.
 * - A claim is itself such a lock, so that the claim of one who died is taken over by the same rule.
 */
import { randomBytes } from "node:crypto";
import {
  closeSync,
  fstatSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { BackupError, describeError, systemCode } from "../core/errors.ts";
import { heartbeatLostMs, isGone, type LockOwner, parseOwner, thisProcess } from "./owner.ts";

export interface LockOptions {
  /** What the holder does, for the one who has to wait: "making a point". */
  readonly purpose: string;
  /** How long to wait for a living owner. Default 0: not at all. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal | undefined;
  readonly now?: () => Date;
  /** Told of each dead owner whose lock was taken over. */
  readonly onTakeover?: (previous: LockOwner) => void;
}

const heartbeatMs = 2_000;
const pollMs = 50;

/** A file that cannot be read as a lock is one being written (where links do not work), but not for longer than this. */
const unreadableMs = 10_000;

/**
 * Takes the lock at `path`, making its folder where needed. Throws `locked`, naming the owner, when a living
 * process holds it for all of `waitMs`; `interrupted` on abort; `io_failed` where no lock can be written.
 * It does not nest: a second call in the same process finds it locked.
 */
export async function acquireLock(path: string, options: LockOptions): Promise<Lock> {
  const now = options.now ?? (() => new Date());
  const owner: LockOwner = { ...thisProcess(), token: randomBytes(8).toString("hex"), purpose: options.purpose, startedAt: now().toISOString() };
  const startedAt = performance.now();
  const deadline = startedAt + (options.waitMs ?? 0);
  for (;;) {
    if (options.signal?.aborted === true) throw interrupted(options.signal);
    const rival = translated(path, () => {
      mkdirSync(dirname(path), { recursive: true });
      return obtain(path, { owner, now, onTakeover: options.onTakeover });
    });
    if (rival === undefined) return new Lock(path, owner, now);
    if (rival !== "changed" && performance.now() >= deadline) throw busy(path, rival);
    // Jitter, so that many who wait do not poll in step. Who has waited for minutes can wait a second more.
    const patience = Math.min(20, 1 + (performance.now() - startedAt) / 10_000);
    await delay(pollMs * patience * (0.5 + Math.random()), undefined, { signal: options.signal }).catch(() => undefined);
  }
}

/** A held lock. Its heartbeat does not keep the process alive. */
export class Lock implements AsyncDisposable {
  readonly path: string;
  readonly owner: LockOwner;
  readonly #now: () => Date;
  readonly #heartbeat: NodeJS.Timeout;

  /** Use `acquireLock`. */
  constructor(path: string, owner: LockOwner, now: () => Date) {
    this.path = path;
    this.owner = owner;
    this.#now = now;
    this.#heartbeat = setInterval(() => this.#beat(), heartbeatMs).unref();
  }

  /** False once the file was removed or taken over by others. */
  get isHeld(): boolean {
    return read(this.path)?.owner.token === this.owner.token;
  }

  /** Gives the lock back; does nothing when it is not ours any more. Safe to call twice. */
  release(): void {
    clearInterval(this.#heartbeat);
    if (!this.isHeld) return;
    const claim = claimOf(this.path, this.owner);
    // Somebody holds the claim on us: they are about to replace our lock, and removing it is theirs.
    if (!this.#placeClaim(claim)) return;
    if (this.isHeld) remove(this.path);
    remove(claim);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.release();
  }

  #placeClaim(claim: string): boolean {
    try {
      return place(claim, this.owner);
    } catch {
      // A full disk takes no claim. Only another machine that believes us dead could be in the way now.
      return true;
    }
  }

  #beat(): void {
    try {
      if (this.isHeld) utimesSync(this.path, this.#now(), this.#now());
    } catch {
      // The state folder was removed or the disk is full: the next beat, or the end of the run, will show it.
    }
  }
}

/** The owner of a lock that is held by a living process, or undefined. */
export function findLockOwner(path: string, now: () => Date = () => new Date()): LockOwner | undefined {
  const holder = read(path);
  return holder === undefined || isDead(holder, now) ? undefined : holder.owner;
}

interface Contender {
  readonly owner: LockOwner;
  readonly now: () => Date;
  readonly onTakeover: ((previous: LockOwner) => void) | undefined;
}

/** Puts our lock at `path`. Gives undefined when done, the living owner in the way, or "changed": look again. */
function obtain(path: string, contender: Contender): LockOwner | "changed" | undefined {
  const holder = read(path);
  if (holder === undefined) return place(path, contender.owner) ? undefined : "changed";
  if (!isDead(holder, contender.now)) return holder.owner;
  const claim = claimOf(path, holder.owner);
  const rival = obtain(claim, { ...contender, onTakeover: undefined });
  if (rival !== undefined) return rival;
  try {
    if (read(path)?.owner.token !== holder.owner.token) return "changed";
    renameSync(write(path, contender.owner), path);
  } finally {
    remove(claim);
  }
  sweep(path, contender.now);
  contender.onTakeover?.(holder.owner);
  return undefined;
}

interface Holder {
  readonly owner: LockOwner;
  readonly isReadable: boolean;
  readonly heartbeatAt: number;
}

function isDead(holder: Holder, now: () => Date): boolean {
  const ageMs = now().getTime() - holder.heartbeatAt;
  return holder.isReadable ? isGone(holder.owner, ageMs) : ageMs > unreadableMs;
}

function read(path: string): Holder | undefined {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
  try {
    const { mtimeMs, ino } = fstatSync(file);
    const owner = parseOwner(readFileSync(file, "utf8"));
    // A broken lock is known by its inode, so that it too is claimed by one only.
    const unknown = { ...thisProcess(), token: ino.toString(16), purpose: "unknown", startedAt: new Date(mtimeMs).toISOString() };
    return { owner: owner ?? unknown, isReadable: owner !== undefined, heartbeatAt: mtimeMs };
  } finally {
    closeSync(file);
  }
}

/** Makes `path` with our name in it, whole and only if it is not there. False when it is. */
function place(path: string, owner: LockOwner): boolean {
  const own = write(path, owner);
  try {
    linkSync(own, path);
    return true;
  } catch (error) {
    // ENOENT: somebody swept our file away as too old, since this process was suspended.
    if (systemCode(error) === "EEXIST" || systemCode(error) === "ENOENT") return false;
    return placeWithoutLinks(path, owner, error);
  } finally {
    remove(own);
  }
}

/** FAT and some network folders have no links. Exclusive all the same, but not at once whole: see `unreadableMs`. */
function placeWithoutLinks(path: string, owner: LockOwner, cause: unknown): boolean {
  const known = ["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EACCES", "EINVAL", "UNKNOWN"];
  if (!known.includes(systemCode(cause) ?? "")) throw cause;
  try {
    writeFileSync(path, JSON.stringify(owner), { flag: "wx" });
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw error;
  }
}

function write(path: string, owner: LockOwner): string {
  const own = `${path}.new.${owner.token}`;
  writeFileSync(own, JSON.stringify(owner));
  return own;
}

/** Removes what those who were killed in the middle left beside the lock. A takeover does so by itself. */
export function sweepLock(path: string, now: () => Date = () => new Date()): void {
  translated(path, () => sweep(path, now));
}

function sweep(path: string, now: () => Date): void {
  const prefixes = [`${basename(path)}.new.`, `${basename(path)}.stale.`];
  const names = readdirSync(dirname(path)).filter((name) => prefixes.some((prefix) => name.startsWith(prefix)));
  for (const file of names.map((name) => join(dirname(path), name))) {
    const modifiedAt = statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? Number.POSITIVE_INFINITY;
    if (now().getTime() - modifiedAt > heartbeatLostMs) remove(file);
  }
}

function claimOf(path: string, owner: LockOwner): string {
  return `${path}.stale.${owner.token}`;
}

function remove(path: string): void {
  rmSync(path, { force: true });
}

function busy(path: string, owner: LockOwner): BackupError {
  const who = `${owner.purpose} (pid ${owner.pid} on ${owner.host}, since ${owner.startedAt})`;
  return new BackupError("locked", `another run is at work: ${who}`, { details: { path, owner } });
}

function interrupted(signal: AbortSignal): BackupError {
  return signal.reason instanceof BackupError
    ? signal.reason
    : new BackupError("interrupted", "interrupted while waiting for a lock", { cause: signal.reason });
}

function translated<T>(path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof BackupError) throw error;
    throw new BackupError("io_failed", `no lock can be made at ${path}: ${describeError(error)}`, { cause: error });
  }
}
