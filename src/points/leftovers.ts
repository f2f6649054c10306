/** Clears what publishing left behind when it was killed between the first artifact and the manifest. */
import { type PointId, pointTime } from "../core/ids.ts";
import { parseArtifactName } from "../core/manifest.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { isManifestKey, readCatalogue } from "./catalogue.ts";

/** Far longer than any publishing takes, also on a machine that slept in between. */
const graceMs = 24 * 60 * 60 * 1000;

/**
 * Deletes artifacts that are older than their grace and belong to no manifest. Those of a point that others name stay:
 * its manifest was there once and can be brought back from another copy. Gives the keys that went.
 */
export async function clearOrphans(store: Store, now: Date, options: CallOptions = {}): Promise<string[]> {
  const published = new Set<PointId>();
  const artifacts: { id: PointId; key: string }[] = [];
  for await (const { key } of store.list("", options)) {
    const name = /^\d{8}\/([^/]+)$/.exec(key)?.[1] ?? "";
    const artifact = parseArtifactName(name);
    if (artifact !== undefined) artifacts.push({ id: artifact.id, key });
    else if (isManifestKey(key)) published.add(name.slice(0, -".json".length));
  }
  const orphans = artifacts.filter(({ id }) => !published.has(id) && now.getTime() - pointTime(id).getTime() > graceMs);
  if (orphans.length === 0) return [];
  const { points } = await readCatalogue(store, options);
  const named = new Set(points.flatMap(({ base, full, previous }) => [base, full, previous]));
  const cleared = orphans.filter(({ id }) => !named.has(id)).map(({ key }) => key);
  for (const key of cleared) await store.delete(key, options);
  return cleared;
}
