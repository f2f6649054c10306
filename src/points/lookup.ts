/**
 * Finds one point of a store, and what it builds on, without reading the manifests of all others: a store may be a bucket
 * with years of points. Days are folders at the top and ids sort by time, so the days are asked for, the newest first.
 */
import { type Catalogue, chainOf } from "../core/catalogue.ts";
import { BackupError, isOfOneFile } from "../core/errors.ts";
import { type PointId, pointTime } from "../core/ids.ts";
import { type Manifest, manifestKey, parseManifest } from "../core/manifest.ts";
import { type CallOptions, readAll, type Store } from "../stores/store.ts";
import type { DamagedPoint } from "./catalogue.ts";
import { listPoints } from "./listing.ts";

export interface FoundPoint {
  readonly point: Manifest;
  /** What a restore of it reads, base first, the point itself last. */
  readonly chain: Catalogue;
  /** Points that were passed over, since their manifests cannot be believed. */
  readonly damaged: readonly DamagedPoint[];
}

/** The newest point that can be read; undefined where the store has none. Throws `chain_broken`, or `damaged` where a base is. */
export async function findNewest(store: Store, options: CallOptions = {}): Promise<FoundPoint | undefined> {
  return firstThat(store, () => true, undefined, options);
}

/** The newest point not later than `moment`. Throws as `findNewest`. */
export async function findAt(store: Store, moment: Date, options: CallOptions = {}): Promise<FoundPoint | undefined> {
  return firstThat(store, ({ createdAt }) => Date.parse(createdAt) <= moment.getTime(), moment, options);
}

/** The point whose id begins with `prefix`, of at least four characters. Throws `ambiguous`, `damaged`, `format_newer`, and as `findNewest`. */
export async function findByPrefix(store: Store, prefix: string, options: CallOptions = {}): Promise<FoundPoint | undefined> {
  const ids: PointId[] = [];
  for (const day of await listDays(store, options)) {
    if (!day.startsWith(prefix.slice(0, 8))) continue;
    ids.push(...(await listIds(store, day, options)).filter((id) => id.startsWith(prefix)));
    if (ids.length > 1) throw new BackupError("ambiguous", `${prefix} fits more than one point: ${ids.slice(0, 4).join(", ")}, …`);
  }
  const [only] = ids;
  if (only === undefined) return undefined;
  const point = await readManifest(store, only, options);
  return point === undefined ? undefined : { point, chain: await readChain(store, point, options), damaged: [] };
}

/** The id of the oldest point, for a sentence. */
export async function findOldestId(store: Store, options: CallOptions = {}): Promise<PointId | undefined> {
  for (const day of (await listDays(store, options)).reverse()) {
    const id = (await listIds(store, day, options)).at(-1);
    if (id !== undefined) return id;
  }
  return undefined;
}

async function firstThat(
  store: Store,
  isWanted: (manifest: Manifest) => boolean,
  until: Date | undefined,
  options: CallOptions,
): Promise<FoundPoint | undefined> {
  const damaged: DamagedPoint[] = [];
  const isEarly = (id: PointId): boolean => until === undefined || pointTime(id).getTime() <= until.getTime();
  for (const day of await listDays(store, options)) {
    if (until !== undefined && day > until.toISOString().slice(0, 10).replaceAll("-", "")) continue;
    for (const id of (await listIds(store, day, options)).filter(isEarly)) {
      const point = await readManifest(store, id, options).catch((error: unknown) => {
        if (!isOfOneFile(error)) throw error;
        damaged.push({ id, key: manifestKey(id), error });
        return undefined;
      });
      if (point !== undefined && isWanted(point)) return { point, chain: await readChain(store, point, options), damaged };
    }
  }
  return undefined;
}

/** Days with points, the newest first. */
async function listDays(store: Store, options: CallOptions): Promise<string[]> {
  return (await store.folders(options))
    .filter((name) => /^\d{8}$/.test(name))
    .sort()
    .reverse();
}

/** Points of a day, the newest first. */
async function listIds(store: Store, day: string, options: CallOptions): Promise<PointId[]> {
  return [...(await listPoints(store, [day], options)).points.keys()].reverse();
}

async function readManifest(store: Store, id: PointId, options: CallOptions): Promise<Manifest | undefined> {
  const key = manifestKey(id);
  const bytes = await readAll(store, key, options);
  return bytes === undefined ? undefined : parseManifest(bytes.toString("utf8"), key);
}

/** By the ids that each names: nothing is listed. */
async function readChain(store: Store, point: Manifest, options: CallOptions): Promise<Manifest[]> {
  const read = new Map<PointId, Manifest>([[point.id, point]]);
  for (let base = point.base; base !== null && !read.has(base); ) {
    const manifest = await readManifest(store, base, options);
    if (manifest === undefined) break; // chainOf says what is missing
    read.set(base, manifest);
    base = manifest.base;
  }
  return chainOf(point, [...read.values()]);
}
