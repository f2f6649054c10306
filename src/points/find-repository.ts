/** In a place that many repositories share, each has a folder of its own, named by its id: which one is meant. */
import { BackupError, isOfOneFile } from "../core/errors.ts";
import { isRepositoryId } from "../core/ids.ts";
import { printablePath } from "../core/paths.ts";
import { repositoryUrl } from "../core/store-url.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { findIdentity } from "./identity.ts";

/**
 * The repository's store at `url`: the place itself where it is one, else the only one among its folders. `openAt` opens the
 * store below a folder, "" or `ID/`. Throws `store_missing` where there is none, and `usage`, naming them, where there are several.
 */
export async function findRepository(url: string, openAt: (folder: string) => Store, options: CallOptions = {}): Promise<Store> {
  const root = openAt("");
  if ((await findIdentity(root, options)) !== undefined) return root;
  const found: Found[] = [];
  for (const id of (await root.folders(options)).filter(isRepositoryId).sort()) {
    const store = openAt(`${id}/`);
    // Damaged in one folder, it must not keep the others from being found.
    const identity = await findIdentity(store, options).catch((error: unknown) => {
      if (isOfOneFile(error)) return undefined;
      throw error;
    });
    if (identity !== undefined) found.push({ id, name: identity.name, store });
  }
  const [only] = found;
  if (only === undefined) throw new BackupError("store_missing", `there is no store at ${url}`, { hint: "is its address right, the prefix too?" });
  if (found.length === 1) return only.store;
  const lines = await Promise.all(found.map((each) => describe(each, options)));
  throw new BackupError("usage", `there are ${found.length} repositories at ${url}:\n${lines.join("\n")}`, {
    hint: `name one by its id: '${repositoryUrl(url, only.id)}'`,
    details: { repositories: found.map(({ id, name }) => ({ id, name })) },
  });
}

interface Found {
  readonly id: string;
  readonly name: string;
  readonly store: Store;
}

async function describe({ id, name, store }: Found, options: CallOptions): Promise<string> {
  const newest = (await store.folders(options))
    .filter((folder) => /^\d{8}$/.test(folder))
    .sort()
    .at(-1);
  const day = newest === undefined ? "no point yet" : `newest point of ${newest.slice(0, 4)}-${newest.slice(4, 6)}-${newest.slice(6)}`;
  return `  ${id}  ${printablePath(name)}, ${day}`;
}
