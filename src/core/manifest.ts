/**
 * The manifest: one point's JSON, written last, so that its presence is the point's.
 * Plain and short: ids, times, sizes, sums. Names and messages stand in `contents`.
 * Written one field a line with two spaces of indent, each artifact on a line of its own,
 * so that a plain shell can read it (docs/format.md).
 */
import * as z from "zod";
import { BackupError } from "./errors.ts";
import { dayOf, isPointId, type PointId } from "./ids.ts";
import { parseJson } from "./json.ts";

export const formatVersion = 1;

export const pointKinds = ["commit", "push", "session", "daily", "weekly", "pre_change", "manual"] as const;
export type PointKind = (typeof pointKinds)[number];

/**
 * An artifact's name after the point id: `20261121T143005Z-a1b2c3.bundle`, and with `.age` where it is encrypted. One that was
 * encrypted again, for other keys, has the number of that time before it: `20261121T143005Z-a1b2c3.r1.bundle.age`.
 */
export const artifactKinds = ["bundle", "idx", "tar.zst", "contents.zst"] as const;
export type ArtifactKind = (typeof artifactKinds)[number];

const pointId = z
  .string()
  .regex(/^\d{8}T\d{6}Z-[0-9a-f]{6}$/)
  .refine(isPointId, "not a point id");
const sha256 = z.string().regex(/^[0-9a-f]{64}$/, "not a sha256");
const size = z.int().nonnegative();

const artifactSchema = z.strictObject({
  name: z.string().regex(/^[0-9A-Za-z.-]+$/),
  /** Bytes and sha256 as stored. */
  size,
  sha256,
  /** Bytes and sha256 after decryption and decompression; equal to the stored ones where neither applies. */
  plainSize: size,
  plainSha256: sha256,
});

const countsSchema = z.strictObject({ files: size, bytes: size, changed: size, refs: size, left: size, problems: size });

/** Its JSON Schema is docs/schemas/manifest.schema.json. */
export const manifestSchema = z.strictObject({
  format: z.literal(formatVersion),
  id: pointId,
  kind: z.enum(pointKinds),
  createdAt: z.iso.datetime({ precision: 3 }),
  repository: z.uuid(),
  machine: z.string().max(255),
  /** The point that this one builds on; null for a full one. */
  base: pointId.nullable(),
  /** The full point at the bottom of the chain; its own id for a full one. */
  full: pointId,
  /** Incrementals since the full one: 0 for a full one. */
  step: z.int().nonnegative(),
  /** Artifacts of one kind below this one that a restore reads. */
  level: z.int().min(0).max(63),
  /** The machine's point before this one, and the sha256 of its manifest as stored. */
  previous: pointId.nullable(),
  previousSha256: sha256.nullable(),
  tool: z.string().max(64),
  artifacts: z.array(artifactSchema).max(16),
  counts: countsSchema,
  /** False when something changed while it was read, or could not be read: `contents` says what. */
  consistent: z.boolean(),
  screened: z.boolean(),
  expires: z.iso.datetime({ precision: 3 }).nullable(),
  retention: z.string().max(64),
  signature: z.string().max(4096).nullable(),
});

export type Artifact = z.infer<typeof artifactSchema>;
export type Manifest = z.infer<typeof manifestSchema>;

/** Canonical text: the same manifest always gives the same bytes. */
export function writeManifest(manifest: Manifest): string {
  const lines = Object.keys(manifestSchema.shape).map((key) => {
    const value: unknown = key === "counts" ? inOrder(manifest.counts, countsSchema.shape) : manifest[key as keyof Manifest];
    if (key !== "artifacts") return `  ${JSON.stringify(key)}: ${JSON.stringify(value)}`;
    const artifacts = manifest.artifacts.map((artifact) => `    ${JSON.stringify(inOrder(artifact, artifactSchema.shape))}`);
    return artifacts.length === 0 ? `  "artifacts": []` : `  "artifacts": [\n${artifacts.join(",\n")}\n  ]`;
  });
  return `{\n${lines.join(",\n")}\n}\n`;
}

