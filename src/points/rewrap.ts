/**
 * Encrypts points again, for other recipients. One point after the other, oldest first; of each: the new artifacts under
 * the next revision's names, then the manifest in place of the old one, then the old artifacts go. A crash between any
 * two leaves a point that restores, and the next run goes on. The chain of `previousSha256` stays true.
 */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { readSealed } from "../archive/artifact-file.ts";
import { writeEncrypted } from "../archive/encrypted-file.ts";
import type { Encryptor } from "../core/encryption.ts";
import { BackupError } from "../core/errors.ts";
import type { PointId } from "../core/ids.ts";
import { type Artifact, artifactName, keyOf, type Manifest, manifestKey, parseArtifactName, parseManifest, writeManifest } from "../core/manifest.ts";
import { bytesSource, type CallOptions, type LocalStore, readAll, type Store } from "../stores/store.ts";
import { deleteUnnamed } from "./publish.ts";

export interface RewrapRequest {
  /** Its decryptor opens what is there. */
  readonly store: LocalStore;
  readonly encryptor: Encryptor;
  /** Only the manifest is looked at: it is already for these recipients. */
  readonly isDone: boolean;
  /** The sums that earlier points' manifests had before they were replaced. */
  readonly replaced: { has(id: PointId, sum: string): boolean };
  /** Called before the manifest is replaced, with the sum that it has until then. */
  readonly beforeReplace: (id: PointId, sum: string) => void;
  /** With the sum of the new one. */
  readonly afterReplace: (id: PointId, sum: string) => void;
  /** Gives `next` its signature, in place of that of `before`, which no longer fits; throws where `before` may not be vouched for. Absent: it has none. */
  readonly sign?: (next: Manifest, before: Manifest) => Promise<Manifest>;
  readonly signal?: AbortSignal | undefined;
}

export interface RewrapOutcome {
  readonly isRewrapped: boolean;
  /** The point that this one names as the one before it. */
  readonly previous: PointId | null;
  /** Keys of old artifacts that the store did not delete, such as under an object lock. */
  readonly kept: readonly string[];
}

/** Throws `damaged` where the point cannot be read, `key_missing` or `key_wrong`; the point is then as it was. Needs the repository's lock. */
export async function rewrapPoint(id: PointId, request: RewrapRequest): Promise<RewrapOutcome> {
  const { store, isDone, replaced, beforeReplace, afterReplace, sign = unsigned, signal } = request;
  const options: CallOptions = { signal };
  const bytes = await readAll(store, manifestKey(id), options);
  if (bytes === undefined) return { isRewrapped: false, previous: null, kept: [] }; // removed meanwhile
  const manifest = parseManifest(bytes.toString("utf8"), manifestKey(id));
  // Of a run that was killed between two steps.
  await deleteUnnamed(store, manifest, options);
  const previousSha256 = await linkOf(manifest, store, replaced, options);
  const { previous } = manifest;
  if (isDone && previousSha256 === manifest.previousSha256) return { isRewrapped: false, previous, kept: [] };
  const spool = store.spool();
  try {
    const artifacts = isDone ? manifest.artifacts : await encryptAgain(manifest, spool, request, options);
    const next = await sign({ ...manifest, artifacts: [...artifacts], previousSha256 }, manifest);
    for (const artifact of isDone ? [] : artifacts) {
      const { name, size, sha256 } = artifact;
      const file = join(spool, name);
      await store.put(keyOf(manifest, artifact), { size, sha256, file, open: () => createReadStream(file) }, options);
    }
    const text = writeManifest(next);
    beforeReplace(id, sumOf(bytes));
    await store.replace(manifestKey(id), bytesSource(text), options);
    afterReplace(id, sumOf(text));
    return { isRewrapped: !isDone, previous, kept: await deleteUnnamed(store, next, options) };
  } finally {
    await rm(spool, { recursive: true, force: true });
  }
}

/** A signature over other artifacts is none. */
async function unsigned(manifest: Manifest): Promise<Manifest> {
  return { ...manifest, signature: null };
}

async function encryptAgain(manifest: Manifest, spool: string, { store, encryptor }: RewrapRequest, options: CallOptions): Promise<Artifact[]> {
  const artifacts: Artifact[] = [];
  for (const artifact of manifest.artifacts) {
    const parsed = parseArtifactName(artifact.name);
    const stored = await store.get(keyOf(manifest, artifact), options);
    if (parsed === undefined || stored === undefined) throw new BackupError("damaged", `${artifact.name} is missing from the store ${store.name}`);
    const name = artifactName({ ...parsed, isEncrypted: true, revision: parsed.revision + 1 });
    artifacts.push({
      ...artifact,
      name,
      ...(await writeEncrypted(join(spool, name), readSealed(artifact, stored, store.decryptor), encryptor, options)),
    });
  }
  return artifacts;
}

/** The sum of the manifest before this one: another one where we replaced it, and only then. A link that was wrong stays so, to be seen. */
async function linkOf(manifest: Manifest, store: Store, replaced: RewrapRequest["replaced"], options: CallOptions): Promise<string | null> {
  const { previous, previousSha256 } = manifest;
  if (previous === null || previousSha256 === null || !replaced.has(previous, previousSha256)) return previousSha256;
  const bytes = await readAll(store, manifestKey(previous), options);
  if (bytes === undefined) return previousSha256;
  parseManifest(bytes.toString("utf8"), manifestKey(previous)); // half a reading must not become a link
  return sumOf(bytes);
}

function sumOf(bytes: Buffer | string): string {
  return createHash("sha256").update(bytes).digest("hex");
}
