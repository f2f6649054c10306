/**
 * How long the trash of a store waits. Pure.
 *
 * The day in a folder's name says little: a clock may have been wrong then, or may be wrong now. So the time that runs see pass is
 * counted too, and one step of the clock, however long, counts for a quarter of the wanted days at most. A day of the
 * trash is over when both its name and the count say so. What was counted is on this machine; where it is lost, counting begins anew: too late is
 * harmless, too early is not.
 */
import { dayMs } from "../core/calendar.ts";
import { trashedAt } from "../points/trash.ts";

export interface Grace {
  /** Time that runs saw pass. */
  readonly elapsedMs: number;
  /** The last run, by the machine's clock. */
  readonly seenAt: Date | null;
  /** By folder of the trash: `elapsedMs` when it was first seen. */
  readonly since: ReadonlyMap<string, number>;
}

export const freshGrace: Grace = { elapsedMs: 0, seenAt: null, since: new Map() };

/** A run at `now` begins and sees these folders. A clock that went back counts for nothing. */
export function passGrace({ elapsedMs, seenAt, since }: Grace, now: Date, folders: Iterable<string>, days: number): Grace {
  const step = seenAt === null ? 0 : Math.max(0, now.getTime() - seenAt.getTime());
  const elapsed = elapsedMs + Math.min(step, (days * dayMs) / 4);
  return { elapsedMs: elapsed, seenAt: now, since: new Map([...folders].map((folder) => [folder, since.get(folder) ?? elapsed])) };
}

/** Whole days after the day on which it was pruned. */
export function isOver({ elapsedMs, since }: Grace, folder: string, now: Date, days: number): boolean {
  const countedMs = elapsedMs - (since.get(folder) ?? elapsedMs);
  return countedMs >= days * dayMs && now.getTime() - trashedAt(folder).getTime() >= (days + 1) * dayMs;
}
