/** Which repository this is to its stores, as the machine remembers it: no point goes into a store of another one. */
import { readFileSync } from "node:fs";
import { BackupError } from "../core/errors.ts";
import type { StateLayout } from "./layout.ts";
import { replaceFile } from "./remembered.ts";

const isUuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Undefined where nothing was remembered yet. */
export function findRepositoryId({ repositoryId }: StateLayout): string | undefined {
  try {
    const text = readFileSync(repositoryId, "utf8").trim();
    return isUuid.test(text) ? text : undefined; // torn by a power cut: as if it were not there
  } catch {
    return undefined; // never written, or the state was deleted: the store's own word counts
  }
}

export function rememberRepositoryId(state: StateLayout, id: string): void {
  if (findRepositoryId(state) === id) return;
  replaceFile(state.repositoryId, `${id}\n`);
}

/** Throws `store_foreign` when the store at `url` is known to be another repository's. */
export function refuseForeignStore(state: StateLayout, identity: { readonly repository: string; readonly name: string }, url: string): void {
  const known = findRepositoryId(state);
  if (known === undefined || known === identity.repository) return;
  throw new BackupError("store_foreign", `the store at ${url} holds points of another repository (${identity.name})`, {
    details: { expected: known, found: identity.repository },
  });
}
