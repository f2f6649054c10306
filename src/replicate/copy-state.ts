/** What is known of each copy on this machine: when it was last whole, and when to try it again. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { parseJson } from "../core/json.ts";
import { forgetStale } from "./stale-list.ts";

const schema = z.object({
  /** Last time that the copy was seen to hold every point of the primary, read back. */
  lastOkAt: z.iso.datetime().nullable(),
  /** The newest point that it held then. */
  newest: z.string().nullable(),
  /** Points that it lacked at the last attempt. */
  missing: z.int().nonnegative(),
  /** Points that do not fit into the copy's budget: not missing, left out on purpose. */
  beyond: z.object({ points: z.int().positive(), maxBytes: z.int().positive(), hasNewest: z.boolean() }).nullable().default(null),
  failures: z.int().nonnegative(),
  nextAttemptAt: z.iso.datetime().nullable(),
  error: z.string().nullable(),
  hint: z.string().nullable(),
});

export type CopyState = z.infer<typeof schema>;
/** `hasNewest`: the newest point is in the copy all the same. */
export type Beyond = NonNullable<CopyState["beyond"]>;

const freshCopyState: CopyState = {
  lastOkAt: null,
  newest: null,
  missing: 0,
  beyond: null,
  failures: 0,
  nextAttemptAt: null,
  error: null,
  hint: null,
};

export function readCopyState(folder: string, store: string): CopyState {
  try {
    const result = schema.safeParse(parseJson(readFileSync(join(folder, `${store}.json`), "utf8")));
    return result.success ? result.data : freshCopyState;
  } catch {
    return freshCopyState; // never tried on this machine
  }
}

/** A store that is no longer a copy: one added under its name later begins anew. */
export function forgetCopyState(folder: string, store: string): void {
  rmSync(join(folder, `${store}.json`), { force: true });
  forgetStale(folder, store);
}

export function writeCopyState(folder: string, store: string, state: CopyState): void {
  mkdirSync(folder, { recursive: true });
  const file = join(folder, `${store}.json`);
  // Under the lock of copying: one name, so that a run that is killed here leaves no more than one.
  writeFileSync(`${file}.new`, `${JSON.stringify(state, null, 2)}\n`);
  renameSync(`${file}.new`, file);
}
