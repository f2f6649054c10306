/** The use case: one point of this moment, in the primary store. */

import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type Catalogue, chainOf } from "../core/catalogue.ts";
import type { LeftEntry, NoteEntry, Problem, RefEntry } from "../core/contents.ts";
import { contentsVersion } from "../core/contents.ts";
import { BackupError } from "../core/errors.ts";
import { newPointId } from "../core/ids.ts";
import { type Artifact, artifactKey, formatVersion, type Manifest, type PointKind, signedText, storedSize, writeManifest } from "../core/manifest.ts";
import { Policy, type PolicyPatterns } from "../core/policy.ts";
import type { Rewrite } from "../core/rewrites.ts";
import type { Repository } from "../git/repository.ts";
import { hasPoint, readCatalogue } from "../points/catalogue.ts";
import { readIdentity } from "../points/identity.ts";
import { publishPoint } from "../points/publish.ts";
import { readRefState } from "../points/ref-records.ts";
import type { LocalStore } from "../stores/store.ts";
import { type Captured, capture } from "./capture.ts";
import { noteRecords, writeRecords } from "./contents-file.ts";
import { hasGainedDepth } from "./depth.ts";
import { type Encryption, encryptArtifacts, plainSpool } from "./encrypt.ts";
import type { KnownPoint, KnownState } from "./known.ts";
import type { Observation } from "./observe.ts";
import { type Footing, planFooting } from "./plan.ts";
import { rememberPoint, rememberRepeat } from "./remember.ts";
import { findRewrites } from "./rewrites.ts";

export interface PointRequest {
  readonly repository: Repository;
  readonly name: string;
  readonly patterns: PolicyPatterns;
  readonly store: LocalStore;
  readonly storeFolders: readonly string[];
  readonly state: KnownState;
  readonly kind: PointKind;
  /** Asked by name: a point is made even when nothing changed. */
  readonly isAsked: boolean;
  readonly isFullAsked: boolean;
  /** Absent: the artifacts are stored as they are. */
  readonly encryption?: Encryption;
  readonly retention: string;
  /** Why it is made, in its maker's words. */
  readonly note?: NoteEntry;
  readonly machine: string;
  readonly tool: string;
  readonly now: () => Date;
  /** An integer in [0, 2^24). */
  readonly random: () => number;
  /** Gives the signature of a manifest's text. Without it the point is unsigned. */
  readonly sign?: ((text: string) => string) | undefined;
  /** Forced history since the last point; called before the point is published. */
  readonly onRewrites?: (rewrites: readonly Rewrite[]) => void;
  /** True where a push from here, that git keeps no reflog of, put the ref there. */
  readonly isPushed?: (ref: string, oid: string) => Promise<boolean>;
  /** Something that needs the contents of older points, and goes without: they cannot be read now. */
  readonly onUnread?: (error: BackupError) => void;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal | undefined;
}

export type PointResult =
  | { readonly status: "unchanged"; readonly last: string }
  | { readonly status: "made"; readonly manifest: Manifest; readonly problems: readonly Problem[]; readonly left: readonly LeftEntry[] };

/**
 * Captures and publishes under the caller's lock. Throws before anything is published; what a failed run leaves in
 * the store's spool is cleared by a later one.
 */
export async function makePoint(request: PointRequest): Promise<PointResult> {
  const { store, state, now } = request;
  const identity = await readIdentity(store, request);
  const startedAt = now();
  const known = await trustedState(request, identity.repository);
  const catalogue = known === undefined ? (await readCatalogue(store, request)).points : [];
  // In a place that machines share the newest may be another's: the chain is this machine's own.
  const own = catalogue.filter(({ machine }) => machine === request.machine);
  const last = own.at(-1);
  const previous =
    known !== undefined
      ? { id: known.id, sha256: known.manifestSha256 }
      : last === undefined
        ? undefined
        : { id: last.id, sha256: manifestSum(last) };
  const id = newPointId(startedAt, request.random(), previous?.id);
  const footing = planFooting({
    known,
    now: startedAt,
    repository: identity.repository,
    commonDir: request.repository.commonDir,
    isFullAsked: request.isFullAsked || hasGainedDepth(request.repository, known),
    recipients: request.encryption?.encryptor.recipients ?? [],
  });
  const policyDigest = createHash("sha256").update(JSON.stringify(request.patterns)).digest("hex");
  const spool = store.spool();
  let plain = spool;
  try {
    if (request.encryption !== undefined) plain = await plainSpool(request.encryption);
    const result = await capture({
      ...request,
      note: request.note,
      policy: new Policy(request.patterns),
      policyDigest,
      known,
      footing,
      id,
      fullIndex: known === undefined ? undefined : fullIndexOf(known, request),
      spool: plain,
      startedAt,
    });
    const common = {
      format: formatVersion,
      id,
      kind: request.kind,
      createdAt: startedAt.toISOString(),
      repository: identity.repository,
      machine: request.machine,
    } as const;
    const chain = { previous: previous?.id ?? null, previousSha256: previous?.sha256 ?? null };
    const rest = { tool: request.tool, screened: false, expires: null, retention: request.retention, signature: null } as const;
    if (result.status === "unchanged") {
      if (known === undefined) throw new BackupError("internal", "nothing changed since nothing");
      if (!request.isAsked) return { status: "unchanged", last: known.id };
      const repeat = await repeatOf(request, known, id, plain);
      const artifacts = await seal(repeat.artifacts, plain, spool, request);
      const manifest = signed(request, { ...common, ...repeat, artifacts, ...chain, ...rest });
      state.stage(rememberRepeat(known, manifest, manifestSum(manifest)));
      await publishPoint(store, manifest, spool, request);
      state.promote();
      return { status: "made", manifest, problems: [], left: [] };
    }
    const manifest = signed(request, {
      ...common,
      ...placeOf(footing, known, id),
      ...chain,
      ...rest,
      artifacts: await seal(result.artifacts, plain, spool, request),
      counts: result.counts,
      consistent: result.problems.length === 0,
    });
    if (previous !== undefined && request.onRewrites !== undefined) {
      const before = known?.refs ?? (await storedRefs(request, last, catalogue, result.observation));
      const found = await findRewrites({ ...request, before, after: result.observation.refs });
      if (found.length > 0) request.onRewrites(found.map((rewrite) => ({ ...rewrite, point: previous.id, seenAt: manifest.createdAt })));
    }
    stage(request, result, { manifest, footing, known, policyDigest });
    if (request.encryption !== undefined && footing.kind === "full") state.keepIndex(id, join(plain, `${id}.idx`));
    await publishPoint(store, manifest, spool, request);
    state.promote();
    return { status: "made", manifest, problems: result.problems, left: result.observation.left };
  } finally {
    for (const folder of new Set([plain, spool])) await rm(folder, { recursive: true, force: true });
  }
}

