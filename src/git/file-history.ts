/** What commits say about single files. */
import { createHash } from "node:crypto";
import { BackupError } from "../core/errors.ts";
import { decodePath } from "../core/paths.ts";
import { git, gitFind, gitStream } from "./run.ts";

export interface CommittedVersion {
  readonly path: string;
  /** Of the blob. */
  readonly oid: string;
  /** The oldest commit that brought it, and when it was made. */
  readonly commit: string;
  readonly committedAt: string;
}

/** Every version of the files that `matches`, by the commits that refs and HEAD reach; oldest first. What a submodule holds is not looked at. */
export async function listVersions(
  gitDir: string,
  matches: (path: string) => boolean,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<CommittedVersion[]> {
  // Against each parent (-m): a merge can bring a version that no parent has.
  const format = "--format=commit %H %cI";
  const log = ["log", "--all", "-m", "--raw", "-z", "--no-renames", "--no-abbrev", format];
  const { stdout } = await git(["--git-dir", gitDir, ...log], options);
  const found = new Map<string, CommittedVersion>();
  let commit = "";
  let committedAt = "";
  /** Of the path that comes next: null where it is no file that stands after the commit. */
  let next: string | null | undefined;
  for (const token of nulParts(stdout)) {
    if (next === undefined) {
      const text = token.toString("latin1");
      const [, id, at = ""] = /^commit ([0-9a-f]{40,64}) (\S+)/.exec(text) ?? [];
      if (id !== undefined) [commit, committedAt] = [id, new Date(at).toISOString()];
      const [, mode = "", blob = ""] = /(?:^|\n):\d{6} (\d{6}) [0-9a-f]+ ([0-9a-f]+) [A-Z]$/.exec(text) ?? [];
      if (mode !== "") next = mode === "000000" || mode === "160000" ? null : blob;
      continue;
    }
    const path = next === null ? "" : decodePath(token);
    // The newest commit comes first, so the last one that is seen is the oldest.
    if (next !== null && matches(path)) found.set(`${path}\0${next}`, { path, oid: next, commit, committedAt });
    next = undefined;
  }
  return [...found.values()].reverse();
}

export type PathChange = "added" | "removed" | "changed";

/** How the trees of two commits differ, by path; undefined where the repository lacks one of them. */
export async function diffTrees(gitDir: string, from: string | null, to: string | null): Promise<Map<string, PathChange> | undefined> {
  const [before, after] = await Promise.all([from, to].map((commit) => treeOf(gitDir, commit)));
  if (before === undefined || after === undefined) return undefined;
  const { stdout } = await git(["--git-dir", gitDir, "diff-tree", "-r", "-z", "--no-renames", "--name-status", before, after]);
  const changes = new Map<string, PathChange>();
  let status = "";
  for (const token of nulParts(stdout)) {
    if (status === "") status = token.toString("latin1");
    else {
      changes.set(decodePath(token), status === "A" ? "added" : status === "D" ? "removed" : "changed");
      status = "";
    }
  }
  return changes;
}

async function treeOf(gitDir: string, commit: string | null): Promise<string | undefined> {
  // An unborn branch has the empty tree, whose id git knows in every repository.
  if (commit === null)
    return (await git(["--git-dir", gitDir, "hash-object", "-t", "tree", "--stdin"], { input: "" })).stdout.toString("latin1").trim();
  return gitFind(["--git-dir", gitDir, "rev-parse", "--verify", "--quiet", "--end-of-options", `${commit}^{tree}`]).catch(() => undefined);
}

function nulParts(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0, at);
    parts.push(bytes.subarray(at, end === -1 ? bytes.length : end));
    at = end === -1 ? bytes.length : end + 1;
  }
  return parts.filter((part) => part.length > 0);
}

/** sha256 of what a commit has at a path; undefined where it has no file there, or is not here. */
export async function sumOfCommitted(gitDir: string, commit: string, path: string): Promise<string | undefined> {
  const sum = createHash("sha256");
  try {
    // A tree, or nothing: git says so with another exit code.
    await gitStream(["--git-dir", gitDir, "cat-file", "blob", `${commit}:${path}`], (chunk) => void sum.update(chunk));
    return sum.digest("hex");
  } catch (error) {
    if (error instanceof BackupError && error.code === "git_failed") return undefined;
    throw error;
  }
}
