/** Gathers what is known about a repository's protection, from this machine alone: asks no remote. */
import { type App, now } from "../app.ts";
import { keySettings, primaryStore } from "../app-stores.ts";
import { branchRefOf } from "../core/config.ts";
import { BackupError } from "../core/errors.ts";
import { alarming, type Rewrite } from "../core/rewrites.ts";
import { parseStoreUrl } from "../core/store-url.ts";
import { type DrillEvidence, readEvidence } from "../drill/evidence.ts";
import type { Repository } from "../git/repository.ts";
import { withoutCredentials } from "../git/run.ts";
import { type HooksStatus, hooksStatus } from "../hooks/status.ts";
import { identityPlace } from "../keys/open.ts";
import { readStates } from "../mirror/queue.ts";
import { readCatalogue } from "../points/catalogue.ts";
import { readIdentity } from "../points/identity.ts";
import { acknowledgeRewrites, readRewrites } from "../state/rewrites.ts";
import { readRunLog } from "../state/run-log.ts";
import { type Assessment, assess, type KeyFacts, type MirrorFacts, type StatusFacts } from "../status/assess.ts";
import type { ProofFacts } from "../status/proof.ts";
import { readVerifications } from "../verify/last.ts";
import { readCopies, readPrimaryPlace } from "./copy-facts.ts";
import { identityFacts } from "./encryption.ts";
import { type PointPlan, planPoint } from "./point.ts";
import { readRefusals } from "./prune.ts";

export interface Status extends StatusFacts {
  readonly assessment: Assessment;
  readonly store: string | undefined;
  readonly unsavedExamples: readonly string[];
}

export async function readStatus(app: App): Promise<Status> {
  const [points, hooks, silentWorktrees, unsaved, mirrors] = await Promise.all([
    readPrimary(app),
    hooksStatus(app.repository),
    findSilentWorktrees(app.repository),
    readPlan(app),
    readMirrors(app),
  ]);
  const copies = await readCopies(app, points.points);
  const isFiring = fires(hooks) && hooks.trigger.state === "ready";
  const isMissing = hooks.hooks.every(({ state }) => state === "missing");
  const facts: StatusFacts = {
    now: now(),
    ...points,
    unsaved: unsaved.plan?.known === true ? { files: unsaved.plan.files, refs: unsaved.plan.refs } : undefined,
    ...(unsaved.error === undefined ? {} : { unsavedError: unsaved.error }),
    lastFailure: readLastFailure(app),
    isConfigMissing: app.configFile.isRemembered,
    hooks: isFiring ? "firing" : isMissing ? "missing" : "partly",
    silentWorktrees,
    primary: await readPrimaryPlace(app),
    copies,
    mirrors,
    rewrites: readAlarming(app),
    refusals: readRefusals(app),
    key: readKey(app),
    ...readProof(app),
  };
  return { ...facts, assessment: assess(facts), store: points.store, unsavedExamples: unsaved.plan?.examples ?? [] };
}

/** What is told of drills: the newest of them, and of each store the last, however long ago. */
function newestOf(drills: readonly DrillEvidence[]): DrillEvidence[] {
  const last = new Set(new Map(drills.map((drill) => [drill.store, drill])).values());
  return drills.filter((drill, at) => at >= drills.length - drillsTold || last.has(drill));
}

const drillsTold = 30;

/** Of a store that was taken out of the settings nothing is told. */
function readProof(app: App): ProofFacts {
  const isHere = ({ store }: { readonly store: string }): boolean => app.config.stores.some(({ name }) => name === store);
  return {
    drills: newestOf(readEvidence(app.state.drills).filter(isHere)).map(({ at, store, isOffsite, isProven, recoveryMs, error, points }) => ({
      at: new Date(at),
      store,
      isOffsite,
      isProven,
      recoveryMs,
      failure: error ?? points.flatMap(({ findings }) => findings)[0] ?? null,
    })),
    verifications: readVerifications(app.state.verifications)
      .filter(isHere)
      .map((verification) => ({ ...verification, at: new Date(verification.at) })),
  };
}

function fires({ hooks }: HooksStatus): boolean {
  return hooks.every(({ state }) => state === "installed");
}

/** Each worktree may have hooks of its own: a relative core.hooksPath leads to another folder in each. */
async function findSilentWorktrees(repository: Repository): Promise<string[]> {
  const others = repository.worktrees.filter(({ root, gitDir }) => root !== null && gitDir !== repository.here.gitDir);
  const states = await Promise.all(others.map(async (here) => fires(await hooksStatus({ ...repository, here }))));
  return others.flatMap(({ root }, at) => (states[at] === true || root === null ? [] : [root]));
}

/** From now on status is silent about the rewrites that it has named until now; gives them. */
export function acknowledgeAll(app: App): Rewrite[] {
  const seen = readAlarming(app);
  if (seen.length === 0) return [];
  acknowledgeRewrites(app.state.rewrites, now());
  app.log.write("rewrites_acknowledged", { refs: seen.map(({ ref }) => ref) });
  return seen;
}

/** Null where points are not encrypted. */
export function readKey(app: App): KeyFacts | null {
  if (app.config.encryption === null) return null;
  const settings = keySettings(app);
  try {
    return identityFacts(settings);
  } catch (error) {
    if (!(error instanceof BackupError)) throw error;
    return { path: identityPlace(settings).path, state: "missing", isOpenToOthers: false };
  }
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

/** Others' rewrites of remotes that nobody has acknowledged. */
function readAlarming(app: App): Rewrite[] {
  // A backup branch is re-rooted by whoever prunes it.
  const expected = new Set(
    app.config.stores.flatMap((store) => {
      const location = parseStoreUrl(store.url);
      return location.kind === "branch" ? (branchRefOf(store)?.replace(/^refs\/heads\//, `refs/remotes/${location.remote}/`) ?? []) : [];
    }),
  );
  return alarming(readRewrites(app.state.rewrites), now(), (ref) => expected.has(ref));
}

async function readPlan(app: App): Promise<{ readonly plan?: PointPlan; readonly error?: Pick<BackupError, "message" | "hint"> }> {
  try {
    return { plan: await planPoint(app) };
  } catch (error) {
    if (!(error instanceof BackupError)) throw error;
    // Without a store there is no last point to compare with; the finding about the store says so.
    if (error.code === "not_protected" || error.code.startsWith("store_")) return {};
    return { error: { message: error.message, hint: error.hint } };
  }
}

async function readMirrors(app: App): Promise<MirrorFacts[]> {
  const states = await readStates(app.state.root);
  return app.config.mirrors.flatMap(({ remote }): MirrorFacts[] => {
    const outcomes = states.flatMap(({ outcome }) => (outcome?.remote === withoutCredentials(remote) ? [outcome] : []));
    if (outcomes.length === 0) return [{ remote, status: "never", at: null, message: null }];
    return outcomes.map(({ status, at, message, hint, notes }) => {
      return { remote, status, at, message: message ?? null, notes, ...(hint === undefined ? {} : { hint }) };
    });
  });
}
