/** Restores: found, planned and carried out. */
import { randomBytes } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import type { App } from "../app.ts";
import { findStore } from "../app-stores.ts";
import { sortPoints } from "../core/catalogue.ts";
import type { Contents } from "../core/contents.ts";
import { BackupError } from "../core/errors.ts";
import type { PointId } from "../core/ids.ts";
import type { Manifest } from "../core/manifest.ts";
import type { PointSignature } from "../keys/signers.ts";
import { type DamagedPoint, readContents } from "../points/catalogue.ts";
import { readIdentity } from "../points/identity.ts";
import { findTrashed, followingTrash, readTrash, withTrashed } from "../points/trash.ts";
import type { RestoreGit } from "../restore/git-port.ts";
import { executeInPlace, type InPlacePlan, makeStaging, planInPlace } from "../restore/in-place.ts";
import type { Limits } from "../restore/limits.ts";
import type { RestorePlan } from "../restore/plan.ts";
import { type Resolved, resolve } from "../restore/resolve.ts";
import { resolvePoint } from "../restore/resolve-point.ts";
import { type RestoreResult, restore } from "../restore/restore.ts";
import { discardTree } from "../state/remove-tree.ts";
import { makeScratch } from "../state/scratch.ts";
import type { Store } from "../stores/store.ts";
import { readPoints, throwIfDamaged } from "./points.ts";
import { type ChainSignature, judgeChain, meetNew, type NamedSigner, readTrust } from "./signers.ts";

export interface RestoreWish {
  readonly what: string | undefined;
  readonly at: string | undefined;
  readonly filesFrom: string | undefined;
  readonly paths: readonly string[];
  /** A store by name or URL; the primary when undefined. */
  readonly from: string | undefined;
  /** The git program when absent. */
  readonly git?: RestoreGit;
}

export interface FoundRestore extends Resolved {
  readonly store: Store;
  /** What was read on the way: all points of the store, or those that are restored. */
  readonly points: readonly Manifest[];
  /** What was seen to be damaged, asked for or not. */
  readonly damaged: readonly DamagedPoint[];
  /** Of every point that is read. */
  readonly signature: ChainSignature;
  readonly newSigners: readonly NamedSigner[];
  readonly git?: RestoreGit;
}

export async function findRestore(app: App, wish: RestoreWish, signal: AbortSignal): Promise<FoundRestore> {
  const { what, from, git } = wish;
  const by = git === undefined ? {} : { git };
  if (from !== undefined) {
    // Another store may be far away: only what is asked for is read.
    const store = followingTrash(await findStore(app, from));
    await readIdentity(store);
    const resolved = await resolvePoint({ ...wish, store, signal });
    if (resolved !== undefined) {
      const newSigners = await meetNew(app, store);
      return { ...resolved, store, points: resolved.chain, signature: judgePlan(resolved.plan, readTrust(app)), newSigners, ...by };
    }
  }
  const { points, damaged, judge, newSigners, ...found } = await readPoints(app, from);
  // Nothing keeps prune from running meanwhile: a restore may take long.
  const store = followingTrash(found.store);
  // Without git the living repository is not looked into: its objects may lie in ways that only git reads.
  const { here } = app.repository;
  const place = { gitDir: git?.isProgram === false ? undefined : here.gitDir, worktree: here.name };
  if (what !== undefined && !points.some(({ id }) => id.startsWith(what))) {
    throwIfDamaged(what, damaged);
    const pruned = await findPruned(what, store, points, signal);
    if (pruned !== undefined) {
      const resolved = await resolve({ ...wish, ...pruned, ...place, signal });
      const explanation = `${resolved.explanation}, which was pruned: holdfast undelete ${resolved.plan.point.id} brings it back into the store`;
      return { ...resolved, explanation, store: pruned.store, points, damaged, signature: judgePlan(resolved.plan, judge), newSigners, ...by };
    }
  }
  const resolved = await resolve({ ...wish, store, catalogue: points, ...place, signal });
  return { ...resolved, store, points, damaged, signature: judgePlan(resolved.plan, judge), newSigners, ...by };
}

