/** Gathers what is known about a repository's protection, from this machine alone: asks no remote. */
import { type App, now, primaryStore } from "../app.ts";
import { BackupError } from "../core/errors.ts";
import { parseStoreUrl } from "../core/store-url.ts";
import { hooksStatus } from "../hooks/status.ts";
import { readStates } from "../mirror/queue.ts";
import { readCatalogue } from "../points/catalogue.ts";
import { readIdentity } from "../points/identity.ts";
import { readCopyState } from "../replicate/copy-state.ts";
import { type Assessment, assess, type CopyFacts, type MirrorFacts, type StatusFacts } from "../status/assess.ts";
import { planPoint, type PointPlan } from "./point.ts";

export interface Status extends StatusFacts {
  readonly assessment: Assessment;
  readonly store: string | undefined;
  readonly unsavedExamples: readonly string[];
}

export async function readStatus(app: App): Promise<Status> {
  const [points, hooks, unsaved, mirrors] = await Promise.all([readPrimary(app), hooksStatus(app.repository), readPlan(app), readMirrors(app)]);
  const isFiring = hooks.hooks.every(({ state }) => state === "installed") && hooks.trigger.state === "ready";
  const isMissing = hooks.hooks.every(({ state }) => state === "missing");
  const facts: StatusFacts = {
    now: now(),
    ...points,
    unsaved: unsaved?.known === true ? { files: unsaved.files, refs: unsaved.refs } : undefined,
    hooks: isFiring ? "firing" : isMissing ? "missing" : "partly",
    copies: readCopies(app),
    mirrors,
  };
  return { ...facts, assessment: assess(facts), store: points.store, unsavedExamples: unsaved?.examples ?? [] };
}

async function readPrimary(app: App): Promise<Pick<StatusFacts, "points" | "storeError" | "damagedManifests"> & { store: string | undefined }> {
  let store: string | undefined;
  try {
    const primary = primaryStore(app);
    store = primary.url;
    await readIdentity(primary);
    const { points, damaged } = await readCatalogue(primary);
    return { points, damagedManifests: damaged.length, store };
  } catch (error) {
    if (!(error instanceof BackupError)) throw error;
    return { points: undefined, storeError: error.message, damagedManifests: 0, store };
  }
}

async function readPlan(app: App): Promise<PointPlan | undefined> {
  return planPoint(app).catch((error: unknown) => {
    // Without a store there is no last point to compare with; the finding about the store says so.
    if (error instanceof BackupError) return undefined;
    throw error;
  });
}

function readCopies(app: App): CopyFacts[] {
  const primary = folderName(app);
  return app.config.stores
    .filter((store) => store.name !== primary)
    .map(({ name, url }) => {
      const state = readCopyState(app.state.copies, name);
      return {
        name,
        url,
        kind: parseStoreUrl(url).kind === "folder" ? ("folder" as const) : ("branch" as const),
        missing: state.missing,
        lastOkAt: state.lastOkAt === null ? null : new Date(state.lastOkAt),
        error: state.error ?? (state.lastOkAt === null ? "nothing was copied yet" : null),
        hint: state.hint,
      };
    });
}

function folderName(app: App): string | undefined {
  try {
    return primaryStore(app).name;
  } catch {
    return undefined; // not protected: every store is listed
  }
}

async function readMirrors(app: App): Promise<MirrorFacts[]> {
  const states = await readStates(app.state.root);
  return app.config.mirrors.flatMap((remote): MirrorFacts[] => {
    const outcomes = states.flatMap(({ outcome }) => (outcome?.remote === remote ? [outcome] : []));
    if (outcomes.length === 0) return [{ remote, status: "never", at: null, message: null }];
    return outcomes.map(({ status, at, message }) => ({ remote, status, at, message: message ?? null }));
  });
}
