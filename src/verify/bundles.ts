/** The git part of a store: every pack is indexed and checked by git itself, in a scratch repository for each full point. */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { withoutHeader } from "../archive/bundle-header.ts";
import { type ContentsRecord, foldContents } from "../core/contents.ts";
import { BackupError, describeError } from "../core/errors.ts";
import { findArtifact, type Manifest } from "../core/manifest.ts";
import { git, gitText } from "../git/run.ts";
import { openArtifact } from "../points/catalogue.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { type Decoded, decodeOrRead, keyExit, readRecords } from "./decode.ts";
import { type Fault, fault } from "./finding.ts";
import { checkPiece, type Piece, pieceOf } from "./read.ts";

export interface BundleGroup {
  /** Points on one full point, the full one first, each after its base; all whose bundles are to be checked, and their bases. */
  readonly points: readonly Manifest[];
}

export interface GroupRequest {
  readonly store: Store;
  readonly group: BundleGroup;
  readonly scratch: string;
  readonly signal?: AbortSignal | undefined;
  /** Called for each bundle and pack index when it was looked at. */
  readonly onPiece: (piece: Piece, decoded: Decoded) => void;
}

/** Indexes each pack on top of those below it, then walks the newest point's refs to the end of their history. */
export async function checkBundles(request: GroupRequest): Promise<Fault[]> {
  const { store, group, scratch, onPiece } = request;
  const options: CallOptions = { signal: request.signal };
  const records = new Map<string, ContentsRecord[]>();
  const broken = new Set<string>();
  const gitDir = await mkdtemp(join(scratch, "objects-"));
  try {
    let isReady = false;
    for (const manifest of group.points) {
      const { own, undecoded } = await readOrNone(store, manifest, options);
      if (own === undefined) broken.add(manifest.id);
      else records.set(manifest.id, own);
      const header = own?.[0];
      if (!isReady && header?.t === "point") {
        await git(["init", "-q", "--bare", "--template=", `--object-format=${header.objectFormat}`, gitDir], options);
        isReady = true;
      }
      // On a pack that is not good nothing can be built; what is stored is read all the same.
      const isLoose = !isReady || (manifest.base !== null && broken.has(manifest.base));
      if (isLoose) broken.add(manifest.id);
      for (const { piece, decoded } of await checkPoint(store, manifest, isLoose ? undefined : gitDir, options)) {
        if (decoded.faults.some(({ weight }) => weight === "damage")) broken.add(manifest.id);
        onPiece(piece, undecoded === undefined ? decoded : { ...decoded, undecoded });
      }
    }
    const newest = group.points.findLast(({ id }) => !broken.has(id));
    return newest === undefined ? [] : await walk(gitDir, newest, group, records, options);
  } finally {
    await rm(gitDir, { recursive: true, force: true });
  }
}

interface Checked {
  readonly piece: Piece;
  readonly decoded: Decoded;
}

/** `gitDir` undefined: the bytes alone. */
async function checkPoint(store: Store, manifest: Manifest, gitDir: string | undefined, options: CallOptions): Promise<Checked[]> {
  const bundle = findArtifact(manifest, "bundle");
  const index = findArtifact(manifest, "idx");
  const checked: Checked[] = [];
  let pack: string | undefined;
  if (bundle !== undefined) {
    const piece = pieceOf(manifest, bundle);
    const decoded = await decodeOrRead(store, piece, options, async () => {
      if (gitDir === undefined) return asList(await checkPiece(store, piece, options));
      const indexed = await indexPack(store, piece, gitDir, options);
      pack = indexed.pack;
      return indexed.faults;
    });
    checked.push({ piece, decoded });
  }
  if (index !== undefined) {
    const piece = pieceOf(manifest, index);
    const decoded = await decodeOrRead(store, piece, options, async () =>
      gitDir === undefined || pack === undefined
        ? asList(await checkPiece(store, piece, options))
        : compareIndex(store, piece, join(gitDir, `objects/pack/${pack}.idx`), options),
    );
    checked.push({ piece, decoded });
  }
  return checked;
}

function asList(found: Fault | undefined): Fault[] {
  return found === undefined ? [] : [found];
}

/**
 * First strictly: every object well-formed, and everything that it names there. What git complains of then may be what the
 * repository itself held: a pack that git reads without it is as good as it was.
 */
