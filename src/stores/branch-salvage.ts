/** What can be given back to a remote that lost what was brought there, by a machine that keeps no large blob. */
import { type BranchFile, type BranchFiles, blobsOf, type Changes, sameFile } from "./branch-files.ts";
import type { BranchRemote } from "./branch-remote.ts";
import type { BranchRepository } from "./branch-repository.ts";
import { stemOf } from "./branch-slices.ts";
import type { CallOptions } from "./store.ts";

export interface SalvageRequest {
  readonly repository: BranchRepository;
  readonly remote: BranchRemote;
  /** What the remote has now. */
  readonly base: BranchFiles;
  /** The branch as it is here. */
  readonly files: BranchFiles;
}

/**
 * What turns `base` into `files`, as far as the bytes are here or the host still gives them: a point whole, or nothing of
 * it. A manifest without its artifacts would say that the point is there, and nobody would bring it again.
 */
export async function salvage({ repository, remote, base, files }: SalvageRequest, options: CallOptions): Promise<Changes> {
  const there = new Set(blobsOf(base.values()));
  const changes = new Map<string, BranchFile | null>();
  for (const [key, file] of files) if (!sameFile(file, base.get(key))) changes.set(key, file);
  for (const key of base.keys()) if (!files.has(key)) changes.set(key, null);
  const wanted = blobsOf([...changes.values()].filter((file) => file !== null)).filter((oid) => !there.has(oid));
  const here = await repository.sizesOf(wanted);
  const lacking = wanted.filter((oid) => !here.has(oid));
  const lost = await fetchAll(lacking, (oids) => remote.fetchBlobs(oids, options));
  const lostPoints = new Set([...changes].flatMap(([key, file]) => (file?.parts.some(({ oid }) => lost.has(oid)) === true ? [stemOf(key)] : [])));
  return new Map([...changes].filter(([key, file]) => file === null || !lostPoints.has(stemOf(key))));
}

/** Gives the blobs that are not to be had. A host refuses a whole request for one of them. */
async function fetchAll(oids: readonly string[], fetch: (oids: readonly string[]) => Promise<boolean>): Promise<Set<string>> {
  const lost = new Set<string>();
  const fetchSome = async (some: readonly string[]): Promise<void> => {
    if (some.length === 0 || (await fetch(some))) return;
    const [only] = some;
    if (some.length === 1 && only !== undefined) lost.add(only);
    else for (const half of [some.slice(0, some.length >> 1), some.slice(some.length >> 1)]) await fetchSome(half);
  };
  for (let at = 0; at < oids.length; at += 100) await fetchSome(oids.slice(at, at + 100));
  return lost;
}