/** What a signature is made over: the canonical text without one. */
export function signedText(manifest: Manifest): string {
  return writeManifest({ ...manifest, signature: null });
}

function inOrder(value: Readonly<Record<string, unknown>>, shape: object): object {
  return Object.fromEntries(Object.keys(shape).map((key) => [key, value[key]]));
}

/**
 * Parses a manifest that a store gave. Throws `format_newer` for a version that this build does not know,
 * `damaged` with every problem listed for anything else that is not a manifest.
 */
export function parseManifest(text: string, key: string): Manifest {
  const json = parseJson(text);
  if (json === undefined) throw new BackupError("damaged", `manifest ${key} is not JSON`);
  const version = versionOf(json);
  if (version !== undefined && version > formatVersion) {
    throw new BackupError("format_newer", `point ${key} has format ${version}, this holdfast reads up to ${formatVersion}`);
  }
  const result = manifestSchema.safeParse(json);
  if (!result.success) throw new BackupError("damaged", `manifest ${key} is not valid: ${z.prettifyError(result.error)}`);
  const manifest = result.data;
  const foreign = manifest.artifacts.find((artifact) => parseArtifactName(artifact.name)?.id !== manifest.id);
  if (foreign !== undefined) throw new BackupError("damaged", `manifest ${key} names ${foreign.name}, which is not its own`);
  if (!key.endsWith(`${manifest.id}.json`)) throw new BackupError("damaged", `manifest ${key} says that it is ${manifest.id}`);
  return manifest;
}

export function manifestKey(id: PointId): string {
  return `${dayOf(id)}/${id}.json`;
}

/** The point in a manifest's key. */
export function idOf(key: string): PointId {
  return key.slice(key.indexOf("/") + 1, -".json".length);
}

/** Where an artifact of the point lies. */
export function keyOf({ id }: Pick<Manifest, "id">, { name }: Pick<Artifact, "name">): string {
  return `${dayOf(id)}/${name}`;
}

export function artifactKey(id: PointId, kind: ArtifactKind): string {
  return `${dayOf(id)}/${id}.${kind}`;
}

/** The artifact of this kind, or undefined: a point that changed nothing of a kind carries none. */
export function findArtifact(manifest: Manifest, kind: ArtifactKind): Artifact | undefined {
  return manifest.artifacts.find((artifact) => parseArtifactName(artifact.name)?.kind === kind);
}

export interface ArtifactName {
  readonly id: PointId;
  readonly kind: ArtifactKind;
  readonly isEncrypted: boolean;
  /** How often it was encrypted again. */
  readonly revision: number;
}

/** Undefined for what is no artifact's name. */
export function parseArtifactName(name: string): ArtifactName | undefined {
  const match = /^([^.]+)(?:\.r([1-9]\d{0,5}))?\.(bundle|idx|tar\.zst|contents\.zst)(\.age)?$/.exec(name);
  const [, id = "", revision = "0", kind, age] = match ?? [];
  if (kind === undefined || !isPointId(id)) return undefined;
  return { id, kind: kind as ArtifactKind, isEncrypted: age !== undefined, revision: Number(revision) };
}

export function artifactName({ id, kind, isEncrypted, revision }: ArtifactName): string {
  return `${id}${revision === 0 ? "" : `.r${revision}`}.${kind}${isEncrypted ? ".age" : ""}`;
}

/** Whether nobody reads what is in the point without its key. */
export function isEncrypted(manifest: Manifest): boolean {
  return manifest.artifacts.every(({ name }) => name.endsWith(".age"));
}

/** Bytes of all artifacts as stored. */
export function storedSize({ artifacts }: Pick<Manifest, "artifacts">): number {
  return artifacts.reduce((sum, artifact) => sum + artifact.size, 0);
}

/** Bytes of the whole point as stored: its artifacts and the manifest. */
export function pointSize(manifest: Manifest): number {
  return storedSize(manifest) + Buffer.byteLength(writeManifest(manifest));
}

function versionOf(json: unknown): number | undefined {
  if (typeof json !== "object" || json === null || !("format" in json)) return undefined;
  return typeof json.format === "number" ? json.format : undefined;
}
