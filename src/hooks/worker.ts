/**
 * The process that hooks start: one at a time, it turns marks into points, lets the copies follow, and ends.
 *
 * What closes the races: a hook first marks, then looks for the lease. The worker first ends its lease and
 * gives the lock back, then looks for marks once more. So a mark is seen by the hook's new worker or by this one.
 */
import { setTimeout as delay } from "node:timers/promises";
import { BackupError, describeError } from "../core/errors.ts";
import { type StateLayout, stateLayout } from "../state/layout.ts";
import { acquireLock } from "../state/lock.ts";
import type { RunLog } from "../state/run-log.ts";
import { takeLease } from "./lease.ts";
import { dropTakenMarks, hasMarks, sizeOfMarks, takeMarks } from "./marks.ts";

/** Copies points to where they belong, beside the making of new ones: it may wait for minutes on a store. */
export interface Replication {
  /** There may be something new to copy. Returns at once; several requests may become one. */
  request(): void;
  /** Resolves when nothing is requested or being copied. What failed is in its own log: a rejection is only logged. */
  idle(): Promise<void>;
}

export interface WorkerOptions {
  readonly stateDir: string;
  readonly now: () => Date;
  /** Resolves after `ms`, or at once on abort. */
  readonly sleep?: (ms: number, signal: AbortSignal) => Promise<void>;
  /** Makes one point for all these events (names of hooks; possibly none, when a mark was cut short). */
  readonly makePoint: (events: string[], signal: AbortSignal) => Promise<void>;
  /** Called once, when the first point has been tried: what it loads costs nothing before. */
  readonly startReplication: (signal: AbortSignal) => Replication;
  readonly log: RunLog;
  readonly signal: AbortSignal;
}

export type WorkerResult =
  /** Another worker is at work and will see the marks. */
  | { readonly status: "busy" }
  /** No mark is left and replication is idle. `failed` of the `tried` points failed; the log says why. */
  | { readonly status: "done"; readonly tried: number; readonly failed: number }
  | { readonly status: "interrupted"; readonly tried: number; readonly failed: number };

/** A burst is over when this long no mark came, */
const quietMs = 300;
/** but it is not waited for longer than this. */
const longestBurstMs = 2_000;
const pollMs = 50;
/** With nothing to do but wait for replication. */
const idlePollMs = 200;

/**
 * Works until no mark is there and replication is idle. A point or replication that fails is logged and not
 * tried again before the next mark. Throws `io_failed` when the state folder takes no lock.
 */
export async function runWorker(options: WorkerOptions): Promise<WorkerResult> {
  const state = stateLayout(options.stateDir);
  const run = { tried: 0, failed: 0 };
  do {
    if (!(await workUnderLock(state, options, run))) return run.tried === 0 ? { status: "busy" } : { status: "done", ...run };
    if (options.signal.aborted) return { status: "interrupted", ...run };
  } while (hasMarks(state));
  return { status: "done", ...run };
}

/**
 * Closing the terminal or Ctrl-C in it must not end a worker that happens to share it, nor what others do on these
 * signals. To be called first of all in the process: Node sets them back to their defaults even when nohup had them ignored.
 */
export function ignoreTerminal(): void {
  for (const signal of ["SIGHUP", "SIGINT", "SIGQUIT"] as const) {
    try {
      process.removeAllListeners(signal).on(signal, () => undefined);
    } catch {
      // Windows has no SIGQUIT.
    }
  }
}

/** False when another worker holds the lock. */
async function workUnderLock(state: StateLayout, options: WorkerOptions, run: { tried: number; failed: number }): Promise<boolean> {
  const { log, now, signal } = options;
  const onTakeover = (previous: object): void => log.write("worker_taken_over", { previous });
  const lock = await acquireLock(state.workerLock, { purpose: "making points after git hooks", now, onTakeover }).catch((error: unknown) => {
    if (error instanceof BackupError && error.code === "locked") return undefined;
    throw error;
  });
  if (lock === undefined) return false;
  const lease = takeLease(state.lease, now);
  const replication = new WatchedReplication(options);
  try {
    while (!signal.aborted) {
      if (hasMarks(state)) {
        await burstIsOver(state, options);
        if (!signal.aborted) await tryPoint(state, options, run);
        replication.request();
      } else if (replication.isIdle) {
        break;
      } else {
        await replication.settled(idlePollMs);
      }
    }
  } finally {
    lease.end();
    lock.release();
  }
  return true;
}

async function burstIsOver(state: StateLayout, { sleep = defaultSleep, now, signal }: WorkerOptions): Promise<void> {
  const startedAt = now().getTime();
  let changedAt = startedAt;
  let size = sizeOfMarks(state);
  for (;;) {
    await sleep(pollMs, signal);
    const time = now().getTime();
    // A clock that was set back must not hold a point up.
    if (signal.aborted || time < changedAt || time - changedAt >= quietMs || time - startedAt >= longestBurstMs) return;
    const newSize = sizeOfMarks(state);
    if (newSize !== size) changedAt = time;
    size = newSize;
  }
}

async function tryPoint(state: StateLayout, { makePoint, log, signal }: WorkerOptions, run: { tried: number; failed: number }): Promise<void> {
  const events = takeMarks(state);
  run.tried += 1;
  try {
    await makePoint(events, signal);
  } catch (error) {
    run.failed += 1;
    log.write("point_failed", { events: [...new Set(events)], ...factsOf(error) });
  }
  // Interrupted: the marks stay for the next worker.
  if (!signal.aborted) dropTakenMarks(state);
}

/** Starts replication when it is first asked for, and knows without waiting whether it is idle. */
class WatchedReplication {
  readonly #options: WorkerOptions;
  #replication: Replication | undefined;
  #idle: Promise<void> | undefined;

  constructor(options: WorkerOptions) {
    this.#options = options;
  }

  get isIdle(): boolean {
    return this.#idle === undefined;
  }

  request(): void {
    if (this.#options.signal.aborted) return;
    try {
      this.#replication ??= this.#options.startReplication(this.#options.signal);
      this.#replication.request();
      this.#watch(this.#replication);
    } catch (error) {
      this.#report(error);
    }
  }

  /** Waits until it is idle, but no longer than `ms`. */
  async settled(ms: number): Promise<void> {
    const { sleep = defaultSleep, signal } = this.#options;
    const done = new AbortController();
    await Promise.race([this.#idle, sleep(ms, AbortSignal.any([signal, done.signal]))]);
    done.abort();
  }

  #watch(replication: Replication): void {
    const idle: Promise<void> = replication
      .idle()
      .catch((error: unknown) => this.#report(error))
      .then(() => {
        // A later request has a later promise.
        if (this.#idle === idle) this.#idle = undefined;
      });
    this.#idle = idle;
  }

  #report(error: unknown): void {
    this.#options.log.write("replication_failed", factsOf(error));
  }
}

function factsOf(error: unknown): Record<string, unknown> {
  return error instanceof BackupError ? { code: error.code, message: error.message } : { code: "internal", message: describeError(error) };
}

async function defaultSleep(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => undefined);
}
