/** Copies and mirrors, brought up to date side by side. */
import { hostname } from "node:os";
import { type App, now, random, recoveryTexts } from "../app.ts";
import { copyStores, primaryStore } from "../app-stores.ts";
import { branchRefOf } from "../core/config.ts";
import { BackupError } from "../core/errors.ts";
import { machineName } from "../core/machine-name.ts";
import type { MirrorCheck } from "../mirror/check.ts";
import type { MirrorOutcome } from "../mirror/outcome.ts";
import type { MirrorOptions } from "../mirror/targets.ts";
import type { CopyOutcome } from "../replicate/replicate.ts";
import { refuseForeignStore } from "../state/repository-id.ts";
import { FolderStore } from "../stores/folder.ts";
import type { Store } from "../stores/store.ts";

export interface SyncOptions {
  /** Try what failed before at once, whatever its turn. */
  readonly force: boolean;
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: SyncEvent) => void;
}

export type SyncEvent =
  | { readonly kind: "copy"; readonly store: string; readonly done: number; readonly total: number }
  | { readonly kind: "mirror"; readonly outcome: MirrorOutcome };

export interface SyncResult {
  readonly copies: readonly CopyOutcome[];
  readonly mirrors: readonly MirrorOutcome[];
}

/**
 * Brings every copy and mirror up to date, all of them side by side. One that fails is an outcome, not an exception.
 * Where the primary itself cannot be read it throws, and only after the mirrors have had their turn.
 */
export async function syncAll(app: App, options: SyncOptions): Promise<SyncResult> {
  const running = [syncCopies(app, options), syncMirrors(app, options)] as const;
  await Promise.allSettled(running);
  return { copies: await running[0], mirrors: await running[1] };
}

export async function syncCopies(app: App, { force, signal, onEvent }: SyncOptions): Promise<CopyOutcome[]> {
  const primary = primaryStore(app);
  const copies = await copyStores(app);
  if (copies.length === 0) return [];
  const [{ replicate }, { readIdentity }, { acquireLock }] = await Promise.all([
    import("../replicate/replicate.ts"),
    import("../points/identity.ts"),
    import("../state/lock.ts"),
  ]);
  await using _lock = await acquireLock(`${app.state.copies}.lock`, {
    purpose: "copying points",
    waitMs: 60_000,
    ...(signal === undefined ? {} : { signal }),
  });
  for (const copy of copies) if (copy instanceof FolderStore) await copy.clearLeftovers(now());
  const outcomes = await replicate({
    primary,
    identity: await readIdentity(primary),
    copies,
    budgets: new Map(app.config.stores.flatMap(({ name, maxBytes }) => (maxBytes === undefined ? [] : [[name, maxBytes]]))),
    stateFolder: app.state.copies,
    texts: recoveryTexts(),
    now,
    random,
    force,
    ...(signal === undefined ? {} : { signal }),
    ...(onEvent === undefined ? {} : { onEvent: (event) => onEvent({ kind: "copy", ...event }) }),
  });
  for (const outcome of outcomes) app.log.write("copy", { ...outcome });
  await clearRemoteLeftovers(copies, outcomes, signal);
  return outcomes;
}

/** After the points, and only where a point has just gone: it is a call to the remote. */
async function clearRemoteLeftovers(copies: readonly Store[], outcomes: readonly CopyOutcome[], signal: AbortSignal | undefined): Promise<void> {
  const sent = new Set(outcomes.filter((outcome) => outcome.status === "ok" && outcome.sent > 0).map((outcome) => outcome.store));
  const clearing = copies.map(async (copy) => {
    if (copy instanceof FolderStore || !sent.has(copy.name)) return;
    await copy.clearLeftovers?.(now(), signal === undefined ? {} : { signal });
  });
  await Promise.allSettled(clearing); // what stays is nobody's, and is cleared another time
}

/** Throws `store_foreign` for a store that holds another repository's points. One that cannot be reached now is told by the first sync. */
export async function refuseForeignCopy(app: App, copy: Store): Promise<void> {
  const { findIdentity } = await import("../points/identity.ts");
  const identity = await findIdentity(copy).catch((error: unknown) => {
    if (error instanceof BackupError && error.isRetryable) return undefined;
    throw error;
  });
  if (identity !== undefined) refuseForeignStore(app.state, identity, copy.url);
}

export async function syncMirrors(app: App, { force, signal, onEvent }: SyncOptions): Promise<MirrorOutcome[]> {
  if (app.config.mirrors.length === 0) return [];
  const { mirrorAll } = await import("../mirror/mirror.ts");
  const outcomes = await mirrorAll({
    ...mirrorOptions(app),
    force,
    ...(signal === undefined ? {} : { signal }),
    ...(onEvent === undefined
      ? {}
      : { onEvent: (event) => (event.kind === "mirror_done" ? onEvent({ kind: "mirror", outcome: event.outcome }) : undefined) }),
  });
  for (const { remote, status, kept, expired, notes, message } of outcomes)
    app.log.write("mirror", { remote, status, kept: kept.length, expired: expired.map(({ keptAs }) => keptAs), notes, message });
  return outcomes;
}

/** Reads the mirrors' tips back and compares. */
export async function checkMirrorsNow(app: App, signal: AbortSignal): Promise<MirrorCheck[]> {
  const { checkMirrors } = await import("../mirror/check.ts");
  return checkMirrors({ ...mirrorOptions(app), signal });
}

function mirrorOptions({ repository, config, state }: App): MirrorOptions {
  const { mirrors, stores } = config;
  return {
    repository,
    mirrors,
    machine: machineName(hostname()),
    reserved: stores.flatMap((store) => branchRefOf(store) ?? []),
    stateDir: state.root,
    now,
    random,
  };
}
