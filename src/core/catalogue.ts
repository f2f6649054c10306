/** Questions about a list of points. Pure: the list was read from a store's manifests. */
import { BackupError } from "./errors.ts";
import type { PointId } from "./ids.ts";
import type { Manifest } from "./manifest.ts";

/** Points of one store in the order of their ids: that in which each machine made them, whatever its clock said. */
export type Catalogue = readonly Manifest[];

export function sortPoints(points: Iterable<Manifest>): Catalogue {
  return [...points].sort((a, b) => compare(a.id, b.id));
}

/**
 * What a restore of `point` must read, base first, ending in `point` itself.
 * Throws `chain_broken` with the missing id where a link is absent or the chain does not end.
 */
export function chainOf(point: Manifest, catalogue: Catalogue): Manifest[] {
  const byId = new Map(catalogue.map((manifest) => [manifest.id, manifest]));
  const chain = [point];
  let at = point;
  while (at.base !== null) {
    const base = byId.get(at.base);
    if (base === undefined) throw new BackupError("chain_broken", `point ${point.id} needs ${at.base}, which is not in the store`);
    if (chain.includes(base)) throw new BackupError("chain_broken", `the chain of point ${point.id} goes round in a circle`);
    chain.unshift(base);
    at = base;
  }
  return chain;
}

/** The point that `prefix` means: an id, an unambiguous beginning of one, or `latest`. Undefined when none does. */
export function findPoint(prefix: string, catalogue: Catalogue): Manifest | undefined {
  if (prefix === "latest") return catalogue.at(-1);
  const found = catalogue.filter((manifest) => manifest.id.startsWith(prefix));
  if (found.length > 1) {
    const some = found.slice(0, 4).map((manifest) => manifest.id);
    throw new BackupError("ambiguous", `${prefix} fits ${found.length} points: ${some.join(", ")}${found.length > 4 ? ", …" : ""}`);
  }
  return found[0];
}

/** The newest point not later than `moment`, or undefined. */
export function pointAt(moment: Date, catalogue: Catalogue): Manifest | undefined {
  return catalogue.findLast((manifest) => Date.parse(manifest.createdAt) <= moment.getTime());
}

/** The point nearest in time; the earlier of two equally near. */
export function nearestPoint(moment: Date, catalogue: Catalogue): Manifest | undefined {
  const distance = (manifest: Manifest): number => Math.abs(Date.parse(manifest.createdAt) - moment.getTime());
  let best = catalogue[0];
  for (const manifest of catalogue) if (best !== undefined && distance(manifest) < distance(best)) best = manifest;
  return best;
}

/** Ids that some other point of the catalogue builds on, directly or not. */
export function neededBases(catalogue: Catalogue): Set<PointId> {
  return new Set(catalogue.flatMap((manifest) => (manifest.base === null ? [] : [manifest.base])));
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
