/**
 * Brings one copy up to date with the primary: find what it lacks, send it oldest first, read it back, note it. Each copy has its
 * own round, state and lock, so one that fails, hangs or is away delays no other.
 */
import { mustWait, retryDelayMs } from "../core/backoff.ts";
import { BackupError, describeError, type ErrorCode } from "../core/errors.ts";
import { keyOf, type Manifest, manifestKey, pointSize, storedSize, writeManifest } from "../core/manifest.ts";
import { findManifest } from "../points/catalogue.ts";
import { findIdentity, readIdentity, type StoreIdentity } from "../points/identity.ts";
import { copyMarks } from "../points/marks.ts";
import { type CopyOptions, copyPoint } from "../points/publish.ts";
import { type RecoveryTexts, writeRecoveryFiles } from "../points/recovery-files.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { beginCopy } from "./begin.ts";
import { type Beyond, type CopyState, readCopyState, type Withheld, writeCopyState } from "./copy-state.ts";
import { findMissing, type LookOptions, lookAtPrimary, lookEveryMs } from "./missing.ts";
import { replaceStale } from "./stale.ts";
import { seenToOf, waitingFor } from "./waiting.ts";

export interface RoundRequest {
  readonly primary: Store;
  /** As it shall stand in the copy. */
  readonly identity: StoreIdentity;
  /** Of the copy, as in backup.yaml. */
  readonly name: string;
  readonly url: string;
  /** A failure to reach it is one of this copy alone. */
  open(): Promise<Store>;
  /** Bytes that the copy may hold; without it, it gets every point. */
  readonly maxBytes?: number;
  /** Only points that nobody reads without their key may go there. */
  readonly onlyEncrypted?: boolean;
  /** A place that comes and goes, such as a folder on a disk: when it is not there that is no failure. */
  readonly mayBeAway?: boolean;
  /** What the copy stands on; noted when it was seen whole. */
  readonly medium?: () => Promise<string | null>;
  /** Folder of the copies' states. */
  readonly stateFolder: string;
  readonly texts: RecoveryTexts;
  readonly now: () => Date;
  /** In [0, 1). */
  readonly random: () => number;
  /** Try also before the time has come that a failure set. */
  readonly force?: boolean;
  /** Look at everything, not only at what is new. */
  readonly isThorough?: boolean;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: (event: CopyProgress) => void;
}

export interface CopyProgress {
  readonly store: string;
  /** Points, and bytes of them. */
  readonly done: number;
  readonly total: number;
  readonly doneBytes: number;
  readonly totalBytes: number;
}

export interface CopyOutcome {
  readonly store: string;
  /** waiting: it failed before and its time has not come. away: the place is not there now. busy: another run is sending to it. */
  readonly status: "ok" | "failed" | "waiting" | "away" | "busy";
  /** Points that were sent now. */
  readonly sent: number;
  readonly missing: number;
  /** Of the missing points; absent where none is. */
  readonly missingBytes?: number;
  /** Older points that do not fit into the copy's budget. */
  readonly beyond?: Beyond;
  /** Points that stay here because they are not encrypted. */
  readonly withheld?: Withheld;
  readonly awaySince?: string;
  readonly code?: ErrorCode;
  /** Keys of artifacts for older recipients that the store did not delete, such as under an object lock. */
  readonly kept?: readonly string[];
  readonly message?: string;
  readonly hint?: string;
  /** Why what killed runs left there could not be cleared. */
  readonly leftovers?: string;
}

/** How often what was sent until now is made to count, amid a long round: nothing before it is sent or looked for again. */
const settleEveryMs = 60_000;

/** Call it under the copy's lock. An outcome, never an exception, but when `signal` aborts or the primary is gone. */
export async function replicate(request: RoundRequest): Promise<CopyOutcome> {
  const { name, stateFolder, now, random, force, signal } = request;
  const state = readCopyState(stateFolder, request);
  const { nextAttemptAt } = state;
  if (force !== true && mustWait(nextAttemptAt === null ? null : new Date(nextAttemptAt), now())) {
    return { ...lacking(name, "waiting", state), ...(state.error === null ? {} : { message: state.error }) };
  }
  const round: Round = { request, state, sent: 0, kept: [] };
  try {
    const leftovers = await bringUpToDate(round);
    const { beyond, withheld } = round.state;
    return {
      store: name,
      status: "ok",
      sent: round.sent,
      missing: 0,
      ...(beyond === null ? {} : { beyond }),
      ...(withheld === null ? {} : { withheld }),
      ...(round.kept.length === 0 ? {} : { kept: round.kept }),
      ...(leftovers === undefined ? {} : { leftovers }),
    };
  } catch (error) {
    if (signal?.aborted === true || (await isGone(request.primary))) throw error;
    const message = describeError(error);
    const hint = error instanceof BackupError ? error.hint : "holdfast doctor";
    const isAway = request.mayBeAway === true && isBegun(round.state) && error instanceof BackupError && error.code === "store_missing";
    const failures = state.failures + 1;
    const retry = isAway
      ? { awaySince: round.state.awaySince ?? now().toISOString(), failures: 0, nextAttemptAt: null, error: null }
      : { awaySince: null, failures, nextAttemptAt: new Date(now().getTime() + retryDelayMs(failures, random())).toISOString(), error: message };
    note(round, { ...retry, hint });
    const { awaySince } = round.state;
    return {
      ...lacking(name, isAway ? "away" : "failed", round.state),
      sent: round.sent,
      ...(round.kept.length === 0 ? {} : { kept: round.kept }),
      ...(awaySince === null ? {} : { awaySince }),
      code: error instanceof BackupError ? error.code : "internal",
      message,
      hint,
    };
  }
}

