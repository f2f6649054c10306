/**
 * Copies points from the primary store to every other one. Each copy is on its own: one that fails or is slow
 * holds up no other, and is tried again later.
 */
import { retryDelayMs } from "../core/backoff.ts";
import { BackupError, describeError } from "../core/errors.ts";
import { dayOf, type PointId } from "../core/ids.ts";
import { type Manifest, manifestKey, parseManifest, writeManifest } from "../core/manifest.ts";
import { isManifestKey, readCatalogue } from "../points/catalogue.ts";
import { findIdentity, type StoreIdentity, writeIdentity } from "../points/identity.ts";
import { copyMarks } from "../points/marks.ts";
import { copyPoint } from "../points/publish.ts";
import { type RecoveryTexts, writeRecoveryFiles } from "../points/recovery-files.ts";
import { type CallOptions, readAll, type Store } from "../stores/store.ts";
import { planBudget } from "./budget.ts";
import { type Beyond, type CopyState, readCopyState, writeCopyState } from "./copy-state.ts";

export interface ReplicateRequest {
  readonly primary: Store;
  readonly identity: StoreIdentity;
  readonly copies: readonly Store[];
  /** Bytes that a copy may hold, by its name; without one it gets every point. */
  readonly budgets?: ReadonlyMap<string, number>;
  /** Folder of the copies' states. */
  readonly stateFolder: string;
  readonly texts: RecoveryTexts;
  readonly now: () => Date;
  /** In [0, 1). */
  readonly random: () => number;
  /** Try copies again whose time has not come yet. */
  readonly force?: boolean;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: { readonly store: string; readonly done: number; readonly total: number }) => void;
}

export interface CopyOutcome {
  readonly store: string;
  /** waiting: it failed before and its time has not come. */
  readonly status: "ok" | "failed" | "waiting";
  /** Points that were sent now. */
  readonly sent: number;
  readonly missing: number;
  /** Older points that do not fit into the copy's budget. */
  readonly beyond?: Beyond;
  readonly message?: string;
  readonly hint?: string;
}

/** One outcome a copy, never the first exception. Throws only when `signal` aborts, and then after the last copy has stopped. */
export async function replicate(request: ReplicateRequest): Promise<CopyOutcome[]> {
  const running = request.copies.map((copy) => replicateTo(copy, request));
  await Promise.allSettled(running);
  return Promise.all(running);
}

async function replicateTo(copy: Store, request: ReplicateRequest): Promise<CopyOutcome> {
  const { stateFolder, now, random, force, signal } = request;
  const state = readCopyState(stateFolder, copy.name);
  if (force !== true && state.nextAttemptAt !== null && Date.parse(state.nextAttemptAt) > now().getTime()) {
    return { store: copy.name, status: "waiting", sent: 0, missing: state.missing, ...(state.error === null ? {} : { message: state.error }) };
  }
  const progress: Progress = { missing: state.missing, sent: 0, beyond: state.beyond };
  try {
    const newest = await send(copy, request, state, progress);
    const { beyond, sent } = progress;
    const well = { missing: 0, failures: 0, nextAttemptAt: null, error: null, hint: null };
    writeCopyState(stateFolder, copy.name, { ...well, lastOkAt: now().toISOString(), newest, beyond });
    return { store: copy.name, status: "ok", sent, missing: 0, ...(beyond === null ? {} : { beyond }) };
  } catch (error) {
    if (signal?.aborted === true) throw error;
    const failures = state.failures + 1;
    const nextAttemptAt = new Date(now().getTime() + retryDelayMs(failures, random())).toISOString();
    const message = describeError(error);
    const hint = error instanceof BackupError ? error.hint : "holdfast doctor";
    try {
      writeCopyState(stateFolder, copy.name, { ...state, missing: progress.missing, failures, nextAttemptAt, error: message, hint });
    } catch {
      // The outcome tells of the failure; without the note it is tried again sooner than its turn.
    }
    return { store: copy.name, status: "failed", sent: progress.sent, missing: progress.missing, message, hint };
  }
}

interface Progress {
  /** Points that the copy lacks. */
  missing: number;
  sent: number;
  beyond: Beyond | null;
}

/**
 * Gives the newest point that the copy holds afterwards. A point that is damaged in the primary is not sent and
 * does not keep the later ones from it; it is thrown at the end.
 */
