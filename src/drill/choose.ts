/** Which copy is drilled next, and which points of it. Pure. */
import type { Catalogue } from "../core/catalogue.ts";
import type { Manifest } from "../core/manifest.ts";
import type { DrillEvidence } from "./evidence.ts";

export interface DrillStore {
  readonly name: string;
  readonly isOffsite: boolean;
  readonly isPrimary: boolean;
}

/**
 * The off-site copies in turn, the one first whose last drill is longest ago; without any the other copies, without these
 * the primary. Undefined where there is no store.
 */
export function chooseStore(stores: readonly DrillStore[], history: readonly DrillEvidence[]): DrillStore | undefined {
  const offsite = stores.filter(({ isOffsite }) => isOffsite);
  const copies = stores.filter(({ isPrimary }) => !isPrimary);
  const candidates = offsite.length > 0 ? offsite : copies.length > 0 ? copies : stores;
  const lastAt = ({ name }: DrillStore): string => history.findLast(({ store }) => store === name)?.at ?? "";
  return candidates.toSorted((a, b) => (lastAt(a) < lastAt(b) ? -1 : 1))[0];
}

/** The newest point, and an older one by lot. `random` in [0, 1). */
export function choosePoints(points: Catalogue, random: number): { readonly role: "latest" | "older"; readonly point: Manifest }[] {
  const latest = points.at(-1);
  if (latest === undefined) return [];
  const older = points[Math.floor(random * (points.length - 1))];
  return [{ role: "latest", point: latest }, ...(older === undefined || older === latest ? [] : [{ role: "older" as const, point: older }])];
}
