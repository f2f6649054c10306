/** A place that many repositories share, such as a bucket: each has a folder there, named by its id. */
import { BackupError } from "../core/errors.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { findIdentity } from "./identity.ts";

/**
 * The one store at or below a place; `openAt` opens it with a folder below, "" or `ID/`. Undefined where there is none.
 * Throws `ambiguous` where there are several.
 */
export async function findRepository(openAt: (folder: string) => Store, options: CallOptions = {}): Promise<Store | undefined> {
  const place = openAt("");
  if ((await findIdentity(place, options)) !== undefined) return place;
  const found: { readonly folder: string; readonly name: string; readonly store: Store }[] = [];
  for (const folder of (await place.folders(options)).filter((name) => repositoryId.test(name)).sort()) {
    const store = openAt(`${folder}/`);
    const identity = await findIdentity(store, options);
    if (identity !== undefined) found.push({ folder, name: identity.name, store });
  }
  const [first, second] = found;
  if (first === undefined || second === undefined) return first?.store;
  throw new BackupError(
    "ambiguous",
    `${place.url} holds several repositories: ${found.map(({ folder, name }) => `${name} (${folder})`).join(", ")}`,
    {
      hint: `name one: ${place.url.replace(/\/+$/, "")}/${first.folder}`,
    },
  );
}

const repositoryId = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
