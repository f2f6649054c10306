/**
 * How far an encryption of older points for other recipients has come. Without it the work is begun anew; only the links of points
 * whose replaced neighbour nobody else knows would stay as they are, and look as if that one had been exchanged.
 */
import { rmSync } from "node:fs";
import * as z from "zod";
import type { PointId } from "../core/ids.ts";
import { readRemembered, remember } from "./remembered.ts";

const schema = z.strictObject({
  /** For whom. */
  recipients: z.array(z.string()),
  /** Points after this one are for them already. */
  until: z.string(),
  /** Points up to this one are done. */
  done: z.string().nullable(),
  /** The sums that replaced manifests had before, by point, as long as the point after them may still name one. */
  replaced: z.record(z.string(), z.array(z.string())),
});

export type RewrapPlan = z.infer<typeof schema>;

/** Undefined where none is under way. */
export function readRewrapPlan(file: string): RewrapPlan | undefined {
  return readRemembered(file, schema);
}

/** Durable when it returns: what is replaced next must not be there without it. */
export function writeRewrapPlan(file: string, plan: RewrapPlan): void {
  remember(file, plan, { isDurable: true });
}

export function endRewrapPlan(file: string): void {
  rmSync(file, { force: true });
}

/** With the sum that a point's manifest is about to lose. */
export function withReplaced(plan: RewrapPlan, id: PointId, sum: string): RewrapPlan {
  return { ...plan, replaced: { ...plan.replaced, [id]: [...(plan.replaced[id] ?? []), sum] } };
}

/** Whether the point's manifest had this sum before we replaced it. */
export function wasReplaced({ replaced }: RewrapPlan, id: PointId, sum: string): boolean {
  return replaced[id]?.includes(sum) === true;
}

/**
 * The point is done: its link is right, so the sums of the one that it names are not asked for again. Those of others
 * stay: after a kill the next point may have been replaced already, and another machine's chain may run beside.
 */
export function withDone(plan: RewrapPlan, id: PointId, previous: PointId | null): RewrapPlan {
  const replaced = Object.fromEntries(Object.entries(plan.replaced).filter(([earlier]) => earlier !== previous));
  return { ...plan, done: id > plan.until ? plan.done : id, replaced };
}
