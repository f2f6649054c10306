/**
 * What a copy lacks. Usually only the days since it was last seen whole are listed, on both sides; all of it once a day, when
 * asked, and where a budget has to count every byte.
 */
import { type BackupError, isOfOneFile } from "../core/errors.ts";
import { dayOf, type PointId } from "../core/ids.ts";
import { isEncrypted, keyOf, type Manifest, manifestKey, storedSize, writeManifest } from "../core/manifest.ts";
import { findManifest, readCatalogue } from "../points/catalogue.ts";
import { daysFrom, type Listing, listPoints } from "../points/listing.ts";
import { type CallOptions, readAll, type Store } from "../stores/store.ts";
import { planBudget } from "./budget.ts";
import type { Beyond, CopyState, Withheld } from "./copy-state.ts";
import { seenToOf } from "./waiting.ts";

export const lookEveryMs = 24 * 60 * 60 * 1000;

export interface LookOptions {
  readonly now: Date;
  /** Look at all of it, whenever that was done last. */
  readonly isAsked: boolean;
  readonly maxBytes: number | undefined;
  /** Only what nobody reads without its key may go there. */
  readonly onlyEncrypted: boolean;
}

/** A look at the primary, before the copy is asked for anything. */
export interface PrimaryLook {
  /** What is there, oldest first; not of all days where it is not `isThorough`. */
  readonly listing: Listing;
  /** Undefined: all of them. */
  readonly days: readonly string[] | undefined;
}

export async function lookAtPrimary(primary: Store, state: CopyState, look: LookOptions, options: CallOptions): Promise<PrimaryLook> {
  const seenTo = seenToOf(state);
  if (seenTo === null || isDue(state, look)) return { listing: await listPoints(primary, undefined, options), days: undefined };
  const days = await daysFrom(primary, seenTo, options);
  const listing = await listPoints(primary, days, options);
  const hasNew = [...listing.points.keys()].some((id) => id > seenTo);
  // A budget counts what the copy holds, to the last byte.
  if (look.maxBytes !== undefined && hasNew) return { listing: await listPoints(primary, undefined, options), days: undefined };
  return { listing, days };
}

function isDue({ lookedAt, beyond, withheld }: CopyState, { now, isAsked, maxBytes, onlyEncrypted }: LookOptions): boolean {
  // A clock that was set back makes it due, too.
  if (isAsked || lookedAt === null || Math.abs(now.getTime() - Date.parse(lookedAt)) >= lookEveryMs) return true;
  const isOtherBudget = beyond !== null && beyond.maxBytes !== maxBytes;
  return isOtherBudget || (withheld !== null && !onlyEncrypted);
}

export interface Missing {
  /** To be sent, oldest first. */
  readonly send: readonly Manifest[];
  /** Of those that cannot be read in the primary, the first one's. They are missing too. */
  readonly damage: BackupError | undefined;
  /** How many cannot be read. */
  readonly unreadable: number;
  readonly beyond: Beyond | null;
  readonly withheld: Withheld | null;
  /** The newest point of those looked at that the copy will hold; null where it is none of them. */
  readonly newest: PointId | null;
}

export async function findMissing(
  primary: Store,
  copy: Store,
  { listing, days }: PrimaryLook,
  state: CopyState,
  look: LookOptions,
  options: CallOptions,
): Promise<Missing> {
  const ids = [...listing.points.keys()];
  const held = await listPoints(copy, days === undefined ? undefined : [...new Set(ids.map(dayOf))], options);
  const broken = days === undefined ? await findBroken(primary, copy, listing, held, options) : noneBroken;
  const lacked = ids.filter((id) => !held.points.has(id) || broken.ids.has(id));
  // Otherwise the look would be a thorough one: nothing is new, and what does not fit is known.
  const isBudgetKnown = look.maxBytes !== undefined && days !== undefined;
  const { manifests, damage, unreadable } = await readManifests(primary, isBudgetKnown ? [] : lacked, options);
  const mayGo = (manifest: Manifest): boolean => !look.onlyEncrypted || isEncrypted(manifest);
  const allowed = manifests.filter(mayGo);
  const plain = new Set(manifests.filter((manifest) => !mayGo(manifest)).map(({ id }) => id));
  const { send, beyond } =
    look.maxBytes === undefined || allowed.length === 0
      ? { send: allowed, beyond: isBudgetKnown ? state.beyond : null }
      : await withinBudget(primary, { ...held, bytes: held.bytes + broken.lostBytes }, allowed, look.maxBytes, plain, options);
  const inCopy = new Set([...held.points.keys()].filter((id) => !broken.ids.has(id)));
  for (const { id } of send) inCopy.add(id);
  const counted = { plain, ids, inCopy, isThorough: days === undefined };
  const withheld = isBudgetKnown ? state.withheld : await countWithheld(primary, copy, counted, state, options);
  return { send, damage, unreadable, beyond, withheld, newest: ids.findLast((id) => inCopy.has(id)) ?? null };
}

