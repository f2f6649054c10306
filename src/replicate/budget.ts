/** What fits into a copy with a budget: the newest points, each with all that it needs. Never deletes. Pure. */
import type { Catalogue } from "../core/catalogue.ts";
import type { PointId } from "../core/ids.ts";
import { type Manifest, pointSize } from "../core/manifest.ts";

export interface BudgetRequest {
  /** Points of the primary, oldest first. */
  readonly points: Catalogue;
  /** Points that the copy holds. */
  readonly present: ReadonlySet<PointId>;
  /** Bytes of all that the copy holds. */
  readonly usedBytes: number;
  readonly maxBytes: number;
}

export interface BudgetPlan {
  /** Missing points that are to be copied, oldest first: a base comes before what builds on it. */
  readonly send: Catalogue;
  /** Missing points that do not fit, oldest first. */
  readonly beyond: Catalogue;
}

/** Newest first: a point that does not fit with its chain is left out, and an older one that does is not. */
export function planBudget({ points, present, usedBytes, maxBytes }: BudgetRequest): BudgetPlan {
  const byId = new Map(points.map((point) => [point.id, point]));
  const chosen = new Set<PointId>();
  let leftBytes = maxBytes - usedBytes;
  for (const point of points.toReversed()) {
    const needed = neededFor(point, byId).filter(({ id }) => !present.has(id) && !chosen.has(id));
    const bytes = needed.reduce((sum, manifest) => sum + pointSize(manifest), 0);
    if (bytes > leftBytes) continue;
    leftBytes -= bytes;
    for (const { id } of needed) chosen.add(id);
  }
  const missing = points.filter(({ id }) => !present.has(id));
  return { send: missing.filter(({ id }) => chosen.has(id)), beyond: missing.filter(({ id }) => !chosen.has(id)) };
}

/** The point and its bases. One whose chain is broken in the primary counts with what there is of it. */
function neededFor(point: Manifest, byId: ReadonlyMap<PointId, Manifest>): Manifest[] {
  const needed = new Set<Manifest>();
  for (let at: Manifest | undefined = point; at !== undefined && !needed.has(at); at = at.base === null ? undefined : byId.get(at.base))
    needed.add(at);
  return [...needed];
}