/** What then fails says nothing about the copy. */
async function isGone(primary: Store): Promise<boolean> {
  try {
    return (await findIdentity(primary)) === undefined;
  } catch {
    return false; // it is there, and damaged or hard to read: what failed is told as it is
  }
}

function lacking(store: string, status: CopyOutcome["status"], { missing, missingBytes }: CopyState): CopyOutcome {
  return { store, status, sent: 0, missing, ...(missing === 0 ? {} : { missingBytes }) };
}

interface Round {
  readonly request: RoundRequest;
  /** What is known by now; on disk at each `note`. */
  state: CopyState;
  sent: number;
  /** Keys of artifacts for older recipients that the copy did not delete. */
  kept: readonly string[];
}

/** Gives why leftovers could not be cleared. Throws what keeps the copy from being whole. */
async function bringUpToDate(round: Round): Promise<string | undefined> {
  const { primary, identity, texts, now } = round.request;
  const options: CallOptions = { signal: round.request.signal };
  const look: LookOptions = {
    now: now(),
    isAsked: round.request.isThorough === true,
    maxBytes: round.request.maxBytes,
    onlyEncrypted: round.request.onlyEncrypted === true,
  };
  const seen = await lookAtPrimary(primary, round.state, look, options);
  // Known before the copy is asked: it may not be there.
  const { points, bytes } = waitingFor(seen.listing.points, round.state);
  round.state = { ...round.state, missing: points, missingBytes: bytes };

  const copy = await round.request.open();
  await beginCopy(copy, identity, texts, isBegun(round.state), options);
  round.state = { ...round.state, awaySince: null };
  if (round.state.begunAt === null) note(round, { begunAt: now().toISOString() });
  if (seen.days === undefined) {
    await writeRecoveryFiles(copy, texts, options);
    await copyMarks(primary, copy, options);
  }

  const found = await findMissing(primary, copy, seen, round.state, look, options);
  const seenTo = [...seen.listing.points.keys()].at(-1) ?? seenToOf(round.state);
  const hasHoles = found.send.some(({ id }) => id <= (seenToOf(round.state) ?? ""));
  round.state = {
    ...round.state,
    missing: found.send.length + found.unreadable,
    missingBytes: found.send.reduce((sum, manifest) => sum + pointSize(manifest), 0),
    beyond: found.beyond,
    // Until what it lost is there again nothing is taken on trust.
    ...(hasHoles ? { lookedAt: null } : {}),
  };
  const unsent = await send(round, copy, found.send, found.damage === undefined, options);
  // After what is not there at all: of these the copy has the old bytes.
  const stale = await replaceStale({ primary, copy, stateFolder: round.request.stateFolder, now, settleEveryMs }, options);
  round.kept = stale.kept;
  const damage = unsent ?? found.damage ?? stale.damage;
  if (damage !== undefined)
    throw new BackupError(damage.code, `cannot be copied: ${damage.message}`, {
      cause: damage,
      hint: "holdfast points shows what is damaged; another copy may still hold it",
    });
  const leftovers = await clearDaily(round, copy, options);
  const at = now().toISOString();
  const well = { missing: 0, missingBytes: 0, awaySince: null, failures: 0, nextAttemptAt: null, error: null, hint: null };
  note(round, {
    ...well,
    lastOkAt: at,
    seenTo,
    newest: found.newest ?? round.state.newest,
    // Counted up to `seenTo`: both are noted together.
    withheld: found.withheld,
    ...(seen.days === undefined ? { lookedAt: at } : {}),
    medium: (await round.request.medium?.()) ?? round.state.medium,
  });
  return leftovers;
}

