/** Whether a store that was there before can be the store of a repository that does not remember it. */
import { chainOf } from "../core/catalogue.ts";
import { BackupError, errorKinds } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { readCatalogue, readContents } from "./catalogue.ts";

/**
 * True when the repository holds any object that a ref or HEAD of the store's first or newest point names, and where there is
 * nothing to tell by. `find` gives how many of the objects the repository has.
 */
export async function sharesHistory(store: Store, find: (oids: readonly string[]) => Promise<number>, options: CallOptions = {}): Promise<boolean> {
  const { points } = await readCatalogue(store, options);
  const oids = new Set<string>();
  for (const point of new Set([points[0], points.at(-1)])) {
    if (point !== undefined) for (const oid of await tipsOf(store, point, points, options)) oids.add(oid);
  }
  return oids.size === 0 || (await find([...oids])) > 0;
}

async function tipsOf(store: Store, point: Manifest, points: readonly Manifest[], options: CallOptions): Promise<string[]> {
  try {
    const { refs, worktrees } = await readContents(store, chainOf(point, points), options);
    return [...[...refs.values()].map(({ oid }) => oid), ...worktrees.flatMap(({ oid }) => (oid === null ? [] : [oid]))];
  } catch (error) {
    if (error instanceof BackupError && error.exitCode === damage) return []; // it says nothing; the other point may
    throw error;
  }
}

const damage = errorKinds.damaged.exit;
