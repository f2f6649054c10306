/** Where commits were seen: refs and HEADs that points name, and stash entries in the reflogs that they hold. */
import { TarReader } from "../archive/tar-read.ts";
import type { Catalogue } from "../core/catalogue.ts";
import { BackupError, isOfOneFile } from "../core/errors.ts";
import type { PointId } from "../core/ids.ts";
import { findArtifact, type Manifest } from "../core/manifest.ts";
import { oidsInReflog } from "../git/refs.ts";
import { openArtifact } from "../points/catalogue.ts";
import { readRefRecords } from "../points/ref-records.ts";
import type { CallOptions, Store } from "../stores/store.ts";

export interface Sighting {
  /** Full names; `HEAD` for a detached one. */
  readonly refs: readonly string[];
  /** The newest point that says so. */
  readonly point: PointId;
}

export interface Sightings {
  /** By the id that the ref was at: a commit, an annotated tag, now and then something else. */
  readonly sightings: Map<string, Sighting>;
  /** Points whose contents cannot be read: their sightings are missing. */
  readonly unread: { id: PointId; message: string }[];
}

const stashLog = "git/logs/refs/stash";
const atOnce = 16;

/** Reads of each point the beginning of its contents; a tarball only where the stash had changed. */
export async function readSightings(store: Store, catalogue: Catalogue, { signal }: CallOptions = {}): Promise<Sightings> {
  const options = { signal };
  const sightings = new Map<string, Sighting>();
  const unread: Sightings["unread"] = [];
  for (let at = 0; at < catalogue.length; at += atOnce) {
    const points = catalogue.slice(at, at + atOnce);
    const seen = await Promise.all(points.map((point) => readOne(store, point, options)));
    for (const [index, point] of points.entries()) {
      const found = seen[index];
      if (found instanceof BackupError) unread.push({ id: point.id, message: found.message });
      else for (const [oid, refs] of found ?? []) sightings.set(oid, { refs: [...refs], point: point.id });
    }
  }
  return { sightings, unread };
}

async function readOne(store: Store, point: Manifest, options: CallOptions): Promise<Map<string, Set<string>> | BackupError> {
  const seen = new Map<string, Set<string>>();
  const add = (oid: string, ref: string): void => void seen.set(oid, (seen.get(oid) ?? new Set()).add(ref));
  try {
    let hasStashLog = false;
    for (const record of await readRefRecords(store, point, options)) {
      if (record.t === "ref" && record.symref === undefined) add(record.oid, record.name);
      else if (record.t === "worktree" && record.branch === null && record.oid !== null) add(record.oid, "HEAD");
      else if (record.t === "file" && record.path === stashLog) hasStashLog = true;
    }
    if (hasStashLog) for (const oid of await readStashLog(store, point, options)) add(oid, "refs/stash");
    return seen;
  } catch (error) {
    if (isOfOneFile(error)) return error;
    throw error;
  }
}

/** Every stash entry of that moment. One of the few logs that are stored as a patch says nothing here. */
async function readStashLog(store: Store, point: Manifest, options: CallOptions): Promise<string[]> {
  const tarball = findArtifact(point, "tar.zst");
  if (tarball === undefined) return [];
  const pieces: Buffer[] = [];
  let state: "before" | "in" | "after" = "before";
  const reader = new TarReader(tarball.name, {
    member: ({ path }) => {
      if (state === "before" && path === stashLog) state = "in";
    },
    data: (piece) => {
      if (state === "in") pieces.push(Buffer.from(piece));
    },
    end: () => {
      if (state === "in") state = "after";
    },
  });
  for await (const piece of await openArtifact(store, point, tarball, options)) {
    reader.write(piece);
    if (isAfter(state)) break;
  }
  return oidsInReflog(Buffer.concat(pieces).toString("latin1"));
}

/** tsc believes that nobody but the loop itself changes the variable. */
function isAfter(state: string): boolean {
  return state === "after";
}
