/** Puts a point into a store: artifacts first, the manifest last. With the manifest the point exists. */
import { createHash } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import { join } from "node:path";
import { BackupError } from "../core/errors.ts";
import { type Artifact, keyOf, type Manifest, manifestKey, writeManifest } from "../core/manifest.ts";
import { bytesSource, type CallOptions, readAll, type Source, type Store } from "../stores/store.ts";
import { unnamedKeys } from "./trash.ts";

/**
 * Publishes a point whose artifacts lie in `spool`, which the store may empty. When it throws, the point does not
 * exist, and what was put is taken back where the store still answers.
 */
export async function publishPoint(store: Store, manifest: Manifest, spool: string, options: CallOptions = {}): Promise<void> {
  const put: string[] = [];
  try {
    for (const artifact of manifest.artifacts) {
      options.signal?.throwIfAborted();
      const key = keyOf(manifest, artifact);
      await store.put(key, { ...fileSource(join(spool, artifact.name)), sha256: artifact.sha256 }, options);
      put.push(key);
    }
    options.signal?.throwIfAborted();
    await store.put(manifestKey(manifest.id), bytesSource(writeManifest(manifest)), options);
  } catch (error) {
    await takeBack(store, manifest, put);
    throw error;
  }
}

/** In reverse order. A put that threw may have happened all the same: the manifest goes too, if it is ours. */
async function takeBack(store: Store, manifest: Manifest, keys: readonly string[]): Promise<void> {
  try {
    const standing = await readAll(store, manifestKey(manifest.id));
    if (standing?.toString("utf8") === writeManifest(manifest)) await store.delete(manifestKey(manifest.id));
    for (const key of keys.toReversed()) await store.delete(key);
  } catch {
    // The first error is the one that tells; what stays names no point and is cleared after its grace.
  }
}

function fileSource(file: string): Source {
  return { size: statSync(file).size, file, open: () => createReadStream(file, { highWaterMark: 1 << 20 }) };
}

/**
 * Copies a point from one store to another, byte for byte; what is there already is not sent again. Deletes nothing.
 * Throws `damaged` when an artifact of `from` is not as the manifest says, `store_failed` when other bytes arrived.
 * The manifest goes last. Does not flush: several points may go together. `onBytes` is told of what is being sent.
 */
export async function copyPoint(from: Store, to: Store, manifest: Manifest, options: CopyOptions = {}): Promise<void> {
  await copyArtifacts(from, to, manifest, options);
  await to.put(manifestKey(manifest.id), bytesSource(writeManifest(manifest)), options);
}

export type CopyOptions = CallOptions & { readonly onBytes?: (bytes: number) => void };

/** The artifacts alone. */
export async function copyArtifacts(from: Store, to: Store, manifest: Manifest, options: CopyOptions = {}): Promise<void> {
  for (const artifact of manifest.artifacts) {
    const key = keyOf(manifest, artifact);
    const present = await to.stat(key, options);
    // A put that ended was read back: a round that was killed goes on behind it.
    if (present?.size === artifact.size) continue;
    const source = checkedSource(from, key, artifact, options);
    if (present === undefined) await to.put(key, source, options);
    // With this size it is no point's, and never will be. Not deleted: a credential may lack that right.
    else await to.replace(key, source, options);
  }
}

/** Deletes the artifacts of a point that its manifest does not name, and gives those that the store keeps all the same. */
export async function deleteUnnamed(store: Store, manifest: Manifest, options: CallOptions): Promise<string[]> {
  const kept: string[] = [];
  for (const key of await unnamedKeys(store, manifest, options)) {
    try {
      await store.delete(key, options);
    } catch (error) {
      if (!(error instanceof BackupError) || options.signal?.aborted === true) throw error;
      kept.push(key); // locked for a time: it is told, and the new ones are there
    }
  }
  return kept;
}

/** An artifact of `store` for another one. Throws `damaged` before its end when the bytes are not those that the manifest names: a copy gets none but good ones. */
export function checkedSource(store: Store, key: string, { name, size, sha256 }: Artifact, options: CopyOptions): Source {
  return {
    size,
    sha256,
    async *open() {
      const stream = await store.get(key, options);
      if (stream === undefined) throw new BackupError("damaged", `${name} is missing from the store ${store.name}`);
      const sum = createHash("sha256");
      let length = 0;
      for await (const chunk of stream) {
        sum.update(chunk);
        length += chunk.length;
        options.onBytes?.(chunk.length);
        yield chunk;
      }
      if (length !== size) throw new BackupError("damaged", `${name} in the store ${store.name} has ${length} bytes, its manifest says ${size}`);
      if (sum.digest("hex") !== sha256)
        throw new BackupError("damaged", `${name} in the store ${store.name} does not have the sha256 of its manifest`);
    },
  };
}
