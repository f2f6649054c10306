/** Brings points that were encrypted again to a copy that has them as they were. */
import { type Manifest, manifestKey, parseManifest } from "../core/manifest.ts";
import { copyArtifacts, deleteUnnamed } from "../points/publish.ts";
import { bytesSource, type CallOptions, readAll, type Store } from "../stores/store.ts";
import { settleStale, takeStale } from "./stale-list.ts";

export interface StaleOutcome {
  readonly replaced: number;
  /** Keys of old artifacts that the copy did not delete. */
  readonly kept: readonly string[];
}

/**
 * Brings the noted points of the copy to where the primary is: artifacts, the manifest in place of the old one, and when
 * that has arrived the old artifacts go. Throws what the stores throw; the list then stays.
 */
export async function replaceStale(primary: Store, copy: Store, folder: string, options: CallOptions): Promise<StaleOutcome> {
  const ids = takeStale(folder, copy.name);
  if (ids.length === 0) return { replaced: 0, kept: [] };
  const done: Manifest[] = [];
  let replaced = 0;
  for (const id of ids) {
    const key = manifestKey(id);
    const [ours, theirs] = [await readAll(primary, key, options), await readAll(copy, key, options)];
    if (ours === undefined || theirs === undefined) continue; // removed here, or sent as any point that the copy lacks
    const manifest = parseManifest(ours.toString("utf8"), key);
    done.push(manifest);
    if (ours.equals(theirs)) continue;
    await copyArtifacts(primary, copy, manifest, options);
    await copy.replace(key, bytesSource(ours), options);
    replaced += 1;
  }
  await copy.flush(options);
  const kept: string[] = [];
  for (const manifest of done) kept.push(...(await deleteUnnamed(copy, manifest, options)));
  await copy.flush(options);
  settleStale(folder, copy.name);
  return { replaced, kept };
}
