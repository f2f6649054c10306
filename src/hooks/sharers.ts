/**
 * Which repositories count on the hooks of a folder that they share (a global core.hooksPath): a list beside the
 * hooks, one common git directory a line. The block in the hooks does nothing in any other repository.
 */
import { existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { stateDirOf, stateLayout } from "../state/layout.ts";

const listName = "holdfast-repositories";

export function addSharer(folder: string, commonDir: string): void {
  const known = readSharers(folder);
  if (!known.includes(commonDir)) writeSharers(folder, [...known, commonDir]);
}

/** Takes a repository off the list. True when another one is left whose hooks are installed. */
export function removeSharer(folder: string, commonDir: string): boolean {
  const others = readSharers(folder).filter((other) => other !== commonDir && existsSync(stateLayout(stateDirOf(other)).hook));
  writeSharers(folder, others);
  return others.length > 0;
}

function readSharers(folder: string): string[] {
  const path = join(folder, listName);
  return existsSync(path) ? readFileSync(path, "utf8").split("\n").filter(Boolean) : [];
}

function writeSharers(folder: string, commonDirs: readonly string[]): void {
  const path = join(folder, listName);
  if (commonDirs.length === 0) rmSync(path, { force: true });
  else writeFileSync(path, commonDirs.map((dir) => `${dir}\n`).join(""));
}