/** A store and a catalogue in which a pruned point stands where it was; undefined where `what` is none. */
async function findPruned(
  what: string,
  store: Store,
  points: readonly Manifest[],
  signal: AbortSignal,
): Promise<{ readonly what: PointId; readonly store: Store; readonly catalogue: readonly Manifest[] } | undefined> {
  if (!/^\d{8}T[0-9TZa-f-]*$/.test(what)) return undefined;
  const living = new Set(points.map(({ id }) => id));
  const trash = (await readTrash(store, { signal })).filter(({ manifest }) => !living.has(manifest.id));
  const found = findTrashed(what, trash);
  if (found === undefined) return undefined;
  const catalogue = sortPoints([...points, ...trash.map(({ manifest }) => manifest)]);
  return { what: found.manifest.id, store: withTrashed(store, trash), catalogue };
}

/** Of everything that the restore will read. */
export function judgePlan({ objects, chain }: RestorePlan, judge: (manifest: Manifest) => PointSignature): ChainSignature {
  return judgeChain([...objects, ...chain], judge);
}

/** What is in the point that the restore takes its files from. */
export function readFoundContents({ plan, store }: FoundRestore, signal: AbortSignal): Promise<Contents> {
  return readContents(store, plan.chain, { signal });
}

export interface RestoreOptions {
  readonly signal: AbortSignal;
  readonly onLimits?: (limits: Limits) => void;
  readonly onProgress?: (step: string) => void;
}

/** A new folder for a restore that was given none. */
export function temporaryTarget(name: string, point: Manifest): string {
  return mkdtempSync(join(tmpdir(), `${name.replaceAll(/[^A-Za-z0-9._-]+/g, "-")}-${point.id.slice(0, 16)}-`));
}

export async function restoreTo(found: FoundRestore, target: string, options: RestoreOptions): Promise<RestoreResult> {
  const { plan, store, git } = found;
  return restore({ plan, store, target, ...(git === undefined ? {} : { git }), ...options });
}

/** Restores into a temporary folder, compares, and removes it. */
export async function proveRestore(found: FoundRestore, options: RestoreOptions): Promise<RestoreResult> {
  using scratch = makeScratch("prove");
  return await restoreTo(found, join(scratch.path, found.plan.point.id), options);
}

export interface InPlaceRestore extends AsyncDisposable {
  readonly plan: InPlacePlan;
  readonly result: RestoreResult;
  readonly root: string;
  execute(signal: AbortSignal): void;
}

/** Restores beside the repository's state and compares with the worktree; nothing of the user's is written before `execute`. */
export async function prepareInPlace(app: App, found: FoundRestore, signal: AbortSignal): Promise<InPlaceRestore> {
  const { here } = app.repository;
  const root = here.root;
  if (root === null) throw new BackupError("usage", "a bare repository has no files to restore in place", { hint: "restore-from-git --to DIR" });
  if (here.name !== "" && found.plan.result === "commit") {
    throw new BackupError("usage", "in a linked worktree only a moment can be restored in place", {
      hint: "name a point, or: restore-from-git COMMIT --to DIR",
    });
  }
  const staging = makeStaging(app.state.root, randomBytes(4).toString("hex"));
  const dispose = async (): Promise<void> => {
    discardTree(dirname(staging));
  };
  try {
    const result = await restoreTo(found, staging, { signal });
    const from = here.name === "" ? staging : result.worktrees.find((folder) => basename(folder) === here.name);
    if (from === undefined) throw new BackupError("unknown_point", `point ${found.plan.point.id} does not hold the worktree ${here.name}`);
    const plan = await planInPlace(from, root);
    return { plan, result, root, execute: (executeSignal) => executeInPlace(plan, from, root, executeSignal), [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}
