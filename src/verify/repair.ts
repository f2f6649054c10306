/**
 * Puts back what a verification found damaged: from another store that has the very bytes, or made again where the same bytes
 * come out. Nothing is written over but by bytes that were checked on their way, and nothing is deleted.
 */

import { hash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { withoutHeader } from "../archive/bundle-header.ts";
import { BackupError, describeError } from "../core/errors.ts";
import type { StoredManifest } from "../core/history.ts";
import type { PointId } from "../core/ids.ts";
import { type Artifact, findArtifact, type Manifest, manifestKey, parseArtifactName } from "../core/manifest.ts";
import { git } from "../git/run.ts";
import { openArtifact } from "../points/catalogue.ts";
import { checkedSource } from "../points/publish.ts";
import { bytesSource, readAll, type Source, type Store } from "../stores/store.ts";
import { readRecords } from "./decode.ts";
import type { Finding } from "./finding.ts";
import { checkPiece, holdsPiece, type Piece, pieceOf } from "./read.ts";
import { findGoodManifest, type Place, pieceAt, wantedPoint } from "./surroundings.ts";
import type { Survey } from "./survey.ts";

export interface Mended {
  readonly key: string;
  readonly point: PointId;
  /** The store that had it, or how it was made again. */
  readonly by: string;
}

export interface Unmended {
  readonly key: string | null;
  readonly point: PointId;
  readonly reason: string;
}

export interface RepairResult {
  readonly mended: readonly Mended[];
  readonly unmended: readonly Unmended[];
}

/** Whether what the finding is about was put back: the file itself, or the manifest that says what should be there. */
export function isMended(finding: Pick<Finding, "kind" | "point" | "key">, { mended }: RepairResult, survey: Survey): boolean {
  if (!ofFiles.includes(finding.kind)) return false;
  const keys = [finding.key, manifestKey(wantedPoint(survey, finding))];
  return mended.some(({ key }) => keys.includes(key));
}

const ofFiles: readonly Finding["kind"][] = ["manifest", "artifact", "chain", "history", "signature"];

export interface RepairRequest extends Place {
  readonly findings: readonly Finding[];
  readonly scratch: string;
  /** Captures the living repository as it is now into `spool`, under the names of this full point. */
  readonly recapture?: (full: Manifest, spool: string) => Promise<readonly Artifact[]>;
}

/** Artifacts first, manifests after them, as points are published: a kill in between leaves what was there, or what is whole. */
export async function repair(request: RepairRequest): Promise<RepairResult> {
  const mended: Mended[] = [];
  const unmended: Unmended[] = [];
  const done = new Set<string>();
  const attempt = async (key: string | null, point: PointId, act: () => Promise<string>): Promise<void> => {
    if (key !== null && done.has(key)) return;
    if (key !== null) done.add(key);
    try {
      const by = await act();
      if (key !== null) mended.push({ key, point, by });
    } catch (error) {
      if (!(error instanceof BackupError) || request.options.signal?.aborted === true) throw error;
      unmended.push({ key, point, reason: describeError(error) });
    }
  };
  const [pieces, manifests] = sortOut(request);
  for (const { piece, finding } of pieces) await attempt(piece.key, piece.manifest.id, () => mendPiece(request, piece, finding));
  for (const id of manifests) await attempt(manifestKey(id), id, () => mendPoint(request, id));
  if (mended.length > 0) await request.store.flush(request.options);
  for (const { point, key, message } of request.findings.filter(isBeyondRepair)) unmended.push({ key, point, reason: message });
  return { mended, unmended };
}

/**
 * The artifacts to put back, and the points whose manifest is, oldest first: a base before what builds on it. Where the manifest
 * is wrong, nothing is put back by what it says: its artifacts come with it.
 */
function sortOut({ findings, survey }: RepairRequest): [{ piece: Piece; finding: Finding }[], PointId[]] {
  const repairable = findings.filter(isRepairable);
  const manifests = new Set(repairable.filter((finding) => pieceAt(survey, finding) === undefined).map((finding) => wantedPoint(survey, finding)));
  const pieces = repairable.flatMap((finding) => {
    const piece = pieceAt(survey, finding);
    return piece === undefined || manifests.has(finding.point) ? [] : [{ piece, finding }];
  });
  return [pieces, [...manifests].sort()];
}

function isRepairable({ kind, weight }: Finding): boolean {
  return (weight === "damage" && kind !== "content") || (kind === "history" && weight === "doubt");
}

/** Written so: every copy has the same bytes. */
function isBeyondRepair({ kind, weight }: Finding): boolean {
  return kind === "content" && weight === "damage";
}

async function mendPiece(request: RepairRequest, piece: Piece, { copies }: Pick<Finding, "copies">): Promise<string> {
  const { others, options } = request;
  if ((await request.store.stat(manifestKey(piece.manifest.id), options)) === undefined)
    throw new BackupError("damaged", `point ${piece.manifest.id} was deleted meanwhile`);
  const by = await fromAny(
    others.filter(({ name }) => copies.includes(name)),
    (other) => takePiece(request, other, piece),
  );
  if (by !== undefined) return by;
  return parseArtifactName(piece.artifact.name)?.kind === "idx" ? remakeIndex(request, piece) : remakePiece(request, piece);
}

/** Artifacts of the point that are not there come with its manifest, from whichever store has them. */
async function mendPoint(request: RepairRequest, id: PointId): Promise<string> {
  const by = await fromAny(request.others, async (other) => {
    const found = await findGoodManifest(request, other, id);
    if (found === undefined) return false;
    for (const artifact of found.manifest.artifacts) await fillIn(request, pieceOf(found.manifest, artifact));
    await copyManifest(other, found, request);
    return true;
  });
  if (by === undefined) throw new BackupError("damaged", `the manifest of point ${id}: no other store holds it as it should be`);
  return by;
}

async function fillIn(request: RepairRequest, piece: Piece): Promise<void> {
  const { store, others, options } = request;
  if ((await checkPiece(store, piece, options)) === undefined) return;
  const by = await fromAny(others, async (other) => (await holdsPiece(other, piece, options)) && takePiece(request, other, piece));
  if (by === undefined) throw new BackupError("damaged", `${piece.artifact.name}: no other store holds it`);
}

/** The name of the first store that something could be taken from. Undefined: none has it. Throws why not, where one had it. */
async function fromAny(stores: readonly Store[], take: (other: Store) => Promise<boolean>): Promise<string | undefined> {
  let last: unknown;
  for (const other of stores) {
    try {
      if (await take(other)) return other.name;
    } catch (error) {
      if (!(error instanceof BackupError) || error.code !== "damaged") throw error;
      last = error; // it has become bad in between: another copy may do
    }
  }
  if (last !== undefined) throw last;
  return undefined;
}

async function takePiece(request: RepairRequest, other: Store, piece: Piece): Promise<true> {
  await write(request.store, piece.key, checkedSource(other, piece.key, piece.artifact, request.options), request);
  await readBack(request.store, piece, request);
  return true;
}

async function copyManifest(from: Store, { manifest, sha256 }: StoredManifest, request: RepairRequest): Promise<void> {
  const key = manifestKey(manifest.id);
  const bytes = await readAll(from, key, request.options);
  if (bytes === undefined || hash("sha256", bytes, "hex") !== sha256)
    throw new BackupError("damaged", `the manifest of point ${manifest.id} in the store ${from.name} is another than a moment ago`);
  await write(request.store, key, bytesSource(bytes), request);
}

/** `replace` puts it in the place of what stands there at one instant, and only when the source has ended well. */
async function write(store: Store, key: string, source: Source, { options }: RepairRequest): Promise<void> {
  if ((await store.stat(key, options)) === undefined) await store.put(key, source, options);
  else await store.replace(key, source, options);
}

async function readBack(store: Store, piece: Piece, { options }: RepairRequest): Promise<void> {
  const found = await checkPiece(store, piece, options);
  if (found !== undefined) throw new BackupError("store_failed", `the store ${store.name} does not keep ${piece.key} as it was written`);
}

/**
 * Of a full point the living repository may still give the very bytes: where nothing has changed since. An incremental one
 * depends on what was stored before it, and an encrypted one on chance.
 */
async function remakePiece(request: RepairRequest, piece: Piece): Promise<string> {
  const { store, scratch, recapture } = request;
  const { manifest, artifact } = piece;
  const nowhere = `${artifact.name}: no other store holds it`;
  if (recapture === undefined || manifest.base !== null || artifact.name.endsWith(".age"))
    throw new BackupError("damaged", `${nowhere}, and the same bytes cannot be made again`);
  const spool = await mkdtemp(join(scratch, "again-"));
  try {
    const made = (await recapture(manifest, spool)).find(({ name, sha256 }) => name === artifact.name && sha256 === artifact.sha256);
    if (made === undefined) throw new BackupError("damaged", `${nowhere}, and the repository as it is now gives other bytes`);
    const file = join(spool, made.name);
    await write(store, piece.key, { size: made.size, open: () => createReadStream(file) }, request);
    await readBack(store, piece, request);
    return "made again from this repository";
  } finally {
    await rm(spool, { recursive: true, force: true });
  }
}

/** The index of a full bundle's pack follows from the pack: git makes the same bytes again. */
async function remakeIndex(request: RepairRequest, piece: Piece): Promise<string> {
  const { store, options, scratch } = request;
  const { manifest, artifact } = piece;
  const bundle = findArtifact(manifest, "bundle");
  if (bundle === undefined || artifact.name.endsWith(".age")) throw new BackupError("damaged", `${artifact.name}: no other store holds it`);
  const folder = await mkdtemp(join(scratch, "index-"));
  try {
    const [header] = await readRecords(store, manifest, options);
    const format = header?.t === "point" ? header.objectFormat : "sha1";
    await git(["init", "-q", "--bare", "--template=", `--object-format=${format}`, folder], options);
    const made = join(folder, "made.idx");
    const input = withoutHeader(await openArtifact(store, manifest, bundle, options), bundle.name);
    await git(["--git-dir", folder, "index-pack", "--stdin", "-o", made, join(folder, "made.pack")], { input, ...options });
    const bytes = readFileSync(made);
    if (hash("sha256", bytes, "hex") !== artifact.sha256)
      throw new BackupError("damaged", `${artifact.name}: no other store holds it, and this git makes other bytes of the same facts`);
    await write(store, piece.key, bytesSource(bytes), request);
    await readBack(store, piece, request);
    return "made again from its bundle";
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
