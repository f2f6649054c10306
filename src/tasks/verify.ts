/** Verifies a store of the repository, and mends it from the others. */
import { join } from "node:path";
import { type App, now, random } from "../app.ts";
import { copyConfigs, findStore, openStore, primaryStore } from "../app-stores.ts";
import { capture } from "../capture/capture.ts";
import { KnownState } from "../capture/known.ts";
import { chainOf, findPoint, sortPoints } from "../core/catalogue.ts";
import { BackupError } from "../core/errors.ts";
import type { RememberedPoint, RemovedPoint } from "../core/history.ts";
import type { PointId } from "../core/ids.ts";
import { type Artifact, type Manifest, manifestKey } from "../core/manifest.ts";
import { Policy } from "../core/policy.ts";
import { readContents, readNote } from "../points/catalogue.ts";
import { readIdentity } from "../points/identity.ts";
import { type PrunedPoint, readPruned } from "../points/pruned.ts";
import { readCopyState } from "../replicate/copy-state.ts";
import { acquireLock } from "../state/lock.ts";
import { makeScratch } from "../state/scratch.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { type Fault, type Finding, fault } from "../verify/finding.ts";
import { noteVerification } from "../verify/last.ts";
import { pieceOf } from "../verify/read.ts";
import { type Damage, VerifiedRecord } from "../verify/record.ts";
import { isMended, type RepairRequest, type RepairResult, repair } from "../verify/repair.ts";
import { parseShare } from "../verify/share.ts";
import { readStoredManifest, type Survey } from "../verify/survey.ts";
import { type VerifyResult, verify } from "../verify/verify.ts";
import { checkWorktree, type WorktreeCheck } from "../verify/worktree.ts";
import { makePointNow, storeFoldersOf } from "./point.ts";
import { throwIfDamaged } from "./points.ts";
import { meetNew, type NamedSigner, readPrunedTrust, readTrust } from "./signers.ts";
import { lockStore } from "./store-lock.ts";

export interface VerifyWish {
  /** An id, an unambiguous beginning of one, or `latest`; the whole store when undefined. */
  readonly point: string | undefined;
  /** By name or URL; the primary when undefined. */
  readonly store: string | undefined;
  readonly level: "structure" | "bytes" | "content";
  /** `n/t` or `auto/t`. */
  readonly share: string | undefined;
  /** No artifact is begun after so long. */
  readonly maxDurationMs: number | undefined;
  readonly repairs: boolean;
  /** Compare the living worktree with the point, or the newest one. */
  readonly worktree: { readonly samplePercent: number; readonly countTolerancePercent: number } | undefined;
}

/** `isMended`: what it is about was put back. */
export type VerifyFinding = Finding & { readonly isMended: boolean };

export interface VerifyOutcome extends VerifyResult {
  readonly findings: readonly VerifyFinding[];
  readonly store: string;
  readonly newSigners: readonly NamedSigner[];
  /** Undefined where no repair was asked for, or nothing was to be mended. */
  readonly repair: (RepairResult & { readonly fullPoint: PointId | null }) | undefined;
  /** Undefined where it was not asked for. */
  readonly worktree: Omit<WorktreeCheck, "faults"> | undefined;
  /** What earlier runs have found, and this one has not read: still there, and not mended. Of the point alone where one was asked for. */
  readonly foundBefore: readonly KnownDamage[];
  /** Damage that is still there. */
  readonly isDamaged: boolean;
}

export interface VerifyCallOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
}

/** Throws `store_missing`, `unknown_point`, `usage`; what is wrong with the store's points is in the outcome. */
export async function verifyStore(app: App, wish: VerifyWish, options: VerifyCallOptions): Promise<VerifyOutcome> {
  const { outcome, needsFull } = await verifyHere(app, wish, options);
  if (!needsFull || outcome.repair === undefined) return outcome;
  // What is damaged in the chain that the next point would build on is stored anew, while the repository still has it.
  const made = await makePointNow(app, {
    kind: "manual",
    isAsked: true,
    isFull: true,
    note: { text: "verify --repair", ticket: null },
    signal: options.signal,
  });
  return { ...outcome, repair: { ...outcome.repair, fullPoint: made.status === "made" ? made.manifest.id : null } };
}

