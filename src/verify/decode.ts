/** Reads what is inside an artifact to its end: bytes that are as they were written may still be no tar, no records, no database. */
import { createHash, type Hash } from "node:crypto";
import { TarReader } from "../archive/tar-read.ts";
import type { ContentsRecord, FileEntry } from "../core/contents.ts";
import { BackupError, describeError, errorKinds, systemCode } from "../core/errors.ts";
import { findArtifact, type Manifest, parseArtifactName } from "../core/manifest.ts";
import { printablePath } from "../core/paths.ts";
import { openArtifact, readRecords as readContentsRecords } from "../points/catalogue.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { DatabaseSpool } from "./database.ts";
import { type Fault, fault } from "./finding.ts";
import { PatchedFiles } from "./patched.ts";
import { checkPiece, type Piece } from "./read.ts";

export interface Decoded {
  readonly faults: readonly Fault[];
  /** Why it was only read, and not looked into: there is no key. */
  readonly undecoded?: string;
}

/** Of contents and tarballs; other artifacts are only read. `scratch`: a folder for databases while they are looked at. */
export async function decodePiece(store: Store, piece: Piece, scratch: string, options: CallOptions = {}): Promise<Decoded> {
  const kind = parseArtifactName(piece.artifact.name)?.kind;
  return decodeOrRead(store, piece, options, async () => {
    if (kind === "contents.zst") return decodeContents(store, piece, options);
    if (kind === "tar.zst") return decodeTarball(store, piece, scratch, options);
    const fault = await checkPiece(store, piece, options);
    return fault === undefined ? [] : [fault];
  });
}

/**
 * Runs `decode`. Where it fails the stored bytes tell whether they changed, or were written so; where there is no key they are
 * read all the same.
 */
export async function decodeOrRead(store: Store, piece: Piece, options: CallOptions, decode: () => Promise<readonly Fault[]>): Promise<Decoded> {
  try {
    return { faults: await decode() };
  } catch (error) {
    if (!(error instanceof BackupError)) throw ofScratch(error);
    if (error.exitCode === keyExit) {
      const fault = await checkPiece(store, piece, options);
      return { faults: fault === undefined ? [] : [fault], undecoded: error.message };
    }
    if (error.exitCode !== damageExit && error.code !== "format_newer" && error.code !== "store_failed") throw error;
    const changed = await checkPiece(store, piece, options);
    if (changed !== undefined) return { faults: [changed] };
    return { faults: [fault("content", error.code === "format_newer" ? "doubt" : "damage", piece.manifest.id, piece.key, error.message)] };
  }
}

/** A full or failing disk under the scratch folder says nothing about the store. */
function ofScratch(error: unknown): unknown {
  const code = systemCode(error);
  return code === undefined ? error : new BackupError("io_failed", `the store cannot be looked into: ${describeError(error)}`, { cause: error });
}

const damageExit = errorKinds.damaged.exit;
/** Of every error that says: there is no key, or not the right one. */
export const keyExit = errorKinds.key_missing.exit;

/** What the point's own contents say, if they say that they are its own. Throws `damaged`. */
export async function readRecords(store: Store, manifest: Manifest, options: CallOptions = {}): Promise<ContentsRecord[]> {
  const records = await readContentsRecords(store, manifest, options);
  const [header] = records;
  if (header?.t === "point" && (header.id !== manifest.id || header.base !== manifest.base))
    throw new BackupError("damaged", `the contents of point ${manifest.id} are of point ${header.id}, on ${header.base ?? "nothing"}`);
  return records;
}

/** To their end; what they say to be in a tarball needs one. */
async function decodeContents(store: Store, { manifest, artifact, key }: Piece, options: CallOptions): Promise<Fault[]> {
  const stored = storedEntries(await readRecords(store, manifest, options));
  if (stored.size === 0 || findArtifact(manifest, "tar.zst") !== undefined) return [];
  return [fault("content", "damage", manifest.id, key, `${artifact.name} names ${stored.size} stored files, and the point has no tarball`)];
}

/** Every member against the inventory of its own point, and every whole database that is among them. */
async function decodeTarball(store: Store, { manifest, artifact, key }: Piece, scratch: string, options: CallOptions): Promise<Fault[]> {
  const stored = await readStoredEntries(store, manifest, options);
  const databases = new DatabaseSpool(scratch);
  const patched = new PatchedFiles();
  const absent = new Set(stored.keys());
  const wrong = new Map<string, boolean>();
  const faults: Fault[] = [];
  const damaged = (what: string): void => void faults.push(fault("content", "damage", manifest.id, key, what));
  let sum: Hash | undefined;
  let path = "";
  const reader = new TarReader(artifact.name, {
    member: (member) => {
      path = member.path;
      const isExpected = stored.get(path)?.kind === member.kind;
      if (isExpected) absent.delete(path);
      sum = isExpected && member.kind === "file" ? createHash("sha256") : undefined;
      patched.begin(member);
      databases.begin(member);
    },
    data: (piece) => {
      sum?.update(piece);
      patched.write(piece);
      databases.write(piece);
    },
    end: () => {
      databases.end();
      // Of two members with one name the later one counts: the first was caught while it changed.
      if (sum !== undefined) wrong.set(path, sum.digest("hex") !== stored.get(path)?.sha256);
      sum = undefined;
    },
  });
  try {
    for await (const chunk of await openArtifact(store, manifest, artifact, options)) reader.write(chunk);
    reader.finish();
    for (const name of patched.paths()) absent.delete(name);
    for (const name of absent) damaged(`${printablePath(name)} is not in ${artifact.name}, where the inventory says that it is`);
    for (const [name, isWrong] of wrong) if (isWrong) damaged(`${printablePath(name)} in ${artifact.name} has other bytes than the inventory says`);
    for (const { path: name, message } of await databases.check())
      faults.push(fault("database", "doubt", manifest.id, key, `the database ${printablePath(name)} is not sound: ${message}`));
  } finally {
    databases.dispose();
  }
  return faults;
}

/** What a restore takes from the point's own tarball: of files that git gives back there is neither a sum nor a target, and a folder is made without its member. */
function storedEntries(records: readonly ContentsRecord[]): ReadonlyMap<string, FileEntry> {
  const files = records.filter((record) => record.t === "file");
  return new Map(files.flatMap((file) => (file.sha256 === undefined && file.target === undefined ? [] : [[file.path, file]])));
}

/** Contents that cannot be read are told where they are looked at themselves. */
async function readStoredEntries(store: Store, manifest: Manifest, options: CallOptions): Promise<ReadonlyMap<string, FileEntry>> {
  try {
    return storedEntries(await readRecords(store, manifest, options));
  } catch (error) {
    if (error instanceof BackupError && error.exitCode === damageExit) return new Map();
    throw error;
  }
}
