/** The end of a session (an agent's, a script's): a point, and whether everything that was made in it is elsewhere too. */
import { spawn } from "node:child_process";
import { appendFileSync } from "node:fs";
import type { App } from "../app.ts";
import { copyConfigs } from "../app-stores.ts";
import { BackupError } from "../core/errors.ts";
import type { MirrorCheck } from "../mirror/check.ts";
import { readStandings } from "../mirror/standing.ts";
import { readCopyState } from "../replicate/copy-state.ts";
import { programFile } from "../setup/package-files.ts";
import { makePointNow } from "./point.ts";
import { checkMirrorsNow, syncAll } from "./sync.ts";

export interface SessionResult {
  /** The point of this moment: made now, or the last one where nothing changed. */
  readonly point: string;
  readonly isNew: boolean;
  /** What could not be read, or not surely. */
  readonly problems: number;
  readonly places: readonly SessionPlace[];
}

/** A mirror, or another store. */
export interface SessionPlace {
  readonly kind: "mirror" | "copy";
  readonly name: string;
  /** `current`: it has all that is here. `pending`: a worker is on its way. `away`: a disk that is not here, which is no failure. */
  readonly state: "current" | "pending" | "behind" | "away";
  readonly message: string | null;
}

/**
 * With `waitMs` everything is brought up to date first, for that long at most, and the mirrors' tips are read back. Without, a
 * worker does it afterwards, and what was seen last is told.
 */
export async function endSession(app: App, { waitMs, signal }: { waitMs: number | undefined; signal: AbortSignal }): Promise<SessionResult> {
  const made = await makePointNow(app, { kind: "session", isAsked: false, signal });
  const point = made.status === "made" ? made.manifest.id : made.last;
  const places = waitMs === undefined ? await placesAsKnown(app, point) : await placesAfterSync(app, point, waitMs, signal);
  // A disk that was away when it was last looked for may be back.
  if (places.some(({ state }) => state === "pending" || (state === "away" && waitMs === undefined))) startWorker(app);
  return { point, isNew: made.status === "made", problems: made.status === "made" ? made.problems.length : 0, places };
}

async function placesAsKnown(app: App, point: string): Promise<SessionPlace[]> {
  const standings = await readStandings({ repository: app.repository, mirrors: app.config.mirrors, stateDir: app.state.root });
  const mirrors = standings.map(({ remote, isCurrent, message }) => mirrorPlace(remote, isCurrent ? "current" : "pending", message));
  return [...mirrors, ...copyPlaces(app, point, "pending")];
}

async function placesAfterSync(app: App, point: string, waitMs: number, signal: AbortSignal): Promise<SessionPlace[]> {
  const deadline = AbortSignal.timeout(waitMs);
  const bounded = AbortSignal.any([signal, deadline]);
  try {
    await syncAll(app, { force: true, lockWaitMs: Number.POSITIVE_INFINITY, signal: bounded });
    const checks = await checkMirrorsNow(app, bounded);
    // One that is ahead has what is here, and more: an older commit was checked out again, or a colleague was quicker.
    const hasAll = ({ status, refs }: MirrorCheck): boolean =>
      status === "same" || (status === "differs" && refs.every(({ state }) => state === "same" || state === "ahead"));
    const mirrors = checks.map((check) => mirrorPlace(check.remote, hasAll(check) ? "current" : "behind", check.message ?? null));
    return [...mirrors, ...copyPlaces(app, point, "behind")];
  } catch (error) {
    if (!deadline.aborted || signal.aborted) throw error;
    // Time is up: the worker goes on with it.
    return placesAsKnown(app, point);
  }
}

function mirrorPlace(name: string, state: SessionPlace["state"], message: string | null): SessionPlace {
  return { kind: "mirror", name, state, message: state === "current" ? null : message };
}

function copyPlaces(app: App, point: string, otherwise: "pending" | "behind"): SessionPlace[] {
  return copyConfigs(app).map((config) => {
    const { name } = config;
    const { newest, error, awaySince, withheld } = readCopyState(app.state.copies, config);
    if (awaySince !== null) return { kind: "copy", name, state: "away", message: null };
    const isCurrent = error === null && newest !== null && newest >= point;
    const reason = error ?? (withheld?.hasNewest === false ? "not encrypted, so not sent there" : null);
    return { kind: "copy", name, state: isCurrent ? "current" : otherwise, message: isCurrent ? null : reason };
  });
}

/** As a hook does: a mark, and a process that outlives this one. A worker that is there already sees the mark. */
function startWorker(app: App): void {
  try {
    appendFileSync(app.state.dirty, "post-session\n");
    spawn(process.execPath, [programFile(), "worker", app.repository.commonDir], { detached: true, stdio: "ignore", windowsHide: true }).unref();
  } catch (error) {
    throw new BackupError("io_failed", "the worker that brings copies and mirrors up to date could not be started", {
      hint: "holdfast sync",
      cause: error,
    });
  }
}
