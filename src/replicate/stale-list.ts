/**
 * Which points of a copy are no longer as in the primary, because they were encrypted again: a file of ids beside the
 * copy's state. It may name too many, never too few.
 */
import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { isPointId, type PointId } from "../core/ids.ts";
import { replaceFile } from "../state/remembered.ts";

export function noteStale(folder: string, copies: readonly string[], id: PointId): void {
  mkdirSync(folder, { recursive: true });
  for (const name of copies) appendFileSync(listOf(folder, name), `${id}\n`);
}

/** Those noted so far; what is noted from now on goes into a new list. They stay until `settleStale`. */
export function takeStale(folder: string, copy: string): PointId[] {
  const [list, next, taken] = [listOf(folder, copy), `${listOf(folder, copy)}.next`, `${listOf(folder, copy)}.taken`];
  const absorb = (): void => {
    if (!existsSync(next)) return;
    appendFileSync(taken, readFileSync(next));
    rmSync(next);
  };
  absorb(); // of a run that was killed below
  if (existsSync(list)) renameSync(list, next);
  absorb();
  return [...new Set(linesOf(taken))].filter(isPointId).sort();
}

/** What `takeStale` gave is done, but for those `left`. */
export function settleStale(folder: string, copy: string, left: Iterable<PointId>): void {
  const taken = `${listOf(folder, copy)}.taken`;
  const lines = [...left].map((id) => `${id}\n`).join("");
  if (lines === "") rmSync(taken, { force: true });
  else replaceFile(taken, lines);
}

export function forgetStale(folder: string, copy: string): void {
  for (const ending of ["", ".next", ".taken"]) rmSync(`${listOf(folder, copy)}${ending}`, { force: true });
}

function listOf(folder: string, copy: string): string {
  return join(folder, `${copy}.stale`);
}

function linesOf(file: string): string[] {
  try {
    return readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => line !== "");
  } catch {
    return []; // nothing was noted
  }
}
