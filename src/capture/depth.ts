/**
 * Shallow, partial and damaged repositories can gain objects below what a point already held: a deeper fetch, a lazily
 * fetched blob, a repair. An incremental, which leaves out all that the base's tips reach, would never hold them.
 */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { entryPath } from "../core/contents.ts";
import type { Repository } from "../git/repository.ts";
import type { KnownPoint } from "./known.ts";
import { statOf } from "./observed.ts";

/** True when such objects may have come since the last point: then the next one is full. */
export function hasGainedDepth({ commonDir, isPartial, isShallow }: Repository, known: KnownPoint | undefined): boolean {
  if (known === undefined) return false;
  const before = known.files.get(entryPath("", "git", "shallow"))?.sha256;
  if ((isShallow || before !== undefined) && before !== sumOf(join(commonDir, "shallow"))) return true;
  // What a lazy or a plain fetch wrote into a partial clone is marked. (gitformat-pack(5), partial-clone)
  // What comes back into a damaged one loose is seen as new; what comes in a pack is not.
  const ending = isPartial ? ".promisor" : known.isDamaged ? ".pack" : undefined;
  return ending !== undefined && hasNew(ending, join(commonDir, "objects/pack"), known.rungs.at(-1)?.createdAt ?? known.fullAt);
}

function hasNew(ending: string, folder: string, since: string): boolean {
  const floor = BigInt(Date.parse(since) - 20) * 1_000_000n;
  return list(folder).some((name) => name.endsWith(ending) && (statOf(join(folder, name))?.mtimeNs ?? 0n) >= floor);
}

function sumOf(path: string): string | undefined {
  try {
    return createHash("sha256").update(readFileSync(path)).digest("hex");
  } catch {
    return undefined; // no longer shallow
  }
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // no pack yet
  }
}
