/** Every copy brought up to date, each in a round of its own: behind its own lock, with its own state, waiting for no other. */
import { type App, now, random, recoveryTexts } from "../app.ts";
import { copyConfigs, openStore, primaryStore } from "../app-stores.ts";
import type { StoreConfig } from "../core/config.ts";
import { BackupError } from "../core/errors.ts";
import { parseStoreUrl } from "../core/store-url.ts";
import type { StoreIdentity } from "../points/identity.ts";
import type { CopyOutcome, CopyProgress } from "../replicate/replicate.ts";
import { isForEncryptedOnly, lastingMediumOf } from "./places.ts";

export interface CopyOptions {
  /** Try what failed before at once, whatever its turn. */
  readonly force: boolean;
  /** Look at all that each copy holds, not only at what is new. */
  readonly isThorough?: boolean;
  /** How long to wait for another run that is sending to the same copy. Default: ten seconds. */
  readonly lockWaitMs?: number;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: (progress: CopyProgress) => void;
}

/**
 * One outcome a copy, in the order of the settings. Throws where the primary cannot be read, and when `signal` aborts: then after
 * the last copy has stopped.
 */
export async function syncCopies(app: App, options: CopyOptions): Promise<CopyOutcome[]> {
  const configs = copyConfigs(app);
  if (configs.length === 0) return [];
  await readPrimaryIdentity(app, options.signal);
  const running = configs.map((config) => syncCopy(app, config, options));
  await Promise.allSettled(running);
  return Promise.all(running);
}

/** One round of one copy. Throws where the primary cannot be read, and when `signal` aborts. */
export async function syncCopy(app: App, config: StoreConfig, options: CopyOptions): Promise<CopyOutcome> {
  const { signal, onProgress, force, isThorough = false, lockWaitMs = 10_000 } = options;
  const { name, maxBytes } = config;
  const [{ replicate }, { copyLock, readCopyState }, { acquireLock, sweepLock }] = await Promise.all([
    import("../replicate/replicate.ts"),
    import("../replicate/copy-state.ts"),
    import("../state/lock.ts"),
  ]);
  const withSignal = { signal };
  const lockPath = copyLock(app.state.copies, name);
  const lock = await acquireLock(lockPath, { purpose: `sending points to ${name}`, waitMs: lockWaitMs, ...withSignal }).catch((error: unknown) => {
    if (error instanceof BackupError && error.code === "locked") return error;
    throw error;
  });
  if (lock instanceof BackupError) {
    const { missing } = readCopyState(app.state.copies, config);
    return { store: name, status: "busy", sent: 0, missing, code: lock.code, message: lock.message, hint: "holdfast sync --wait" };
  }
  await using _lock = lock;
  sweepLock(lockPath);
  const onlyEncrypted = await isForEncryptedOnly(app, config);
  const outcome = await replicate({
    primary: primaryStore(app),
    identity: await identityFor(app, config, onlyEncrypted, signal),
    name,
    url: config.url,
    open: () => openStore(app, config),
    ...(maxBytes === undefined ? {} : { maxBytes }),
    onlyEncrypted,
    mayBeAway: parseStoreUrl(config.url).kind === "folder",
    medium: () => lastingMediumOf(app, config),
    stateFolder: app.state.copies,
    texts: recoveryTexts(),
    now,
    random,
    force,
    isThorough,
    ...withSignal,
    ...(onProgress === undefined ? {} : { onEvent: onProgress }),
  });
  app.log.write("copy", { ...outcome });
  return outcome;
}

/** A copy that only gets what nobody reads without its key does not name the repository either. */
async function identityFor(app: App, config: StoreConfig, onlyEncrypted: boolean, signal: AbortSignal | undefined): Promise<StoreIdentity> {
  const identity = await readPrimaryIdentity(app, signal);
  if (config.isPlain === true || !(onlyEncrypted || app.config.encryption !== null)) return identity;
  const { withoutName } = await import("../points/identity.ts");
  return withoutName(identity);
}

async function readPrimaryIdentity(app: App, signal: AbortSignal | undefined): Promise<StoreIdentity> {
  const { readIdentity } = await import("../points/identity.ts");
  return readIdentity(primaryStore(app), { signal });
}