async function verifyHere(app: App, wish: VerifyWish, options: VerifyCallOptions): Promise<{ outcome: VerifyOutcome; needsFull: boolean }> {
  const startedAt = now();
  const share = wish.share === undefined ? undefined : parseShare(wish.share, startedAt);
  const isOver = (): boolean => wish.maxDurationMs !== undefined && now().getTime() - startedAt.getTime() >= wish.maxDurationMs;
  const primary = primaryStore(app);
  const store = wish.store === undefined || wish.store === primary.name ? primary : await findStore(app, wish.store);
  const { repository } = await readIdentity(store, options);
  const others = await otherStores(app, store, primary);
  using folder = makeScratch("verify", app.state.scratch);
  const scratch = folder.path;
  const record = new VerifiedRecord(app.state.verified, store.name);
  try {
    const newSigners = await meetNew(app, store);
    const judge = readTrust(app);
    const removed = await readRemoved(app, store, primary, options);
    const { result, survey, expected, scope } = await verify({
      store,
      others,
      chooses: wish.point === undefined ? undefined : chooser(wish.point, store),
      level: wish.level,
      share,
      isOver,
      rereads: wish.repairs,
      record,
      remembered: await rememberedOf(app, store, { primary, repository }, options),
      removed,
      judge,
      hasBudget: app.config.stores.some(({ name, maxBytes }) => name === store.name && maxBytes !== undefined),
      scratch,
      now,
      ...options,
    });
    const spot = await checkSpot(app, wish, store, survey, options);
    const place = { store, others, survey, expected, judge, options: { signal: options.signal } };
    const repaired = wish.repairs ? await repairLocked(app, { ...place, findings: result.findings, scratch }) : undefined;
    const findings = [...result.findings, ...(spot?.faults ?? []).map(alone)].map((one) => ({
      ...one,
      isMended: repaired !== undefined && isMended(one, repaired, survey),
    }));
    const still = findings.filter((one) => one.weight === "damage" && !one.isMended);
    const known = knownDamage(record, survey, repaired);
    const unread = known.filter(({ point, key }) => !still.some((one) => (one.key === null ? one.point === point : one.key === key)));
    if (wish.point === undefined) record.finish(new Set(survey.sizes.keys()));
    // One point that is well says nothing of the others; one that is not says enough.
    if (wish.point === undefined || still.length > 0) {
      const { points, artifacts } = result;
      const needsDecode = known.some(({ damage }) => damage === "inside");
      const seen = { points, read: artifacts.read, left: artifacts.left, damaged: still.length + unread.length, needsDecode };
      noteVerification(app.state.verifications, { store: store.name, at: startedAt.toISOString(), level: wish.level, ...seen });
    }
    const mended = repaired?.mended.length ?? 0;
    app.log.write("verified", { store: store.name, level: wish.level, points: result.points, ...result.artifacts, damaged: still.length, mended });
    const newest = [...survey.points.keys()].sort().at(-1);
    const needsFull = wish.repairs && store === primary && newest !== undefined && still.some(({ hits }) => hits.includes(newest));
    const foundBefore = unread.filter(({ point }) => scope.has(point));
    const isDamaged = still.length + foundBefore.length > 0;
    const outcome = { ...result, findings, foundBefore, store: store.name, newSigners, worktree: spot?.check, isDamaged };
    return { outcome: { ...outcome, repair: repaired === undefined ? undefined : { ...repaired, fullPoint: null } }, needsFull };
  } finally {
    record.flush();
  }
}

export interface KnownDamage {
  readonly point: PointId;
  readonly key: string;
  readonly damage: Damage;
}

/** Damage that this run or an earlier one has found, of files that are still in the store and were not mended. */
function knownDamage(record: VerifiedRecord, survey: Survey, repaired: RepairResult | undefined): KnownDamage[] {
  const known: KnownDamage[] = [];
  for (const { manifest } of survey.points.values())
    for (const artifact of manifest.artifacts) {
      const { key } = pieceOf(manifest, artifact);
      const about = { kind: "artifact", point: manifest.id, key } as const;
      // It was read back when it was mended.
      if (repaired !== undefined && isMended(about, repaired, survey)) record.add(key, artifact.sha256, now());
      const damage = record.damageOf(key, artifact.sha256);
      if (damage !== undefined) known.push({ point: manifest.id, key, damage });
    }
  return known;
}

/** A copy never got what the primary had pruned before: its records count as well. */
async function readRemoved(app: App, store: Store, primary: Store, options: CallOptions): Promise<ReadonlyMap<PointId, RemovedPoint>> {
  const recordOf = readPrunedTrust(app);
  const removed = new Map<PointId, RemovedPoint>();
  for (const place of store === primary ? [store] : [primary, store]) {
    const records = await readPruned(place, options).catch((error: unknown) => {
      if (place === store || !(error instanceof BackupError) || options.signal?.aborted === true) throw error;
      return new Map<PointId, readonly PrunedPoint[]>(); // the primary is away: the copy is looked at all the same
    });
    for (const [id, each] of records) {
      const record = recordOf(each);
      const { previous = null } = each.find((one) => recordOf([one]) === record) ?? {};
      if (removed.get(id)?.record !== "trusted") removed.set(id, { previous, record });
    }
  }
  return removed;
}

