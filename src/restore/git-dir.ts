/** What a restored git directory needs beside objects and refs: settings of nested repositories, linked worktrees, marks. */
import { lstatSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type FileEntry, placeOf } from "../core/contents.ts";
import { encodePath } from "../core/paths.ts";
import { readText } from "../git/refs.ts";
import { isOwnHook } from "../hooks/block.ts";
import { applyNestedConfig } from "./config.ts";
import type { RestoreGit } from "./git-port.ts";
import { destinationOf, inertFolder, type TargetLayout } from "./place.ts";
import { SafeFolder } from "./safe-folder.ts";

/** Configurations of nested repositories and submodules, which were unpacked inert. */
export async function settleNested(git: RestoreGit, layout: TargetLayout, files: ReadonlyMap<string, FileEntry>): Promise<string[]> {
  const leftOut: string[] = [];
  for (const entry of files.keys()) {
    if (!entry.endsWith("/config")) continue;
    const { area, path } = placeOf(entry);
    const isNested = area === "git" ? path.startsWith("modules/") : path.endsWith("/.git/config");
    const place = isNested ? destinationOf(entry, layout) : undefined;
    if (place?.live === undefined) continue;
    for (const key of await applyNestedConfig(git, new SafeFolder(place.root), place.path, place.live)) leftOut.push(`${path}: ${key}`);
  }
  return leftOut;
}

/** Ties restored linked worktrees to the repository, and forgets those that the point does not hold. */
export function linkWorktrees(layout: TargetLayout): void {
  for (const [name, root] of layout.worktrees) {
    const gitDir = join(layout.gitDir, "worktrees", name);
    mkdirSync(gitDir, { recursive: true });
    writeFileSync(join(gitDir, "gitdir"), `${join(root, ".git")}\n`);
    writeFileSync(join(gitDir, "commondir"), "../..\n");
    writeFileSync(join(root, ".git"), `gitdir: ${gitDir}\n`);
  }
  // What git knew of worktrees that the point does not hold would point to folders of the living repository.
  const folder = join(layout.gitDir, "worktrees");
  for (const name of listFolder(folder)) if (!layout.worktrees.has(name)) rmSync(join(folder, name), { recursive: true, force: true });
}

/** Of a partial clone: what packs name and do not hold is at the remote, and git believes so where they are marked. (gitformat-pack(5)) */
export function markPromised(gitDir: string): void {
  const folder = join(gitDir, "objects/pack");
  for (const name of listFolder(folder)) if (name.endsWith(".pack")) writeFileSync(join(folder, name.replace(/pack$/, "promisor")), "");
}

/** Captured hooks that lie beside, by name. What is a link is named, not read. */
export function listHooks(gitDir: string): string[] {
  const folder = new SafeFolder(gitDir);
  const place = `${inertFolder}/hooks`;
  const found = folder.find(place);
  if (found === undefined) return [];
  if (!lstatSync(found).isDirectory()) return ["hooks"];
  // Our own are put back by `hooks install`; they are nobody's loss.
  const isOwn = (path: string): boolean => folder.findFile(path) !== undefined && isOwnHook(readText(join(gitDir, path)));
  return listFolder(join(gitDir, place)).filter((name) => !isOwn(`${place}/${name}`));
}

/** Names in a folder; none where it is absent. */
export function listFolder(path: string): string[] {
  try {
    return readdirSync(encodePath(path)) as string[];
  } catch {
    return []; // absent: nothing in it
  }
}
