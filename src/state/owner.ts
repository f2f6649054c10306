/** Who holds a lock, and whether that process is still there. */
import { spawnSync } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { parseJson } from "../core/json.ts";

/** Where a process runs and which one it is: a pid alone is reused, after a boot and within one. */
export interface ProcessIdentity {
  readonly pid: number;
  readonly host: string;
  /** Linux's boot id; null where the system has none. */
  readonly bootId: string | null;
  /** Linux's pid namespace: in a container the same pid is another process. Null elsewhere. */
  readonly pidSpace: string | null;
  /** Opaque, equal for the whole life of a process: start in ticks since boot on Linux, a date elsewhere, null where unknown. */
  readonly processStart: string | null;
}

export interface LockOwner extends ProcessIdentity {
  /** Unique to one acquisition. */
  readonly token: string;
  readonly purpose: string;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
}

/** From here on the heartbeat of another machine's lock counts as lost. */
export const heartbeatLostMs = 60_000;

/** A pid that is in use, but perhaps by another process, because the system does not say when it started. */
const doubtfulPidMs = 600_000;

export function thisProcess(): ProcessIdentity {
  identity ??= {
    pid: process.pid,
    host: hostname(),
    bootId: orNull(() => readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()),
    pidSpace: orNull(() => readlinkSync("/proc/self/ns/pid")),
    processStart: findProcess(process.pid)?.start ?? null,
  };
  return identity;
}

let identity: ProcessIdentity | undefined;

/**
 * True when the owner cannot be running any more. On this machine the process table answers, at once and
 * whatever the heartbeat says (a process may be busy for minutes); of another machine only the heartbeat is seen.
 */
export function isGone(
  owner: ProcessIdentity,
  heartbeatAgeMs: number,
  here: ProcessIdentity = thisProcess(),
  find: typeof findProcess = findProcess,
): boolean {
  if (owner.host !== here.host || owner.pidSpace !== here.pidSpace) return heartbeatAgeMs > heartbeatLostMs;
  if (owner.bootId !== here.bootId) return true;
  const found = find(owner.pid);
  if (found === undefined) return true;
  if (owner.processStart === null || found.start === null) return heartbeatAgeMs > doubtfulPidMs;
  return owner.processStart !== found.start;
}

/** The owner in a lock file's text, or undefined for anything else. */
export function parseOwner(text: string): LockOwner | undefined {
  const value = parseJson(text);
  if (typeof value !== "object" || value === null) return undefined;
  const { pid, host, bootId, pidSpace, processStart, token, purpose, startedAt } = value as Record<keyof LockOwner, unknown>;
  // The token becomes part of a file name.
  if (typeof token !== "string" || !/^[0-9a-f]{1,64}$/.test(token)) return undefined;
  if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid <= 0) return undefined;
  if (typeof host !== "string" || typeof purpose !== "string" || typeof startedAt !== "string") return undefined;
  return { pid, host, bootId: textOrNull(bootId), pidSpace: textOrNull(pidSpace), processStart: textOrNull(processStart), token, purpose, startedAt };
}

/** The running process with this pid and its start, or undefined. One that ended but was not reaped is not running. */
export function findProcess(pid: number): { readonly start: string | null } | undefined {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it is there, and another user's.
    if ((error as NodeJS.ErrnoException).code !== "EPERM") return undefined;
  }
  if (process.platform === "linux") return fromProc(pid);
  return { start: process.platform === "win32" ? null : fromPs(pid) };
}

/** proc(5): after the name in parentheses, which may hold anything, stand the state (field 3) and the start (field 22). */
function fromProc(pid: number): { readonly start: string | null } | undefined {
  const stat = orNull(() => readFileSync(`/proc/${pid}/stat`, "latin1"));
  if (stat === null) return { start: null };
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" || fields[0] === "X" ? undefined : { start: fields[19] ?? null };
}

/** POSIX has no `lstart`, macOS and the BSDs do; a fixed zone makes the same start the same text in every process. */
export function fromPs(pid: number): string | null {
  const { status, stdout } = spawnSync("ps", ["-o", "lstart=", "-p", String(pid)], {
    encoding: "utf8",
    env: { ...process.env, LC_ALL: "C", TZ: "UTC0" },
  });
  return status === 0 && stdout.trim() !== "" ? stdout.trim() : null;
}

function textOrNull(value: unknown): string | null {
  return typeof value === "string" ? value : null;
}

function orNull(read: () => string): string | null {
  try {
    return read();
  } catch {
    // Not there on this system: the rules above work without it, only slower.
    return null;
  }
}
