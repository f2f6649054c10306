/** Where stores stand: on which medium, and whether elsewhere. What 3-2-1 is counted by. */
import { statSync } from "node:fs";
import type { App } from "../app.ts";
import { diskPathOf, isOffsite } from "../app-places.ts";
import { primaryStore } from "../app-stores.ts";
import type { StoreConfig } from "../core/config.ts";
import { isBranch, parseStoreUrl } from "../core/store-url.ts";

/**
 * What a store stands on: two with the same one can be lost by the same mishap. `disk NUMBER` for a folder, or a repository that is
 * one, as the system numbers its disks now; null where it is not there.
 */
async function mediumOf(app: App, store: StoreConfig): Promise<string | null> {
  const path = await diskPathOf(app, store);
  if (path !== undefined) return diskOf(path);
  const { kind } = parseStoreUrl(store.url);
  return isBranch(parseStoreUrl(store.url)) ? "git host" : kind === "s3" ? "bucket" : "rclone remote";
}

/**
 * The same, to be remembered: the system may number its disks otherwise when they are plugged in again, so that a disk is
 * either the primary's or one that is known by the store's name.
 */
export async function lastingMediumOf(app: App, store: StoreConfig): Promise<string | null> {
  const medium = await mediumOf(app, store);
  if (medium?.startsWith("disk ") !== true) return medium;
  return medium === diskOf(primaryStore(app).url) ? primaryDisk : `the disk of ${store.name}`;
}

/** What a folder on the primary's own disk was remembered as. */
const primaryDisk = "the primary's disk";

/** By what is there now; where it is away, or not there, by what was remembered when it was. */
export async function currentMediumOf(app: App, store: StoreConfig, isAway: boolean, remembered: string | null): Promise<string | null> {
  const medium = (isAway ? null : await mediumOf(app, store)) ?? remembered;
  return medium === primaryDisk ? diskOf(primaryStore(app).url) : medium;
}

export function diskOf(path: string): string | null {
  const stat = statSync(path, { throwIfNoEntry: false });
  return stat === undefined ? null : `disk ${stat.dev}`;
}

/** Whether only encrypted points may go there: it stands elsewhere, and nobody said otherwise. */
export async function isForEncryptedOnly(app: App, store: StoreConfig): Promise<boolean> {
  return store.isPlain !== true && (await isOffsite(app, store));
}
