/** The folder of a drill, noted before it is made: one that a killed drill left behind is found and removed by the next run. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { removeTree } from "../state/remove-tree.ts";

const prefix = "holdfast-drill-";

/** Call it under the drill's lock. `note`: where the folder's name is kept. */
export function makeScratch(note: string): string {
  sweepScratch(note);
  const place = mkdtempSync(join(tmpdir(), prefix));
  mkdirSync(dirname(note), { recursive: true });
  writeFileSync(note, `${place}\n`);
  return place;
}

/** Removes what the last drill left. Call it under the drill's lock, or where nobody holds it. */
export function sweepScratch(note: string): void {
  const place = noted(note);
  // What else stands in the note is not ours to remove.
  if (place !== undefined && basename(place).startsWith(prefix)) removeTree(place);
  rmSync(note, { force: true });
}

function noted(note: string): string | undefined {
  try {
    return readFileSync(note, "utf8").trim();
  } catch {
    return undefined; // nothing was left
  }
}