/** The artifacts as they are stored: those in `plain`, encrypted into `spool` where that is asked for. */
async function seal(artifacts: readonly Artifact[], plain: string, spool: string, { encryption, signal }: PointRequest): Promise<Artifact[]> {
  if (encryption === undefined) return [...artifacts];
  return encryptArtifacts(artifacts, plain, spool, encryption, { signal });
}

/** In the store, or where it is encrypted there, with what the machine remembers. */
function fullIndexOf({ full, recipients }: KnownPoint, { state, store }: PointRequest): string {
  return recipients.length > 0 ? state.indexFile(full) : store.fileOf(artifactKey(full, "idx"));
}

/** What the machine remembers, if the store still has the points that it would build on. */
async function trustedState({ state, store, signal }: PointRequest, repository: string): Promise<KnownPoint | undefined> {
  const options = { signal };
  const staged = state.findStaged();
  // Killed between: the point exists exactly when its manifest does.
  if (staged !== undefined && (await hasPoint(store, staged, options))) state.promote();
  else state.dropStaged();
  const known = state.load();
  if (known === undefined || known.repository !== repository) return undefined;
  for (const id of new Set([known.id, ...known.rungs.map((rung) => rung.id)])) if (!(await hasPoint(store, id, options))) return undefined;
  return known;
}

/** The refs of the last point as the store has them, for a machine that has forgotten them. Of another folder's point none. */
async function storedRefs(
  { store, signal, onUnread }: PointRequest,
  last: Manifest | undefined,
  catalogue: Catalogue,
  { worktrees }: Observation,
): Promise<ReadonlyMap<string, RefEntry>> {
  const nothing = new Map<string, RefEntry>();
  if (last === undefined) return nothing;
  try {
    const state = await readRefState(store, chainOf(last, catalogue), { signal });
    return state.worktrees[0]?.path === worktrees[0]?.path ? state.refs : nothing;
  } catch (error) {
    // An older point that is damaged must not keep a new one from being made; `verify` and `status` name it.
    // One that is encrypted is not opened either: a backup needs no secret.
    if (!(error instanceof BackupError) || !["damaged", "chain_broken", "format_newer", "key_missing"].includes(error.code)) throw error;
    onUnread?.(error);
    return nothing;
  }
}

/** Before the manifest: a run that is killed right after it still knows its point. */
function stage(
  { state, repository, encryption }: PointRequest,
  captured: Captured,
  point: { manifest: Manifest; footing: Footing; known: KnownPoint | undefined; policyDigest: string },
): void {
  state.writeTips(point.manifest.id, captured.observation.tips);
  state.stage(
    rememberPoint({
      ...point,
      captured,
      commonDir: repository.commonDir,
      manifestSha256: manifestSum(point.manifest),
      size: storedSize(point.manifest),
      recipients: encryption?.encryptor.recipients ?? [],
    }),
  );
}

/** A point asked for when nothing changed: contents that say "as the last one". It takes no place in the ladder. */
async function repeatOf(
  { repository, name, note }: PointRequest,
  known: KnownPoint,
  id: string,
  spool: string,
): Promise<Pick<Manifest, "base" | "full" | "step" | "level" | "artifacts" | "counts" | "consistent">> {
  const top = known.rungs.at(-1);
  if (top === undefined) throw new BackupError("internal", "a state without a rung");
  const worktrees = known.worktrees.map((worktree) => ({ t: "worktree" as const, ...worktree }));
  const problems = known.problems.map((problem) => ({ t: "problem" as const, ...problem }));
  const contents = await writeRecords(spool, id, [
    { t: "point", v: contentsVersion, id, base: top.id, objectFormat: repository.objectFormat, name },
    ...noteRecords(note),
    ...worktrees,
    ...problems,
  ]);
  const counts = { ...known.counts, changed: 0 };
  return {
    base: top.id,
    full: known.full,
    step: known.step,
    level: known.rungs.length,
    artifacts: [contents],
    counts,
    consistent: problems.length === 0,
  };
}

function placeOf(footing: Footing, known: KnownPoint | undefined, id: string): Pick<Manifest, "base" | "full" | "step" | "level"> {
  if (footing.kind === "full" || known === undefined) return { base: null, full: id, step: 0, level: 0 };
  const level = known.rungs.filter((rung) => rung.step <= footing.base.step).length;
  return { base: footing.base.id, full: known.full, step: footing.step, level };
}

function signed({ sign }: PointRequest, manifest: Manifest): Manifest {
  return sign === undefined ? manifest : { ...manifest, signature: sign(signedText(manifest)) };
}

function manifestSum(manifest: Manifest): string {
  return createHash("sha256").update(writeManifest(manifest)).digest("hex");
}
