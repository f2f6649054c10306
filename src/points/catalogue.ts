/**
 * The points room: what use cases share about points in a store. Reading the catalogue and contents, publishing,
 * copying to another store. It knows stores by their port alone.
 */

import { readArtifact } from "../archive/artifact-file.ts";
import { type Catalogue, sortPoints } from "../core/catalogue.ts";
import { type Contents, type ContentsRecord, foldContents, type NoteEntry, parseContents } from "../core/contents.ts";
import { BackupError, isOfOneFile } from "../core/errors.ts";
import { isPointId, type PointId } from "../core/ids.ts";
import { type Artifact, findArtifact, idOf, keyOf, type Manifest, manifestKey, parseManifest } from "../core/manifest.ts";
import { type CallOptions, readAll, type Store } from "../stores/store.ts";

export interface CatalogueResult {
  readonly points: Catalogue;
  readonly damaged: readonly DamagedPoint[];
}

/** What a listing alone shows to be wrong: a manifest that cannot be believed, an artifact that is absent or of another size. */
export interface DamagedPoint {
  readonly id: PointId;
  /** Of the manifest, or of the artifact. */
  readonly key: string;
  /** `damaged`, or `format_newer`. */
  readonly error: BackupError;
}

/**
 * All points of a store. A point whose manifest is damaged, or of a newer format, is named apart and hides no other;
 * one that lacks a part of an artifact stands in both lists, since some of it can perhaps be restored.
 */
export async function readCatalogue(store: Store, options: CallOptions = {}): Promise<CatalogueResult> {
  const sizes = new Map<string, number>();
  for await (const { key, size } of store.list("", options)) sizes.set(key, size);
  const keys = [...sizes.keys()].filter(isManifestKey).sort();
  const points: Manifest[] = [];
  const damaged: DamagedPoint[] = [];
  const read = async (key: string): Promise<void> => {
    try {
      const bytes = await readAll(store, key, options);
      if (bytes === undefined) return;
      const manifest = parseManifest(bytes.toString("utf8"), key);
      points.push(manifest);
      for (const artifact of manifest.artifacts) {
        const place = keyOf(manifest, artifact);
        if (sizes.get(place) === artifact.size) continue;
        // A listing made while a point was published may have missed some of it: look again.
        const found = (await store.stat(place, options))?.size;
        if (found !== artifact.size) damaged.push({ id: manifest.id, key: place, error: incomplete(store, artifact, found) });
      }
    } catch (error) {
      if (!isOfOneFile(error)) throw error;
      damaged.push({ id: idOf(key), key, error });
    }
  };
  for (let at = 0; at < keys.length; at += 32) await Promise.all(keys.slice(at, at + 32).map(read));
  return { points: sortPoints(points), damaged: damaged.sort((a, b) => (a.key < b.key ? -1 : 1)) };
}

/** True when the point's manifest can be read and each of its artifacts is there with its size. Reads no artifact. */
export async function hasPoint(store: Store, id: PointId, options: CallOptions = {}): Promise<boolean> {
  const manifest = await readManifest(store, manifestKey(id), options);
  if (manifest === undefined) return false;
  for (const artifact of manifest.artifacts) if ((await store.stat(keyOf(manifest, artifact), options))?.size !== artifact.size) return false;
  return true;
}

function incomplete(store: Store, { name, size }: Artifact, found: number | undefined): BackupError {
  const what =
    found === undefined
      ? `${name} is missing from the store ${store.name}`
      : `${name} in the store ${store.name} has ${found} bytes, its manifest says ${size}`;
  return new BackupError("damaged", what);
}

/**
 * The manifest of a point. Undefined when the point is not there; throws `damaged` or `format_newer` when it cannot be believed.
 */
export async function findManifest(store: Store, id: PointId, options: CallOptions = {}): Promise<Manifest | undefined> {
  const key = manifestKey(id);
  const bytes = await readAll(store, key, options);
  return bytes === undefined ? undefined : parseManifest(bytes.toString("utf8"), key);
}

/** The manifest under a key; undefined when it is absent or cannot be believed. */
async function readManifest(store: Store, key: string, options: CallOptions = {}): Promise<Manifest | undefined> {
  try {
    const bytes = await readAll(store, key, options);
    return bytes === undefined ? undefined : parseManifest(bytes.toString("utf8"), key);
  } catch (error) {
    if (isOfOneFile(error)) return undefined;
    throw error;
  }
}

/** The plain bytes of an artifact, checked as they come. Throws `damaged` when it is absent or other than its manifest says. */
export async function openArtifact(store: Store, manifest: Manifest, artifact: Artifact, options: CallOptions = {}): Promise<AsyncGenerator<Buffer>> {
  const stored = await store.get(keyOf(manifest, artifact), options);
  if (stored === undefined) throw new BackupError("damaged", `${artifact.name} is missing from the store ${store.name}`);
  return readArtifact(artifact, stored, store.decryptor);
}

/** The whole state of the last point of `chain` (base first). */
export async function readContents(store: Store, chain: readonly Manifest[], options: CallOptions = {}): Promise<Contents> {
  const records: ContentsRecord[][] = [];
  for (const manifest of chain) records.push(await readRecords(store, manifest, options));
  return foldContents(records);
}

/** What one point's own contents say: changes to its base; its worktrees, whole. */
export async function readRecords(store: Store, manifest: Manifest, options: CallOptions = {}): Promise<ContentsRecord[]> {
  const artifact = contentsOf(manifest);
  const pieces: Buffer[] = [];
  for await (const piece of await openArtifact(store, manifest, artifact, options)) pieces.push(piece);
  return parseContents(Buffer.concat(pieces).toString("utf8"), artifact.name);
}

/** What a string of ours can hold; a million files take half of it. */
const contentsLimit = 500_000_000;

/** Throws `damaged` where there are none, or more than can be. */
export function contentsOf(manifest: Manifest): Artifact {
  const artifact = findArtifact(manifest, "contents.zst");
  if (artifact === undefined) throw new BackupError("damaged", `point ${manifest.id} has no contents`);
  if (artifact.plainSize > contentsLimit) throw new BackupError("damaged", `${artifact.name} says that it unpacks to ${artifact.plainSize} bytes`);
  return artifact;
}

/** The note of a point; reads no more than the beginning of its contents, where it stands. */
export async function readNote(store: Store, manifest: Manifest, options: CallOptions = {}): Promise<NoteEntry | undefined> {
  const artifact = findArtifact(manifest, "contents.zst");
  if (artifact === undefined) return undefined;
  for await (const piece of await openArtifact(store, manifest, artifact, options)) {
    const lines = piece.toString("utf8").split("\n", 2).join("\n");
    const second = parseContents(lines, artifact.name)[1];
    return second?.t === "note" ? second : undefined;
  }
  return undefined;
}

export function isManifestKey(key: string): boolean {
  const match = /^(\d{8})\/([^/]+)\.json$/.exec(key);
  return match !== null && isPointId(match[2] ?? "") && (match[2] ?? "").startsWith(match[1] ?? "");
}
