/** Brings points that were encrypted again to a copy that has them as they were. */
import { BackupError } from "../core/errors.ts";
import type { PointId } from "../core/ids.ts";
import { type Manifest, manifestKey, parseManifest } from "../core/manifest.ts";
import { copyArtifacts, deleteUnnamed } from "../points/publish.ts";
import { bytesSource, type CallOptions, readAll, type Store } from "../stores/store.ts";
import { settleStale, takeStale } from "./stale-list.ts";

export interface StaleRequest {
  readonly primary: Store;
  readonly copy: Store;
  /** Where the copy's list is. */
  readonly stateFolder: string;
  readonly now: () => Date;
  readonly settleEveryMs: number;
}

export interface StaleOutcome {
  /** Keys of old artifacts that the copy did not delete. */
  readonly kept: readonly string[];
  /** Of those that are damaged in the primary, the first one's. They stay on the list. */
  readonly damage: BackupError | undefined;
}

/**
 * Brings the noted points of the copy to where the primary is: artifacts, the manifest in place of the old one, and when
 * that has arrived the old artifacts go. Throws what the stores throw; what is not done yet then stays on the list.
 */
export async function replaceStale({ primary, copy, stateFolder, now, settleEveryMs }: StaleRequest, options: CallOptions): Promise<StaleOutcome> {
  const ids = takeStale(stateFolder, copy.name);
  const left = new Set(ids);
  const kept: string[] = [];
  let damage: BackupError | undefined;
  let unsettled = new Map<PointId, Manifest | undefined>();
  let settledAt = now().getTime();
  const settle = async (): Promise<void> => {
    await copy.flush(options);
    for (const manifest of unsettled.values()) if (manifest !== undefined) kept.push(...(await deleteUnnamed(copy, manifest, options)));
    await copy.flush(options);
    for (const id of unsettled.keys()) left.delete(id);
    settleStale(stateFolder, copy.name, left);
    unsettled = new Map();
    settledAt = now().getTime();
  };
  for (const id of ids) {
    try {
      unsettled.set(id, await replacePoint(primary, copy, id, options));
    } catch (error) {
      if (!(error instanceof BackupError) || (error.code !== "damaged" && error.code !== "format_newer")) throw error;
      damage ??= error;
    }
    if (Math.abs(now().getTime() - settledAt) >= settleEveryMs) await settle();
  }
  if (unsettled.size > 0) await settle();
  return { kept, damage };
}

/** Gives the manifest whose artifacts alone are to stay in the copy; undefined where the point was removed here. */
async function replacePoint(primary: Store, copy: Store, id: PointId, options: CallOptions): Promise<Manifest | undefined> {
  const key = manifestKey(id);
  const [ours, theirs] = [await readAll(primary, key, options), await readAll(copy, key, options)];
  if (ours === undefined) return undefined;
  const manifest = parseManifest(ours.toString("utf8"), key);
  // A point that the copy lacks is sent as any other; of a try that was cut before, old artifacts may be there.
  if (theirs === undefined || ours.equals(theirs)) return manifest;
  try {
    await copyArtifacts(primary, copy, manifest, options);
  } catch (error) {
    const isOther = error instanceof BackupError && error.code === "damaged" && (await readAll(primary, key, options))?.equals(ours) !== true;
    if (!isOther) throw error;
    return replacePoint(primary, copy, id, options); // it was encrypted again meanwhile
  }
  await copy.replace(key, bytesSource(ours), options);
  return manifest;
}
