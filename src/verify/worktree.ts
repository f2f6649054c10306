/**
 * A spot check of the living worktree against a point: the one question that the store alone cannot answer. What changed since
 * the point was made is no finding; a file that should be as it was, and is not, is one.
 */
import { createHash, type Hash } from "node:crypto";
import { lstatSync, readlinkSync } from "node:fs";
import { open } from "node:fs/promises";
import { observe } from "../capture/observe.ts";
import type { ObservedFile } from "../capture/observed.ts";
import { type Contents, entryPath, type FileEntry, placeOf } from "../core/contents.ts";
import type { Manifest } from "../core/manifest.ts";
import { encodePath, printablePath } from "../core/paths.ts";
import type { Policy } from "../core/policy.ts";
import { readIndex } from "../git/index-entries.ts";
import type { Repository } from "../git/repository.ts";
import { type Fault, fault } from "./finding.ts";

export interface WorktreeRequest {
  readonly repository: Repository;
  readonly policy: Policy;
  readonly storeFolders: readonly string[];
  readonly point: Manifest;
  readonly contents: Contents;
  /** Of the files that did not change since, how many are read and compared. */
  readonly samplePercent: number;
  /** How far the number of files may be from the point's before that is told. */
  readonly countTolerancePercent: number;
  /** In [0, 1). */
  readonly random: () => number;
}

export interface WorktreeCheck {
  readonly point: string;
  /** Files and links of the worktrees, and of the point. */
  readonly files: number;
  readonly held: number;
  /** Changed, new or gone since the point was made. */
  readonly changed: number;
  /** Read and compared. */
  readonly sampled: number;
  readonly faults: readonly Fault[];
}

export async function checkWorktree(request: WorktreeRequest): Promise<WorktreeCheck> {
  const { repository, policy, storeFolders, point, contents } = request;
  const observation = await observe({ repository, policy, storeFolders, known: undefined });
  const living = observation.files.filter(({ path }) => isOfWorktree(path));
  const held = new Map([...contents.files.values()].filter(({ path }) => isOfWorktree(path)).map((entry) => [nameOf(entry.path), entry]));
  const problems = new Set(contents.problems.map(({ path }) => path));
  const madeAt = BigInt(Date.parse(point.createdAt)) * 1_000_000n;
  const faults: Fault[] = [];
  const same: Pair[] = [];
  let changed = 0;
  let found = 0;
  for (const file of living) {
    const entry = held.get(nameOf(file.path));
    if (entry !== undefined) found += 1;
    const isNewer = file.stat.ctimeNs >= madeAt || file.stat.mtimeNs >= madeAt;
    if (isNewer || (entry !== undefined && !isAsCaptured(file, entry))) changed += 1;
    else if (entry !== undefined) same.push({ file, entry });
    else if (!problems.has(nameOf(file.path)))
      faults.push(doubt(point, `${shown(file.path)} was in the worktree before point ${point.id} was made, and is not in it`));
  }
  const sample = pick(same, request.samplePercent, request.random);
  faults.push(...(await compare(sample, request)));
  const isFar = Math.abs(living.length - held.size) * 100 > request.countTolerancePercent * held.size;
  if (isFar) faults.push(doubt(point, `point ${point.id} has ${held.size} files, the worktree ${living.length}: is that as it should be?`));
  return { point: point.id, files: living.length, held: held.size, changed: changed + held.size - found, sampled: sample.length, faults };
}

interface Pair {
  readonly file: ObservedFile;
  readonly entry: FileEntry;
}

function doubt(point: Manifest, message: string): Fault {
  return fault("worktree", "doubt", point.id, null, message);
}

function isOfWorktree(entry: string): boolean {
  const { area } = placeOf(entry);
  return area !== "git" && area !== "folder";
}

/** Whatever area it is in: a tracked file that was modified is the same file. As problems are named. */
function nameOf(entry: string): string {
  const { worktree, path } = placeOf(entry);
  return worktree === "" ? path : `${worktree}:${path}`;
}

function shown(entry: string): string {
  return printablePath(nameOf(entry));
}

/** By its stat, and by whether git calls it modified: then it should have the bytes of the point. */
function isAsCaptured({ path, stat, kind }: ObservedFile, entry: FileEntry): boolean {
  if (placeOf(path).area !== placeOf(entry.path).area || String(stat.mtimeNs) !== entry.mtime) return false;
  return (
    kind === (entry.kind === "hardlink" ? "file" : entry.kind) && (kind === "symlink" || entry.size === undefined || BigInt(entry.size) === stat.size)
  );
}

/** So many of a hundred, one at least, without an order that anybody could foresee. */
function pick(pairs: readonly Pair[], percent: number, random: () => number): Pair[] {
  const rest = [...pairs];
  const wanted = Math.min(rest.length, Math.ceil((rest.length * percent) / 100));
  const chosen: Pair[] = [];
  while (chosen.length < wanted) {
    const at = Math.floor(random() * rest.length);
    chosen.push(rest[at] as Pair);
    rest[at] = rest.at(-1) as Pair;
    rest.pop();
  }
  return chosen;
}

/** What git holds is compared with the index, the rest with the point's own inventory. */
async function compare(sample: readonly Pair[], { repository, point, contents }: WorktreeRequest): Promise<Fault[]> {
  const { objectFormat } = contents.header;
  const blobs = new Map<string, string>();
  for (const { name, root } of repository.worktrees) {
    if (root === null) continue;
    for (const { path, oid } of await readIndex(root)) blobs.set(entryPath(name, "tracked", path), oid);
  }
  const faults: Fault[] = [];
  for (const { file, entry } of sample) {
    const blob = blobs.get(file.path);
    const isSame =
      blob !== undefined
        ? (await blobOf(file, objectFormat)) === blob
        : file.kind === "symlink"
          ? entry.target === undefined || targetOf(file).toString("latin1") === encodeTarget(entry.target)
          : entry.sha256 === undefined || (await sumOf(file.file, createHash("sha256"))) === entry.sha256;
    const stat = lstatSync(encodePath(file.file), { bigint: true, throwIfNoEntry: false });
    const isSteady = stat !== undefined && stat.mtimeNs === file.stat.mtimeNs && stat.ctimeNs === file.stat.ctimeNs;
    if (!isSame && isSteady)
      faults.push(
        doubt(
          point,
          `${shown(file.path)} has other bytes than point ${point.id} holds, though its time and size are the same: this disk or the point is wrong`,
        ),
      );
  }
  return faults;
}

async function blobOf(file: ObservedFile, objectFormat: "sha1" | "sha256"): Promise<string> {
  const start = createHash(objectFormat);
  if (file.kind !== "symlink") return sumOf(file.file, start.update(`blob ${file.stat.size}\0`));
  const target = targetOf(file);
  return start.update(`blob ${target.length}\0`).update(target).digest("hex");
}

function targetOf({ file }: ObservedFile): Buffer {
  return readlinkSync(encodePath(file), { encoding: "buffer" });
}

function encodeTarget(target: string): string {
  return Buffer.from(encodePath(target)).toString("latin1");
}

/** Of what can be read of it; a file that went away is looked at by its stat afterwards. */
async function sumOf(file: string, sum: Hash): Promise<string> {
  const handle = await open(encodePath(file)).catch(() => undefined);
  if (handle === undefined) return "";
  try {
    const buffer = Buffer.allocUnsafe(1 << 20);
    for (let { bytesRead } = await handle.read(buffer); bytesRead > 0; { bytesRead } = await handle.read(buffer))
      sum.update(buffer.subarray(0, bytesRead));
    return sum.digest("hex");
  } finally {
    await handle.close();
  }
}