/** Nothing is mended beside whatever else writes into the store; reading needs no lock. */
async function repairLocked(app: App, request: RepairRequest): Promise<RepairResult> {
  const { signal } = request.options;
  const options = { purpose: "repairing a store", waitMs: lockWaitMs, signal };
  await using _lock = await lockStore(app, request.store, options);
  const isPrimary = request.store.url === primaryStore(app).url;
  return repair({
    ...request,
    async recapture(full, spool) {
      // No copying waits for a point, but a capture does for another one.
      await using _capture = isPrimary ? undefined : await acquireLock(app.state.lock, options);
      return await recapture(app, request.store, full, spool);
    },
  });
}

/** As the point was captured, and as if there had been none before it. */
async function recapture(app: App, store: Store, full: Manifest, spool: string): Promise<readonly Artifact[]> {
  const { include, exclude } = app.config;
  const result = await capture({
    repository: app.repository,
    name: app.name,
    policy: new Policy({ include, exclude }),
    policyDigest: "",
    storeFolders: storeFoldersOf(app),
    state: new KnownState(join(spool, "state")),
    known: undefined,
    footing: { kind: "full" },
    id: full.id,
    fullIndex: undefined,
    spool,
    startedAt: now(),
    // Damaged contents do not tell the note; then they cannot be made again, but the rest can.
    note: await readNote(store, full).catch(() => undefined),
  });
  return result.status === "captured" ? result.artifacts : [];
}

const lockWaitMs = 10 * 60_000;

/** Every other store of the settings that can be opened; one that cannot is no help, and no hindrance. */
async function otherStores(app: App, store: Store, primary: Store): Promise<Store[]> {
  const opened = await Promise.all(
    copyConfigs(app).map((config) =>
      openStore(app, config).catch((error: unknown) => {
        if (error instanceof BackupError) return undefined;
        throw error;
      }),
    ),
  );
  return [primary, ...opened].filter((other) => other !== undefined).filter(({ url }) => url !== store.url);
}

interface Spot {
  readonly check: Omit<WorktreeCheck, "faults"> | undefined;
  readonly faults: readonly Fault[];
}

/** The worktree against the point that is meant, or the newest one. A point that cannot be read is compared with nothing, and that is said. */
async function checkSpot(
  app: App,
  { point: prefix, worktree }: VerifyWish,
  store: Store,
  survey: Survey,
  options: CallOptions,
): Promise<Spot | undefined> {
  if (worktree === undefined) return undefined;
  const points = sortPoints([...survey.points.values()].map(({ manifest }) => manifest));
  const point = findPoint(prefix ?? "latest", points);
  if (point === undefined) throw new BackupError("no_points", `there is no point in the store ${store.name} to compare the worktree with`);
  try {
    const contents = await readContents(store, chainOf(point, points), options);
    const { include, exclude } = app.config;
    const { faults, ...check } = await checkWorktree({
      repository: app.repository,
      policy: new Policy({ include, exclude }),
      storeFolders: storeFoldersOf(app),
      point,
      contents,
      random,
      ...worktree,
    });
    return { check, faults };
  } catch (error) {
    if (!(error instanceof BackupError) || options.signal?.aborted === true) throw error;
    return { check: undefined, faults: [fault("unchecked", "doubt", point.id, null, `the worktree was not compared: ${error.message}`)] };
  }
}

function alone(found: Fault): Finding {
  return { ...found, hits: [], commits: [], copies: [] };
}

/** The point that is meant, and what it builds on as far as that is there. Throws why, where its manifest cannot be read. */
function chooser(prefix: string, store: Store): (survey: Survey) => Manifest[] {
  return ({ points, unreadable }) => {
    const point = findPoint(prefix, sortPoints([...points.values()].map(({ manifest }) => manifest)));
    if (point === undefined) throwIfDamaged(prefix, unreadable);
    if (point === undefined) throw new BackupError("unknown_point", `there is no point ${prefix} in the store ${store.name}`);
    const chain = [point];
    for (let at = point.base; at !== null; at = chain[0]?.base ?? null) {
      const base = points.get(at)?.manifest;
      if (base === undefined || chain.includes(base)) break; // a finding says so
      chain.unshift(base);
    }
    return chain;
  };
}

/**
 * What this machine knows of the store's newest point: what it made last in the primary, what it saw last in a copy. Asked
 * before the store is listed: a point that comes in between is no rollback.
 */
async function rememberedOf(
  app: App,
  store: Store,
  { primary, repository }: { readonly primary: Store; readonly repository: string },
  options: CallOptions,
): Promise<RememberedPoint[]> {
  if (store === primary) {
    const known = new KnownState(app.state.captureState).load();
    return known?.repository === repository ? [{ id: known.id, sha256: known.manifestSha256 }] : [];
  }
  const { newest } = readCopyState(app.state.copies, store);
  if (newest === null) return [];
  try {
    const found = await readStoredManifest(primary, manifestKey(newest), options);
    return [{ id: newest, sha256: found === undefined || "error" in found ? undefined : found.sha256 }];
  } catch (error) {
    if (!(error instanceof BackupError)) throw error;
    return [{ id: newest, sha256: undefined }]; // the primary is away: that the point is there can be checked all the same
  }
}
