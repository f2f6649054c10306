/**
 * Retention: which points stay, and why. Pure: the time is an argument.
 *
 * Points are walked from the newest to the oldest. Each rule on its own keeps the newest point of every period that holds one,
 * until it has as many as it wants: one point may stay by several rules. Periods without a point do not count, so that a pause
 * of a month costs nothing. While a rule still wants points, the oldest one stays for it. Whatever the rules say, the newest
 * point stays, the newest whole one, the newest verified one, and all that a kept point builds on. (docs/adr/0022-retention.md)
 */
import { dateIn, dayMs, weekOf } from "./calendar.ts";
import { BackupError } from "./errors.ts";
import type { PointId } from "./ids.ts";

export type Count = number | "unlimited";

export interface RetentionPolicy {
  /** The newest so many, whatever their dates. */
  readonly last: Count;
  /** Everything that is younger than the newest point by less than this. 0: nothing. */
  readonly withinMs: number;
  readonly daily: Count;
  readonly weekly: Count;
  readonly monthly: Count;
  readonly yearly: Count;
  /** IANA name: where days, weeks and months begin. Never the machine's own. */
  readonly timeZone: string;
  /** Days that a pruned point can still be brought back. */
  readonly trashDays: number;
}

const hourMs = 3_600_000;

/** Work of the last two days at every step, then a point a day, a week, a month. */
export const defaultRetention: RetentionPolicy = {
  last: 0,
  withinMs: 48 * hourMs,
  daily: 7,
  weekly: 4,
  monthly: 12,
  yearly: 0,
  timeZone: "UTC",
  trashDays: 7,
};

export interface RetentionPoint {
  readonly id: PointId;
  /** ISO 8601. */
  readonly createdAt: string;
  readonly base: PointId | null;
  /** The rule that it was made with: `policy`, `permanent`, `until_verified`, `days_N`. */
  readonly retention: string;
  /** False where something could not be read when it was made. */
  readonly isWhole?: boolean;
  readonly isVerified?: boolean;
  readonly isPinned?: boolean;
  /** Why the policy has no say about it: another machine's, damaged. It stays, takes no place, and stands for no good point. */
  readonly aside?: string;
  /** Why it stays, decided elsewhere. It takes no place. */
  readonly kept?: string;
  /** Why it stays, though it takes its place as any other. */
  readonly needed?: string;
  /** Why it goes, decided elsewhere, unless it is pinned or something needs it. */
  readonly gone?: string;
}

export interface RetentionVerdict {
  readonly id: PointId;
  readonly isKept: boolean;
  /** Never empty. */
  readonly reasons: readonly string[];
}

/** One verdict for each point, newest first. Throws `config_invalid` for a policy that keeps nothing. */
export function planRetention(points: readonly RetentionPoint[], policy: RetentionPolicy, now: Date): RetentionVerdict[] {
  if (isEmptyPolicy(policy)) throw new BackupError("config_invalid", "the retention keeps nothing: every rule is 0", { hint: emptyHint });
  const sorted = newestFirst(points);
  const kept = new Map<PointId, string[]>();
  const gone = new Map<PointId, string>();
  const keep = ({ id }: RetentionPoint, reason: string): void => void kept.set(id, [...(kept.get(id) ?? []), reason]);
  const standing: RetentionPoint[] = [];
  const ordinary: RetentionPoint[] = [];
  for (const point of sorted) {
    const own = ownRule(point, now);
    if (own.kind === "aside") keep(point, own.reason);
    else standing.push(point);
    if (own.kind === "kept") keep(point, own.reason);
    if (own.kind === "gone") gone.set(point.id, own.reason);
    if (own.kind === "ordinary") ordinary.push(point);
  }
  keepByRules(ordinary, policy, keep);
  for (const point of sorted) if (point.needed !== undefined) keep(point, point.needed);
  keepLastOfItsKind(standing, keep);
  keepBases(sorted, kept, keep);
  return sorted.map(({ id }) => {
    const reasons = kept.get(id);
    return reasons === undefined ? { id, isKept: false, reasons: [gone.get(id) ?? "no rule keeps it"] } : { id, isKept: true, reasons };
  });
}

const emptyHint = "give one rule of retention in backup.yaml a number, or take the section out";

export function isEmptyPolicy({ last, withinMs, daily, weekly, monthly, yearly }: RetentionPolicy): boolean {
  return [last, withinMs, daily, weekly, monthly, yearly].every((wanted) => wanted === 0);
}

/** When a point's own rule, or a policy of days alone, lets it go; null where that depends on later points or on a person. */
export function expiryOf({ createdAt, retention }: Pick<RetentionPoint, "createdAt" | "retention">, policy: RetentionPolicy): Date | null {
  const days = daysOf(retention);
  const isOfDaysAlone = isEmptyPolicy({ ...policy, withinMs: 0 });
  const lifeMs = days !== undefined ? days * dayMs : retention === "policy" && isOfDaysAlone ? policy.withinMs : undefined;
  return lifeMs === undefined ? null : new Date(Date.parse(createdAt) + lifeMs);
}

/** "48 hours", "30 days". */
function describeSpan(ms: number): string {
  return ms % dayMs === 0 && ms > 3 * dayMs ? `${ms / dayMs} days` : `${ms / hourMs} hours`;
}

