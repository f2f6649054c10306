/** What was learnt of a server and need not be asked again. A cache: without the file it is learnt anew. */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseJson } from "../core/json.ts";

export interface S3Traits {
  /** Whether it refuses to write over an object when asked (`If-None-Match: *`). Undefined: not known yet. */
  isCreateOnly: boolean | undefined;
}

/** `place`: what the traits are those of; of another place they are not taken. */
export function readTraits(file: string | undefined, place: string): S3Traits {
  const unknown = { isCreateOnly: undefined };
  if (file === undefined) return unknown;
  try {
    const known = parseJson(readFileSync(file, "utf8")) as { readonly place?: unknown; readonly createOnly?: unknown } | undefined;
    return known?.place === place && typeof known.createOnly === "boolean" ? { isCreateOnly: known.createOnly } : unknown;
  } catch {
    return unknown; // never written
  }
}

export function writeTraits(file: string | undefined, place: string, { isCreateOnly }: S3Traits): void {
  if (file === undefined) return;
  try {
    mkdirSync(dirname(file), { recursive: true });
    const fresh = `${file}.${process.pid}.new`;
    writeFileSync(fresh, `${JSON.stringify({ place, createOnly: isCreateOnly })}\n`);
    renameSync(fresh, file);
  } catch {
    // It is asked again next time.
  }
}