/** Points that stand in the copy without all of their artifacts. */
interface Broken {
  readonly ids: ReadonlySet<PointId>;
  readonly lostBytes: number;
}

const noneBroken: Broken = { ids: new Set(), lostBytes: 0 };

/**
 * Looks only where the two listings differ, which may be for files beside the artifacts. A point with another manifest than the
 * primary's is not among them: it was encrypted again (stale.ts), or is for `verify` to judge.
 */
async function findBroken(primary: Store, copy: Store, ours: Listing, theirs: Listing, options: CallOptions): Promise<Broken> {
  const differing = [...ours.points].flatMap(([id, bytes]) => (bytes === (theirs.points.get(id) ?? bytes) ? [] : [id]));
  if (differing.length === 0) return noneBroken;
  const sizes = new Map<string, number>();
  for (const day of new Set(differing.map(dayOf))) for await (const { key, size } of copy.list(`${day}/`, options)) sizes.set(key, size);
  const ids = new Set<PointId>();
  let lostBytes = 0;
  for (const manifest of (await readManifests(primary, differing, options)).manifests) {
    const { id, artifacts } = manifest;
    const lost = artifacts.filter((artifact) => sizes.get(keyOf(manifest, artifact)) !== artifact.size);
    if (lost.length === 0) continue;
    const standing = await readAll(copy, manifestKey(id), options);
    if (standing?.toString("utf8") !== writeManifest(manifest)) continue;
    ids.add(id);
    lostBytes += storedSize({ artifacts: lost });
  }
  return { ids, lostBytes };
}

async function readManifests(
  primary: Store,
  ids: readonly PointId[],
  options: CallOptions,
): Promise<{ manifests: Manifest[]; damage: BackupError | undefined; unreadable: number }> {
  const manifests: Manifest[] = [];
  let damage: BackupError | undefined;
  let unreadable = 0;
  for (const id of ids) {
    try {
      const manifest = await findManifest(primary, id, options);
      if (manifest !== undefined) manifests.push(manifest); // else removed since it was listed
    } catch (error) {
      if (!isOfOneFile(error)) throw error;
      damage ??= error;
      unreadable += 1;
    }
  }
  return { manifests, damage, unreadable };
}

/** What of the missing points fits into the budget: the newest, each with all that it needs. */
async function withinBudget(
  primary: Store,
  held: Listing,
  missing: readonly Manifest[],
  maxBytes: number,
  plain: ReadonlySet<PointId>,
  options: CallOptions,
): Promise<{ send: readonly Manifest[]; beyond: Beyond | null }> {
  const { points } = await readCatalogue(primary, options);
  const goes = points.filter(({ id }) => !plain.has(id));
  const plan = planBudget({ points: goes, present: new Set(held.points.keys()), usedBytes: held.bytes, maxBytes });
  if (plan.beyond.length === 0) return { send: missing, beyond: null };
  const left = new Set(plan.beyond.map(({ id }) => id));
  return {
    send: missing.filter(({ id }) => !left.has(id)),
    beyond: { points: left.size, maxBytes, hasNewest: plan.beyond.at(-1) !== goes.at(-1) },
  };
}

interface Plain {
  /** Points that may not leave. */
  readonly plain: ReadonlySet<PointId>;
  readonly ids: readonly PointId[];
  readonly inCopy: ReadonlySet<PointId>;
  readonly isThorough: boolean;
}

async function countWithheld(
  primary: Store,
  copy: Store,
  { plain, ids, inCopy, isThorough }: Plain,
  state: CopyState,
  options: CallOptions,
): Promise<Withheld | null> {
  const seenTo = seenToOf(state) ?? "";
  const points = isThorough ? plain.size : (state.withheld?.points ?? 0) + [...plain].filter((id) => id > seenTo).length;
  if (points === 0) return null;
  const newest = ids.at(-1);
  if (newest === undefined) return { points, hasNewest: state.withheld?.hasNewest ?? false };
  if (plain.has(newest)) return { points, hasNewest: false };
  // It may not fit or not be readable: that is told as such.
  return { points, hasNewest: !inCopy.has(newest) || (await isChainThere(primary, copy, newest, inCopy, options)) };
}

/** An encrypted point may build on one that was not encrypted, and is nothing without it. */
async function isChainThere(primary: Store, copy: Store, newest: PointId, inCopy: ReadonlySet<PointId>, options: CallOptions): Promise<boolean> {
  const seen = new Set<PointId>();
  for (let at: PointId | null = newest; at !== null && !seen.has(at); ) {
    if (!inCopy.has(at) && (await copy.stat(manifestKey(at), options)) === undefined) return false;
    seen.add(at);
    const { manifests } = await readManifests(primary, [at], options);
    at = manifests[0]?.base ?? null;
  }
  return true;
}
