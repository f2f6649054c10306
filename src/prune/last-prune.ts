/** What is known of each store's pruning on this machine: a file a store. */
import { join } from "node:path";
import * as z from "zod";
import { readRemembered, remember } from "../state/remembered.ts";
import { freshGrace, type Grace } from "./grace.ts";

const schema = z.object({
  at: z.iso.datetime().nullable(),
  refusal: z.string().nullable(),
  allowance: z.int().nonnegative().nullable().default(null),
  grace: z.object({ elapsedMs: z.number().nonnegative(), seenAt: z.iso.datetime().nullable(), since: z.record(z.string(), z.number()) }),
});

export interface LastPrune {
  /** When it was last pruned to the end, ISO 8601. */
  readonly at: string | null;
  /** Why the store takes no deletions. */
  readonly refusal: string | null;
  /** How many points the automatic run may still remove, of which a part went; null: none is under way. */
  readonly allowance: number | null;
  readonly grace: Grace;
}

/** `folder`: `state.prunes`. */
export function readLastPrune(folder: string, store: string): LastPrune {
  const known = readRemembered(fileOf(folder, store), schema);
  if (known === undefined) return { at: null, refusal: null, allowance: null, grace: freshGrace };
  const { elapsedMs, seenAt, since } = known.grace;
  return { ...known, grace: { elapsedMs, seenAt: seenAt === null ? null : new Date(seenAt), since: new Map(Object.entries(since)) } };
}

export function noteLastPrune(folder: string, store: string, last: LastPrune): void {
  remember(fileOf(folder, store), { ...last, grace: { ...last.grace, since: Object.fromEntries(last.grace.since) } });
}

function fileOf(folder: string, store: string): string {
  return join(folder, `${store}.json`);
}
