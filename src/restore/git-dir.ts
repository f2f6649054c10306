/** What a restored git directory needs beside objects and refs: settings of nested repositories, linked worktrees, marks. */
import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type FileEntry, placeOf } from "../core/contents.ts";
import { baseName, decodePath, encodePath, isContained, isGitName, parentOf } from "../core/paths.ts";
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
    const isNested = path.endsWith("/.git/config") || (area === "git" && path.startsWith("modules/"));
    const place = isNested ? destinationOf(entry, layout) : undefined;
    if (place?.live === undefined) continue;
    for (const key of await applyNestedConfig(git, new SafeFolder(place.root), place.path, place.live)) leftOut.push(`${path}: ${key}`);
  }
  return leftOut;
}

/**
 * Nested `.git`s that are files or links, which were unpacked under another name: git would take the settings of whatever they lead
 * to. They take their place where that is the repository of a submodule, whose settings were looked at. Gives the others.
 */
export function settleGitLinks(layout: TargetLayout, files: ReadonlyMap<string, FileEntry>): string[] {
  const beside: string[] = [];
  for (const entry of files.keys()) {
    const { area, path } = placeOf(entry);
    const place = isGitName(baseName(path)) ? destinationOf(entry, layout) : undefined;
    if (place?.live === undefined) continue;
    const folder = new SafeFolder(place.root);
    const found = folder.find(place.path);
    if (found === undefined) continue;
    if (area !== "git" && leadsToModule(folder, place.live, leadOf(found)) && !folder.exists(place.live)) folder.replace(place.path, place.live);
    else beside.push(path);
  }
  return beside;
}

/** As git reads it. (gitrepository-layout(5)) Undefined where it leads nowhere. */
function leadOf(link: string | Buffer): string | undefined {
  const stat = lstatSync(link);
  if (stat.isSymbolicLink()) return decodePath(readlinkSync(link, { encoding: "buffer" }));
  if (!stat.isFile() || stat.size > longestPath) return undefined;
  return /^gitdir: (.*?)[\r\n]*$/s.exec(decodePath(readFileSync(link)))?.[1];
}

const longestPath = 4096;

/** Through real folders, to what a submodule has in the `.git/modules` of this repository, or of a nested one: nothing there is put to work unseen. */
function leadsToModule(folder: SafeFolder, path: string, lead = ""): boolean {
  const up = /^(?:\.\.\/)*/.exec(lead)?.[0] ?? "";
  const names = lead.slice(up.length).replace(/\/$/, "");
  const above = parentOf(path).split("/");
  const depth = above.length - up.length / 3;
  if (depth < 0 || !isContained(names)) return false;
  const place = [...above.slice(0, depth), ...names.split("/")];
  const nested = place.findIndex(isGitName);
  if (place[nested] !== ".git" || place[nested + 1] !== "modules" || place.length < nested + 3) return false;
  return place.every((_, at) => {
    const stat = lstatSync(encodePath(`${folder.root}/${place.slice(0, at + 1).join("/")}`), { throwIfNoEntry: false });
    // A choice of paths leaves the repository behind.
    return stat?.isDirectory() ?? nested === 0;
  });
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
