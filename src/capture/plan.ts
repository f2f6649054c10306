/** Observed against known: which files must be read, which are gone, and what the next point builds on. Pure. */
import { hash } from "node:crypto";
import type { FileEntry, RefEntry } from "../core/contents.ts";
import { baseStep } from "../core/ladder.ts";
import type { KnownFile, KnownPoint, Rung } from "./known.ts";
import { modeOf, type ObservedFile } from "./observed.ts";

/** What the next point builds on: nothing, or a rung of the ladder. */
export type Footing = { readonly kind: "full" } | { readonly kind: "incremental"; readonly step: number; readonly base: Rung };

export interface FootingFacts {
  readonly known: KnownPoint | undefined;
  readonly now: Date;
  readonly repository: string;
  readonly commonDir: string;
  readonly isFullAsked: boolean;
  /** Whom the point is encrypted for; empty: for nobody. */
  readonly recipients: readonly string[];
}

export const fullEveryMs = 7 * 24 * 60 * 60 * 1000;
/** Incrementals may grow to half of the full; below this size that is not worth a full one. */
const smallBytes = 1 << 20;

export function planFooting({ known, now, repository, commonDir, isFullAsked, recipients }: FootingFacts): Footing {
  if (known === undefined || isFullAsked || known.repository !== repository || known.commonDir !== commonDir) return { kind: "full" };
  // Whoever is to read a point must be able to read all that it builds on.
  if (known.recipients.join("\n") !== recipients.join("\n")) return { kind: "full" };
  const age = now.getTime() - Date.parse(known.fullAt);
  if (age >= fullEveryMs || age < 0) return { kind: "full" };
  if (known.sinceFull > Math.max(known.fullSize / 2, smallBytes)) return { kind: "full" };
  const step = known.step + 1;
  const base = known.rungs.find((rung) => rung.step === baseStep(step));
  return base === undefined ? { kind: "full" } : { kind: "incremental", step, base };
}

/** changed: must be read; again: as the last point held it, but newer than the base; same: as the base held it. */
export type FileStatus = "changed" | "again" | "same";

export interface FilePlan {
  /** In the order observed: of files that share an inode, the one that holds the bytes comes first. */
  readonly files: readonly { readonly file: ObservedFile; readonly status: FileStatus }[];
  /** Entry paths that the base held, or may have held, and that are gone. */
  readonly gone: readonly string[];
  /** Those of them that the last point still held. */
  readonly newlyGone: readonly string[];
}

export function planFiles(observed: readonly ObservedFile[], known: KnownPoint | undefined, footing: Footing): FilePlan {
  const floor = floorOf(footing);
  const before = known?.files ?? new Map<string, KnownFile>();
  const seen = new Set<string>();
  for (const file of observed) seen.add(file.path);
  const files = observed.map((file) => {
    const last = before.get(file.path);
    // A hard link whose other name is no longer in the point needs bytes of its own.
    const isLoose = last?.kind === "hardlink" && !seen.has(last.target ?? "");
    const status: FileStatus = last === undefined || isLoose || !isUnchanged(file, last) ? "changed" : last.step > floor ? "again" : "same";
    return { file, status };
  });
  const newlyGone =
    seen.size === before.size && files.every(({ file }) => before.has(file.path)) ? [] : [...before.keys()].filter((path) => !seen.has(path));
  if (footing.kind === "full") return { files, gone: [], newlyGone };
  const earlier = [...(known?.goneFiles ?? [])].filter(([path, step]) => step > floor && !seen.has(path)).map(([path]) => path);
  return { files, gone: [...new Set([...newlyGone, ...earlier])], newlyGone };
}

/** The step that a point's own bytes must be newer than; -1 for a full one, which stores everything. */
export function floorOf(footing: Footing): number {
  return footing.kind === "full" ? -1 : footing.base.step;
}

export function stepOf(footing: Footing): number {
  return footing.kind === "full" ? 0 : footing.step;
}

/**
 * True for an index file: git rewrites its stat cache whenever it looks, so a change of its bytes alone is no change.
 * What it means is compared apart.
 */
export function isIndexFile(entry: string): boolean {
  return /^git\/(?:worktrees\/[^/]+\/)?(?:index$|sharedindex\.)/.test(entry);
}

export interface RefPlan {
  readonly changed: readonly RefEntry[];
  readonly gone: readonly string[];
}

export function planRefs(observed: readonly RefEntry[], known: KnownPoint | undefined, footing: Footing): RefPlan {
  if (footing.kind === "full" || known === undefined) return { changed: observed, gone: [] };
  const floor = floorOf(footing);
  const now = new Set(observed.map((ref) => ref.name));
  const changed = observed.filter((ref) => {
    const last = known.refs.get(ref.name);
    return last === undefined || !isSameRef(ref, last) || last.step > floor;
  });
  const gone = [...known.refs.keys()].filter((name) => !now.has(name));
  for (const [name, step] of known.goneRefs) if (step > floor && !now.has(name)) gone.push(name);
  return { changed, gone: [...new Set(gone)] };
}

export function isSameRef(ref: RefEntry, known: { readonly oid: string; readonly symref?: string }): boolean {
  return ref.oid === known.oid && ref.symref === known.symref;
}

/** The stat proves that the file is as it was: size, times, inode and mode, as restic and git compare. */
function isUnchanged(file: ObservedFile, known: KnownFile): boolean {
  const { stat, content } = file;
  if (content !== undefined) return known.sha256 === hash("sha256", content, "hex");
  if (file.kind === "folder") return known.kind === "folder" && known.mode === modeOf(stat) && known.mtimeNs === stat.mtimeNs;
  return (
    known.mtimeNs === stat.mtimeNs &&
    known.ctimeNs === stat.ctimeNs &&
    known.ino === stat.ino &&
    known.mode === modeOf(stat) &&
    (file.kind === known.kind || (file.kind === "file" && known.kind === "hardlink")) &&
    (file.kind !== "file" || known.size === Number(stat.size))
  );
}

/** Whether a file that was read again holds, as a whole, what it held. */
export function isSameEntry(entry: FileEntry, known: KnownFile | undefined): boolean {
  return (
    known !== undefined &&
    entry.kind === known.kind &&
    entry.mode === known.mode &&
    entry.mtime === String(known.mtimeNs) &&
    entry.sha256 === known.sha256 &&
    entry.target === known.target
  );
}

/** The rungs after a point: those below its base and the base stay, then the point itself. */
export function nextRungs(known: KnownPoint | undefined, footing: Footing, rung: Rung): Rung[] {
  if (footing.kind === "full" || known === undefined) return [rung];
  return [...known.rungs.filter(({ step }) => step <= floorOf(footing)), rung];
}
