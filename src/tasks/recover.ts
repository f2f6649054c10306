/** Brings a repository back on a machine that has nothing, and tells what it takes to go on being protected. */
import type { App } from "../app.ts";
import { openBareStore, primaryStore } from "../app-stores.ts";
import { BackupError } from "../core/errors.ts";
import { findIdentity, readIdentity, type StoreIdentity } from "../points/identity.ts";
import type { RestoreGit } from "../restore/git-port.ts";
import { resolvePoint } from "../restore/resolve-point.ts";
import type { RestoreResult } from "../restore/restore.ts";
import { stateDirOf, stateLayout } from "../state/layout.ts";
import { rememberRepositoryId } from "../state/repository-id.ts";
import { makeScratch } from "../state/scratch.ts";
import type { Store } from "../stores/store.ts";
import { type FoundRestore, judgePlan, type RestoreOptions, restoreTo } from "./restore.ts";
import { readTrust } from "./signers.ts";

export interface RecoverWish {
  readonly url: string;
  /** A point's prefix or `latest`; undefined: the newest. */
  readonly what: string | undefined;
  readonly at: string | undefined;
  readonly git: RestoreGit;
  readonly environment: NodeJS.ProcessEnv;
}

/** A store that was opened without a repository around, and what shall be restored from it. */
export interface FoundRecovery extends AsyncDisposable {
  readonly found: FoundRestore;
  readonly identity: StoreIdentity;
}

/** Throws `store_missing`, `no_points`, `unknown_point`, and `git_missing` for a store that only git reads. */
export async function findRecovery({ url, what, at, git, environment }: RecoverWish, signal: AbortSignal): Promise<FoundRecovery> {
  const folder = makeScratch("recover");
  const scratch = folder.path;
  const dispose = async (): Promise<void> => folder[Symbol.dispose]();
  try {
    const store = await openThere(url, scratch, environment);
    const identity = await readIdentity(store);
    const resolved = await resolvePoint({ what, at, filesFrom: undefined, paths: [], store, git, signal }).catch((error: unknown) => {
      if (!(error instanceof BackupError) || error.code !== "no_points") throw error;
      throw new BackupError("no_points", `the store ${url} holds no point that can be read`, { hint: "look for another copy", cause: error });
    });
    if (resolved === undefined) {
      throw new BackupError("unknown_point", `there is no point ${what} in the store ${url}`, {
        hint: "recover takes a point, or --at TIME; for a commit: recover the newest point, then in its folder: restore-from-git COMMIT",
      });
    }
    const judge = readTrust({ environment, state: stateLayout(stateDirOf(scratch)) });
    const signature = judgePlan(resolved.plan, judge);
    return { found: { ...resolved, store, points: resolved.chain, signature, newSigners: [], git }, identity, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

async function openThere(url: string, scratch: string, environment: NodeJS.ProcessEnv): Promise<Store> {
  try {
    return await openBareStore(url, scratch, environment);
  } catch (error) {
    if (!(error instanceof BackupError) || error.code !== "git_missing") throw error;
    throw new BackupError("git_missing", `${url} is a branch, and only git reads it`, {
      hint: "clone the branch where there is git, bring that folder here, then: holdfast recover FOLDER DIR",
      cause: error,
    });
  }
}

/** The recovered repository goes on with its stores: they know it by its id. */
export async function recoverTo({ found, identity }: FoundRecovery, target: string, options: RestoreOptions): Promise<RestoreResult> {
  const result = await restoreTo(found, target, options);
  if (result.comparison.differences.length === 0 && result.withheld.length === 0)
    rememberRepositoryId(stateLayout(stateDirOf(result.gitDir)), identity.repository);
  return result;
}

/** What the settings that came back mean on this machine. */
export type Footing =
  /** The point holds no settings, or they name no folder. */
  | { readonly status: "no_settings" }
  /** The primary store is here, with the points of this repository. */
  | { readonly status: "ready"; readonly primary: string }
  /** It is not: a disk that is not mounted, or it stayed with the old machine. Nothing is begun in its place unasked. */
  | { readonly status: "primary_absent"; readonly primary: string }
  /** The settings that came back cannot be read; the error says where. */
  | { readonly status: "settings_invalid"; readonly message: string }
  /** Points of another repository are there. */
  | { readonly status: "primary_foreign"; readonly primary: string; readonly owner: string };

/** Reads only. `app`: of the recovered repository. */
export async function readFooting(app: App, identity: StoreIdentity): Promise<Footing> {
  const primary = findPrimary(app);
  if (primary === undefined) return { status: "no_settings" };
  const found = await findIdentity(primary);
  if (found === undefined) return { status: "primary_absent", primary: primary.url };
  if (found.repository !== identity.repository) return { status: "primary_foreign", primary: primary.url, owner: found.name };
  return { status: "ready", primary: primary.url };
}

function findPrimary(app: App): Store | undefined {
  try {
    return primaryStore(app);
  } catch (error) {
    if (error instanceof BackupError && error.code === "not_protected") return undefined;
    throw error;
  }
}
