/** Whose store stands at a copy's place: a new one gets its identity, another repository's gets nothing, an absent one is not made anew. */
import { BackupError } from "../core/errors.ts";
import { findIdentity, hasNoName, replaceIdentity, type StoreIdentity, writeIdentity } from "../points/identity.ts";
import { type RecoveryTexts, writeRecoveryFiles } from "../points/recovery-files.ts";
import type { CallOptions, Store } from "../stores/store.ts";

/**
 * Throws `store_missing` where a store that was `isBegun` has no identity any more (a disk that is not mounted), `store_foreign` for
 * another repository's.
 */
export async function beginCopy(copy: Store, identity: StoreIdentity, texts: RecoveryTexts, isBegun: boolean, options: CallOptions): Promise<void> {
  const theirs = await findIdentity(copy, options);
  if (theirs !== undefined) {
    refuseForeign(copy, theirs, identity);
    // It was begun before its points were encrypted.
    if (hasNoName(identity) && !hasNoName(theirs)) await replaceIdentity(copy, { ...theirs, name: identity.name }, options);
    return;
  }
  if (isBegun) {
    const hint = `is the disk mounted? to begin anew there: holdfast store remove ${copy.name}, then holdfast store add ${copy.name} ${copy.url}`;
    throw new BackupError("store_missing", `the store ${copy.name} is no longer at ${copy.url}`, { hint });
  }
  await writeIdentity(copy, identity, options);
  await writeRecoveryFiles(copy, texts, options);
  try {
    await copy.flush(options);
  } catch (error) {
    // Another machine has begun the same store at this moment: whose identity stands there is read before any point goes.
    if (!(error instanceof BackupError) || error.details["keys"] === undefined) throw error;
  }
  const standing = await findIdentity(copy, options);
  if (standing === undefined) throw new BackupError("store_failed", `the store ${copy.name} does not keep what is written there`);
  refuseForeign(copy, standing, identity);
}

function refuseForeign(copy: Store, theirs: StoreIdentity, ours: StoreIdentity): void {
  if (theirs.repository === ours.repository) return;
  throw new BackupError("store_foreign", `the store ${copy.name} holds points of another repository (${theirs.name})`);
}
