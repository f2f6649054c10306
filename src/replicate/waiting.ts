/** What waits for a copy, known from the primary alone: nothing has to be asked, and nothing grows while a copy is away. Pure. */
import type { PointId } from "../core/ids.ts";
import type { CopyState } from "./copy-state.ts";

export interface Waiting {
  readonly points: number;
  readonly bytes: number;
  /** The oldest of them; undefined where none waits. */
  readonly oldest: PointId | undefined;
}

/** `points`: those of the primary with their bytes, in any order. */
export function waitingFor(points: Iterable<readonly [PointId, number]>, state: CopyState): Waiting {
  const seenTo = seenToOf(state) ?? "";
  const waiting = [...points].filter(([id]) => id > seenTo).sort(([a], [b]) => (a < b ? -1 : 1));
  return { points: waiting.length, bytes: waiting.reduce((sum, [, size]) => sum + size, 0), oldest: waiting[0]?.[0] };
}

/** Up to where the copy was accounted for; null where nothing is known. */
export function seenToOf({ seenTo, newest }: CopyState): PointId | null {
  return seenTo ?? newest;
}
