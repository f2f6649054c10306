/**
 * `backup_metadata.json`: the catalogue for people and scripts. Rebuilt from the manifests each time and never read
 * back, so it can be wrong or lost without harm. Not written on a commit's way: it names every point of the store.
 */
import type { NoteEntry } from "../core/contents.ts";
import { dayOf } from "../core/ids.ts";
import { isEncrypted, type Manifest, type PointKind } from "../core/manifest.ts";
import { bytesSource, type CallOptions, type Store } from "../stores/store.ts";
import { readCatalogue, readNote } from "./catalogue.ts";
import type { StoreIdentity } from "./identity.ts";

interface MetadataEntry {
  readonly id: string;
  readonly kind: PointKind;
  readonly folder: string;
  readonly created: string;
  readonly expires: string | null;
  readonly status: "active" | "expired";
  /** Whether something could not be read when it was made. */
  readonly partial: boolean;
  readonly retention: string;
  readonly description: string | null;
  readonly change_ticket: string | null;
  readonly verified: boolean;
  readonly verified_by: string | null;
  readonly creator: string;
  readonly files: Readonly<Record<string, { readonly size: number; readonly sha256: string }>>;
}

type Section = "daily" | "pre_change" | "manual";

const key = "backup_metadata.json";

/**
 * Writes it anew. Points that come by themselves (after a commit, a push, on schedule) stand under `daily`. Where any point
 * is encrypted it has neither notes nor the repository's name: whoever reads the store reads this too.
 */
export async function writeMetadata(store: Store, identity: StoreIdentity, now: Date, options: CallOptions = {}): Promise<void> {
  const sections: Record<Section, MetadataEntry[]> = { daily: [], pre_change: [], manual: [] };
  const { points } = await readCatalogue(store, options);
  const isPrivate = points.some(isEncrypted);
  for (const manifest of points) {
    const note = isPrivate ? undefined : await noteOf(store, manifest, options);
    sections[sectionOf(manifest.kind)].push(entryOf(manifest, note, now));
  }
  const document = { format: 1, repository: identity.repository, name: isPrivate ? null : identity.name, generated: now.toISOString(), ...sections };
  await store.replace(key, bytesSource(`${JSON.stringify(document, undefined, 2)}\n`), options);
}

function sectionOf(kind: PointKind): Section {
  return kind === "manual" || kind === "pre_change" ? kind : "daily";
}

/** Only points that somebody asked for have a note. */
async function noteOf(store: Store, manifest: Manifest, options: CallOptions): Promise<NoteEntry | undefined> {
  if (sectionOf(manifest.kind) === "daily" && manifest.kind !== "daily") return undefined;
  // Damaged: verify says so, the rest is still worth listing.
  return readNote(store, manifest, options).catch(() => undefined);
}

function entryOf(manifest: Manifest, note: NoteEntry | undefined, now: Date): MetadataEntry {
  return {
    id: manifest.id,
    kind: manifest.kind,
    folder: dayOf(manifest.id),
    created: manifest.createdAt,
    expires: manifest.expires,
    status: manifest.expires !== null && Date.parse(manifest.expires) < now.getTime() ? "expired" : "active",
    partial: !manifest.consistent,
    retention: manifest.retention,
    description: note?.text ?? null,
    change_ticket: note?.ticket ?? null,
    verified: false,
    verified_by: null,
    creator: manifest.tool,
    files: Object.fromEntries(manifest.artifacts.map(({ name, size, sha256 }) => [name, { size, sha256 }])),
  };
}
