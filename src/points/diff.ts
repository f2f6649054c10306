/** How two moments differ. Pure: each is given as its files and refs. */
import { type FileEntry, placeOf, type RefEntry, type WorktreeEntry } from "../core/contents.ts";
import type { PathChange } from "../git/file-history.ts";

export interface Moment {
  /** By entry path. */
  readonly files: ReadonlyMap<string, FileEntry>;
  readonly refs: ReadonlyMap<string, Pick<RefEntry, "name" | "oid" | "symref">>;
  readonly worktrees: readonly WorktreeEntry[];
}

export interface FileChange {
  /** "" for the main worktree. */
  readonly worktree: string;
  readonly path: string;
  readonly change: PathChange;
  /** What is another: the content, the mode, or that it became untracked, or a link. */
  readonly what: readonly string[];
}

export interface RefChange {
  readonly name: string;
  readonly before: string | null;
  readonly after: string | null;
}

/** What commits tell of tracked files, whose bytes no point repeats. */
export interface CommittedFacts {
  /** How the trees of a worktree's two HEADs differ; undefined where one of them is not known: then tracked files are not compared. */
  changes(worktree: string): ReadonlyMap<string, PathChange> | undefined;
  /** sha256 of what a HEAD has there; undefined where it is not known. */
  sum(side: "before" | "after", worktree: string, path: string): string | undefined;
}

interface Standing {
  readonly how: "untracked" | "modified" | "tracked";
  readonly entry: FileEntry;
}

/** Files of worktrees, apart from folders and what is in `.git`. A new modification time alone is no change. */
export function diffFiles(before: Moment, after: Moment, committed: CommittedFacts): FileChange[] {
  const changes: FileChange[] = [];
  for (const { worktree, path, a, b } of pairsOf(before, after)) {
    const sums = {
      a: a?.how === "tracked" ? committed.sum("before", worktree, path) : a?.entry.sha256,
      b: b?.how === "tracked" ? committed.sum("after", worktree, path) : b?.entry.sha256,
    };
    const change = compare(a, b, committed.changes(worktree)?.get(path), sums);
    if (change !== undefined) changes.push({ worktree, path, ...change });
  }
  return changes.sort((x, y) => (x.worktree === y.worktree ? order(x.path, y.path) : order(x.worktree, y.worktree)));
}

/** Files that are as a commit has them in one moment and have bytes of their own in the other: `sum` will be asked for these. */
export function halfCommitted(
  before: Moment,
  after: Moment,
): { readonly side: "before" | "after"; readonly worktree: string; readonly path: string }[] {
  return pairsOf(before, after).flatMap(({ worktree, path, a, b }) => {
    if (a === undefined || b === undefined || (a.how === "tracked") === (b.how === "tracked")) return [];
    return [{ side: a.how === "tracked" ? ("before" as const) : ("after" as const), worktree, path }];
  });
}

interface Pair {
  readonly worktree: string;
  readonly path: string;
  readonly a: Standing | undefined;
  readonly b: Standing | undefined;
}

function pairsOf(before: Moment, after: Moment): Pair[] {
  const [old, fresh] = [standings(before), standings(after)];
  return [...new Set([...old.keys(), ...fresh.keys()])].flatMap((worktree) => {
    const [a, b] = [old.get(worktree), fresh.get(worktree)];
    const paths = new Set([...(a?.keys() ?? []), ...(b?.keys() ?? [])]);
    return [...paths].map((path) => ({ worktree, path, a: a?.get(path), b: b?.get(path) }));
  });
}

interface Sums {
  readonly a: string | undefined;
  readonly b: string | undefined;
}

function compare(
  a: Standing | undefined,
  b: Standing | undefined,
  commit: PathChange | undefined,
  sums: Sums,
): Pick<FileChange, "change" | "what"> | undefined {
  if (a === undefined && b === undefined) return undefined;
  if (a === undefined) return { change: "added", what: [] };
  if (b === undefined) return { change: "removed", what: [] };
  const what: string[] = [];
  if (a.entry.kind !== b.entry.kind) what.push(`a ${a.entry.kind} became a ${b.entry.kind}`);
  else if (isOtherContent(a, b, commit, sums)) what.push("content");
  // A link's own mode means nothing.
  if (a.entry.mode !== b.entry.mode && b.entry.kind !== "symlink") what.push(`mode ${octal(a.entry.mode)} became ${octal(b.entry.mode)}`);
  const [wasTracked, isTracked] = [a.how !== "untracked", b.how !== "untracked"];
  if (wasTracked !== isTracked) what.push(isTracked ? "tracked now" : "no longer tracked");
  return what.length === 0 ? undefined : { change: "changed", what };
}

function isOtherContent(a: Standing, b: Standing, commit: PathChange | undefined, sums: Sums): boolean {
  // Both as their commits have them: the commits tell.
  if (a.how === "tracked" && b.how === "tracked") return commit === "changed";
  if (a.entry.kind === "symlink" && a.how !== "tracked" && b.how !== "tracked") return a.entry.target !== b.entry.target;
  return sums.a === undefined || sums.a !== sums.b;
}

export function diffRefs(before: Moment, after: Moment): RefChange[] {
  const changes: RefChange[] = [];
  for (const name of [...new Set([...before.refs.keys(), ...after.refs.keys()])].sort(order)) {
    const [a, b] = [tipOf(before.refs.get(name)), tipOf(after.refs.get(name))];
    if (a !== b) changes.push({ name, before: a, after: b });
  }
  for (const { name, branch, oid } of after.worktrees) {
    const last = before.worktrees.find((worktree) => worktree.name === name);
    const [a, b] = [headOf(last), headOf({ branch, oid })];
    if (a !== b) changes.push({ name: name === "" ? "HEAD" : `HEAD of worktree ${name}`, before: a, after: b });
  }
  return changes;
}

function tipOf(ref: Pick<RefEntry, "oid" | "symref"> | undefined): string | null {
  return ref?.symref ?? ref?.oid ?? null;
}

function headOf(worktree: Pick<WorktreeEntry, "branch" | "oid"> | undefined): string | null {
  return worktree?.branch ?? worktree?.oid ?? null;
}

function standings({ files }: Moment): Map<string, Map<string, Standing>> {
  const found = new Map<string, Map<string, Standing>>();
  for (const entry of files.values()) {
    const { worktree, area, path } = placeOf(entry.path);
    if (area === "git" || area === "folder" || entry.kind === "folder") continue;
    const paths = found.get(worktree) ?? new Map<string, Standing>();
    paths.set(path, { how: area, entry: withBytes(entry, files) });
    found.set(worktree, paths);
  }
  return found;
}

/** A hard link is a file with the bytes of its other name. */
function withBytes(entry: FileEntry, files: Moment["files"]): FileEntry {
  if (entry.kind !== "hardlink") return entry;
  const other = files.get(entry.target ?? "");
  return { ...entry, kind: "file", ...(other?.sha256 === undefined ? {} : { sha256: other.sha256 }) };
}

function octal(mode: number): string {
  return mode.toString(8).padStart(3, "0");
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
