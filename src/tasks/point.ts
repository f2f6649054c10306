/** The use cases as the faces call them, with everything wired. This one: points of the living repository. */
import { statSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { join } from "node:path";
import { type App, dataFolder, now, randomSuffix, version } from "../app.ts";
import { folderStores } from "../app-places.ts";
import { primaryStore } from "../app-stores.ts";
import { clearPlain } from "../capture/encrypt.ts";
import type { PointRequest, PointResult } from "../capture/make-point.ts";
import type { NoteEntry } from "../core/contents.ts";
import { BackupError, describeError, isFullVolume, systemCode } from "../core/errors.ts";
import type { PointKind } from "../core/manifest.ts";
import { hideName, readIdentity, withoutName } from "../points/identity.ts";
import { clearOrphans } from "../points/leftovers.ts";
import { writeMetadata } from "../points/metadata.ts";
import { configFolder, rememberConfig, settings } from "../setup/config-file.ts";
import { acquireLock, sweepLock } from "../state/lock.ts";
import { removeTree } from "../state/remove-tree.ts";
import { refuseForeignStore, rememberRepositoryId } from "../state/repository-id.ts";
import { addRewrites } from "../state/rewrites.ts";
import { sweepScratch } from "../state/scratch.ts";
import type { FolderStore } from "../stores/folder.ts";

export interface PointOptions {
  readonly kind: PointKind;
  readonly isAsked: boolean;
  readonly isFull?: boolean;
  readonly retention?: string;
  readonly note?: NoteEntry;
  /** How long to wait for another run. */
  readonly waitMs?: number;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal | undefined;
}

/** `unsigned`: why the point that was made has no signature. */
export type PointMade = PointResult & { readonly unsigned?: string };

/** Makes a point in the primary store, under the repository's lock. What failed is in the run log too, for status. */
export async function makePointNow(app: App, options: PointOptions): Promise<PointMade> {
  try {
    return await makePointLocked(app, options);
  } catch (error) {
    const isInterrupted = options.signal?.aborted === true;
    if (!isInterrupted)
      app.log.write("point_failed", {
        kind: options.kind,
        code: error instanceof BackupError ? error.code : "internal",
        message: describeError(error),
      });
    throw error;
  }
}

async function makePointLocked(app: App, options: PointOptions): Promise<PointMade> {
  const [{ makePoint }, { KnownState }, { readySigner }] = await Promise.all([
    import("../capture/make-point.ts"),
    import("../capture/known.ts"),
    import("./signers.ts"),
  ]);
  const store = primaryStore(app);
  delete store.decryptor; // a backup reads no secret, also where one is at hand
  const { kind, isAsked, isFull = false, retention = "policy", waitMs = lockWaitMs(app), ...rest } = options;
  await using _lock = await acquireLock(app.state.lock, {
    purpose: "making a point",
    waitMs,
    onTakeover: (previous) => app.log.write("lock_taken_over", { previous }),
    signal: options.signal,
  });
  const startedAt = now();
  const identity = await readIdentity(store, options);
  refuseForeignStore(app.state, identity, store.url);
  if (app.config.encryption !== null && withoutName(identity).name !== identity.name) await hideName(store, options);
  await clearLeftovers(app, store, startedAt);
  const signer = await readySigner(app, store);
  const result = await makePoint({
    repository: app.repository,
    name: app.name,
    patterns: { include: app.config.include, exclude: app.config.exclude },
    store,
    storeFolders: storeFoldersOf(app),
    state: new KnownState(app.state.captureState),
    kind,
    isAsked,
    isFullAsked: isFull,
    ...(await encryptionOf(app)),
    retention,
    machine: hostname(),
    tool: `holdfast ${version}`,
    now,
    random: randomSuffix,
    sign: signer.status === "ready" ? signer.key.sign : undefined,
    isPushed: lazyPushed(app),
    onUnread: (error) => app.log.write("history_not_compared", { code: error.code, message: error.message }),
    onRewrites: (rewrites) => {
      addRewrites(app.state.rewrites, rewrites);
      for (const rewrite of rewrites) app.log.write("rewrite_seen", { ...rewrite });
    },
    ...rest,
  }).catch((error: unknown) => {
    throw withPlace(error, store);
  });
  rememberRepositoryId(app.state, identity.repository);
  rememberConfig(app.repository, app.config);
  if (isAsked && isDue(app.state.catalogued, startedAt, 24 * 60 * 60_000)) {
    await writeMetadata(store, identity, { now: startedAt, policy: app.config.retention }, options);
    writeFileSync(app.state.catalogued, "");
  }
  const ms = now().getTime() - startedAt.getTime();
  if (result.status === "unchanged") {
    app.log.write("point_unchanged", { last: result.last, ms });
    return result;
  }
  app.log.write("point_made", { id: result.manifest.id, kind, ms, step: result.manifest.step, problems: result.problems.length });
  if (signer.status === "ready") return result;
  app.log.write("point_unsigned", { id: result.manifest.id, reason: signer.reason });
  return { ...result, unsigned: signer.reason };
}

async function encryptionOf({ config, state }: App): Promise<Pick<PointRequest, "encryption">> {
  if (config.encryption === null) return {};
  const { makeEncryptor } = await import("../keys/encryptor.ts");
  return { encryption: { encryptor: makeEncryptor(config.encryption.recipients), plainFolder: state.root } };
}

/** Most points see no ref that was forced: then nothing is read. */
function lazyPushed(app: App): (ref: string, oid: string) => Promise<boolean> {
  let reading: ReturnType<typeof readPushed> | undefined;
  return async (ref, oid) => {
    reading ??= readPushed(app);
    return (await reading)(ref, oid);
  };
}

/** What mirrors were pushed to, by the names that a fetch from them gives: those of the remote. */
async function readPushed(app: App): Promise<(ref: string, oid: string) => boolean> {
  if (app.config.mirrors.length === 0) return () => false;
  const { readStates } = await import("../mirror/queue.ts");
  const pushed = new Set<string>();
  for (const { outcome, ours } of await readStates(app.state.root))
    for (const [ref, oid] of ours) if (outcome !== null) pushed.add(`${ref.replace(/^refs\/heads\//, `refs/remotes/${outcome.remote}/`)} ${oid}`);
  return (ref, oid) => pushed.has(`${ref} ${oid}`);
}

/** The spool lies in the store: what a capture could not write, it could not write there, be it our words or git's. */
function withPlace(error: unknown, store: FolderStore): unknown {
  if (error instanceof BackupError && error.code !== "git_failed") return error;
  const words = describeError(error);
  if (isFullVolume(error))
    return new BackupError("store_full", `the store ${store.name} (${store.url}) or the repository's own volume is full: ${words}`, { cause: error });
  if (error instanceof BackupError || systemCode(error) === undefined) return error;
  return new BackupError("io_failed", `the point could not be made: ${words}`, { cause: error });
}

/** Minutes are no wonder for a first point; a script that would rather be told sets HOLDFAST_LOCK_WAIT. */
function lockWaitMs(app: App): number {
  const text = settings(configFolder(app.repository), app.environment)["HOLDFAST_LOCK_WAIT"];
  if (text === undefined) return 10 * 60_000;
  if (!/^\d{1,6}$/.test(text))
    throw new BackupError("usage", `HOLDFAST_LOCK_WAIT should be seconds: ${JSON.stringify(text)} is not`, { hint: "HOLDFAST_LOCK_WAIT=60" });
  return Number(text) * 1000;
}

/** What killed runs left in the primary: looked for once an hour, since it lists the whole store. */
async function clearLeftovers(app: App, store: FolderStore, at: Date): Promise<void> {
  if (!isDue(app.state.swept, at, 60 * 60_000)) return;
  const sweeps: readonly (() => unknown)[] = [
    () => store.clearLeftovers(at),
    () => clearOrphansOf(app, store, at),
    ...[app.state.lock, app.state.workerLock, app.state.drillLock].map((lock) => () => sweepLock(lock)),
    () => sweepAllScratch(app),
    () => removeTree(join(app.state.root, "packing")),
    () => clearPlain(app.state.root),
  ];
  for (const sweep of sweeps) {
    try {
      await sweep();
    } catch (error) {
      // What lies around does no harm, a point that is not made does: it is tried again in an hour.
      app.log.write("leftovers_kept", { message: describeError(error) });
    }
  }
  writeFileSync(app.state.swept, "");
}

async function clearOrphansOf(app: App, store: FolderStore, at: Date): Promise<void> {
  const cleared = await clearOrphans(store, at);
  if (cleared.length > 0) app.log.write("leftovers_cleared", { keys: cleared });
}

/** What killed drills and verifications restored or decrypted: gigabytes in the temporary folder, perhaps. */
function sweepAllScratch(app: App): void {
  for (const kept of [...sweepScratch(app.state.scratch), ...sweepScratch()]) app.log.write("leftovers_kept", { ...kept });
}

/** True when the file was last written longer ago than this; a clock set back makes it due too. */
function isDue(file: string, at: Date, everyMs: number): boolean {
  const last = statSync(file, { throwIfNoEntry: false })?.mtimeMs ?? 0;
  return Math.abs(at.getTime() - last) >= everyMs;
}

/** What changed since the last point. */
export interface PointPlan {
  /** False: there is no last point that this machine remembers. */
  readonly known: boolean;
  readonly files: number;
  readonly refs: number;
  readonly examples: readonly string[];
}

export async function planPoint(app: App): Promise<PointPlan> {
  const [{ KnownState }, { readUnsaved }, { Policy }] = await Promise.all([
    import("../capture/known.ts"),
    import("../status/unsaved.ts"),
    import("../core/policy.ts"),
  ]);
  const known = new KnownState(app.state.captureState).load();
  if (known === undefined) return { known: false, files: 0, refs: 0, examples: [] };
  const { include, exclude } = app.config;
  const unsaved = await readUnsaved({
    repository: app.repository,
    policy: new Policy({ include, exclude }),
    storeFolders: storeFoldersOf(app),
    known,
  });
  return { known: true, ...unsaved };
}

/** Folders that no point holds: stores, wherever they are. */
export function storeFoldersOf(app: App): string[] {
  return [primaryStore(app).url, dataFolder(app.environment), ...folderStores(app).map(({ path }) => path)];
}
