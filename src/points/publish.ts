/** Puts a point into a store: artifacts first, the manifest last. With the manifest the point exists. */
import { createReadStream, statSync } from "node:fs";
import { join } from "node:path";
import { dayOf } from "../core/ids.ts";
import { type Manifest, manifestKey, writeManifest } from "../core/manifest.ts";
import { bytesSource, type CallOptions, type Source, type Store } from "../stores/store.ts";

/** Publishes a point whose artifacts lie in `spool`, which the store may empty. */
export async function publishPoint(store: Store, manifest: Manifest, spool: string, options: CallOptions = {}): Promise<void> {
  for (const artifact of manifest.artifacts) {
    await store.put(`${dayOf(manifest.id)}/${artifact.name}`, fileSource(join(spool, artifact.name)), options);
  }
  await store.put(manifestKey(manifest.id), bytesSource(writeManifest(manifest)), options);
}

export function fileSource(file: string): Source {
  return { size: statSync(file).size, file, open: () => createReadStream(file, { highWaterMark: 1 << 20 }) };
}

/**
 * Copies a point from one store to another, byte for byte; what is there already is not sent again.
 * The manifest goes last. Does not flush: several points may go together.
 */
export async function copyPoint(from: Store, to: Store, manifest: Manifest, options: CallOptions = {}): Promise<void> {
  for (const artifact of manifest.artifacts) {
    const key = `${dayOf(manifest.id)}/${artifact.name}`;
    const present = await to.stat(key, options);
    if (present?.size === artifact.size) continue;
    await to.put(key, storeSource(from, key, artifact.size, options), options);
  }
  const bytes = writeManifest(manifest);
  await to.put(manifestKey(manifest.id), bytesSource(bytes), options);
}

function storeSource(store: Store, key: string, size: number, options: CallOptions): Source {
  return {
    size,
    async *open() {
      const stream = await store.get(key, options);
      if (stream !== undefined) yield* stream;
    },
  };
}
