/** Reads a restored target back and compares it with the point's inventory: what was not compared was not restored. */
import { createHash, hash } from "node:crypto";
import { type BigIntStats, lstatSync, readlinkSync } from "node:fs";
import { type Contents, type FileEntry, placeOf } from "../core/contents.ts";
import { decodePath, encodePath, printablePath } from "../core/paths.ts";
import type { IndexEntry } from "../git/index-entries.ts";
import { pieces, sumOf } from "./file-bytes.ts";
import type { RestoreGit } from "./git-port.ts";
import { type Destination, destinationOf, type TargetLayout } from "./place.ts";
import { microsOf } from "./safe-folder.ts";

export interface Difference {
  readonly path: string;
  readonly what: string;
}

export interface Comparison {
  readonly files: number;
  readonly bytes: number;
  readonly refs: number;
  readonly differences: readonly Difference[];
}

export interface CompareRequest {
  readonly layout: TargetLayout;
  /** The entries that were restored. */
  readonly files: ReadonlyMap<string, FileEntry>;
  /** Entry paths left as they stood: not compared. */
  readonly skipped: ReadonlySet<string>;
  /** For tracked files: what the index says, by worktree name. */
  readonly indexes: ReadonlyMap<string, readonly IndexEntry[]>;
  readonly objectFormat: "sha1" | "sha256";
}

export function compareFiles({ layout, files, skipped, indexes, objectFormat }: CompareRequest): Comparison {
  const differences: Difference[] = [];
  const blobs = new Map([...indexes].map(([name, index]) => [name, new Map(index.map((entry) => [entry.path, entry.oid]))]));
  const inodes = new Map<string, bigint>();
  const links: { path: string; target: string; inode: bigint }[] = [];
  let count = 0;
  let bytes = 0;
  for (const entry of files.values()) {
    if (skipped.has(entry.path)) continue;
    const { worktree, area, path } = placeOf(entry.path);
    const root = worktree === "" ? layout.root : layout.worktrees.get(worktree);
    const place = area === "tracked" && root !== undefined ? { root, path } : destinationOf(entry.path, layout);
    // What git keeps of a linked worktree goes with it; one whose folder was gone is not made again.
    const isOfAbsent = area === "git" && worktree === "" && path.startsWith("worktrees/") && !layout.worktrees.has(path.split("/")[1] ?? "");
    if (place === undefined || isOfAbsent) continue;
    count += 1;
    const differ = (what: string): void => void differences.push({ path: printablePath(path), what });
    const full = standingPlace(place);
    const stat = lstatSync(encodePath(full), { bigint: true, throwIfNoEntry: false });
    if (stat === undefined) {
      differ("is missing");
      continue;
    }
    const isInert = place.live !== undefined;
    // git touches a shared index whenever it reads the index that goes with it.
    const isTouched = area === "git" && (entry.kind === "folder" || /(?:^|\/)sharedindex\.[^/]*$/.test(path));
    compareStat(entry, stat, isInert || isTouched, differ);
    if (entry.kind === "file" && stat.isFile()) {
      bytes += Number(stat.size);
      inodes.set(entry.path, stat.ino);
    }
    if (entry.kind === "symlink" && stat.isSymbolicLink() && entry.target !== undefined && readTarget(full) !== entry.target)
      differ("points elsewhere");
    // Its other name may come later.
    if (entry.kind === "hardlink") links.push({ path: printablePath(path), target: entry.target ?? "", inode: stat.ino });
    if (area === "tracked") {
      const oid = blobs.get(worktree)?.get(path);
      if (oid !== undefined && blobOid(full, stat, objectFormat) !== oid) differ("has other bytes");
    } else if (entry.sha256 !== undefined && stat.isFile() && entry.kind === "file" && sumOf(full, stat) !== entry.sha256) {
      differ("has other bytes");
    }
  }
  for (const { path, target, inode } of links) if (inodes.get(target) !== inode) differences.push({ path, what: "is not linked to its other name" });
  return { files: count, bytes, refs: 0, differences };
}

/** A nested repository's configuration takes its place again where all of it is harmless. */
function standingPlace({ root, path, live }: Destination): string {
  const full = `${root}/${path}`;
  const isThere = live === undefined || lstatSync(encodePath(full), { throwIfNoEntry: false }) !== undefined;
  return isThere ? full : `${root}/${live}`;
}

/** Refs and HEADs as they were; `broken` ones are known not to be there. */
export async function compareRefs(git: RestoreGit, gitDir: string, contents: Contents, broken: ReadonlySet<string>): Promise<Difference[]> {
  const restored = new Map((await git.readRefs(gitDir)).map((ref) => [ref.name, ref]));
  const differences: Difference[] = [];
  for (const ref of contents.refs.values()) {
    const found = restored.get(ref.name);
    restored.delete(ref.name);
    if (found === undefined && !broken.has(ref.name) && ref.symref === undefined) differences.push({ path: ref.name, what: "is missing" });
    else if (found !== undefined && (found.oid !== ref.oid || found.symref !== ref.symref))
      differences.push({ path: ref.name, what: "points elsewhere" });
  }
  for (const name of restored.keys()) differences.push({ path: name, what: "was not there" });
  const head = await git.readHead(gitDir);
  const captured = contents.worktrees.find((worktree) => worktree.name === "");
  if (captured !== undefined && (captured.branch !== head.branch || captured.oid !== head.oid))
    differences.push({ path: "HEAD", what: "is elsewhere" });
  return differences;
}

function compareStat(entry: FileEntry, stat: BigIntStats, isLoose: boolean, differ: (what: string) => void): void {
  const isKind = entry.kind === "symlink" ? stat.isSymbolicLink() : entry.kind === "folder" ? stat.isDirectory() : stat.isFile();
  if (!isKind) return differ(`is not a ${entry.kind}`);
  if (isLoose) return;
  if (entry.kind === "file" && entry.size !== undefined && BigInt(entry.size) !== stat.size) differ("has another size");
  if (entry.kind !== "symlink" && (Number(stat.mode) & 0o7777) !== entry.mode) differ("has another mode");
  if (microsOf(stat.mtimeNs) !== microsOf(BigInt(entry.mtime))) differ("has another time");
}

function readTarget(path: string): string {
  return decodePath(readlinkSync(encodePath(path), { encoding: "buffer" }));
}

/** The id that git would give a file or symlink as it stands there. */
export function blobOid(path: string, stat: BigIntStats, objectFormat: "sha1" | "sha256"): string {
  if (stat.isSymbolicLink()) {
    const target = readlinkSync(encodePath(path), { encoding: "buffer" });
    return hash(objectFormat, Buffer.concat([Buffer.from(`blob ${target.length}\0`), target]), "hex");
  }
  const sum = createHash(objectFormat).update(`blob ${stat.size}\0`);
  for (const piece of pieces(path, stat)) sum.update(piece);
  return sum.digest("hex");
}
