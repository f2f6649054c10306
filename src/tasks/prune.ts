/** Pruning with everything wired: the primary first, then every copy by the same decision. */
import { hostname } from "node:os";
import { type App, now, randomSuffix } from "../app.ts";
import { chosenStore, copyConfigs, findStore, openStore, primaryStore } from "../app-stores.ts";
import { chainOf } from "../core/catalogue.ts";
import { BackupError, describeError } from "../core/errors.ts";
import { newPointId, type PointId } from "../core/ids.ts";
import type { Manifest } from "../core/manifest.ts";
import { findSigningKey } from "../keys/signing-key.ts";
import { readCatalogue } from "../points/catalogue.ts";
import { readIdentity } from "../points/identity.ts";
import { listPoints } from "../points/listing.ts";
import { addMark } from "../points/marks.ts";
import { writeMetadata } from "../points/metadata.ts";
import { readPruned, retractPruned } from "../points/pruned.ts";
import { findTrashed, mendTrash, moveFromTrash, readTrash, type TrashedPoint, trashedChain } from "../points/trash.ts";
import { noteLastPrune, readLastPrune } from "../prune/last-prune.ts";
import type { PrimaryFacts, PrunePlan } from "../prune/plan.ts";
import { type PruneRequest, type PruneResult, prune, readPrunePlan } from "../prune/prune.ts";
import { refuseForeignStore } from "../state/repository-id.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { readPrunedTrust, signingKeyFile } from "./signers.ts";
import { lockStore } from "./store-lock.ts";

export interface PruneWish {
  /** A store by its name in the settings or its URL; all of them when undefined. */
  readonly store: string | undefined;
  /** Whose points are judged: this machine's when undefined. */
  readonly machine: string | undefined;
  readonly force: boolean;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  readonly onEvent?: PruneRequest["onEvent"];
}

export interface StorePrune {
  readonly store: string;
  /** planned: nothing was to be changed. refused: the store takes no deletions. failed: it could not be reached, or not be written. */
  readonly status: "planned" | "done" | "refused" | "failed";
  readonly plan: PrunePlan | undefined;
  readonly removed: readonly PointId[];
  readonly waiting: number;
  readonly deleted: readonly PointId[];
  readonly message?: string;
  readonly hint?: string;
}

/** One outcome a store. Throws only what the primary does, or the store that was asked for: also `consent_missing`. */
export async function pruneNow(app: App, wish: PruneWish): Promise<StorePrune[]> {
  const primary = primaryStore(app);
  if (wish.store !== undefined && wish.store !== primary.name) {
    const store = await findStore(app, wish.store);
    return [await pruneStore(app, store, wish, true)];
  }
  const outcomes = [await pruneStore(app, primary, wish, false)];
  if (wish.store !== undefined) return outcomes;
  for (const config of copyConfigs(app)) outcomes.push(await pruneCopy(app, () => openStore(app, config), config.name, wish));
  return outcomes;
}

/** A copy that fails holds up no other. */
async function pruneCopy(app: App, open: () => Promise<Store>, name: string, wish: PruneWish): Promise<StorePrune> {
  try {
    return await pruneStore(app, await open(), wish, false);
  } catch (error) {
    if (wish.signal.aborted || !(error instanceof BackupError)) throw error;
    return { ...nothing, store: name, status: "failed", message: error.message, hint: error.hint };
  }
}

const nothing = { plan: undefined, removed: [], waiting: 0, deleted: [] } as const;

/** `judgesOthers`: in a copy also points that its primary never had are judged. */
async function pruneStore(app: App, store: Store, wish: PruneWish, judgesOthers: boolean): Promise<StorePrune> {
  const request = await requestFor(app, store, wish, judgesOthers);
  if (wish.dryRun) return { ...nothing, store: store.name, status: "planned", plan: await readPrunePlan(request) };
  const { isCut: _, grace, ...outcome } = await pruneLocked(app, { ...request, beyondHalf: wish.force ? "remove" : "refuse" });
  noteLastPrune(app.state.prunes, store.name, { at: now().toISOString(), refusal: outcome.message ?? null, grace, allowance: null });
  return { store: store.name, ...outcome };
}

/** Under the store's lock. The catalogue for people, which takes long, is written afterwards. */
async function pruneLocked(app: App, request: PruneRequest & { readonly signal: AbortSignal }, waitMs?: number): Promise<PruneResult> {
  const { store, signal } = request;
  const lock = await lockStore(app, store, { purpose: "pruning", signal, ...(waitMs === undefined ? {} : { waitMs }) });
  const result = await prune(request).finally(() => lock.release());
  const { status, removed, waiting, deleted, message } = result;
  app.log.write("pruned", { store: store.name, status, removed, waiting, deleted, ...(message === undefined ? {} : { message }) });
  if (removed.length + deleted.length > 0 && store.url === primaryStore(app).url)
    await writeMetadata(store, await readIdentity(store, { signal }), { now: now(), policy: app.config.retention }, { signal });
  return result;
}

