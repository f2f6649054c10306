/**
 * The trash of a store, `trash/DAY/…`: what was pruned on DAY (UTC), under the names that it had in its own folder. A point is in
 * the trash when its manifest is. One that is in both places is living, and its copy in the trash goes.
 *
 * Both ways a point is copied whole before the first byte of it is deleted: a run that is killed leaves it whole in one of
 * the two places, and the next one clears the rest.
 */
import { BackupError, isOfOneFile } from "../core/errors.ts";
import { dayOf, type PointId } from "../core/ids.ts";
import { type Manifest, manifestKey, parseArtifactName, parseManifest } from "../core/manifest.ts";
import { type CallOptions, copyKey, readAll, type Store, type StoreEntry } from "../stores/store.ts";

export interface TrashedPoint {
  readonly manifest: Manifest;
  /** `trash/20261128`. */
  readonly folder: string;
}

/** The points of the trash, oldest first. One whose manifest cannot be believed is not among them. */
export async function readTrash(store: Store, options: CallOptions = {}): Promise<TrashedPoint[]> {
  const found: TrashedPoint[] = [];
  for await (const { key } of store.list("trash/", options)) {
    const [, folder] = /^(trash\/\d{8})\/[^/]+\.json$/.exec(key) ?? [];
    if (folder === undefined) continue;
    try {
      const bytes = await readAll(store, key, options);
      if (bytes !== undefined) found.push({ manifest: parseManifest(bytes.toString("utf8"), key), folder });
    } catch (error) {
      // A damaged one goes when its days are over, like the rest of its folder.
      if (!isOfOneFile(error)) throw error;
    }
  }
  return found.sort((a, b) => (a.manifest.id < b.manifest.id ? -1 : 1));
}

/** Where a point goes that is pruned now. */
export function trashFolder(now: Date): string {
  return `trash/${now.toISOString().slice(0, 10).replaceAll("-", "")}`;
}

/** The day in a folder's name, as the moment at which it began. */
export function trashedAt(folder: string): Date {
  const [, year, month, day] = /^trash\/(\d{4})(\d\d)(\d\d)$/.exec(folder) ?? [];
  return new Date(`${year}-${month}-${day}T00:00:00Z`);
}

/** Moves a living point into the trash. Throws `store_failed` where the copy is not what the manifest says: then the point stays. */
export async function moveToTrash(store: Store, manifest: Manifest, now: Date, options: CallOptions = {}): Promise<void> {
  const folder = trashFolder(now);
  await copyPointWithin(store, manifest, dayOf(manifest.id), folder, options);
  // Before the manifest goes: without it nobody knows whose they are.
  for (const key of await unnamedKeys(store, manifest, options)) await store.delete(key, options);
  await deletePointIn(store, manifest, dayOf(manifest.id), options);
}

/** Files of a living point that its manifest does not name: for earlier keys, where a rewrap was killed or the store kept them. */
export async function unnamedKeys(store: Store, manifest: Manifest, options: CallOptions = {}): Promise<string[]> {
  const named = new Set(namesOf(manifest));
  const keys: string[] = [];
  for await (const { key } of store.list(`${dayOf(manifest.id)}/${manifest.id}.`, options)) {
    const name = key.slice(key.indexOf("/") + 1);
    if (parseArtifactName(name) !== undefined && !named.has(name)) keys.push(key);
  }
  return keys;
}

/** Moves a point of the trash back to where it was. */
export async function moveFromTrash(store: Store, { manifest, folder }: TrashedPoint, options: CallOptions = {}): Promise<void> {
  await copyPointWithin(store, manifest, folder, dayOf(manifest.id), options);
  await deletePointIn(store, manifest, folder, options);
}

/** The manifest first: without it no point is there, and what stays is cleared by a later run. */
export async function deletePointIn(store: Store, manifest: Manifest, folder: string, options: CallOptions = {}): Promise<void> {
  for (const name of [`${manifest.id}.json`, ...namesOf(manifest).toReversed()]) {
    options.signal?.throwIfAborted();
    await store.delete(`${folder}/${name}`, options);
  }
}

async function copyPointWithin(store: Store, manifest: Manifest, from: string, to: string, options: CallOptions): Promise<void> {
  for (const name of [...namesOf(manifest), `${manifest.id}.json`]) {
    options.signal?.throwIfAborted();
    await copyKey(store, `${from}/${name}`, `${to}/${name}`, options);
  }
  if (!(await isWholeIn(store, manifest, to, options)))
    throw new BackupError("store_failed", `point ${manifest.id} is not whole in ${to} of the store ${store.name}`);
}

async function isWholeIn(store: Store, manifest: Manifest, folder: string, options: CallOptions): Promise<boolean> {
  const sizes = new Map<string, number>();
  for await (const { key, size } of store.list(`${folder}/${manifest.id}`, options)) sizes.set(key, size);
  return sizes.has(`${folder}/${manifest.id}.json`) && manifest.artifacts.every(({ name, size }) => sizes.get(`${folder}/${name}`) === size);
}

