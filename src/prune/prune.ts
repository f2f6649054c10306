/**
 * The prune room: what retention lets go is moved into the store's trash, and deleted for good when its days are over.
 * One store a run, under the lock of whatever writes points into it.
 */
import { dayMs } from "../core/calendar.ts";
import { BackupError, describeError } from "../core/errors.ts";
import type { PointId } from "../core/ids.ts";
import type { Manifest } from "../core/manifest.ts";
import type { RetentionPolicy } from "../core/retention.ts";
import { readCatalogue } from "../points/catalogue.ts";
import { deleteMarks, type PointMarks, readMarks } from "../points/marks.ts";
import { recordPruned, retractPruned } from "../points/pruned.ts";
import { deletePointIn, mendTrash, moveToTrash, readTrash, type TrashedPoint, trashedAt, trashFolder } from "../points/trash.ts";
import { bytesSource, type CallOptions, type Store } from "../stores/store.ts";
import { type Grace, isOver, passGrace } from "./grace.ts";
import { type PrimaryFacts, type PrunePlan, planPrune } from "./plan.ts";

export interface PruneRequest {
  readonly store: Store;
  readonly policy: RetentionPolicy;
  /** Whose points are judged. */
  readonly machine: string;
  /** Gives the signature of a text: who removes points says so by name. */
  readonly sign?: (text: string) => string;
  /** What the next point of this machine builds on. */
  readonly rungs: ReadonlySet<PointId>;
  /** Of a copy. */
  readonly primary?: PrimaryFacts;
  readonly now: Date;
  /** How long earlier runs have seen the trash wait. */
  readonly grace: Grace;
  /** What to do with more than half of the machine's points: all of them, half of them, or nothing but throw `consent_missing`. */
  readonly beyondHalf: "remove" | "half" | "refuse";
  /** In place of half: what an earlier run of the day has left of it. */
  readonly allowance?: number;
  /** Ends the run after so long: who waits for the lock shall not wait for a day's worth. A little is always done. */
  readonly longestMs?: number;
  readonly onEvent?: (event: { readonly store: string; readonly done: number; readonly total: number }) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface PruneResult {
  /** refused: the store takes no deletions, and keeps everything. */
  readonly status: "done" | "refused";
  readonly plan: PrunePlan;
  /** Moved into the trash now. */
  readonly removed: readonly PointId[];
  /** Left for a later run. */
  readonly waiting: number;
  /** Deleted for good now. */
  readonly deleted: readonly PointId[];
  /** For the next run. */
  readonly grace: Grace;
  /** Its time was over before it was done: the next run goes on. */
  readonly isCut: boolean;
  /** Of a refusal. */
  readonly message?: string;
}

/** What a run would do; changes nothing. */
export async function readPrunePlan(request: PruneRequest): Promise<PrunePlan> {
  return makePlan(request, await readMarks(request.store, request));
}

async function makePlan({ store, policy, now, allowance, ...facts }: PruneRequest, marks: ReadonlyMap<PointId, PointMarks>): Promise<PrunePlan> {
  const { points, damaged } = await readCatalogue(store, facts);
  const planned = planPrune({ ...facts, points, marks, damaged: new Set(damaged.map(({ id }) => id)) }, policy, now);
  return allowance === undefined ? planned : { ...planned, limit: Math.min(planned.limit, allowance) };
}

/**
 * Throws `consent_missing` where more than half would go and nobody said so, and what the store throws. A store that cannot delete
 * is an answer, not an error: nothing of it is touched.
 */
export async function prune(request: PruneRequest): Promise<PruneResult> {
  const { store, now, machine, beyondHalf, onEvent, longestMs = Number.POSITIVE_INFINITY } = request;
  const options: CallOptions = { signal: request.signal };
  const startedAt = performance.now();
  const marks = await readMarks(store, options);
  const planned = await makePlan(request, marks);
  const isBeyond = planned.removals.length > planned.limit;
  if (isBeyond && beyondHalf === "refuse") throw tooMuch(store, planned);
  const removals = isBeyond && beyondHalf === "half" ? planned.removals.slice(0, planned.limit) : planned.removals;
  const living = planned.verdicts.map(({ point }) => point);
  const livingIds = new Set(living.map(({ id }) => id));
  const expired = await readExpired(store, request, new Set([...livingIds, ...pinnedOf(marks)]), options);
  if (removals.length + expired.points.length + expired.rest.length > 0) {
    const refusal = await refusalOf(store, options);
    if (refusal !== undefined)
      return {
        status: "refused",
        plan: planned,
        removed: [],
        waiting: planned.removals.length,
        deleted: [],
        isCut: false,
        grace: expired.grace,
        message: refusal,
      };
  }
  await mendTrash(store, living, machine, options);
  await retractPruned(store, machine, livingIds, options);
  const isTimeOver = (): boolean => performance.now() - startedAt > longestMs;
  const removed: PointId[] = [];
  for (const batch of batches(removals)) {
    if (removed.length > 0 && isTimeOver()) break;
    // Not much before they go: a point that is recorded and stays could be taken away by somebody else, and would not be missed.
    await recordPruned(store, batch, request, options);
    for (const point of batch) {
      await moveToTrash(store, point, now, options);
      removed.push(point.id);
      onEvent?.({ store: store.name, done: removed.length, total: removals.length });
    }
  }
  const deleted: PointId[] = [];
  for (const { manifest, folder } of expired.points) {
    if (deleted.length > 0 && isTimeOver()) break;
    await deletePointIn(store, manifest, folder, options);
    deleted.push(manifest.id);
  }
  for (const key of expired.rest) await store.delete(key, options);
  await deleteMarks(store, new Set(deleted), options);
  await store.flush(options);
  await store.clearLeftovers?.(now, options);
  return {
    status: "done",
    plan: planned,
    removed,
    waiting: planned.removals.length - removed.length,
    deleted,
    isCut: removed.length < removals.length || deleted.length < expired.points.length,
    grace: expired.grace,
  };
}

function batches(points: readonly Manifest[]): Manifest[][] {
  return Array.from({ length: Math.ceil(points.length / atOnce) }, (_, at) => points.slice(at * atOnce, (at + 1) * atOnce));
}

const atOnce = 16;

function tooMuch(store: Store, { removals, limit, verdicts }: PrunePlan): BackupError {
  const what = `${removals.length} of ${verdicts.length} points of the store ${store.name} would go: more than half of this machine's`;
  return new BackupError("consent_missing", what, {
    hint: "holdfast prune --dry-run shows each with its reason; then: holdfast prune --force",
    details: { store: store.name, removals: removals.length, limit },
  });
}

/** Why the store takes no deletion; undefined when it does. Tried on a key of our own: nothing is lost to know it. */
async function refusalOf(store: Store, options: CallOptions): Promise<string | undefined> {
  const key = "trash/deletion-is-possible";
  await store.put(key, bytesSource("holdfast looks whether this store deletes\n"), options);
  try {
    await store.delete(key, options);
    return (await store.stat(key, options)) === undefined ? undefined : `the store ${store.name} keeps what is deleted`;
  } catch (error) {
    if (options.signal?.aborted === true || !(error instanceof BackupError)) throw error;
    return describeError(error);
  }
}

interface Expired {
  readonly points: readonly TrashedPoint[];
  /** Keys of days that are long over, which no manifest explains. */
  readonly rest: readonly string[];
  readonly grace: Grace;
}

/**
 * Rests may be another machine's, whose days are more: they wait for longer. `kept`: points that were pinned on their way into the
 * trash, and those that live as well; where the living one is whole, the other is cleared before, else it is all there is.
 */
async function readExpired(
  store: Store,
  { policy, machine, now, ...request }: PruneRequest,
  kept: ReadonlySet<PointId>,
  options: CallOptions,
): Promise<Expired> {
  const trash = await readTrash(store, options);
  const explained = new Set(trash.flatMap(({ manifest, folder }) => keysIn(manifest, folder)));
  const unexplained: { readonly key: string; readonly folder: string }[] = [];
  for await (const { key } of store.list("trash/", options)) {
    const folder = /^trash\/\d{8}(?=\/)/.exec(key)?.[0];
    if (folder !== undefined && !explained.has(key)) unexplained.push({ key, folder });
  }
  const folders = [...trash, ...unexplained].map(({ folder }) => folder);
  const grace = passGrace(request.grace, now, [...folders, trashFolder(now)], policy.trashDays);
  return {
    points: trash.filter(
      ({ manifest, folder }) => manifest.machine === machine && !kept.has(manifest.id) && isOver(grace, folder, now, policy.trashDays),
    ),
    rest: unexplained.flatMap(({ key, folder }) =>
      isOver(grace, folder, now, policy.trashDays) && now.getTime() - trashedAt(folder).getTime() >= restDays * dayMs ? [key] : [],
    ),
    grace,
  };
}

const restDays = 90;

function keysIn(manifest: Manifest, folder: string): string[] {
  return [`${manifest.id}.json`, ...manifest.artifacts.map(({ name }) => name)].map((name) => `${folder}/${name}`);
}

function pinnedOf(marks: ReadonlyMap<PointId, PointMarks>): PointId[] {
  return [...marks].flatMap(([id, { isPinned }]) => (isPinned ? [id] : []));
}
