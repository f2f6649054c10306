/** Which entries of a point a restore writes, and what makes them whole at the end: folders, modes and times. */
import { constants, lstatSync, openSync } from "node:fs";
import { type Contents, type FileEntry, placeOf } from "../core/contents.ts";
import type { TargetLayout } from "./place.ts";
import { SafeFolder, settle, touchLink } from "./safe-folder.ts";

export interface ChosenFiles {
  readonly files: Map<string, FileEntry>;
  /** A name that is not chosen and holds the bytes of one that is: to that one. */
  readonly holders: ReadonlyMap<string, string>;
}

/** The entries that are asked for. Of hard links whose first name is not chosen, another takes its place. */
export function chooseFiles(contents: Contents, selects: (entry: string) => boolean): ChosenFiles {
  const files = new Map<string, FileEntry>();
  const holders = new Map<string, string>();
  for (const [path, entry] of contents.files) {
    if (!selects(path)) continue;
    const { target, ...rest } = entry;
    if (entry.kind !== "hardlink" || target === undefined || selects(target)) files.set(path, entry);
    else if (holders.has(target)) files.set(path, { ...entry, target: holders.get(target) as string });
    else {
      holders.set(target, path);
      files.set(path, { ...rest, kind: "file" });
    }
  }
  return { files, holders };
}

/** What goes with a clean checkout: untracked files and the state that belongs to the repository, not to the moment. */
export function isBesideCommit(entry: string): boolean {
  const { area, path } = placeOf(entry);
  if (area === "untracked" || area === "folder") return true;
  return area === "git" && /^(?:info\/|lfs\/|modules\/|config$|hooks\/|shallow$)/.test(path);
}

/** Every folder of the point, also one in which no file is written. */
export function makeFolders(layout: TargetLayout, files: ReadonlyMap<string, FileEntry>): void {
  for (const entry of files.values()) {
    const { worktree, area, path } = placeOf(entry.path);
    const root = worktree === "" ? layout.root : layout.worktrees.get(worktree);
    if (area === "folder" && root !== undefined) new SafeFolder(root).folder(path);
  }
}

/** Modes and times of tracked files and of folders, folders last and the deepest first. */
export function settleTimes(layout: TargetLayout, files: ReadonlyMap<string, FileEntry>, keep: ReadonlySet<string> = new Set()): void {
  const roots = new Map([["", new SafeFolder(layout.root)], ...[...layout.worktrees].map(([name, root]) => [name, new SafeFolder(root)] as const)]);
  const folders: { full: string | Buffer; path: string; entry: FileEntry }[] = [];
  for (const entry of files.values()) {
    const { worktree, area, path } = placeOf(entry.path);
    if (area !== "tracked" && area !== "folder") continue;
    // Never through a symlink: what it leads to is not ours. What is not there, the comparison names.
    const full = roots.get(worktree)?.find(path);
    if (full === undefined) continue;
    if (area === "tracked") settlePath(full, entry);
    else if (!keep.has(path)) folders.push({ full, path: entry.path, entry });
  }
  folders.sort((a, b) => (a.path < b.path ? 1 : -1));
  for (const { full, entry } of folders) settlePath(full, entry);
}

function settlePath(full: string | Buffer, entry: FileEntry): void {
  if (entry.kind === "symlink") {
    if (lstatSync(full).isSymbolicLink()) touchLink(full, entry.mtime);
    return;
  }
  let descriptor: number;
  try {
    descriptor = openSync(
      full,
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | (entry.kind === "folder" ? constants.O_DIRECTORY : 0),
    );
  } catch {
    return; // of another kind than captured: the comparison says so
  }
  settle(descriptor, full, entry.mode, entry.mtime);
}

/** The folders above a path, the top one first. */
export function ancestors(path: string): string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}