async function send(copy: Store, request: ReplicateRequest, state: CopyState, progress: Progress): Promise<string | null> {
  const { primary, texts, onEvent } = request;
  const options: CallOptions = request.signal === undefined ? {} : { signal: request.signal };
  const wanted = await manifestKeys(primary, options);
  await checkIdentity(copy, request, state, options);
  await writeRecoveryFiles(copy, texts, options);
  const held = await readHeld(copy, options);
  const { missing, beyond } = await planMissing(wanted, held, request.budgets?.get(copy.name), request, options);
  progress.missing = missing.length;
  progress.beyond = beyond;
  const sent: Manifest[] = [];
  let damage: BackupError | undefined;
  for (const key of missing) {
    try {
      const bytes = await readAll(primary, key, options);
      if (bytes === undefined) continue; // removed since it was listed
      const manifest = parseManifest(bytes.toString("utf8"), key);
      await copyPoint(primary, copy, manifest, options);
      sent.push(manifest);
    } catch (error) {
      if (!(error instanceof BackupError) || (error.code !== "damaged" && error.code !== "format_newer")) throw error;
      damage ??= error;
    }
    onEvent?.({ store: copy.name, done: sent.length, total: missing.length });
  }
  await copyMarks(primary, copy, options);
  await copy.flush(options);
  await checkSent(copy, sent, options);
  progress.sent = sent.length;
  progress.missing -= sent.length;
  if (damage !== undefined)
    throw new BackupError(damage.code, `cannot be copied: ${damage.message}`, {
      cause: damage,
      hint: "holdfast points shows what is damaged; another copy may still hold it",
    });
  const inCopy = new Set([...held.manifests, ...missing]);
  return idOf(wanted.findLast((key) => inCopy.has(key)));
}

/** What is to be sent, oldest first, and what the budget leaves out. Damaged manifests are among the first, to be told of. */
async function planMissing(
  wanted: readonly string[],
  held: Held,
  maxBytes: number | undefined,
  { primary }: ReplicateRequest,
  options: CallOptions,
): Promise<{ readonly missing: readonly string[]; readonly beyond: Beyond | null }> {
  const missing = wanted.filter((key) => !held.manifests.has(key));
  if (maxBytes === undefined || missing.length === 0) return { missing, beyond: null };
  const { points } = await readCatalogue(primary, options);
  const present = new Set([...held.manifests].map((key) => idOf(key) ?? ""));
  const plan = planBudget({ points, present, usedBytes: held.bytes, maxBytes });
  if (plan.beyond.length === 0) return { missing, beyond: null };
  const left = new Set(plan.beyond.map(({ id }) => manifestKey(id)));
  const beyond = { points: left.size, maxBytes, hasNewest: plan.beyond.at(-1) !== points.at(-1) };
  return { missing: missing.filter((key) => !left.has(key)), beyond };
}

interface Held {
  readonly manifests: ReadonlySet<string>;
  /** Of all that lies in the store. */
  readonly bytes: number;
}

async function readHeld(store: Store, options: CallOptions): Promise<Held> {
  const manifests = new Set<string>();
  let bytes = 0;
  for await (const { key, size } of store.list("", options)) {
    if (isManifestKey(key)) manifests.add(key);
    bytes += size;
  }
  return { manifests, bytes };
}

function idOf(key: string | undefined): PointId | null {
  return key?.slice("YYYYMMDD/".length, -".json".length) ?? null;
}

/** A copy that is new gets its identity; one that was whole before and has none now may be an unmounted disk. */
async function checkIdentity(copy: Store, request: ReplicateRequest, state: CopyState, options: CallOptions): Promise<void> {
  const { identity } = request;
  const theirs = await findIdentity(copy, options);
  if (theirs !== undefined) return refuseForeign(copy, theirs, identity);
  if (state.lastOkAt !== null) {
    const hint = `is the disk mounted? to begin anew there: holdfast store remove ${copy.name}, then holdfast store add ${copy.name} ${copy.url}`;
    throw new BackupError("store_missing", `the store ${copy.name} is no longer at ${copy.url}`, { hint });
  }
  await writeIdentity(copy, identity, options);
  await writeRecoveryFiles(copy, request.texts, options);
  try {
    await copy.flush(options);
  } catch (error) {
    // Another machine has begun the same store at this moment: whose identity stands there is read before any point goes.
    if (!(error instanceof BackupError) || error.details["keys"] === undefined) throw error;
  }
  const standing = await findIdentity(copy, options);
  if (standing === undefined) throw new BackupError("store_failed", `the store ${copy.name} does not keep what is written there`);
  refuseForeign(copy, standing, identity);
}

function refuseForeign(copy: Store, theirs: StoreIdentity, ours: StoreIdentity): void {
  if (theirs.repository === ours.repository) return;
  throw new BackupError("store_foreign", `the store ${copy.name} holds points of another repository (${theirs.name})`);
}

/** What was sent must be there with its length before the copy counts. */
async function checkSent(copy: Store, sent: readonly Manifest[], options: CallOptions): Promise<void> {
  for (const manifest of sent) {
    const files = manifest.artifacts.map(({ name, size }) => ({ key: `${dayOf(manifest.id)}/${name}`, size }));
    files.push({ key: manifestKey(manifest.id), size: Buffer.byteLength(writeManifest(manifest)) });
    for (const { key, size } of files) {
      if ((await copy.stat(key, options))?.size !== size)
        throw new BackupError("store_failed", `the store ${copy.name} does not have ${key} as it was sent`);
    }
  }
}

async function manifestKeys(store: Store, options: CallOptions): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list("", options)) if (isManifestKey(key)) keys.push(key);
  return keys.sort();
}
