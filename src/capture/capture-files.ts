/** Carries out a file plan: writes the tarball and says what each file was when it was read. */
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { ArtifactWriter } from "../archive/artifact-file.ts";
import { patchThreshold } from "../archive/chunks.ts";
import type { FileEntry, Problem } from "../core/contents.ts";
import type { PointId } from "../core/ids.ts";
import type { Artifact } from "../core/manifest.ts";
import type { FileVersion, KnownFile, KnownPoint, KnownState } from "./known.ts";
import type { ObservedFile } from "./observed.ts";
import { type FilePlan, type Footing, floorOf, isIndexFile, isSameEntry, stepOf } from "./plan.ts";
import { type Emitted, type PatchBase, Tarball } from "./tarball.ts";

export interface CaptureFilesRequest {
  readonly plan: FilePlan;
  readonly footing: Footing;
  readonly known: KnownPoint | undefined;
  readonly state: KnownState;
  readonly id: PointId;
  readonly spool: string;
  readonly startedAt: Date;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface CapturedFiles {
  /** The tarball; none when nothing had to be stored. */
  readonly artifacts: readonly Artifact[];
  /** Records for the contents: what this point stores, in the tarball's order. */
  readonly entries: readonly FileEntry[];
  /** Observed, but could not be read: not in the point. */
  readonly lost: readonly string[];
  /** How many entries are other than in the last point, index files apart. */
  readonly changed: number;
  readonly problems: readonly Problem[];
  readonly files: Map<string, KnownFile>;
  readonly versions: Map<string, readonly FileVersion[]>;
}

export async function captureFiles(request: CaptureFilesRequest): Promise<CapturedFiles> {
  const name = `${request.id}.tar.zst`;
  const writer = await ArtifactWriter.create(join(request.spool, name), "zstd");
  try {
    const captured = await writeFiles(request, writer);
    const hasMembers = await captured.tarball.finish();
    const artifact = await writer.finish(name);
    if (!hasMembers) await rm(join(request.spool, name));
    const { tarball, ...rest } = captured;
    return { ...rest, artifacts: hasMembers ? [artifact] : [], problems: tarball.problems };
  } catch (error) {
    await writer.abandon().catch(() => undefined); // the first error is the one that tells
    throw error;
  }
}

async function writeFiles(
  request: CaptureFilesRequest,
  writer: ArtifactWriter,
): Promise<Omit<CapturedFiles, "artifacts" | "problems"> & { tarball: Tarball }> {
  const { plan, footing, known, state, signal } = request;
  const floor = floorOf(footing);
  const tarball = new Tarball({
    writer,
    patchBase: (path) => patchBase(request, path),
    keepChunks: (sha256, chunks) => state.writeChunks(sha256, chunks),
    isAsKnown: (entry) => {
      const before = known?.files.get(entry.path);
      return before !== undefined && before.step <= floor && isSameEntry(entry, before);
    },
    signal,
  });
  const files = new Map<string, KnownFile>();
  const versions = new Map<string, readonly FileVersion[]>();
  const entries: FileEntry[] = [];
  const lost: string[] = [];
  let changed = 0;
  let done = 0;
  const keep = (path: string, file: KnownFile): void => {
    files.set(path, file);
    const list = versionsAfter(request, path, file);
    if (list !== undefined) versions.set(path, list);
  };
  tarball.writeDeleted(plan.gone);
  for (const { file, status } of plan.files) {
    done += 1;
    if (done % 1024 === 0) {
      signal?.throwIfAborted();
      request.onProgress?.(done, plan.files.length);
    }
    const before = known?.files.get(file.path);
    if (status === "same" && before !== undefined) {
      tarball.noteUnchanged(file, before);
      keep(file.path, before);
      continue;
    }
    const emitted = await tarball.emit(file);
    if (emitted === undefined) {
      lost.push(file.path);
      if (before !== undefined) changed += 1;
      continue;
    }
    if (emitted.isStored) entries.push(emitted.entry);
    if (!isSameEntry(emitted.entry, before) && !isIndexFile(file.path)) changed += 1;
    keep(file.path, knownAfter(request, file, emitted, before));
  }
  return { tarball, files, versions, entries, lost, changed };
}

function knownAfter(
  { footing, startedAt }: CaptureFilesRequest,
  file: ObservedFile,
  { entry, stat, isStored }: Emitted,
  before: KnownFile | undefined,
): KnownFile {
  // A file that changed within the clock's grain of our reading may change again without a new time: look again next time.
  const isRacy = file.kind === "file" && stat.ctimeNs > BigInt(startedAt.getTime() - 20) * 1_000_000n;
  return {
    kind: entry.kind,
    mode: entry.mode,
    mtimeNs: BigInt(entry.mtime),
    ctimeNs: isRacy ? 0n : stat.ctimeNs,
    ino: stat.ino,
    size: entry.size ?? 0,
    sha256: entry.sha256,
    target: entry.target,
    isSparse: entry.sparse === true,
    step: isStored || before === undefined ? stepOf(footing) : before.step,
  };
}

function patchBase({ footing, known, state }: CaptureFilesRequest, path: string): PatchBase | undefined {
  if (footing.kind === "full") return undefined;
  const version = known?.versions.get(path)?.findLast(({ step }) => step <= footing.base.step);
  const chunks = version === undefined ? undefined : state.readChunks(version.sha256);
  return version === undefined || chunks === undefined ? undefined : { sha256: version.sha256, chunks };
}

/** The versions of a large file that a later point may build on. */
function versionsAfter({ footing, known }: CaptureFilesRequest, path: string, file: KnownFile): readonly FileVersion[] | undefined {
  if (file.kind !== "file" || file.sha256 === undefined || file.size < patchThreshold) return undefined;
  const before = (known?.versions.get(path) ?? []).filter(({ step }) => step <= floorOf(footing));
  return before.at(-1)?.sha256 === file.sha256 ? before : [...before, { step: file.step, sha256: file.sha256 }];
}
