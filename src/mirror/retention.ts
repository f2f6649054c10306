/**
 * How long kept tips stay on a mirror. Pure.
 *
 * A date in a name says little: a clock may have been wrong when the tip was kept, or may be wrong now. So each
 * mirror counts the time that its runs see pass, and one step of the clock, however long, counts for a quarter of the
 * wanted days at most. A tip is due when both the name and the count say so, and only when we kept it ourselves:
 * others may keep theirs on the same remote for longer. Too late is harmless, too early is not.
 */
import { type Layout, parseKept, type Tips } from "./layout.ts";
import type { KeptTip } from "./outcome.ts";

export interface Retention {
  /** Time that runs saw pass. */
  readonly elapsedMs: number;
  /** The last run, by the machine's clock. */
  readonly seenAt: Date | null;
  /** Kept refs that are ours to delete: what stands there, and `elapsedMs` when they were last needed. */
  readonly kept: ReadonlyMap<string, { readonly oid: string; readonly sinceMs: number }>;
}

export const freshRetention: Retention = { elapsedMs: 0, seenAt: null, kept: new Map() };

const dayMs = 86_400_000;
const longestStepMs = 7 * dayMs;

/** A run at `now` begins. A clock that went back counts for nothing. */
export function pass(retention: Retention, now: Date, keepDays: number | null): Retention {
  const longest = keepDays === null ? longestStepMs : Math.min(longestStepMs, (keepDays * dayMs) / 4);
  const step = retention.seenAt === null ? 0 : now.getTime() - retention.seenAt.getTime();
  return { ...retention, elapsedMs: retention.elapsedMs + Math.min(longest, Math.max(0, step)), seenAt: now };
}

/** Kept refs of ours with at least half of their time left: an old tip that is replaced again may go on standing there. */
export function isReliable(retention: Retention, kept: string, keepDays: number | null): boolean {
  const known = retention.kept.get(kept);
  return known !== undefined && (keepDays === null || retention.elapsedMs - known.sinceMs < (keepDays * dayMs) / 2);
}

/**
 * What is ours to delete some day, after a run that kept `justKept` and then saw `remote`.
 * On a remote that is ours alone that is every kept tip, from the day on which it was first seen.
 */
export function remember(retention: Retention, layout: Layout, remote: Tips, justKept: readonly KeptTip[]): Retention {
  const kept = new Map([...retention.kept].filter(([name, { oid }]) => remote.get(name) === oid));
  const sinceMs = retention.elapsedMs;
  for (const { keptAs, oid } of justKept) kept.set(keptAs, { oid, sinceMs });
  if (layout.mode === "exact") {
    for (const [name, oid] of remote) if (!kept.has(name) && parseKept(layout, name) !== undefined) kept.set(name, { oid, sinceMs });
  }
  return { ...retention, kept };
}

/** The kept tips whose days are over; none where `keepDays` is null. `ref` is the name there that each was taken from. */
export function planExpiry(retention: Retention, layout: Layout, remote: Tips, keepDays: number | null, now: Date): KeptTip[] {
  if (keepDays === null) return [];
  const due: KeptTip[] = [];
  for (const [keptAs, { oid, sinceMs }] of retention.kept) {
    const parsed = parseKept(layout, keptAs);
    if (parsed === undefined || remote.get(keptAs) !== oid) continue;
    const ageMs = Math.min(retention.elapsedMs - sinceMs, now.getTime() - parsed.at.getTime());
    if (ageMs >= keepDays * dayMs) due.push({ ref: parsed.name, oid, keptAs });
  }
  return due.sort((a, b) => (a.keptAs < b.keptAs ? -1 : 1));
}