/** The same point twice is one; of equal times the later id is the newer. */
function newestFirst(points: readonly RetentionPoint[]): RetentionPoint[] {
  const unique = [...new Map(points.map((point) => [point.id, point])).values()];
  const times = new Map(unique.map((point) => [point, Date.parse(point.createdAt)]));
  return unique.sort((a, b) => (times.get(b) ?? 0) - (times.get(a) ?? 0) || (a.id < b.id ? 1 : -1));
}

type OwnRule = { readonly kind: "aside" | "kept" | "gone"; readonly reason: string } | { readonly kind: "ordinary" };

/** What holds for this point alone. One with a rule of its own takes no place of the calendar: others stay for that day. */
function ownRule({ createdAt, retention, isVerified, isPinned, aside, kept, gone }: RetentionPoint, now: Date): OwnRule {
  if (aside !== undefined) return { kind: "aside", reason: aside };
  if (Date.parse(createdAt) > now.getTime()) return { kind: "aside", reason: "dated in the future" };
  if (kept !== undefined) return { kind: "kept", reason: kept };
  if (isPinned === true) return { kind: "kept", reason: "pinned" };
  if (gone !== undefined) return { kind: "gone", reason: gone };
  if (retention === "policy" || (retention === "until_verified" && isVerified === true)) return { kind: "ordinary" };
  if (retention === "permanent") return { kind: "kept", reason: "permanent" };
  if (retention === "until_verified") return { kind: "kept", reason: "until it is verified" };
  const days = daysOf(retention);
  if (days === undefined) return { kind: "kept", reason: `by the rule ${retention}, which this version does not know` };
  const end = new Date(Date.parse(createdAt) + days * dayMs);
  if (end.getTime() > now.getTime()) return { kind: "kept", reason: `for ${days} days, until ${end.toISOString().slice(0, 10)}` };
  return { kind: "gone", reason: `its ${days} days are over` };
}

function daysOf(retention: string): number | undefined {
  const days = /^days_(\d+)$/.exec(retention)?.[1];
  return days === undefined ? undefined : Number(days);
}

type Keep = (point: RetentionPoint, reason: string) => void;

function keepByRules(ordinary: readonly RetentionPoint[], policy: RetentionPolicy, keep: Keep): void {
  const newest = ordinary[0];
  const oldest = ordinary.at(-1);
  if (newest === undefined || oldest === undefined) return;
  const dateOf = dateIn(policy.timeZone);
  const dates = new Map(ordinary.map((point) => [point, dateOf(new Date(point.createdAt))]));
  const rules: readonly { readonly name: string; readonly wanted: Count; readonly period: (point: RetentionPoint, date: string) => string }[] = [
    { name: "last", wanted: policy.last, period: ({ id }) => id },
    { name: "daily", wanted: policy.daily, period: (_, date) => date },
    { name: "weekly", wanted: policy.weekly, period: (_, date) => weekOf(date) },
    { name: "monthly", wanted: policy.monthly, period: (_, date) => date.slice(0, 7) },
    { name: "yearly", wanted: policy.yearly, period: (_, date) => date.slice(0, 4) },
  ];
  const since = Date.parse(newest.createdAt) - policy.withinMs;
  for (const point of ordinary) if (Date.parse(point.createdAt) > since) keep(point, `within ${describeSpan(policy.withinMs)}`);
  for (const { name, wanted, period } of rules) {
    let left = wanted === "unlimited" ? Number.POSITIVE_INFINITY : wanted;
    let current: string | undefined;
    let isOldestKept = false;
    for (const point of ordinary) {
      if (left <= 0) break;
      const key = period(point, dates.get(point) ?? "");
      if (key === current) continue;
      current = key;
      left -= 1;
      isOldestKept = point === oldest;
      keep(point, name === "last" ? name : `${name} ${key}`);
    }
    if (left > 0 && !isOldestKept) keep(oldest, `oldest for ${name}`);
  }
}

/** Of points that could be restored: the newest, the newest whole one, and the newest that was verified. */
function keepLastOfItsKind(standing: readonly RetentionPoint[], keep: Keep): void {
  const newest = standing[0];
  const whole = standing.find(({ isWhole }) => isWhole !== false);
  const verified = standing.find(({ isVerified }) => isVerified === true);
  if (newest !== undefined) keep(newest, "newest");
  if (whole !== undefined && whole !== newest) keep(whole, "newest that is whole");
  if (verified !== undefined) keep(verified, "newest that is verified");
}

/** A kept point keeps its whole chain. */
function keepBases(sorted: readonly RetentionPoint[], kept: ReadonlyMap<PointId, readonly string[]>, keep: Keep): void {
  const byId = new Map(sorted.map((point) => [point.id, point]));
  const dependents = new Map<RetentionPoint, PointId[]>();
  const waiting = sorted.filter(({ id }) => kept.has(id));
  const seen = new Set(waiting);
  for (const point of waiting) {
    const base = point.base === null ? undefined : byId.get(point.base);
    if (base === undefined) continue;
    dependents.set(base, [...(dependents.get(base) ?? []), point.id]);
    if (seen.has(base)) continue;
    seen.add(base);
    waiting.push(base);
  }
  for (const [base, [first, ...more]] of dependents) keep(base, `base of ${first}${more.length === 0 ? "" : ` and ${more.length} more`}`);
}
