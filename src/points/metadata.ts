/**
 * `backup_metadata.json`: the catalogue for people and scripts. Rebuilt from the manifests, marks and the trash each time and never read
 * back, so it can be wrong or lost without harm. Not written on a commit's way: it names every point of the store.
 * Its JSON Schema is docs/schemas/backup_metadata.schema.json.
 */
import * as z from "zod";
import type { NoteEntry } from "../core/contents.ts";
import { dayOf } from "../core/ids.ts";
import { findArtifact, isEncrypted, type Manifest, type PointKind, parseArtifactName, pointKinds } from "../core/manifest.ts";
import { expiryOf, type RetentionPolicy } from "../core/retention.ts";
import { bytesSource, type CallOptions, type Store } from "../stores/store.ts";
import { openArtifact, readCatalogue, readNote } from "./catalogue.ts";
import type { StoreIdentity } from "./identity.ts";
import { type PointMarks, readMarks } from "./marks.ts";
import { readTrash, trashedAt } from "./trash.ts";

const time = z.iso.datetime({ precision: 3 });

const entrySchema = z.strictObject({
  id: z.string(),
  kind: z.enum(pointKinds),
  folder: z.string().describe("where its files lie in the store; trash/DAY for one that was pruned on that day"),
  created: time,
  expires: time.nullable().describe("when its rule lets it go; null where that depends on later points or on a person"),
  status: z.enum(["active", "expired", "verified"]).describe("expired: its time is over, or it is in the trash"),
  verified: z.boolean(),
  verified_by: z.string().nullable(),
  verified_date: time.nullable(),
  pinned: z.boolean(),
  partial: z.boolean().describe("something could not be read when it was made"),
  description: z.string().nullable().describe("the message it was made with"),
  change_ticket: z.string().nullable(),
  retention: z.string(),
  creator: z.string().describe("the machine that made it"),
  tool: z.string(),
  purpose: z.string(),
  notes: z.string().nullable().describe("what was said when it was marked verified"),
  files: z.record(
    z.string(),
    z.strictObject({
      size: z.int().nonnegative(),
      hash: z.string().describe("sha256 as stored"),
      has_wal: z.boolean().nullable().describe("whether it holds the write-ahead log of a database beside it; null: not looked at"),
    }),
  ),
});

export const metadataSchema = z.strictObject({
  format: z.literal(1),
  repository: z.uuid(),
  name: z.string(),
  generated: time,
  daily: z.array(entrySchema).describe("points that come by themselves: after a commit, a push, a session, on schedule"),
  pre_change: z.array(entrySchema),
  manual: z.array(entrySchema),
});

type MetadataEntry = z.infer<typeof entrySchema>;
type Section = "daily" | "pre_change" | "manual";

const key = "backup_metadata.json";

export interface MetadataRequest {
  readonly now: Date;
  readonly policy: RetentionPolicy;
}

/** Writes it anew, and gives how many points it names. Does not flush. */
export async function writeMetadata(store: Store, identity: StoreIdentity, request: MetadataRequest, options: CallOptions = {}): Promise<number> {
  const sections: Record<Section, MetadataEntry[]> = { daily: [], pre_change: [], manual: [] };
  const [{ points }, marks, trash] = await Promise.all([readCatalogue(store, options), readMarks(store, options), readTrash(store, options)]);
  const living = new Set(points.map(({ id }) => id));
  for (const { manifest, folder } of trash) {
    if (living.has(manifest.id)) continue;
    const entry = entryOf(manifest, unread, marks.get(manifest.id), request);
    const expires = trashedAt(folder).toISOString();
    sections[sectionOf(manifest.kind)].push({ ...entry, folder, expires, status: "expired" });
  }
  for (const manifest of points) {
    const said = isAskedFor(manifest) && !isEncrypted(manifest) ? await readSaid(store, manifest, options) : unread;
    sections[sectionOf(manifest.kind)].push(entryOf(manifest, said, marks.get(manifest.id), request));
  }
  const document = { format: 1, repository: identity.repository, name: identity.name, generated: request.now.toISOString(), ...sections };
  await store.replace(key, bytesSource(`${JSON.stringify(document, undefined, 2)}\n`), options);
  return points.length;
}

function sectionOf(kind: PointKind): Section {
  return kind === "manual" || kind === "pre_change" ? kind : "daily";
}

/** Only points that somebody asked for have a note, and are worth a look at what is in them. */
function isAskedFor({ kind }: Manifest): boolean {
  return kind === "manual" || kind === "pre_change" || kind === "daily";
}

interface Said {
  readonly note: NoteEntry | undefined;
  readonly hasWal: boolean | null;
}

const unread: Said = { note: undefined, hasWal: null };

async function readSaid(store: Store, manifest: Manifest, options: CallOptions): Promise<Said> {
  try {
    return { note: await readNote(store, manifest, options), hasWal: await holdsWal(store, manifest, options) };
  } catch {
    return unread; // damaged: verify says so, the rest is still worth listing
  }
}

async function holdsWal(store: Store, manifest: Manifest, options: CallOptions): Promise<boolean | null> {
  const contents = findArtifact(manifest, "contents.zst");
  if (contents === undefined) return null;
  let rest = "";
  for await (const piece of await openArtifact(store, manifest, contents, options)) {
    const text = rest + piece.toString("latin1");
    if (/"path":"[^"]*-wal"/.test(text)) return true;
    rest = text.slice(text.lastIndexOf("\n") + 1);
  }
  return false;
}

function entryOf(manifest: Manifest, { note, hasWal }: Said, marks: PointMarks | undefined, { now, policy }: MetadataRequest): MetadataEntry {
  const verified = marks?.verified;
  const expires = marks?.isPinned === true ? null : expiryOf(manifest, policy);
  const isOver = expires !== null && expires.getTime() < now.getTime();
  return {
    id: manifest.id,
    kind: manifest.kind,
    folder: dayOf(manifest.id),
    created: manifest.createdAt,
    expires: expires?.toISOString() ?? null,
    status: isOver ? "expired" : verified === undefined ? "active" : "verified",
    verified: verified !== undefined,
    verified_by: verified?.by ?? null,
    verified_date: verified?.at ?? null,
    pinned: marks?.isPinned === true,
    partial: !manifest.consistent,
    description: note?.text ?? null,
    change_ticket: note?.ticket ?? null,
    retention: manifest.retention,
    creator: manifest.machine,
    tool: manifest.tool,
    purpose: purposes[manifest.kind],
    notes: verified?.note ?? null,
    files: Object.fromEntries(
      manifest.artifacts.map(({ name, size, sha256 }) => [
        name,
        { size, hash: sha256, has_wal: parseArtifactName(name)?.kind === "tar.zst" ? hasWal : false },
      ]),
    ),
  };
}

const purposes: Readonly<Record<PointKind, string>> = {
  commit: "after a commit or another change of the history",
  push: "before a push",
  session: "at the end of a session",
  daily: "daily",
  weekly: "weekly",
  pre_change: "before a change",
  manual: "asked for by hand",
};
