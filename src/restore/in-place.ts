/**
 * Restores files over the living worktree: a plan to look at first, then the writing. Only files: refs, HEAD, index
 * and history stay as they are, those of nested repositories too, and nothing that the point does not hold is removed.
 */
import { chmodSync, copyFileSync, lstatSync, lutimesSync, mkdirSync, readlinkSync, renameSync, rmSync, symlinkSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { BackupError } from "../core/errors.ts";
import { encodePath, isGitName, parentOf, pathBytes, splitPaths } from "../core/paths.ts";
import { git } from "../git/run.ts";
import { haveSameBytes } from "./file-bytes.ts";
import { besideEnding } from "./place.ts";
import { SafeFolder, secondsOf } from "./safe-folder.ts";
import { listTree } from "./tree.ts";

export interface InPlaceFile {
  readonly path: string;
  readonly action: "create" | "overwrite";
}

export interface InPlacePlan {
  readonly files: readonly InPlaceFile[];
  /** Files that are already as they would be restored. */
  readonly same: number;
  /** Paths that would be overwritten and hold changes that no commit has. */
  readonly conflicts: readonly string[];
  /** Every path with uncommitted changes, whether touched or not. */
  readonly uncommitted: readonly string[];
  /** Folders of nested repositories that live here: their .git stays as it is. */
  readonly kept: readonly string[];
}

/** Compares a finished restore in `from` with the worktree at `root`. Reads only. */
export async function planInPlace(from: string, root: string): Promise<InPlacePlan> {
  const files: InPlaceFile[] = [];
  const kept = new Set<string>();
  let same = 0;
  for (const path of listTree(from)) {
    const gitDir = nestedGitDir(path);
    if (gitDir !== undefined && lstatSync(encodePath(`${root}/${gitDir}`), { throwIfNoEntry: false }) !== undefined) {
      kept.add(parentOf(gitDir));
      continue;
    }
    const there = lstatSync(encodePath(`${root}/${path}`), { throwIfNoEntry: false });
    if (there === undefined) files.push({ path, action: "create" });
    else if (isSame(`${from}/${path}`, `${root}/${path}`)) same += 1;
    else files.push({ path, action: "overwrite" });
  }
  const status = splitPaths((await git(["status", "--porcelain", "-z", "--untracked-files=all", "--no-renames"], { cwd: root })).stdout);
  const uncommitted = status.map((line) => line.slice(3));
  const changed = new Set(uncommitted);
  const conflicts = files.filter(({ path, action }) => action === "overwrite" && changed.has(path)).map(({ path }) => path);
  return { files, same, conflicts, uncommitted, kept: [...kept] };
}

/** Writes the planned files, each whole or not at all. Throws `hostile` rather than write through a symlink. */
export function executeInPlace(plan: InPlacePlan, from: string, root: string, signal?: AbortSignal | undefined): void {
  const target = new SafeFolder(root);
  for (const { path } of plan.files) {
    signal?.throwIfAborted();
    const source = encodePath(`${from}/${path}`);
    const stat = lstatSync(source, { bigint: true });
    const standing = lstatSync(encodePath(`${root}/${path}`), { throwIfNoEntry: false });
    if (standing?.isDirectory() === true) {
      throw new BackupError("target_not_empty", `${path} is a folder here and a file in the point`, {
        hint: `move the folder away, then ask again: ${join(root, path)}`,
      });
    }
    const temporary = [parentOf(path), ".holdfast-restoring"].filter((part) => part !== "").join("/");
    const made = target.at(temporary);
    rmSync(made, { force: true });
    const time = secondsOf(String(stat.mtimeNs));
    if (stat.isSymbolicLink()) {
      symlinkSync(readlinkSync(source, { encoding: "buffer" }), made);
      lutimesSync(made, time, time);
    } else {
      copyFileSync(source, made);
      chmodSync(made, Number(stat.mode) & 0o7777);
      utimesSync(made, time, time);
    }
    renameSync(made, target.at(path));
  }
  for (const gitDir of new Set(plan.files.map(({ path }) => nestedGitDir(path)))) {
    if (gitDir === undefined || lstatSync(encodePath(`${from}/${gitDir}`), { throwIfNoEntry: false })?.isDirectory() !== true) continue;
    // Without these, which may be empty, git takes it for no repository. (gitrepository-layout(5))
    for (const name of ["objects", "refs"]) target.folder(`${gitDir}/${name}`);
  }
}

/** The .git of a nested repository, where the path is that, lies in it or waits beside it. */
function nestedGitDir(path: string): string | undefined {
  const parts = path.split("/").map((part) => (part.endsWith(besideEnding) ? part.slice(0, -besideEnding.length) : part));
  const at = parts.findIndex(isGitName);
  return at === -1 ? undefined : parts.slice(0, at + 1).join("/");
}

/** Makes a folder below the repository's own state for the restore that the plan is made from: the same volume, out of sight. */
export function makeStaging(stateRoot: string, id: string): string {
  const folder = join(stateRoot, `restoring-${id}`, "files");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  return folder;
}

function isSame(a: string, b: string): boolean {
  const [one, other] = [lstatSync(encodePath(a), { bigint: true }), lstatSync(encodePath(b), { bigint: true })];
  if (one.isSymbolicLink() || other.isSymbolicLink()) {
    return (
      one.isSymbolicLink() &&
      other.isSymbolicLink() &&
      readlinkSync(pathBytes(a), { encoding: "buffer" }).equals(readlinkSync(pathBytes(b), { encoding: "buffer" }))
    );
  }
  return other.isFile() && (one.mode & 0o7777n) === (other.mode & 0o7777n) && haveSameBytes(a, one, b, other);
}
