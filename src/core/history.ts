/**
 * The history of a store's points. Each manifest names the machine's point before it and the sha256 of that manifest as
 * stored, so that none can be taken out, exchanged or put back from an older time without a trace in its successor. Of the
 * newest one no successor tells: that is what a machine's own memory is for. Pure.
 */
import type { PointId } from "./ids.ts";
import type { Manifest } from "./manifest.ts";

export interface StoredManifest {
  readonly manifest: Manifest;
  /** Of its bytes as they lie in the store. */
  readonly sha256: string;
}

/** A point that somebody else knows by the sum of its manifest. */
export interface RememberedPoint {
  readonly id: PointId;
  /** Undefined: no more is known than that it was there. */
  readonly sha256: string | undefined;
}

export type HistoryFinding =
  /** The store does not have `point`, which `by` was made after. */
  | { readonly kind: "missing"; readonly point: PointId; readonly by: PointId }
  /** The same, and a record says that it was pruned, which anybody may have written. */
  | { readonly kind: "unproven"; readonly point: PointId; readonly by: PointId }
  /** The manifest of `point` is another than the one that `by` was made after; null: than the one that this machine remembers. */
  | { readonly kind: "exchanged"; readonly point: PointId; readonly by: PointId | null }
  /** `point` says that it was made after `by`, which is not older. */
  | { readonly kind: "disordered"; readonly point: PointId; readonly by: PointId }
  /** This machine made `point`, or saw it here, and the store does not have it. */
  | { readonly kind: "rolled_back"; readonly point: PointId };

export interface History {
  readonly points: readonly StoredManifest[];
  /** Points whose manifest is there but cannot be read: that is told elsewhere. */
  readonly unreadable: ReadonlySet<PointId>;
  readonly remembered: readonly RememberedPoint[];
  /** Points that were deleted on purpose, as records say. */
  readonly removed: ReadonlyMap<PointId, RemovedPoint>;
}

export interface RemovedPoint {
  /** The machine's point before it. */
  readonly previous: PointId | null;
  /** trusted: of the machine's own hand; unsigned: by one that may have no key; doubtful: a key that is not trusted, or a signature that does not hold. */
  readonly record: "trusted" | "unsigned" | "doubtful";
}

/** What does not fit, in the order of the points. Empty for a store that holds what it was given. */
export function checkHistory({ points, unreadable, remembered, removed }: History): HistoryFinding[] {
  const sums = new Map(points.map(({ manifest, sha256 }) => [manifest.id, sha256]));
  const isAbsent = (id: PointId): boolean => !sums.has(id) && !unreadable.has(id);
  const findings: HistoryFinding[] = [];
  const missing = new Set<PointId>();
  /** `signs`: whoever made `by` has a key, so that a record without a signature is none of theirs. */
  const lookFor = (point: PointId, by: PointId, signs: boolean): void => {
    if (!isAbsent(point) || missing.has(point)) return;
    const record = removed.get(point)?.record;
    if (record === "trusted" || (record === "unsigned" && !signs)) return;
    missing.add(point);
    findings.push({ kind: record === undefined ? "missing" : "unproven", point, by });
  };
  for (const { manifest } of points) {
    const { id, previous, previousSha256 } = manifest;
    if (previous === null) continue;
    if (previous >= id) findings.push({ kind: "disordered", point: id, by: previous });
    const sum = sums.get(previous);
    if (sum !== undefined && sum !== previousSha256) findings.push({ kind: "exchanged", point: previous, by: id });
    lookFor(previous, id, manifest.signature !== null);
  }
  // Of two neighbours that are gone the living ones name the newer alone.
  for (const [id, { previous, record }] of removed) if (previous !== null && !sums.has(id)) lookFor(previous, id, record !== "unsigned");
  for (const { id, sha256 } of remembered) {
    if (isAbsent(id) && removed.get(id)?.record !== "trusted" && !missing.has(id)) findings.push({ kind: "rolled_back", point: id });
    const isTold = findings.some((finding) => finding.kind === "exchanged" && finding.point === id);
    if (sums.has(id) && sha256 !== undefined && sums.get(id) !== sha256 && !isTold) findings.push({ kind: "exchanged", point: id, by: null });
  }
  return findings.sort((a, b) => (a.point < b.point ? -1 : a.point > b.point ? 1 : 0));
}

/** What the manifest of each point should sum to, by those who know it: its successors and the machine. */
export function expectedSums({ points, remembered }: Pick<History, "points" | "remembered">): Map<PointId, string> {
  const expected = new Map<PointId, string>();
  for (const { manifest } of points)
    if (manifest.previous !== null && manifest.previousSha256 !== null) expected.set(manifest.previous, manifest.previousSha256);
  for (const { id, sha256 } of remembered) if (sha256 !== undefined) expected.set(id, sha256);
  return expected;
}

/** Unsigned points of machines that had signed an earlier one. */
export function unsignedAfterSigned(points: readonly Manifest[]): PointId[] {
  const signing = new Set<string>();
  const found: PointId[] = [];
  for (const { id, machine, signature } of points.toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
    if (signature !== null) signing.add(machine);
    else if (signing.has(machine)) found.push(id);
  }
  return found;
}