async function indexPack(
  store: Store,
  { manifest, artifact, key }: Piece,
  gitDir: string,
  options: CallOptions,
): Promise<{ pack: string; faults: Fault[] }> {
  const run = async (...strict: string[]): Promise<string> => {
    const input = withoutHeader(await openArtifact(store, manifest, artifact, options), artifact.name);
    return `pack-${(await gitText(["--git-dir", gitDir, "index-pack", ...strict, "--stdin", "--fix-thin"], { input, ...options })).trim().split("\t")[1] ?? ""}`;
  };
  try {
    return { pack: await run("--strict"), faults: [] };
  } catch (error) {
    await throwUnlessGits(error, store, { manifest, artifact, key }, options);
    const words = `git's strict check of ${artifact.name} complains, as it would of the repository: ${describeError(error)}`;
    try {
      return { pack: await run(), faults: [fault("content", "note", manifest.id, key, words)] };
    } catch (second) {
      await throwUnlessGits(second, store, { manifest, artifact, key }, options);
      throw new BackupError("damaged", `git cannot read the pack in ${artifact.name}: ${describeError(second)}`, { cause: second });
    }
  }
}

/** Returns where git has read all of the right bytes and refused them. What git did not get, or had no room for, is no word of git's on the pack. */
async function throwUnlessGits(error: unknown, store: Store, piece: Piece, options: CallOptions): Promise<void> {
  if (!(error instanceof BackupError) || error.code !== "git_failed") throw error;
  const changed = await checkPiece(store, piece, options);
  if (changed !== undefined) throw new BackupError("damaged", changed.message, { cause: error });
  const hasRefused = typeof error.details["code"] === "number" && !/no space left on device|disk quota exceeded|out of memory/i.test(error.message);
  if (!hasRefused) throw new BackupError("io_failed", `the store cannot be looked into: ${error.message}`, { cause: error });
}

/** The stored index against the one that git has just made of the same pack. */
async function compareIndex(store: Store, { manifest, artifact, key }: Piece, made: string, options: CallOptions): Promise<Fault[]> {
  const chunks: Buffer[] = [];
  for await (const chunk of await openArtifact(store, manifest, artifact, options)) chunks.push(chunk);
  const stored = Buffer.concat(chunks);
  const own = readFileSync(made);
  if (stored.equals(own)) return [];
  // Another git may write the same facts otherwise.
  const [theirs, ours] = await Promise.all([stored, own].map((input) => gitText(["show-index"], { input, okCodes: [0, 1, 128] })));
  return theirs === ours ? [] : [fault("content", "damage", manifest.id, key, `${artifact.name} is not the index of its pack`)];
}

/** Every object that the refs and HEADs of `newest` reach is there. */
async function walk(
  gitDir: string,
  newest: Manifest,
  { points }: BundleGroup,
  records: ReadonlyMap<string, ContentsRecord[]>,
  options: CallOptions,
): Promise<Fault[]> {
  const chain = [newest];
  for (let at = newest.base; at !== null; at = chain[0]?.base ?? null) {
    const base = points.find(({ id }) => id === at);
    if (base === undefined || chain.includes(base)) return []; // told already
    chain.unshift(base);
  }
  const { refs, worktrees, files, lacksObjects } = foldContents(chain.map(({ id }) => records.get(id) ?? []));
  // A repository that never had all objects has no end to walk to; what it lacked is said in the point.
  if (files.has("git/shallow") || lacksObjects) return [];
  const tips = new Set([...[...refs.values()].map(({ oid }) => oid), ...worktrees.flatMap(({ oid }) => (oid === null ? [] : [oid]))]);
  if (tips.size === 0) return [];
  try {
    await git(["--git-dir", gitDir, "rev-list", "--objects", "--quiet", "--stdin"], { input: `${[...tips].join("\n")}\n`, ...options });
    return [];
  } catch (error) {
    if (!(error instanceof BackupError) || error.code !== "git_failed") throw error;
    return [fault("content", "damage", newest.id, null, `the history of point ${newest.id} is not whole: ${error.message}`)];
  }
}

/** Without records: why they could not be looked into, where it is for want of a key. What is wrong with them is told where they are looked at themselves. */
async function readOrNone(store: Store, manifest: Manifest, options: CallOptions): Promise<{ own?: ContentsRecord[]; undecoded?: string }> {
  try {
    return { own: await readRecords(store, manifest, options) };
  } catch (error) {
    if (!(error instanceof BackupError) || error.code === "interrupted" || error.code === "remote_failed") throw error;
    return error.exitCode === keyExit ? { undecoded: error.message } : {};
  }
}
