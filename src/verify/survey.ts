/** What is in a store, by its listing and its manifests. Reads no artifact. */
import { createHash } from "node:crypto";
import { type BackupError, isOfOneFile } from "../core/errors.ts";
import type { StoredManifest } from "../core/history.ts";
import type { PointId } from "../core/ids.ts";
import { idOf, parseManifest } from "../core/manifest.ts";
import { isManifestKey } from "../points/catalogue.ts";
import { type CallOptions, readAll, type Store } from "../stores/store.ts";

export interface Survey {
  /** By id, oldest first. */
  readonly points: ReadonlyMap<PointId, StoredManifest>;
  /** Manifests that are there and cannot be believed. */
  readonly unreadable: readonly { readonly id: PointId; readonly key: string; readonly error: BackupError }[];
  /** Of every key. */
  readonly sizes: ReadonlyMap<string, number>;
}

const atOnce = 32;

export async function survey(store: Store, options: CallOptions = {}): Promise<Survey> {
  const sizes = new Map<string, number>();
  for await (const { key, size } of store.list("", options)) sizes.set(key, size);
  const keys = [...sizes.keys()].filter(isManifestKey).sort();
  const points = new Map<PointId, StoredManifest>();
  const unreadable: { id: PointId; key: string; error: BackupError }[] = [];
  for (let at = 0; at < keys.length; at += atOnce) {
    const some = keys.slice(at, at + atOnce);
    for (const found of await Promise.all(some.map((key) => readStoredManifest(store, key, options)))) {
      if (found === undefined) continue; // removed since it was listed
      if ("error" in found) unreadable.push(found);
      else points.set(found.manifest.id, found);
    }
  }
  return { points, unreadable, sizes };
}

/** Undefined where there is none. What cannot be believed comes with the reason. */
export async function readStoredManifest(
  store: Store,
  key: string,
  options: CallOptions = {},
): Promise<StoredManifest | { id: PointId; key: string; error: BackupError } | undefined> {
  try {
    const bytes = await readAll(store, key, options);
    if (bytes === undefined) return undefined;
    return { manifest: parseManifest(bytes.toString("utf8"), key), sha256: createHash("sha256").update(bytes).digest("hex") };
  } catch (error) {
    if (!isOfOneFile(error)) throw error;
    return { id: idOf(key), key, error };
  }
}

/** The points whose restore reads `id`: itself, and all that build on it, oldest first. */
export function dependents(id: PointId, points: ReadonlyMap<PointId, StoredManifest>): PointId[] {
  const found = new Set([id]);
  // A base is always older than what builds on it; a hostile store may say otherwise, and then the chain is refused anyway.
  for (const { manifest } of [...points.values()].sort((a, b) => (a.manifest.id < b.manifest.id ? -1 : 1)))
    if (manifest.base !== null && found.has(manifest.base)) found.add(manifest.id);
  return [...found].sort();
}
