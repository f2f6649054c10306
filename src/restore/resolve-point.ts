/** As resolve.ts, for what means a point and nothing else, by reading its own chain and no other manifest. */
import { BackupError } from "../core/errors.ts";
import { type FoundPoint, findAt, findByPrefix, findNewest, findOldestId } from "../points/lookup.ts";
import { planMoment } from "./plan.ts";
import { describePoint, distance, looksLikePoint, parseMoment, type Resolved, type ResolveRequest } from "./resolve.ts";

export interface ResolvedPoint extends Resolved, Pick<FoundPoint, "chain" | "damaged"> {}

/**
 * Undefined where more than single points must be looked at: for a commit, a name, or digits that may be either.
 * Throws `no_points`, `unknown_point`, `ambiguous`, `usage`, and what a damaged manifest says.
 */
export async function resolvePoint(request: Omit<ResolveRequest, "catalogue" | "gitDir">): Promise<ResolvedPoint | undefined> {
  const { what, at, filesFrom, paths, store, git } = request;
  const options = { signal: request.signal };
  if (filesFrom !== undefined || (at !== undefined && what !== undefined)) return undefined;
  const resolved = (found: FoundPoint, words: string): ResolvedPoint => ({
    plan: planMoment(found.point, found.chain, paths),
    explanation: `the moment ${describePoint(found.point)}${words}`,
    chain: found.chain,
    damaged: found.damaged,
  });
  if (at !== undefined) {
    const moment = await parseMoment(at, git);
    const found = await findAt(store, moment, options);
    if (found !== undefined) return resolved(found, `, ${distance(found.point, moment)}`);
    const oldest = await findOldestId(store, options);
    if (oldest === undefined) throw noPoints(store.name);
    throw new BackupError("unknown_point", `there is no point at or before ${moment.toISOString()}; the first is ${oldest}`);
  }
  if (what === undefined || what === "latest") {
    const found = await findNewest(store, options);
    if (found === undefined) throw noPoints(store.name);
    return resolved(found, ", the newest point");
  }
  const found = looksLikePoint(what) ? await findByPrefix(store, what, options) : undefined;
  return found === undefined ? undefined : resolved(found, "");
}

function noPoints(name: string): BackupError {
  return new BackupError("no_points", `the store ${name} holds no point yet`);
}
