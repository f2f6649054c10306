/** Gathers what is known about a repository's protection, from this machine alone: asks no remote. */
import { type App, now, primaryStore } from "../app.ts";
import { BackupError } from "../core/errors.ts";
import { parseStoreUrl } from "../core/store-url.ts";
import { hooksStatus } from "../hooks/status.ts";
import { readStates } from "../mirror/queue.ts";
import { readCatalogue } from "../points/catalogue.ts";
import { readIdentity } from "../points/identity.ts";
import { readCopyState } from "../replicate/copy-state.ts";
import { readRunLog } from "../state/run-log.ts";
import { type Assessment, assess, type CopyFacts, type MirrorFacts, type StatusFacts } from "../status/assess.ts";
import { type PointPlan, planPoint } from "./point.ts";

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
    lastFailure: readLastFailure(app),
    isConfigMissing: app.configFile.isRemembered,
    hooks: isFiring ? "firing" : isMissing ? "missing" : "partly",
    copies: readCopies(app),
    mirrors,
  };
  return { ...facts, assessment: assess(facts), store: points.store, unsavedExamples: unsaved?.examples ?? [] };
}

async function readPrimary(app: App): Promise<Pick<StatusFacts, "points" | "storeError" | "damaged"> & { store: string | undefined }> {
  let store: string | undefined;
  try {
    const primary = primaryStore(app);
    store = primary.url;
    await readIdentity(primary);
    const { points, damaged } = await readCatalogue(primary);
    return { points, damaged: [...new Set(damaged.map(({ id }) => id))], store };
  } catch (error) {
    if (!(error instanceof BackupError)) throw error;
    return { points: undefined, storeError: { message: error.message, hint: error.hint }, damaged: [], store };
  }
}

/** By the run log: a hook's worker has nobody to tell. */
function readLastFailure(app: App): string | null {
  const last = readRunLog(app.state.root, 500).findLast(
    ({ event }) => event === "point_made" || event === "point_unchanged" || event === "point_failed",
  );
  return last?.event === "point_failed" ? String(last.facts["message"] ?? "for a reason that was not noted") : null;
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
        beyond: state.beyond,
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
  return app.config.mirrors.flatMap(({ remote }): MirrorFacts[] => {
    const outcomes = states.flatMap(({ outcome }) => (outcome?.remote === remote ? [outcome] : []));
    if (outcomes.length === 0) return [{ remote, status: "never", at: null, message: null }];
    return outcomes.map(({ status, at, message }) => ({ remote, status, at, message: message ?? null }));
  });
}
