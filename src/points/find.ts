/** Looks for files in all points of a store. Contents are incremental: each point's own are read once, and folded onto its base's. */
import type { Catalogue } from "../core/catalogue.ts";
import { type ContentsRecord, type FileEntry, placeOf } from "../core/contents.ts";
import { BackupError, errorKinds } from "../core/errors.ts";
import type { PointId } from "../core/ids.ts";
import type { Manifest } from "../core/manifest.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { readRecords } from "./catalogue.ts";

/** One content of a file that points hold with its bytes: untracked, chosen ignored, or tracked with bytes of its own. */
export interface FoundVersion {
  readonly path: string;
  /** "" for the main worktree. */
  readonly worktree: string;
  readonly area: "untracked" | "modified";
  readonly kind: FileEntry["kind"];
  readonly size: number | null;
  readonly sha256: string | null;
  /** Of a link. */
  readonly target: string | null;
  readonly first: PointId;
  readonly last: PointId;
  /** How many points hold it. */
  readonly points: number;
}

export interface FoundVersions {
  /** By path, then in the order in which they first appeared. */
  readonly versions: readonly FoundVersion[];
  /** Points whose contents, or those below them, cannot be read. */
  readonly unread: readonly PointId[];
}

/** Store reads that may be under way at once. */
const parallel = 16;

export async function findVersions(
  store: Store,
  points: Catalogue,
  matches: (path: string) => boolean,
  options: CallOptions & { readonly onProgress?: (done: number, total: number) => void } = {},
): Promise<FoundVersions> {
  const changes = new Map<PointId, readonly ContentsRecord[] | undefined>();
  for (let at = 0; at < points.length; at += parallel) {
    const some = points.slice(at, at + parallel);
    const read = await Promise.all(some.map((point) => readMatching(store, point, matches, options)));
    for (const [index, records] of read.entries()) changes.set(some[index]?.id ?? "", records);
    options.onProgress?.(Math.min(at + parallel, points.length), points.length);
  }
  const states = new States(points, changes);
  // Points that did not change a file share its entry: it is counted by that, and named once.
  const sightings = new Map<FileEntry, { readonly first: PointId; last: PointId; points: number }>();
  const unread: PointId[] = [];
  for (const point of points) {
    const state = states.of(point);
    if (state === undefined) unread.push(point.id);
    for (const entry of state?.values() ?? []) {
      const known = sightings.get(entry);
      if (known === undefined) sightings.set(entry, { first: point.id, last: point.id, points: 1 });
      else {
        known.last = point.id;
        known.points += 1;
      }
    }
  }
  const found = new Map<string, FoundVersion>();
  for (const [entry, seen] of sightings) {
    const version = { ...versionOf(entry), ...seen };
    const key = JSON.stringify([version.worktree, version.path, version.kind, version.sha256, version.target]);
    const known = found.get(key);
    found.set(key, known === undefined ? version : { ...known, last: max(known.last, seen.last), points: known.points + seen.points });
  }
  const versions = [...found.values()].sort((a, b) => compare(a.worktree, b.worktree) || compare(a.path, b.path) || compare(a.first, b.first));
  return { versions, unread };
}

/** The point's own records about files that match; undefined where they cannot be read. */
async function readMatching(
  store: Store,
  point: Manifest,
  matches: (path: string) => boolean,
  options: CallOptions,
): Promise<readonly ContentsRecord[] | undefined> {
  try {
    return (await readRecords(store, point, options)).filter((record) => {
      if (record.t !== "file" && record.t !== "gone") return false;
      const { area, path } = placeOf(record.path);
      return (area === "untracked" || area === "modified") && matches(path);
    });
  } catch (error) {
    if (error instanceof BackupError && error.exitCode === damage) return undefined;
    throw error;
  }
}

const damage = errorKinds.damaged.exit;

type State = ReadonlyMap<string, FileEntry>;

/** The matching files of each point; a point without a change of its own shares its base's. */
class States {
  readonly #byId: ReadonlyMap<PointId, Manifest>;
  readonly #changes: ReadonlyMap<PointId, readonly ContentsRecord[] | undefined>;
  readonly #known = new Map<PointId, State | undefined>();

  constructor(points: Catalogue, changes: ReadonlyMap<PointId, readonly ContentsRecord[] | undefined>) {
    this.#byId = new Map(points.map((point) => [point.id, point]));
    this.#changes = changes;
  }

  of(point: Manifest): State | undefined {
    if (this.#known.has(point.id)) return this.#known.get(point.id);
    // What a hostile store lets go round in a circle gives nothing.
    this.#known.set(point.id, undefined);
    const base = point.base === null ? undefined : this.#byId.get(point.base);
    const below: State | undefined = point.base === null ? new Map() : base === undefined ? undefined : this.of(base);
    const state = below === undefined ? undefined : apply(below, this.#changes.get(point.id));
    this.#known.set(point.id, state);
    return state;
  }
}

function apply(below: State, records: readonly ContentsRecord[] | undefined): State | undefined {
  if (records === undefined || records.length === 0) return records === undefined ? undefined : below;
  const state = new Map(below);
  for (const record of records) {
    if (record.t === "file") state.set(record.path, record);
    else if (record.t === "gone") state.delete(record.path);
  }
  return state;
}

function versionOf(entry: FileEntry): Omit<FoundVersion, "first" | "last" | "points"> {
  const { worktree, area, path } = placeOf(entry.path);
  return {
    path,
    worktree,
    area: area === "modified" ? area : "untracked",
    kind: entry.kind,
    size: entry.size ?? null,
    sha256: entry.sha256 ?? null,
    target: entry.target ?? null,
  };
}

function max(a: PointId, b: PointId): PointId {
  return a > b ? a : b;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
