/** Looking into stores. */
import type { App } from "../app.ts";
import { findStore, primaryStore } from "../app-stores.ts";
import { chainOf, findPoint } from "../core/catalogue.ts";
import type { Contents } from "../core/contents.ts";
import { BackupError } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import { type CatalogueResult, type DamagedPoint, readCatalogue, readContents } from "../points/catalogue.ts";
import { readIdentity } from "../points/identity.ts";
import type { Store } from "../stores/store.ts";

/** The points of the primary, or of a store by name or URL. Throws `store_missing`. */
export async function readPoints(app: App, nameOrUrl?: string): Promise<CatalogueResult & { readonly store: Store }> {
  const store = nameOrUrl === undefined ? primaryStore(app) : await findStore(app, nameOrUrl);
  await readIdentity(store);
  return { ...(await readCatalogue(store)), store };
}

/** Throws why it cannot be read, where `prefix` means a point whose manifest is damaged or of a newer format. */
export function throwIfDamaged(prefix: string, damaged: readonly DamagedPoint[]): void {
  const found = prefix.length < 8 ? undefined : damaged.find(({ id }) => id.startsWith(prefix));
  if (found !== undefined) throw found.error;
}

export interface PointView {
  readonly point: Manifest;
  /** What a restore reads, base first. */
  readonly chain: readonly Manifest[];
  readonly contents: Contents;
}

/** The point that a prefix or `latest` means. Throws `unknown_point`, `ambiguous`. */
export async function readPoint(
  app: App,
  prefix: string,
  nameOrUrl?: string,
): Promise<CatalogueResult & { readonly point: Manifest; readonly store: Store }> {
  const { points, damaged, store } = await readPoints(app, nameOrUrl);
  const point = findPoint(prefix, points);
  if (point === undefined) throwIfDamaged(prefix, damaged);
  if (point === undefined)
    throw points.length === 0
      ? new BackupError("no_points", `there is no point ${prefix} in the store ${store.name}`)
      : new BackupError("unknown_point", `there is no point ${prefix} in the store ${store.name}`, {
          hint: "holdfast points; what was pruned: holdfast points --deleted",
        });
  return { point, points, damaged, store };
}

/** The same, with what is in it. */
export async function viewPoint(app: App, prefix: string, nameOrUrl: string | undefined, signal: AbortSignal): Promise<PointView> {
  const { point, points, store } = await readPoint(app, prefix, nameOrUrl);
  const chain = chainOf(point, points);
  return { point, chain, contents: await readContents(store, chain, { signal }) };
}
