/** A repository as its files say, for machines without git. Linked worktrees are known only from inside. (gitrepository-layout(5)) */
import { existsSync, readFileSync, realpathSync, statSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { BackupError } from "../core/errors.ts";
import { parseConfigText } from "./config-syntax.ts";
import { readText } from "./refs.ts";
import type { Repository } from "./repository.ts";

/** Throws `not_a_repository`. */
export async function openRepositoryFiles(cwd: string): Promise<Repository> {
  const { gitDir, above } = findGitDir(cwd);
  const common = readText(join(gitDir, "commondir")).trim();
  const commonDir = realpathSync(common === "" ? gitDir : resolve(gitDir, common));
  const config = new Map((parseConfigText(readText(join(commonDir, "config"))) ?? []).map(({ key, value }) => [key, value ?? "true"]));
  const isBare = config.get("core.bare") === "true";
  const worktree = config.get("core.worktree");
  const isMain = gitDir === commonDir;
  const root = isBare ? null : worktree !== undefined ? resolve(commonDir, worktree) : isMain ? above : dirname(commonDir);
  const main = { name: "", root, gitDir: commonDir };
  const here = isMain ? main : { name: gitDir.slice(gitDir.lastIndexOf("/") + 1), root: above, gitDir };
  return {
    commonDir,
    objectFormat: config.get("extensions.objectformat") === "sha256" ? "sha256" : "sha1",
    isBare,
    isShallow: existsSync(join(commonDir, "shallow")),
    isPartial: config.has("extensions.partialclone"),
    usesReftable: config.get("extensions.refstorage") === "reftable",
    worktrees: isMain ? [main] : [main, here],
    here,
  };
}

/** The first git directory from here upwards, and the folder that it was found in. */
function findGitDir(cwd: string): { gitDir: string; above: string } {
  if (!existsSync(cwd)) throw new BackupError("not_a_repository", `there is no folder ${cwd}`);
  for (let folder = realpathSync(cwd); ; folder = dirname(folder)) {
    const path = join(folder, ".git");
    const stat = statSync(path, { throwIfNoEntry: false });
    const pointer = stat?.isFile() === true ? /^gitdir: (.+)/.exec(readFileSync(path, "utf8"))?.[1] : undefined;
    const gitDir = pointer === undefined ? path : resolve(folder, pointer);
    if (isGitDir(gitDir)) return { gitDir: realpathSync(gitDir), above: folder };
    if (isGitDir(folder)) return { gitDir: folder, above: basename(folder) === ".git" ? dirname(folder) : folder };
    if (folder === dirname(folder)) throw new BackupError("not_a_repository", `${cwd} is not in a git repository`);
  }
}

function isGitDir(path: string): boolean {
  return existsSync(join(path, "HEAD")) && (existsSync(join(path, "objects")) || existsSync(join(path, "commondir")));
}
