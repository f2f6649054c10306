/** What the index of a worktree says. */
import { basename, dirname } from "node:path";
import { decodePath, splitPaths } from "../core/paths.ts";
import { git } from "./run.ts";

export interface IndexEntry {
  readonly path: string;
  /** 100644, 100755, 120000, 160000. */
  readonly mode: string;
  readonly oid: string;
  readonly stage: number;
  /** `git ls-files -v`: H cached, S skip-worktree, M unmerged; lower case: assume-unchanged. */
  readonly tag: string;
}

/** `place`: git's own options where the worktree cannot be found from `root` alone. */
export async function readIndex(root: string, place: readonly string[] = []): Promise<IndexEntry[]> {
  const { stdout } = await git([...place, "ls-files", "-z", "--stage", "-v"], { cwd: root });
  return splitPaths(stdout).map(parseIndexEntry);
}

/** Whether git tracks the file, in whatever repository it lies; in none, it does not. */
export async function isTracked(file: string): Promise<boolean> {
  const query = ["--literal-pathspecs", "ls-files", "--error-unmatch", "--", basename(file)];
  return (await git(query, { cwd: dirname(file), okCodes: [0, 1, 128] })).code === 0;
}

export type WorktreeChange = "modified" | "deleted" | "unmerged";

/**
 * Tracked paths whose file is not surely what the index holds: other content, other time (so git has not looked yet),
 * gone, or in conflict. Submodules are not looked into.
 */
export async function readWorktreeChanges(root: string): Promise<Map<string, WorktreeChange>> {
  const { stdout } = await git(["diff-files", "-z", "--name-status", "--no-renames", "--ignore-submodules=all"], { cwd: root });
  const fields = splitPaths(stdout);
  const changes = new Map<string, WorktreeChange>();
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const path = fields[i + 1] as string;
    // A path in conflict is listed twice: as U, and as M against our side.
    if (changes.get(path) !== "unmerged") changes.set(path, changeOf(fields[i] as string));
  }
  return changes;
}

/** Untracked paths that git does not ignore; a nested repository stands as its folder with a trailing slash. */
export async function listUntracked(root: string): Promise<string[]> {
  return splitPaths((await git(["ls-files", "-z", "--others", "--exclude-standard"], { cwd: root })).stdout);
}

/** Ignored paths; a folder that is ignored as a whole stands once, with a trailing slash. */
export async function listIgnored(root: string): Promise<string[]> {
  return splitPaths((await git(["ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"], { cwd: root })).stdout);
}

/** Oids of blobs in the index that HEAD's tree does not have at that path, every conflict stage included. */
export async function listStaged(root: string, head: string | null, entries: readonly IndexEntry[]): Promise<string[]> {
  const unmerged = entries.filter((entry) => entry.stage > 0).map((entry) => entry.oid);
  const blobs = entries.filter((entry) => entry.mode !== "160000");
  if (head === null) return blobs.map((entry) => entry.oid);
  const { stdout } = await git(["diff-index", "--cached", "-z", "--raw", "--no-abbrev", "--no-renames", head], { cwd: root });
  const staged = decodePath(stdout)
    .split("\0")
    .filter((field) => field.startsWith(":"))
    .map((field) => field.split(" "))
    .filter(([, mode, , oid]) => mode !== "160000" && oid !== undefined && !/^0+$/.test(oid))
    .map(([, , , oid]) => oid as string);
  return [...staged, ...unmerged];
}

function parseIndexEntry(line: string): IndexEntry {
  const tab = line.indexOf("\t");
  const [tag = "", mode = "", oid = "", stage = "0"] = line.slice(0, tab).split(" ");
  return { path: line.slice(tab + 1), mode, oid, stage: Number(stage), tag };
}

function changeOf(status: string): WorktreeChange {
  return status === "D" ? "deleted" : status === "U" ? "unmerged" : "modified";
}
