/** Copies and mirrors, brought up to date side by side. */
import { hostname } from "node:os";
import { type App, now, random } from "../app.ts";
import { branchRefOf } from "../core/config.ts";
import { BackupError } from "../core/errors.ts";
import { machineName } from "../core/machine-name.ts";
import type { MirrorCheck } from "../mirror/check.ts";
import type { MirrorOutcome } from "../mirror/outcome.ts";
import type { MirrorOptions } from "../mirror/targets.ts";
import type { CopyOutcome } from "../replicate/replicate.ts";
import { refuseForeignStore } from "../state/repository-id.ts";
import type { Store } from "../stores/store.ts";
import { type CopyOptions, syncCopies } from "./copies.ts";
import { refuseForeignSettings } from "./foreign-settings.ts";

export interface SyncResult {
  readonly copies: readonly CopyOutcome[];
  readonly mirrors: readonly MirrorOutcome[];
}

/**
 * Brings every copy and mirror up to date, all of them side by side. One that fails is an outcome, not an exception.
 * Where the primary itself cannot be read it throws, and only after the mirrors have had their turn.
 */
export async function syncAll(app: App, options: CopyOptions): Promise<SyncResult> {
  const running = [syncCopies(app, options), syncMirrors(app, options)] as const;
  await Promise.allSettled(running);
  return { copies: await running[0], mirrors: await running[1] };
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

/** Throws `config_invalid` for mirrors that came with the repository. */
export async function syncMirrors(app: App, { force, signal }: Pick<CopyOptions, "force" | "signal">): Promise<MirrorOutcome[]> {
  if (app.config.mirrors.length === 0) return [];
  await refuseForeignSettings(app);
  const { mirrorAll } = await import("../mirror/mirror.ts");
  const outcomes = await mirrorAll({
    ...mirrorOptions(app),
    force,
    signal,
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
