/** Looking into stores. */
import type { App } from "../app.ts";
import { chosenStore } from "../app-stores.ts";
import { chainOf, findPoint } from "../core/catalogue.ts";
import type { Contents } from "../core/contents.ts";
import { BackupError } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import type { PointSignature } from "../keys/signers.ts";
import { type CatalogueResult, type DamagedPoint, readCatalogue, readContents } from "../points/catalogue.ts";
import { readIdentity } from "../points/identity.ts";
import type { Store } from "../stores/store.ts";
import { type ChainSignature, judgeChain, meetStore, type NamedSigner, readTrust } from "./signers.ts";

export interface StorePoints extends CatalogueResult {
  readonly store: Store;
  /** Whose a point is, by what this machine trusts. */
  readonly judge: (manifest: Manifest) => PointSignature;
  /** Taken now, because the store is used for the first time. */
  readonly newSigners: readonly NamedSigner[];
}

/** The points of the primary, or of a store by name or URL. Throws `store_missing`. */
export async function readPoints(app: App, nameOrUrl?: string): Promise<StorePoints> {
  const store = await chosenStore(app, nameOrUrl);
  await readIdentity(store);
  const catalogue = await readCatalogue(store);
  const newSigners = meetStore(app, store, catalogue.points);
  return { ...catalogue, store, judge: readTrust(app), newSigners };
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
  /** Of the point and everything that it builds on. */
  readonly signature: ChainSignature;
  readonly newSigners: readonly NamedSigner[];
}

/** The point that a prefix or `latest` means. Throws `unknown_point`, `ambiguous`. */
export async function readPoint(app: App, prefix: string, nameOrUrl?: string): Promise<StorePoints & { readonly point: Manifest }> {
  const found = await readPoints(app, nameOrUrl);
  const { points, damaged, store } = found;
  const point = findPoint(prefix, points);
  if (point === undefined) throwIfDamaged(prefix, damaged);
  if (point === undefined)
    throw points.length === 0
      ? new BackupError("no_points", `there is no point ${prefix} in the store ${store.name}`)
      : new BackupError("unknown_point", `there is no point ${prefix} in the store ${store.name}`, {
          hint: "holdfast points; what was pruned: holdfast points --deleted",
        });
  return { ...found, point };
}

/** The same, with what is in it. */
export async function viewPoint(app: App, prefix: string, nameOrUrl: string | undefined, signal: AbortSignal): Promise<PointView> {
  const { point, points, store, judge, newSigners } = await readPoint(app, prefix, nameOrUrl);
  const chain = chainOf(point, points);
  return { point, chain, contents: await readContents(store, chain, { signal }), signature: judgeChain(chain, judge), newSigners };
}
