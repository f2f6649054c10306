/** Points whose artifacts hold no more than their names: enough for what moves files and reads manifests. */
import { createHash } from "node:crypto";
import type { PointId } from "../../src/core/ids.ts";
import { type Manifest, manifestKey, writeManifest } from "../../src/core/manifest.ts";
import { bytesSource, type Store } from "../../src/stores/store.ts";

const fakeIdentity = {
  format: 1,
  repository: "11111111-2222-4333-8444-555555555555",
  name: "test",
  created: "2026-01-01T00:00:00.000Z",
} as const;

const kinds = ["bundle", "tar.zst", "contents.zst"] as const;

export function fakeManifest(createdAt: Date, suffix: number, wish: Partial<Manifest> = {}): Manifest {
  const stamp = createdAt.toISOString().replace(/\.\d+Z$/, "Z");
  const id = `${stamp.replaceAll(/[-:]/g, "")}-${suffix.toString(16).padStart(6, "0")}`;
  const artifacts = kinds.map((kind) => {
    const bytes = contentOf(`${id}.${kind}`);
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return { name: `${id}.${kind}`, size: bytes.length, sha256, plainSize: bytes.length, plainSha256: sha256 };
  });
  return {
    format: 1,
    id,
    kind: "commit",
    createdAt: createdAt.toISOString(),
    repository: fakeIdentity.repository,
    machine: "here",
    base: null,
    full: id,
    step: 0,
    level: 0,
    previous: null,
    previousSha256: null,
    tool: "holdfast test",
    artifacts,
    counts: { files: 0, bytes: 0, changed: 0, refs: 0, left: 0, problems: 0 },
    consistent: true,
    screened: false,
    expires: null,
    retention: "policy",
    signature: null,
    ...wish,
  };
}

export async function putFakePoints(store: Store, manifests: readonly Manifest[]): Promise<void> {
  for (const manifest of manifests) {
    for (const { name } of manifest.artifacts) await store.put(`${manifest.id.slice(0, 8)}/${name}`, bytesSource(contentOf(name)));
    await store.put(manifestKey(manifest.id), bytesSource(writeManifest(manifest)));
  }
}

/** Where each point is whole: with its manifest and the very bytes of every artifact. */
export function placesOf(files: ReadonlyMap<string, Buffer>, manifest: Manifest): ("living" | "trash")[] {
  const folders = new Set([...files.keys()].map((key) => key.slice(0, key.lastIndexOf("/"))));
  return [...folders].flatMap((folder): ("living" | "trash")[] => {
    const hasManifest = files.get(`${folder}/${manifest.id}.json`)?.toString() === writeManifest(manifest);
    const hasAll = manifest.artifacts.every(({ name }) => files.get(`${folder}/${name}`)?.toString() === contentOf(name));
    return hasManifest && hasAll ? [folder.startsWith("trash/") ? "trash" : "living"] : [];
  });
}

/** Everything in the store that is of this point. */
export function keysOfPoint(files: ReadonlyMap<string, Buffer>, id: PointId): string[] {
  return [...files.keys()].filter((key) => key.includes(`/${id}.`) && !key.startsWith("marks/")).sort();
}

/** Larger than a manifest: branch stores tell files apart by that. */
export function contentOf(name: string): string {
  return `content of ${name}\n`.repeat(60);
}
