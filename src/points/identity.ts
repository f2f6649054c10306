/** `holdfast.json`, the first file of every store: whose points these are. */
import * as z from "zod";
import { BackupError } from "../core/errors.ts";
import { parseJson } from "../core/json.ts";
import { formatVersion } from "../core/manifest.ts";
import { bytesSource, type CallOptions, readAll, type Source, type Store } from "../stores/store.ts";

const identitySchema = z.object({
  format: z.int(),
  repository: z.uuid(),
  name: z.string(),
  created: z.iso.datetime({ precision: 3 }),
});

export type StoreIdentity = z.infer<typeof identitySchema>;

const key = "holdfast.json";

/** Undefined where there is no store. Throws `format_newer` or `damaged`. */
export async function findIdentity(store: Store, options: CallOptions = {}): Promise<StoreIdentity | undefined> {
  const bytes = await readAll(store, key, options);
  if (bytes === undefined) return undefined;
  const result = identitySchema.safeParse(parseJson(bytes.toString("utf8")));
  if (!result.success) throw new BackupError("damaged", `${store.url}/${key} is not what a store begins with`);
  if (result.data.format > formatVersion) {
    throw new BackupError("format_newer", `the store ${store.name} has format ${result.data.format}, this holdfast reads up to ${formatVersion}`);
  }
  return result.data;
}

/** The identity of a store that must be there: an absent one may be an unmounted disk and is never made on the way. */
export async function readIdentity(store: Store, options: CallOptions = {}): Promise<StoreIdentity> {
  const identity = await findIdentity(store, options);
  if (identity === undefined) throw new BackupError("store_missing", `there is no store at ${store.url}`);
  return identity;
}

export async function writeIdentity(store: Store, identity: StoreIdentity, options: CallOptions = {}): Promise<void> {
  await store.put(key, asSource(identity), options);
}

/** Over the one that stands there. */
export async function replaceIdentity(store: Store, identity: StoreIdentity, options: CallOptions = {}): Promise<void> {
  await store.replace(key, asSource(identity), options);
}

/** As a store says it that others may read and whose points they may not: without the repository's name. */
export function withoutName(identity: StoreIdentity): StoreIdentity {
  return { ...identity, name: `encrypted-${identity.repository.slice(0, 8)}` };
}

export function hasNoName(identity: StoreIdentity): boolean {
  return identity.name === withoutName(identity).name;
}

/** Takes the repository's name out of a store that begins to be encrypted. */
export async function hideName(store: Store, options: CallOptions = {}): Promise<void> {
  const identity = await readIdentity(store, options);
  if (!hasNoName(identity)) await replaceIdentity(store, withoutName(identity), options);
}

function asSource(identity: StoreIdentity): Source {
  return bytesSource(`${JSON.stringify(identity, null, 2)}\n`);
}
