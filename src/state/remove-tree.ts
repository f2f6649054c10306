/** Removing a folder that holds what was restored: its modes are those of the files as they were. */
import { chmodSync, lstatSync, readdirSync, rmSync } from "node:fs";
import { decodePath, encodePath } from "../core/paths.ts";

/** Removes what stands at `path`, read-only folders too, and never what a symlink leads to; names of any bytes. Nothing where nothing is. */
export function removeTree(path: string): void {
  const waiting = [path];
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    if (!unlock(folder)) continue;
    for (const entry of readdirSync(encodePath(folder), { withFileTypes: true, encoding: "buffer" }))
      if (entry.isDirectory()) waiting.push(`${folder}/${decodePath(entry.name)}`);
  }
  // A process that has just been ended may still write a last file.
  rmSync(encodePath(path), { recursive: true, force: true, maxRetries: 3 });
}

/** As far as it goes: where a good result stands, what is left of the way to it does not spoil it. A later sweep finds it. */
export function discardTree(path: string): void {
  try {
    removeTree(path);
  } catch {
    // a program that still writes there, a disk that fails: the next sweep removes it or says so
  }
}

/** Only who may list, search and write a folder can empty it. False for what is none. */
function unlock(folder: string): boolean {
  const stat = lstatSync(encodePath(folder), { throwIfNoEntry: false });
  if (stat?.isDirectory() !== true) return false;
  if ((stat.mode & 0o700) !== 0o700) chmodSync(encodePath(folder), 0o700);
  return true;
}
