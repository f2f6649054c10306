/** What is known of each copy on this machine: up to where it was seen whole, and when to try it again. */
import { rmSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { readRemembered, replaceFile } from "../state/remembered.ts";
import { forgetStale } from "./stale-list.ts";

const moment = z.iso.datetime().nullable().default(null);
const count = z.int().nonnegative();

const schema = z.object({
  /** Where the copy was, as in backup.yaml. */
  url: z.string().nullable().default(null),
  /** When the place was first seen to be this repository's: from then on an absent one is away, and never begun anew. */
  begunAt: moment,
  /** Last time that the copy was seen to hold every point of the primary that belongs there, read back. */
  lastOkAt: moment,
  /** The newest point that it held then. */
  newest: z.string().nullable().default(null),
  /** Every point of the primary up to this one is accounted for: it is there, or was left out on purpose. What comes after it waits. */
  seenTo: z.string().nullable().default(null),
  /** When all of the copy was last listed, and nothing was found to be missing before `seenTo`. */
  lookedAt: moment,
  /** When what killed runs left there was last cleared. */
  clearedAt: moment,
  /** Since when the place is not there: a disk that is not mounted. Null while it is. */
  awaySince: moment,
  /** Points, and their bytes, that it lacked at the last attempt. */
  missing: count.default(0),
  missingBytes: count.default(0),
  /** Points that do not fit into the copy's budget: not missing, left out on purpose. */
  beyond: z.object({ points: z.int().positive(), maxBytes: z.int().positive(), hasNewest: z.boolean() }).nullable().default(null),
  /** Points that are not encrypted, and may not leave this machine for there. */
  withheld: z.object({ points: z.int().positive(), hasNewest: z.boolean() }).nullable().default(null),
  /** What it stands on, as of `lastOkAt`: see tasks/places.ts. */
  medium: z.string().nullable().default(null),
  failures: count.default(0),
  nextAttemptAt: moment,
  error: z.string().nullable().default(null),
  hint: z.string().nullable().default(null),
});

export type CopyState = z.infer<typeof schema>;
/** `hasNewest`: the newest point is in the copy all the same, with all that it needs. */
export type Beyond = NonNullable<CopyState["beyond"]>;
export type Withheld = NonNullable<CopyState["withheld"]>;

const freshCopyState: CopyState = schema.parse({});

/** Nothing is known of a copy that was at another address than `url`: what was seen there was not seen here. */
export function readCopyState(folder: string, { name, url }: { readonly name: string; readonly url: string }): CopyState {
  const known = readRemembered(stateFile(folder, name), schema) ?? freshCopyState;
  return { ...((known.url ?? url) === url ? known : freshCopyState), url };
}

/** A store that is no longer a copy: one added under its name later begins anew. */
export function forgetCopyState(folder: string, store: string): void {
  rmSync(stateFile(folder, store), { force: true });
  forgetStale(folder, store);
}

/** Call it under the copy's lock. */
export function writeCopyState(folder: string, store: string, state: CopyState): void {
  replaceFile(stateFile(folder, store), `${JSON.stringify(state, null, 2)}\n`);
}

/** Held by whoever sends to this copy: each has one of its own. */
export function copyLock(folder: string, store: string): string {
  return join(folder, `${store}.lock`);
}

function stateFile(folder: string, store: string): string {
  return join(folder, `${store}.json`);
}
