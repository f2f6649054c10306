/** Writes tracked files into a restored worktree. */
import { hash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BackupError } from "../core/errors.ts";
import { encodePath, isContained, isGitName, pathBytes } from "../core/paths.ts";
import { git } from "../git/run.ts";
import type { CallOptions } from "../stores/store.ts";

export interface Place {
  readonly gitDir: string;
  readonly root: string;
}

/**
 * Writes these paths of the index byte for byte as the blobs hold them: what a conversion had changed on disk came
 * with the tarball. The index file itself stays as it was captured.
 */
export async function checkoutRaw({ gitDir, root }: Place, commonDir: string, paths: readonly string[], options: CallOptions = {}): Promise<void> {
  if (paths.length === 0) return;
  // The index came from a store, and git writes what an index names, also into its own directory.
  const hostile = paths.find((path) => !isContained(path) || path.split("/").some(isGitName));
  if (hostile !== undefined) throw new BackupError("hostile", `the index of the point names ${JSON.stringify(hostile)}`);
  const input = Buffer.concat(paths.flatMap((path) => [pathBytes(path), Buffer.of(0)]));
  const raw = ["-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "core.symlinks=true", "-c", "core.fileMode=true"];
  const args = ["--git-dir", gitDir, "--work-tree", root, ...raw, "checkout-index", "-q", "-f", "-z", "--stdin", "--ignore-skip-worktree-bits"];
  await withoutAttributes(commonDir, () => git(args, { cwd: root, input, okCodes: [0, 1, 128], ...options }));
}

/** A clean checkout of a commit, as git does it; on `branch` where that branch is at the commit, else detached. */
export async function checkoutCommit({ gitDir, root }: Place, oid: string, branch: string | undefined, options: CallOptions = {}): Promise<void> {
  writeFileSync(join(gitDir, "HEAD"), branch === undefined ? `${oid}\n` : `ref: ${branch}\n`);
  await git(["--git-dir", gitDir, "--work-tree", root, "-c", "core.sparseCheckout=false", "read-tree", "--reset", "-u", oid], {
    cwd: root,
    ...options,
  });
}

/** Nothing in info/attributes overrules the worktree's .gitattributes but info/attributes, which comes last and wins. */
async function withoutAttributes(commonDir: string, run: () => Promise<unknown>): Promise<void> {
  const file = join(commonDir, "info/attributes");
  const kept = join(commonDir, "info/attributes.holdfast");
  mkdirSync(join(commonDir, "info"), { recursive: true });
  const hadOne = existsSync(file);
  if (hadOne) renameSync(file, kept);
  writeFileSync(file, "* -text -crlf -eol -ident -filter -working-tree-encoding\n");
  try {
    await run();
  } finally {
    rmSync(file);
    if (hadOne) renameSync(kept, file);
  }
}

/**
 * LFS pointers of a checkout whose object is in the repository: the real content takes their place, as `git lfs` would do.
 * Gives their paths.
 */
export function smudgeLfs(commonDir: string, root: string, paths: readonly string[]): string[] {
  const smudged: string[] = [];
  if (!existsSync(join(commonDir, "lfs/objects"))) return smudged;
  for (const path of paths) {
    const file = `${root}/${path}`;
    const pointer = readPointer(file);
    if (pointer === undefined) continue;
    const object = join(commonDir, "lfs/objects", pointer.slice(0, 2), pointer.slice(2, 4), pointer);
    const bytes = existsSync(object) ? readFileSync(object) : undefined;
    if (bytes === undefined || hash("sha256", bytes, "hex") !== pointer) continue;
    writeFileSync(encodePath(file), bytes);
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
