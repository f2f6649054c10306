/** `sync --wait`: lets others finish, then goes on until all is whole, or until it is clear that it cannot be. */
import { setTimeout as delay } from "node:timers/promises";
import { type App, now } from "../app.ts";
import { copyConfigs } from "../app-stores.ts";
import { errorKinds } from "../core/errors.ts";
import { withoutCredentials } from "../git/run.ts";
import { hasMarks } from "../hooks/marks.ts";
import type { MirrorOutcome } from "../mirror/outcome.ts";
import { copyLock } from "../replicate/copy-state.ts";
import type { CopyOutcome } from "../replicate/replicate.ts";
import { findLockOwner } from "../state/lock.ts";
import { type CopyOptions, syncCopy } from "./copies.ts";
import { type SyncResult, syncAll, syncMirrors } from "./sync.ts";

export interface PatienceOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (progress: Parameters<NonNullable<CopyOptions["onProgress"]>>[0]) => void;
  /** Told what is being waited for. */
  readonly onWait?: (what: string) => void;
  /** Before each further try of what failed and may work. */
  readonly pausesMs?: readonly number[];
}

/** For a worker that makes points, and for another run that sends to the same copy: then it is told as busy. */
const patienceMs = { worker: 10 * 60_000, copy: 30 * 60_000 };
const pollMs = 100;
/** A worker with no mark and no point to make has no more than copies and mirrors to see to. */
const calmMs = 1_000;

/** One outcome for each copy and mirror, after the last try. Throws as `syncAll`. */
export async function syncPatiently(
  app: App,
  { signal, onProgress, onWait, pausesMs = [2_000, 5_000, 15_000] }: PatienceOptions,
): Promise<SyncResult> {
  await workerHasMadePoints(app, signal, onWait);
  const options: CopyOptions = {
    force: true,
    isThorough: true,
    lockWaitMs: patienceMs.copy,
    signal,
    ...(onProgress === undefined ? {} : { onProgress }),
  };
  let { copies, mirrors } = await syncAll(app, options);
  for (const pauseMs of pausesMs) {
    const [again, mirrorsAgain] = [copies.filter(mayWorkYet), mirrors.filter(({ status }) => status === "unreachable")];
    if (again.length + mirrorsAgain.length === 0) break;
    const names = [...again.map(({ store }) => store), ...mirrorsAgain.map(({ remote }) => remote)];
    onWait?.(`${names.join(", ")}: trying again in ${Math.ceil(pauseMs / 1000)} s`);
    await delay(pauseMs, undefined, { signal });
    const running = [retryCopies(app, again, options), retryMirrors(app, mirrorsAgain, options)] as const;
    await Promise.allSettled(running);
    const [newCopies, newMirrors] = [await running[0], await running[1]];
    copies = copies.map((old) => newCopies.find(({ store }) => store === old.store) ?? old);
    mirrors = [...mirrors.filter((old) => !newMirrors.some(({ remote }) => remote === old.remote)), ...newMirrors];
  }
  return { copies, mirrors };
}

/** A place that is not there does not come by being asked again, and what is wrong with settings stays so. */
function mayWorkYet({ status, code }: CopyOutcome): boolean {
  return status === "failed" && code !== undefined && errorKinds[code].retryable;
}

async function retryCopies(app: App, failed: readonly CopyOutcome[], options: CopyOptions): Promise<CopyOutcome[]> {
  const running = failed.flatMap((before) => {
    const config = copyConfigs(app).find(({ name }) => name === before.store);
    if (config === undefined) return [];
    return [syncCopy(app, config, options).then((outcome) => ({ ...outcome, sent: before.sent + outcome.sent }))];
  });
  await Promise.allSettled(running);
  return Promise.all(running);
}

function retryMirrors(app: App, failed: readonly MirrorOutcome[], options: CopyOptions): Promise<MirrorOutcome[]> {
  const mirrors = app.config.mirrors.filter((mirror) => failed.some(({ remote }) => remote === withoutCredentials(mirror.remote)));
  // The stores stay: their branches are none that a mirror gets.
  return syncMirrors({ ...app, config: { ...app.config, mirrors } }, options);
}

/** Until the worker has ended, or does nothing but send to copies: each of these has a lock of its own to wait for. */
async function workerHasMadePoints(app: App, signal: AbortSignal, onWait: PatienceOptions["onWait"]): Promise<void> {
  const startedAt = now().getTime();
  let calmSince: number | undefined;
  while (findLockOwner(app.state.workerLock) !== undefined) {
    const at = now().getTime();
    const isMakingPoints = hasMarks(app.state) || findLockOwner(app.state.lock) !== undefined;
    calmSince = isMakingPoints ? undefined : (calmSince ?? at);
    const isSending = copyConfigs(app).some(({ name }) => findLockOwner(copyLock(app.state.copies, name)) !== undefined);
    if (at - startedAt > patienceMs.worker || (isSending && calmSince !== undefined && at - calmSince > calmMs)) return;
    onWait?.("waiting for the worker that a hook has started");
    await delay(pollMs, undefined, { signal });
  }
}