async function requestFor(
  app: App,
  store: Store,
  wish: Pick<PruneWish, "machine" | "signal" | "onEvent">,
  judgesOthers: boolean,
): Promise<PruneRequest & { readonly signal: AbortSignal }> {
  refuseForeignStore(app.state, await readIdentity(store, wish), store.url);
  const { KnownState } = await import("../capture/known.ts");
  const known = new KnownState(app.state.captureState).load();
  const primary = primaryStore(app);
  const machine = wish.machine ?? hostname();
  const signer = findSigningKey(signingKeyFile(app.environment));
  return {
    store,
    policy: app.config.retention,
    machine,
    ...(signer?.status === "ready" ? { sign: signer.key.sign } : {}),
    rungs: new Set(known === undefined ? [] : [known.id, ...known.rungs.map(({ id }) => id)]),
    now: now(),
    grace: readLastPrune(app.state.prunes, store.name).grace,
    beyondHalf: "half",
    signal: wish.signal,
    ...(wish.onEvent === undefined ? {} : { onEvent: wish.onEvent }),
    ...(store.url === primary.url ? {} : { primary: { ...(await readPrimaryFacts(app, primary, { signal: wish.signal })), judgesOthers } }),
  };
}

async function readPrimaryFacts(app: App, primary: Store, options: CallOptions): Promise<Omit<PrimaryFacts, "judgesOthers">> {
  await readIdentity(primary, options);
  const [{ points }, pruned] = await Promise.all([listPoints(primary, undefined, options), readPruned(primary, options)]);
  const recordOf = readPrunedTrust(app);
  const removalOf: PrimaryFacts["removalOf"] = (id) => {
    const records = pruned.get(id);
    // Whoever can write into the primary could otherwise empty every copy by a list of points.
    return records === undefined ? undefined : recordOf(records) === "trusted" ? "trusted" : "doubtful";
  };
  return { name: primary.name, living: new Set(points.keys()), removalOf };
}

/**
 * As the worker does after points: the store of this name at most once a day, and at most half of the machine's points. Never throws
 * but on abort: what fails is noted, and tried again the next day.
 */
export async function pruneWhenDue(app: App, name: string, signal: AbortSignal): Promise<void> {
  const last = readLastPrune(app.state.prunes, name);
  if (last.at !== null && Math.abs(now().getTime() - Date.parse(last.at)) < everyMs) return;
  try {
    const primary = primaryStore(app);
    const store = name === primary.name ? primary : await findStore(app, name);
    const request = await requestFor(app, store, { machine: undefined, signal }, false);
    const allowance = last.allowance === null ? {} : { allowance: last.allowance };
    const { isCut, plan, removed, message, grace } = await pruneLocked(app, { ...request, ...allowance, longestMs }, 5_000);
    const refusal = message ?? null;
    // One that was cut goes on with the next point, up to the half that was meant at first.
    if (isCut) noteLastPrune(app.state.prunes, name, { at: last.at, refusal, grace, allowance: plan.limit - removed.length });
    else noteLastPrune(app.state.prunes, name, { at: now().toISOString(), refusal, grace, allowance: null });
  } catch (error) {
    if (signal.aborted) throw error;
    app.log.write("prune_failed", { store: name, message: describeError(error) });
    // Another run is at work there: the next point's worker comes again.
    if (!(error instanceof BackupError && error.code === "locked")) noteLastPrune(app.state.prunes, name, { ...last, at: now().toISOString() });
  }
}

const everyMs = 24 * 60 * 60 * 1000;
/** A point that is made meanwhile waits for no longer than this. */
const longestMs = 5_000;

/** Stores that keep everything, because they take no deletions, as the last run saw it. */
export function readRefusals(app: App): { readonly store: string; readonly message: string }[] {
  return app.config.stores.flatMap(({ name }) => {
    const { refusal } = readLastPrune(app.state.prunes, name);
    return refusal === null ? [] : [{ store: name, message: refusal }];
  });
}

export interface DeletedPoints {
  readonly store: Store;
  readonly trash: readonly TrashedPoint[];
}

/** What can still be brought back. */
export async function readDeleted(app: App, nameOrUrl: string | undefined, signal: AbortSignal): Promise<DeletedPoints> {
  const store = await chosenStore(app, nameOrUrl);
  await readIdentity(store, { signal });
  return { store, trash: await readTrash(store, { signal }) };
}

/**
 * Brings a point back out of the trash, with what it builds on, and pins it: otherwise the next run would take it again. Throws `unknown_point`,
 * `chain_broken`.
 */
export async function undelete(app: App, prefix: string, nameOrUrl: string | undefined, signal: AbortSignal): Promise<Manifest[]> {
  const store = await chosenStore(app, nameOrUrl);
  refuseForeignStore(app.state, await readIdentity(store, { signal }), store.url);
  await using _lock = await lockStore(app, store, { purpose: "bringing a point back", signal });
  const { points } = await readCatalogue(store, { signal });
  await mendTrash(store, points, hostname(), { signal });
  const trash = await readTrash(store, { signal });
  const found = findTrashed(prefix, trash);
  if (found === undefined)
    throw new BackupError("unknown_point", `there is no point ${prefix} in the trash of the store ${store.name}`, {
      hint: "holdfast points --deleted",
    });
  const chain = trashedChain(found, trash);
  chainOf(found.manifest, [...points, ...chain.map(({ manifest }) => manifest)]);
  for (const point of chain) {
    await moveFromTrash(store, point, { signal });
    await retractPruned(store, point.manifest.machine, new Set([point.manifest.id]), { signal });
  }
  const at = now();
  const mark = { point: found.manifest.id, mark: "pinned", at: at.toISOString(), by: null, note: null } as const;
  await addMark(store, mark, newPointId(at, randomSuffix()), { signal });
  await store.flush({ signal });
  const back = chain.map(({ manifest }) => manifest);
  app.log.write("undeleted", { store: store.name, points: back.map(({ id }) => id) });
  return back;
}
