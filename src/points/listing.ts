/** What a store holds, by its listing alone: which points, and how many bytes. Opens no manifest. */
import { dayOf, type PointId } from "../core/ids.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { isManifestKey } from "./catalogue.ts";

export interface Listing {
  /** Bytes of all the files of each point that has its manifest. */
  readonly points: ReadonlyMap<PointId, number>;
  /** Of all that was listed, points or not. */
  readonly bytes: number;
}

/** Of all the store, or of some of its days only: then it costs no more than those. */
export async function listPoints(store: Store, days: readonly string[] | undefined, options: CallOptions = {}): Promise<Listing> {
  const sizes = new Map<PointId, number>();
  const published = new Set<PointId>();
  let bytes = 0;
  for (const prefix of days === undefined ? [""] : days.map((day) => `${day}/`)) {
    for await (const { key, size } of store.list(prefix, options)) {
      bytes += size;
      const id = /^\d{8}\/([^./]+)\./.exec(key)?.[1];
      if (id === undefined) continue;
      sizes.set(id, (sizes.get(id) ?? 0) + size);
      if (isManifestKey(key)) published.add(id);
    }
  }
  return { points: new Map([...published].sort().map((id) => [id, sizes.get(id) ?? 0])), bytes };
}

/** The store's days from that of `id` on. */
export async function daysFrom(store: Store, id: PointId, options: CallOptions = {}): Promise<string[]> {
  const first = dayOf(id);
  return (await store.folders(options)).filter((name) => /^\d{8}$/.test(name) && name >= first).sort();
}
