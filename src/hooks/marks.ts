/**
 * The marks that hooks leave: lines in the `dirty` file. Taken by renaming it, so that a mark made meanwhile
 * starts a new file; dropped when the work they asked for has been tried. A worker that is killed in between
 * leaves `dirty.taken`, which the next one takes too.
 */
import { readFileSync, renameSync, rmSync, statSync } from "node:fs";
import { systemCode } from "../core/errors.ts";
import type { StateLayout } from "../state/layout.ts";

/** True while there is something that no worker has finished. */
export function hasMarks(state: StateLayout): boolean {
  return sizeOf(state.dirty) !== undefined || sizeOf(state.dirtyTaken) !== undefined;
}

/** Bytes of fresh marks: grows with each; undefined when there is none. */
export function sizeOfMarks(state: StateLayout): number | undefined {
  return sizeOf(state.dirty);
}

/** The events of all marks, oldest first. Call `dropTakenMarks` when they have been dealt with. */
export function takeMarks(state: StateLayout): string[] {
  const leftOver = linesOf(state.dirtyTaken);
  try {
    renameSync(state.dirty, state.dirtyTaken);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw error;
    return leftOver;
  }
  return [...leftOver, ...linesOf(state.dirtyTaken)];
}

export function dropTakenMarks(state: StateLayout): void {
  rmSync(state.dirtyTaken, { force: true });
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, "utf8")
      .split("\n")
      .filter((line) => line !== "");
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [];
    throw error;
  }
}

function sizeOf(path: string): number | undefined {
  return statSync(path, { throwIfNoEntry: false })?.size;
}
