/** How far an encryption of older points for other recipients has come. Without it the work is begun anew, and nothing is lost. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import * as z from "zod";
import type { PointId } from "../core/ids.ts";
import { parseJson } from "../core/json.ts";

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
  try {
    const result = schema.safeParse(parseJson(readFileSync(file, "utf8")));
    return result.success ? result.data : undefined;
  } catch {
    return undefined; // none was begun, or the state was deleted
  }
}

export function writeRewrapPlan(file: string, plan: RewrapPlan): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, `${JSON.stringify(plan)}\n`);
  renameSync(`${file}.new`, file);
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
