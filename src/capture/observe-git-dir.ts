/**
 * Lists what the git directory gives to a point: everything but objects, refs, locks and our own state.
 * Refs and objects come as a bundle. What git keeps elsewhere as files (linked worktrees' HEADs and indexes,
 * submodules, LFS objects, any tool's own state) comes as it is.
 */
import { readFileSync } from "node:fs";
import { entryPath } from "../core/contents.ts";
import { encodePath } from "../core/paths.ts";
import { oidsInReflog, oidsInState } from "../git/refs.ts";
import { type Finding, kindOf, type ObservedFile, statOf } from "./observed.ts";
import { walk } from "./walk.ts";

export interface ObservedGitDir extends Finding {
  readonly files: ObservedFile[];
  /** Objects that reflogs and operations in progress name. */
  readonly oids: ReadonlySet<string>;
}

const leftOutAtTop: ReadonlySet<string> = new Set(["objects", "refs", "packed-refs", "reftable", "holdfast", "gc.pid", "lfs/tmp", "lfs/incomplete"]);

export function observeGitDir(commonDir: string): ObservedGitDir {
  const files: ObservedFile[] = [];
  const problems: Finding["problems"] = [];
  const oids = new Set<string>();
  const unreadable = (path: string, code: string): void =>
    void problems.push({ code: "unreadable", path: `.git/${path}`, message: `cannot be listed: ${code}` });
  for (const entry of walk(commonDir, { enter: (folder) => !leftOutAtTop.has(folder), unreadable })) {
    if (leftOutAtTop.has(entry.path) || isPassing(entry.path)) continue;
    const file = `${commonDir}/${entry.path}`;
    const stat = statOf(file);
    const kind = stat === undefined ? undefined : kindOf(stat);
    // Sockets here are daemons' (fsmonitor); they are not state.
    if (stat === undefined || kind === undefined) continue;
    if (kind === "folder" && !isState(entry.path)) continue;
    files.push({ path: entryPath("", "git", entry.path), file, kind, stat });
    if (kind === "file") for (const oid of namedOids(entry.path, file)) oids.add(oid);
  }
  return { files, left: [], problems, oids };
}

/** Locks, samples and half-made files. */
function isPassing(path: string): boolean {
  return (
    path.endsWith(".lock") || /^hooks\/.*\.sample$/.test(path) || /(?:^|\/)fsmonitor--daemon/.test(path) || /(?:^|\/)tmp_(?:obj|pack|idx)_/.test(path)
  );
}

/** Folders that mean something even when empty: git looks whether they are there. */
function isState(path: string): boolean {
  return (
    /(?:^|\/)(?:rebase-merge|rebase-apply|sequencer)$/.test(path) || path.startsWith("modules/") || path === "modules" || path.startsWith("lfs/")
  );
}

function namedOids(path: string, file: string): string[] {
  const local = path.replace(/^worktrees\/[^/]+\//, "");
  if (local.startsWith("logs/")) return oidsInReflog(readBytes(file));
  if (/^(?:[A-Z_]+_HEAD|HEAD|BISECT_[A-Z_]+|AUTO_MERGE)$/.test(local) || /^(?:rebase-merge|rebase-apply|sequencer|refs)\//.test(local))
    return oidsInState(readBytes(file));
  return [];
}

function readBytes(file: string): string {
  try {
    return readFileSync(encodePath(file), "latin1");
  } catch {
    return ""; // read again, and reported, when it is captured
  }
}
