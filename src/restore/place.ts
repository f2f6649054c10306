/**
 * The restore room. Words:
 *   the moment   exactly what was there: refs, HEAD, index, stash, operation in progress, every file
 *   the commit   a clean checkout of a commit, plus the untracked files of that time
 *   target       the new folder; linked worktrees come beside it, in TARGET.worktrees/NAME
 * Everything read from a store is hostile until checked: this file says where an entry may go, if anywhere.
 */

import { placeOf } from "../core/contents.ts";
import { BackupError } from "../core/errors.ts";
import { isGitName } from "../core/paths.ts";

export interface TargetLayout {
  /** The restored main worktree; of a bare repository the repository itself. */
  readonly root: string;
  readonly gitDir: string;
  /** Roots of restored linked worktrees by name. */
  readonly worktrees: ReadonlyMap<string, string>;
}

/** Where an entry of the tarball goes: a root that we made, and a path below it; undefined: it is not written. */
export interface Destination {
  readonly root: string;
  readonly path: string;
  /** Of what is kept beside: the path below `root` at which git would look for it. */
  readonly live?: string;
}

/** What a restored repository keeps of the configuration and hooks that it does not put to work. */
export const inertFolder = "holdfast-restored";

/** Of the name of a nested `.git` that is a file or a link, while it is not put to work. */
export const besideEnding = `.${inertFolder}`;

export function destinationOf(entry: string, layout: TargetLayout): Destination | undefined {
  const { worktree, area, path } = placeOf(entry);
  if (area === "git") return worktree === "" ? gitDestination(path, layout.gitDir) : undefined;
  if (area === "tracked") return undefined;
  const root = worktree === "" ? layout.root : layout.worktrees.get(worktree);
  if (root === undefined) return undefined;
  if (root === layout.gitDir) throw hostile(path); // a bare repository has no files of its own
  // The repository's own .git never comes through the files of a worktree; nested ones do.
  const parts = path.split("/");
  if (isGitName(parts[0] ?? "")) throw hostile(path);
  if (area === "folder") return { root, path };
  return placed(root, path, tameNested(parts));
}

function gitDestination(path: string, gitDir: string): Destination | undefined {
  const parts = path.split("/");
  // Where case does not count, another spelling is the same file.
  const top = (parts[0] ?? "").toLowerCase();
  if (top.startsWith("holdfast")) return undefined; // facts for restore.sh
  if (["objects", "refs", "packed-refs", "reftable", "commondir", "gitdir"].includes(top)) throw hostile(path);
  if (top === "worktrees") {
    const name = (parts[2] ?? "").toLowerCase();
    // Where a linked worktree lies is decided anew.
    if (name === "gitdir" || name === "commondir") return undefined;
  }
  const isBeside = isInert(top === "worktrees" ? parts.slice(2) : parts);
  return placed(gitDir, path, isBeside ? `${inertFolder}/${tameNested(parts)}` : tameNested(parts));
}

/**
 * Of every `.git` on the way, however deep, what could run commands goes into its inert folder. One that is itself written is no
 * folder: it leads to a repository somewhere else, and waits under a name that git does not look for.
 */
function tameNested(parts: readonly string[]): string {
  const isSample = parts.at(-1)?.endsWith(".sample") === true;
  const tamed = parts.flatMap((part, at) => {
    if (!isGitName(part)) return [part];
    if (at === parts.length - 1) return [part + besideEnding];
    return isInert(parts.slice(at + 1)) && !isSample ? [part, inertFolder] : [part];
  });
  return tamed.join("/");
}

/** Configuration and hooks can run commands, and a `commondir` says where to find them: they are kept beside, not put to work. */
function isInert(parts: readonly string[]): boolean {
  const names = parts.map((part) => part.toLowerCase());
  if (["hooks", "config", "config.worktree"].includes(names[0] ?? "")) return true;
  if (names.length === 1 && names[0] === "commondir") return true;
  return names[0] === "modules" && (names.includes("hooks") || ["config", "config.worktree", "commondir"].includes(names.at(-1) ?? ""));
}

function hostile(path: string): BackupError {
  return new BackupError("hostile", `the point wants to write ${JSON.stringify(path)} into the git directory`);
}

function placed(root: string, live: string, path: string): Destination {
  return path === live ? { root, path } : { root, path, live };
}
