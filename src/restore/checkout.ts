/** Writes tracked files into a restored worktree. */
import { chmodSync, copyFileSync, existsSync, lstatSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BackupError } from "../core/errors.ts";
import { encodePath, isContained, isGitName } from "../core/paths.ts";
import type { CallOptions } from "../stores/store.ts";
import { sumOf } from "./file-bytes.ts";
import type { Place, RestoreGit } from "./git-port.ts";
import { SafeFolder } from "./safe-folder.ts";

/**
 * Writes these paths of the index byte for byte as the blobs hold them: what a conversion had changed on disk came
 * with the tarball. The index file itself stays as it was captured.
 */
export async function checkoutRaw(
  git: RestoreGit,
  place: Place,
  commonDir: string,
  paths: readonly string[],
  options: CallOptions = {},
): Promise<void> {
  if (paths.length === 0) return;
  // The index came from a store, and git writes what an index names, also into its own directory.
  const hostile = paths.find((path) => !isContained(path) || path.split("/").some(isGitName));
  if (hostile !== undefined) throw new BackupError("hostile", `the index of the point names ${JSON.stringify(hostile)}`);
  await git.writeIndexed(place, commonDir, paths, options);
}

/** A clean checkout of a commit; on `branch` where that branch is at the commit, else detached. */
export async function checkoutCommit(
  git: RestoreGit,
  place: Place,
  oid: string,
  branch: string | undefined,
  options: CallOptions = {},
): Promise<void> {
  writeFileSync(join(place.gitDir, "HEAD"), branch === undefined ? `${oid}\n` : `ref: ${branch}\n`);
  await git.writeCommit(place, oid, options);
}

/**
 * LFS pointers of a checkout whose object is in the repository: the real content takes their place, as `git lfs` would do.
 * Gives their paths.
 */
export function smudgeLfs(commonDir: string, root: string, paths: readonly string[]): string[] {
  const smudged: string[] = [];
  if (!existsSync(join(commonDir, "lfs/objects"))) return smudged;
  const folder = new SafeFolder(commonDir);
  for (const path of paths) {
    const file = `${root}/${path}`;
    const pointer = readPointer(file);
    if (pointer === undefined) continue;
    const place = `lfs/objects/${pointer.slice(0, 2)}/${pointer.slice(2, 4)}/${pointer}`;
    const object = folder.findFile(place);
    if (object === undefined || sumOf(join(commonDir, place), lstatSync(object, { bigint: true })) !== pointer) continue;
    const { mode } = lstatSync(encodePath(file));
    copyFileSync(object, encodePath(file));
    chmodSync(encodePath(file), mode & 0o7777); // of the object it has got another
    smudged.push(path);
  }
  return smudged;
}

/** The sha256 in an LFS pointer file (github.com/git-lfs/git-lfs, docs/spec.md), or undefined. */
function readPointer(file: string): string | undefined {
  try {
    const stat = lstatSync(encodePath(file));
    if (!stat.isFile() || stat.size > 1024) return undefined;
    const text = readFileSync(encodePath(file), "latin1");
    if (text.length > 1024 || !text.startsWith("version https://git-lfs.github.com/spec/")) return undefined;
    return /^oid sha256:([0-9a-f]{64})$/m.exec(text)?.[1];
  } catch {
    return undefined;
  }
}
