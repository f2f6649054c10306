/** Puts a point into a store: artifacts first, the manifest last. With the manifest the point exists. */
import { createHash } from "node:crypto";
import { createReadStream, statSync } from "node:fs";
import { join } from "node:path";
import { BackupError } from "../core/errors.ts";
import { dayOf } from "../core/ids.ts";
import { type Artifact, type Manifest, manifestKey, parseArtifactName, writeManifest } from "../core/manifest.ts";
import { bytesSource, type CallOptions, readAll, type Source, type Store } from "../stores/store.ts";

/**
 * Publishes a point whose artifacts lie in `spool`, which the store may empty. When it throws, the point does not
 * exist, and what was put is taken back where the store still answers.
 */
export async function publishPoint(store: Store, manifest: Manifest, spool: string, options: CallOptions = {}): Promise<void> {
  const put: string[] = [];
  try {
    for (const artifact of manifest.artifacts) {
      options.signal?.throwIfAborted();
      const key = `${dayOf(manifest.id)}/${artifact.name}`;
      await store.put(key, fileSource(join(spool, artifact.name)), options);
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
 * Copies a point from one store to another, byte for byte; what is there already is not sent again.
 * Throws `damaged` when an artifact of `from` is not as the manifest says. The manifest goes last. Does not flush: several points may go together.
 */
export async function copyPoint(from: Store, to: Store, manifest: Manifest, options: CallOptions = {}): Promise<void> {
  await copyArtifacts(from, to, manifest, options);
  const bytes = writeManifest(manifest);
  await to.put(manifestKey(manifest.id), bytesSource(bytes), options);
}

/** The artifacts alone. */
export async function copyArtifacts(from: Store, to: Store, manifest: Manifest, options: CallOptions = {}): Promise<void> {
  for (const artifact of manifest.artifacts) {
    const key = `${dayOf(manifest.id)}/${artifact.name}`;
    const present = await to.stat(key, options);
    if (present?.size === artifact.size) continue;
    // Without a manifest no point owns it, and with this size none ever will.
    if (present !== undefined) await to.delete(key, options);
    await to.put(key, storeSource(from, key, artifact, options), options);
  }
}

/** Deletes the artifacts of a point that its manifest does not name, and gives those that the store keeps all the same. */
export async function deleteUnnamed(store: Store, manifest: Manifest, options: CallOptions): Promise<string[]> {
  const named = new Set(manifest.artifacts.map(({ name }) => name));
  const keys: string[] = [];
  for await (const { key } of store.list(`${dayOf(manifest.id)}/${manifest.id}.`, options)) {
    const name = key.slice(key.indexOf("/") + 1);
    if (parseArtifactName(name) !== undefined && !named.has(name)) keys.push(key);
  }
  const kept: string[] = [];
  for (const key of keys) {
    try {
      await store.delete(key, options);
    } catch (error) {
      if (!(error instanceof BackupError) || options.signal?.aborted === true) throw error;
      kept.push(key); // locked for a time: it is told, and the new ones are there
    }
  }
  return kept;
}

/** Throws `damaged` before its end when the bytes are not the ones that the manifest names: a copy gets none but good ones. */
function storeSource(store: Store, key: string, { name, size, sha256 }: Artifact, options: CallOptions): Source {
  return {
    size,
    async *open() {
      const stream = await store.get(key, options);
      if (stream === undefined) throw new BackupError("damaged", `${name} is missing from the store ${store.name}`);
      const sum = createHash("sha256");
      let length = 0;
      for await (const chunk of stream) {
        sum.update(chunk);
        length += chunk.length;
        yield chunk;
      }
      if (length !== size) throw new BackupError("damaged", `${name} in the store ${store.name} has ${length} bytes, its manifest says ${size}`);
      if (sum.digest("hex") !== sha256)
        throw new BackupError("damaged", `${name} in the store ${store.name} does not have the sha256 of its manifest`);
    },
  };
}