/** States of earlier versions do not say when a copy was begun. */
function isBegun({ begunAt, lastOkAt }: CopyState): boolean {
  return begunAt !== null || lastOkAt !== null;
}

/**
 * Sends what is missing and reads back that it is there. A point that is damaged in the primary is not sent and does not keep the
 * later ones from it: the first one's damage is given back. `isGapless`: no point before these is missing still.
 */
async function send(
  round: Round,
  copy: Store,
  manifests: readonly Manifest[],
  isGapless: boolean,
  options: CallOptions,
): Promise<BackupError | undefined> {
  const { primary, name, now, onEvent } = round.request;
  const totalBytes = manifests.reduce((sum, manifest) => sum + storedSize(manifest), 0);
  let unsettled: Manifest[] = [];
  let settledAt = now().getTime();
  let damage: BackupError | undefined;
  let [done, doneBytes, ofThis] = [0, 0, 0];
  const tell = (): void => onEvent?.({ store: name, done, total: manifests.length, doneBytes: doneBytes + ofThis, totalBytes });
  const onBytes = (bytes: number): void => {
    ofThis += bytes;
    tell();
  };
  const settle = async (): Promise<void> => {
    await copy.flush(options);
    await checkSent(copy, unsettled, options);
    const { state } = round;
    round.sent += unsettled.length;
    const last = unsettled.at(-1)?.id;
    note(round, {
      missing: state.missing - unsettled.length,
      // One that was encrypted again meanwhile may be larger than it was when it was counted.
      missingBytes: Math.max(0, state.missingBytes - unsettled.reduce((sum, manifest) => sum + pointSize(manifest), 0)),
      ...(isGapless && damage === undefined && last !== undefined && last > (seenToOf(state) ?? "") ? { seenTo: last } : {}),
    });
    unsettled = [];
    settledAt = now().getTime();
  };
  for (const manifest of manifests) {
    try {
      const sent = await sendPoint(primary, copy, manifest, { ...options, onBytes });
      if (sent !== undefined) unsettled.push(sent);
    } catch (error) {
      if (!(error instanceof BackupError) || error.code !== "damaged") throw error;
      damage ??= error;
    }
    done += 1;
    doneBytes += storedSize(manifest);
    ofThis = 0;
    tell();
    if (Math.abs(now().getTime() - settledAt) >= settleEveryMs) await settle();
  }
  await settle();
  return damage;
}

/** Gives the manifest as it was sent; undefined where the point was pruned since it was looked at. Throws `damaged` where the primary does not hold it whole. */
async function sendPoint(primary: Store, copy: Store, manifest: Manifest, options: CopyOptions): Promise<Manifest | undefined> {
  try {
    await copyPoint(primary, copy, manifest, options);
    return manifest;
  } catch (error) {
    if (!(error instanceof BackupError) || error.code !== "damaged") throw error;
    const current = await findManifest(primary, manifest.id, options);
    if (current === undefined) {
      await readIdentity(primary, options); // not where all of the primary is gone
      return undefined;
    }
    if (writeManifest(current) === writeManifest(manifest)) throw error;
    return sendPoint(primary, copy, current, options); // it was encrypted again meanwhile
  }
}

/** What was sent must be there with its length before the copy counts; its bytes were read back by the put. */
async function checkSent(copy: Store, sent: readonly Manifest[], options: CallOptions): Promise<void> {
  for (const manifest of sent) {
    const files = manifest.artifacts.map((artifact) => ({ key: keyOf(manifest, artifact), size: artifact.size }));
    files.push({ key: manifestKey(manifest.id), size: Buffer.byteLength(writeManifest(manifest)) });
    for (const { key, size } of files) {
      if ((await copy.stat(key, options))?.size !== size)
        throw new BackupError("store_failed", `the store ${copy.name} does not have ${key} as it was sent`);
    }
  }
}

/** After what matters, and never in its way. */
async function clearDaily(round: Round, copy: Store, options: CallOptions): Promise<string | undefined> {
  const { clearedAt } = round.state;
  const at = round.request.now();
  if (copy.clearLeftovers === undefined || (clearedAt !== null && Math.abs(at.getTime() - Date.parse(clearedAt)) < lookEveryMs)) return undefined;
  round.state = { ...round.state, clearedAt: at.toISOString() };
  try {
    await copy.clearLeftovers(at, options);
    return undefined;
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    // Every point is there; a credential that may not clear is a choice. The log has it.
    return describeError(error);
  }
}

/** Never throws: the outcome tells what happened; without the note it is tried again sooner than its turn. */
function note(round: Round, changes: Partial<CopyState>): void {
  round.state = { ...round.state, ...changes };
  try {
    writeCopyState(round.request.stateFolder, round.request.name, round.state);
  } catch {
    // As above.
  }
}