/**
 * Clears what a killed run left of a point of this machine in both places. Points of other machines are theirs: one of them may be
 * at work at this moment. `living` may be old by now, as another clone prunes the same store under a lock of its own: of two
 * copies one goes only where the other is seen to be whole.
 */
export async function mendTrash(store: Store, living: readonly Manifest[], machine: string, options: CallOptions = {}): Promise<void> {
  const byId = new Map(living.map((manifest) => [manifest.id, manifest]));
  const keys = new Set<string>();
  for await (const { key } of store.list("", options)) keys.add(key);
  for (const folder of new Set([...keys].flatMap((key) => /^trash\/\d{8}(?=\/)/.exec(key)?.[0] ?? []))) {
    for (const manifest of byId.values()) {
      const hasRest = [`${manifest.id}.json`, ...namesOf(manifest)].some((name) => keys.has(`${folder}/${name}`));
      if (manifest.machine !== machine || !hasRest) continue;
      if (await isWholeIn(store, manifest, dayOf(manifest.id), options)) await deletePointIn(store, manifest, folder, options);
    }
  }
  for (const { manifest, folder } of await readTrash(store, options)) {
    const rest = namesOf(manifest).filter((name) => keys.has(`${dayOf(manifest.id)}/${name}`));
    if (byId.has(manifest.id) || manifest.machine !== machine || rest.length === 0) continue;
    if (keys.has(manifestKey(manifest.id))) continue; // damaged where it lives: for verify
    if (!(await isWholeIn(store, manifest, folder, options)))
      for (const name of rest) await copyKey(store, `${dayOf(manifest.id)}/${name}`, `${folder}/${name}`, options);
    for (const name of rest.toReversed()) await store.delete(`${dayOf(manifest.id)}/${name}`, options);
  }
}

/** The store as it would be with these points where they lived. For reading: a point of the trash restores like any other. */
export function withTrashed(store: Store, trashed: readonly TrashedPoint[]): Store {
  const places = new Map<string, string>();
  for (const { manifest, folder } of trashed)
    for (const name of [`${manifest.id}.json`, ...namesOf(manifest)]) places.set(`${dayOf(manifest.id)}/${name}`, `${folder}/${name}`);
  const at = (key: string): string => places.get(key) ?? key;
  return readingOtherwise(store, {
    get: (key, options) => store.get(at(key), options),
    stat: async (key, options): Promise<StoreEntry | undefined> => {
      const found = await store.stat(at(key), options);
      return found === undefined ? undefined : { ...found, key };
    },
  });
}

/** The store for reading on while another run prunes: what has left its place meanwhile is read from the trash. */
export function followingTrash(store: Store): Store {
  const placeInTrash = async (key: string, options?: CallOptions): Promise<string | undefined> => {
    const name = /^\d{8}(\/[^/]+)$/.exec(key)?.[1];
    if (name === undefined) return undefined;
    for await (const entry of store.list("trash/", options)) if (entry.key.endsWith(name)) return entry.key;
    return undefined;
  };
  return readingOtherwise(store, {
    async get(key, options) {
      const found = await store.get(key, options);
      const place = found === undefined ? await placeInTrash(key, options) : undefined;
      return place === undefined ? found : store.get(place, options);
    },
    async stat(key, options) {
      const found = await store.stat(key, options);
      const place = found === undefined ? await placeInTrash(key, options) : undefined;
      const size = place === undefined ? undefined : (await store.stat(place, options))?.size;
      return size === undefined ? found : { key, size };
    },
  });
}

function readingOtherwise(store: Store, reading: Pick<Store, "get" | "stat">): Store {
  return {
    name: store.name,
    url: store.url,
    ...reading,
    list: (prefix, options) => store.list(prefix, options),
    folders: (options) => store.folders(options),
    put: (key, source, options) => store.put(key, source, options),
    replace: (key, source, options) => store.replace(key, source, options),
    delete: (key, options) => store.delete(key, options),
    flush: (options) => store.flush(options),
    ...(store.decryptor === undefined ? {} : { decryptor: store.decryptor }),
  };
}

function namesOf(manifest: Manifest): string[] {
  return manifest.artifacts.map(({ name }) => name);
}

/** The point that a prefix means. Throws `ambiguous`. */
export function findTrashed(prefix: string, trashed: readonly TrashedPoint[]): TrashedPoint | undefined {
  const found = trashed.filter(({ manifest }) => manifest.id.startsWith(prefix));
  if (found.length > 1)
    throw new BackupError("ambiguous", `${prefix} fits ${found.length} points of the trash`, { hint: "holdfast points --deleted" });
  return found[0];
}

/** A point of the trash and those that it builds on, base first, as far as they are in the trash too. */
export function trashedChain(point: TrashedPoint, trashed: readonly TrashedPoint[]): TrashedPoint[] {
  const byId = new Map<PointId, TrashedPoint>(trashed.map((each) => [each.manifest.id, each]));
  const chain = [point];
  for (let at: TrashedPoint | undefined = point; at !== undefined; ) {
    const base: TrashedPoint | undefined = at.manifest.base === null ? undefined : byId.get(at.manifest.base);
    if (base === undefined || chain.includes(base)) break;
    chain.unshift(base);
    at = base;
  }
  return chain;
}
