/** Decides what a run of prune removes from one store. Pure; carried out by prune.ts. */
import type { Catalogue } from "../core/catalogue.ts";
import type { PointId } from "../core/ids.ts";
import type { Manifest } from "../core/manifest.ts";
import { planRetention, type RetentionPoint, type RetentionPolicy, type RetentionVerdict } from "../core/retention.ts";
import type { PointMarks } from "../points/marks.ts";

export interface PruneFacts {
  /** Of the store, in the order of their ids. */
  readonly points: Catalogue;
  /** Points that a listing shows to be damaged; those that are not among `points` have a manifest that cannot be read. */
  readonly damaged: ReadonlySet<PointId>;
  readonly marks: ReadonlyMap<PointId, PointMarks>;
  /** Whose points are judged. */
  readonly machine: string;
  /** What the next point builds on. */
  readonly rungs: ReadonlySet<PointId>;
  /** Of a copy: what its primary holds, and what was pruned there. */
  readonly primary?: PrimaryFacts;
}

export interface PrimaryFacts {
  readonly name: string;
  readonly living: ReadonlySet<PointId>;
  /** doubtful: somebody says so of whom nothing is known, and a copy loses nothing by that. */
  readonly removalOf: (id: PointId) => "trusted" | "doubtful" | undefined;
  /** Whether points that the primary never had are judged by the policy, or left alone. */
  readonly judgesOthers: boolean;
}

export interface PruneVerdict extends RetentionVerdict {
  readonly point: Manifest;
}

export interface PrunePlan {
  /** One for each point of the store, newest first. */
  readonly verdicts: readonly PruneVerdict[];
  /** What goes, in an order in which no point ever stands without its base. */
  readonly removals: readonly Manifest[];
  /** Points that one run may remove without being told to go on: half of the machine's points. */
  readonly limit: number;
}

export function planPrune(facts: PruneFacts, policy: RetentionPolicy, now: Date): PrunePlan {
  const { points, machine } = facts;
  const byId = new Map(points.map((point) => [point.id, point]));
  const whole = restorable(points, byId, facts.damaged);
  const perhapsNeeded = mayBeBases(facts);
  const verdicts = planRetention(
    points.map((point) => asRetentionPoint(point, facts, whole.has(point), perhapsNeeded.has(point.id))),
    policy,
    now,
  ).flatMap((verdict): PruneVerdict[] => {
    const point = byId.get(verdict.id);
    return point === undefined ? [] : [{ ...verdict, point }];
  });
  const depths = new Map(points.map((point) => [point, depthOf(point, byId)]));
  // Newest first already; of a chain the deepest must go first, whatever the clock said.
  const removals = verdicts
    .filter(({ isKept }) => !isKept)
    .map(({ point }) => point)
    .sort((a, b) => (depths.get(b) ?? 0) - (depths.get(a) ?? 0));
  return { verdicts, removals, limit: Math.floor(points.filter((point) => point.machine === machine).length / 2) };
}

function asRetentionPoint(point: Manifest, facts: PruneFacts, isRestorable: boolean, isPerhapsNeeded: boolean): RetentionPoint {
  const { marks, rungs, primary } = facts;
  const said = marks.get(point.id);
  const aside = asideOf(point, facts, isRestorable);
  const isThere = primary?.living.has(point.id) === true;
  const isGone = primary?.removalOf(point.id) === "trusted" && !isThere;
  return {
    id: point.id,
    createdAt: point.createdAt,
    base: point.base,
    retention: point.retention,
    isWhole: point.consistent,
    isPinned: said?.isPinned === true,
    isVerified: said?.verified !== undefined,
    ...(aside === undefined ? {} : { aside }),
    ...(isPerhapsNeeded ? { needed: "a point that cannot be read may build on it" } : {}),
    ...(rungs.has(point.id) ? { needed: "the next point builds on it" } : {}),
    ...(isThere ? { kept: `in the store ${primary.name}` } : {}),
    ...(isGone ? { gone: `pruned from the store ${primary.name}` } : {}),
  };
}

/** Why nothing is decided about a point here. */
function asideOf({ id, machine }: Manifest, facts: PruneFacts, isRestorable: boolean): string | undefined {
  const { primary } = facts;
  if (machine !== facts.machine) return `of the machine ${machine}`;
  if (facts.damaged.has(id)) return "damaged";
  if (!isRestorable) return "what it builds on is damaged";
  if (primary === undefined || primary.living.has(id) || primary.judgesOthers) return undefined;
  const removal = primary.removalOf(id);
  if (removal === "trusted") return undefined;
  return removal === "doubtful" ? `pruned from the store ${primary.name} by nobody who is trusted` : `never in the store ${primary.name}`;
}

/** The points whose whole chain is there and undamaged. */
function restorable(points: Catalogue, byId: ReadonlyMap<PointId, Manifest>, damaged: ReadonlySet<PointId>): Set<Manifest> {
  const known = new Map<Manifest, boolean>();
  const judge = (point: Manifest, above: ReadonlySet<Manifest>): boolean => {
    const before = known.get(point);
    if (before !== undefined) return before;
    const base = point.base === null ? undefined : byId.get(point.base);
    const isCircle = base !== undefined && above.has(base);
    const isWhole = !damaged.has(point.id) && (point.base === null || (base !== undefined && !isCircle && judge(base, new Set([...above, point]))));
    known.set(point, isWhole);
    return isWhole;
  };
  return new Set(points.filter((point) => judge(point, new Set([point]))));
}

/**
 * What a point may build on whose manifest cannot be read now, be it damaged or misread: the machine's points from the last
 * full one before it on. The bad reading may be over tomorrow, or mended from a copy; the base must be there then.
 */
function mayBeBases({ points, damaged, machine }: PruneFacts): Set<PointId> {
  const own = points.filter((point) => point.machine === machine);
  const readable = new Set(points.map(({ id }) => id));
  const unreadable = [...damaged].filter((id) => !readable.has(id));
  return new Set(
    unreadable.flatMap((id) => {
      const earlier = own.filter((point) => point.id < id);
      const lastFull = earlier.findLastIndex(({ base }) => base === null);
      return earlier.slice(Math.max(0, lastFull)).map((point) => point.id);
    }),
  );
}

function depthOf(point: Manifest, byId: ReadonlyMap<PointId, Manifest>): number {
  const seen = new Set<Manifest>();
  for (let at: Manifest | undefined = point; at !== undefined && !seen.has(at); at = at.base === null ? undefined : byId.get(at.base)) seen.add(at);
  return seen.size;
}
