/** What is known of each copy, for status: from this machine alone, no copy is asked. */
import type { App } from "../app.ts";
import { isOffsite } from "../app-places.ts";
import { copyConfigs, primaryStore } from "../app-stores.ts";
import type { StoreConfig } from "../core/config.ts";
import { BackupError } from "../core/errors.ts";
import { pointTime } from "../core/ids.ts";
import { type Manifest, storedSize } from "../core/manifest.ts";
import { isBranch, parseStoreUrl } from "../core/store-url.ts";
import { copyLock, readCopyState } from "../replicate/copy-state.ts";
import { waitingFor } from "../replicate/waiting.ts";
import { findLockOwner } from "../state/lock.ts";
import type { CopyFacts } from "../status/assess.ts";
import type { Place } from "../status/three-two-one.ts";
import { currentMediumOf, diskOf } from "./places.ts";

/** `points`: those of the primary; undefined where it cannot be read: then what waits is what waited at the last attempt. */
export function readCopies(app: App, points: readonly Manifest[] | undefined): Promise<CopyFacts[]> {
  return Promise.all(otherStores(app).map((config) => readCopy(app, config, points)));
}

/** Not protected: then none of them is the primary, and each is listed. */
function otherStores(app: App): readonly StoreConfig[] {
  try {
    return copyConfigs(app);
  } catch (error) {
    if (error instanceof BackupError && error.code === "not_protected") return app.config.stores;
    throw error;
  }
}

async function readCopy(app: App, config: StoreConfig, points: readonly Manifest[] | undefined): Promise<CopyFacts> {
  const { name, url } = config;
  const state = readCopyState(app.state.copies, config);
  const location = parseStoreUrl(url);
  const waiting =
    points === undefined
      ? undefined
      : waitingFor(
          points.map((point) => [point.id, storedSize(point)] as const),
          state,
        );
  const owner = findLockOwner(copyLock(app.state.copies, name));
  const awaySince = toDate(state.awaySince);
  return {
    name,
    url,
    kind: isBranch(location) ? "branch" : location.kind,
    isOffsite: await isOffsite(app, config),
    medium: await currentMediumOf(app, config, awaySince !== null, state.medium),
    // A failed attempt may know more than can be told from here: old points that the copy has lost.
    missing: Math.max(waiting?.points ?? 0, state.missing),
    missingBytes: Math.max(waiting?.bytes ?? 0, state.missingBytes),
    missingSince: waiting?.oldest === undefined ? null : pointTime(waiting.oldest),
    beyond: state.beyond,
    withheld: state.withheld,
    lastOkAt: toDate(state.lastOkAt),
    awaySince,
    sendingSince: owner === undefined ? null : new Date(owner.startedAt),
    error: state.error ?? (state.lastOkAt === null && awaySince === null ? "nothing was copied yet" : null),
    hint: state.hint,
  };
}

/** Null where it is not there. */
export async function readPrimaryPlace(app: App): Promise<Place | null> {
  try {
    const { name, url } = primaryStore(app);
    const config = app.config.stores.find((store) => store.name === name);
    const medium = diskOf(url);
    return medium === null ? null : { medium, isOffsite: config === undefined ? false : await isOffsite(app, config) };
  } catch (error) {
    if (error instanceof BackupError && error.code === "not_protected") return null;
    throw error;
  }
}

function toDate(text: string | null): Date | null {
  return text === null ? null : new Date(text);
}
