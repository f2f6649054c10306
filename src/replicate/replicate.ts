/**
 * Copies points from the primary store to every other one. Each copy is on its own: one that fails or is slow
 * holds up no other, and is tried again later.
 */
import { retryDelayMs } from "../core/backoff.ts";
import { BackupError, describeError } from "../core/errors.ts";
import { dayOf } from "../core/ids.ts";
import { type Manifest, manifestKey } from "../core/manifest.ts";
import { isManifestKey, readManifest } from "../points/catalogue.ts";
import { findIdentity, type StoreIdentity, writeIdentity } from "../points/identity.ts";
import { copyPoint } from "../points/publish.ts";
import { type RecoveryTexts, writeRecoveryFiles } from "../points/recovery-files.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { type CopyState, readCopyState, writeCopyState } from "./copy-state.ts";

export interface ReplicateRequest {
  readonly primary: Store;
  readonly identity: StoreIdentity;
  readonly copies: readonly Store[];
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
  readonly message?: string;
  readonly hint?: string;
}

/** One outcome a copy, never the first exception. */
export async function replicate(request: ReplicateRequest): Promise<CopyOutcome[]> {
  return Promise.all(request.copies.map((copy) => replicateTo(copy, request)));
}

async function replicateTo(copy: Store, request: ReplicateRequest): Promise<CopyOutcome> {
  const { stateFolder, now, random, force, signal } = request;
  const state = readCopyState(stateFolder, copy.name);
  if (force !== true && state.nextAttemptAt !== null && Date.parse(state.nextAttemptAt) > now().getTime()) {
    return { store: copy.name, status: "waiting", sent: 0, missing: state.missing, ...(state.error === null ? {} : { message: state.error }) };
  }
  const progress = { missing: 0, sent: 0 };
  try {
    const newest = await send(copy, request, progress);
    const after: CopyState = { lastOkAt: now().toISOString(), newest, missing: 0, failures: 0, nextAttemptAt: null, error: null, hint: null };
    writeCopyState(stateFolder, copy.name, after);
    return { store: copy.name, status: "ok", sent: progress.sent, missing: 0 };
  } catch (error) {
    if (signal?.aborted === true) throw error;
    const failures = state.failures + 1;
    const nextAttemptAt = new Date(now().getTime() + retryDelayMs(failures, random())).toISOString();
    const hint = error instanceof BackupError ? error.hint : null;
    writeCopyState(stateFolder, copy.name, { ...state, missing: progress.missing, failures, nextAttemptAt, error: describeError(error), hint });
    return { store: copy.name, status: "failed", sent: 0, missing: progress.missing, message: describeError(error), ...(hint === null ? {} : { hint }) };
  }
}

/** Gives the newest point that the copy holds afterwards. */
async function send(copy: Store, request: ReplicateRequest, progress: { missing: number; sent: number }): Promise<string | null> {
  const { primary, identity, texts, onEvent } = request;
  const options: CallOptions = request.signal === undefined ? {} : { signal: request.signal };
  const wanted = await manifestKeys(primary, options);
  const theirs = await findIdentity(copy, options);
  if (theirs === undefined) await writeIdentity(copy, identity, options);
  else if (theirs.repository !== identity.repository) {
    throw new BackupError("store_foreign", `the store ${copy.name} holds points of another repository (${theirs.name})`);
  }
  await writeRecoveryFiles(copy, texts, options);
  const present = new Set(await manifestKeys(copy, options));
  const missing = wanted.filter((key) => !present.has(key));
  progress.missing = missing.length;
  for (const key of missing) {
    // One that cannot be read here cannot be copied; verify names it, and the others go on.
    const manifest = await readManifest(primary, key, options);
    if (manifest !== undefined) await copyPoint(primary, copy, manifest, options);
    progress.sent += 1;
    onEvent?.({ store: copy.name, done: progress.sent, total: missing.length });
  }
  await copy.flush(options);
  await checkSent(copy, primary, missing, options);
  return wanted.at(-1)?.slice("YYYYMMDD/".length, -".json".length) ?? null;
}

/** What was sent must be there with its length before the copy counts. */
async function checkSent(copy: Store, primary: Store, keys: readonly string[], options: CallOptions): Promise<void> {
  for (const key of keys) {
    const manifest = await readManifest(primary, key, options);
    if (manifest === undefined) continue;
    for (const name of [...namesOf(manifest), manifestKey(manifest.id)]) {
      const [there, here] = [await copy.stat(name, options), await primary.stat(name, options)];
      if (there?.size !== here?.size) throw new BackupError("store_failed", `the store ${copy.name} has ${name} with another length than it was sent`);
    }
  }
}

function namesOf(manifest: Manifest): string[] {
  return manifest.artifacts.map((artifact) => `${dayOf(manifest.id)}/${artifact.name}`);
}

async function manifestKeys(store: Store, options: CallOptions): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list("", options)) if (isManifestKey(key)) keys.push(key);
  return keys.sort();
}
