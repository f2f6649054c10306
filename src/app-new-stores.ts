/** Stores that are begun: whose they are is decided here, once. */
import { randomUUID } from "node:crypto";
import { type App, now, recoveryTexts } from "./app.ts";
import { folderPath } from "./app-places.ts";
import { openStore, readable } from "./app-stores.ts";
import { BackupError } from "./core/errors.ts";
import { FolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";

/** Makes the folder a store of this repository. A store of it that is there already is taken as it is. Throws `store_foreign`. */
export async function createPrimary(app: App, folder: string): Promise<FolderStore> {
  const [
    { createStoreFolder },
    { findIdentity, withoutName, writeIdentity },
    { writeRecoveryFiles },
    { findRepositoryId, refuseForeignStore, rememberRepositoryId },
  ] = await Promise.all([
    import("./stores/folder.ts"),
    import("./points/identity.ts"),
    import("./points/recovery-files.ts"),
    import("./state/repository-id.ts"),
  ]);
  await createStoreFolder(folder);
  const store = readable(app, new FolderStore("local", folder));
  const known = findRepositoryId(app.state);
  const present = await findIdentity(store);
  if (present !== undefined && known === undefined) await refuseUnrelated(app, store, present.name);
  if (present !== undefined) refuseForeignStore(app.state, present, folder);
  const identity = present ?? {
    format: 1,
    repository: known ?? (await repositoryIdOfOthers(app)) ?? randomUUID(),
    name: app.name,
    created: now().toISOString(),
  };
  if (present === undefined) await writeIdentity(store, app.config.encryption === null ? identity : withoutName(identity));
  await writeRecoveryFiles(store, recoveryTexts());
  rememberRepositoryId(app.state, identity.repository);
  return store;
}

/** A clone made anew, or a recovered folder, may go on with its store; a repository that shares no commit with it may not. */
async function refuseUnrelated(app: App, store: FolderStore, name: string): Promise<void> {
  if (await isRelated(app, store)) return;
  throw new BackupError("store_foreign", `the store at ${store.url} holds points of ${name}, which has no commit in common with this repository`, {
    hint: `choose another folder; to get back what is in it: holdfast recover ${store.url} NEW-FOLDER`,
  });
}

/**
 * All stores of a repository carry one id: that of one which is still there, where the machine has forgotten it. So another
 * machine joins a branch; one with points of an unrelated repository says nothing.
 */
async function repositoryIdOfOthers(app: App): Promise<string | undefined> {
  const { findIdentity } = await import("./points/identity.ts");
  for (const config of app.config.stores) {
    try {
      const store = await openStore(app, config);
      const identity = await findIdentity(store);
      if (identity !== undefined && (store instanceof FolderStore || (await isRelated(app, store)))) return identity.repository;
    } catch (error) {
      // Not there, or damaged: another may tell. One that only lacks its key is not passed over.
      if (!(error instanceof BackupError) || error.code === "key_missing" || error.code === "key_wrong") throw error;
    }
  }
  return undefined;
}

async function isRelated(app: App, store: Store): Promise<boolean> {
  const [{ sharesHistory }, { findObjects }] = await Promise.all([import("./points/kinship.ts"), import("./git/refs.ts")]);
  return sharesHistory(store, async (oids) => (await findObjects(app.repository.commonDir, oids)).size);
}

/** Makes a folder ready to become a copy. */
export async function createStoreFolder(app: App, path: string): Promise<void> {
  const folders = await import("./stores/folder.ts");
  await folders.createStoreFolder(folderPath(app, path));
}
