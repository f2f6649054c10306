/** Who may change a store: what writes points into the primary is kept out by the repository's lock, what writes into a copy by the copy's. */
import type { App } from "../app.ts";
import { primaryStore } from "../app-stores.ts";
import { copyLock } from "../replicate/copy-state.ts";
import { acquireLock, type Lock } from "../state/lock.ts";
import type { Store } from "../stores/store.ts";

interface LockWish {
  /** For whoever waits for it. */
  readonly purpose: string;
  /** A minute when absent. */
  readonly waitMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Throws `locked`. */
export function lockStore(app: App, store: Store, { waitMs = 60_000, ...wish }: LockWish): Promise<Lock> {
  const path = store.url === primaryStore(app).url ? app.state.lock : copyLock(app.state.copies, store.name);
  return acquireLock(path, { ...wish, waitMs });
}
