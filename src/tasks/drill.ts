/** A drill: what is in a store is restored for proof, and the proof kept. */
import { type App, now, random } from "../app.ts";
import { isOffsite } from "../app-places.ts";
import { copyConfigs, findStore, openStore, primaryStore } from "../app-stores.ts";
import { BackupError, describeError } from "../core/errors.ts";
import { chooseStore, type DrillStore } from "../drill/choose.ts";
import { addEvidence, type DrillEvidence, readEvidence } from "../drill/evidence.ts";
import { isTracked } from "../git/index-entries.ts";
import { readCatalogue } from "../points/catalogue.ts";
import { readIdentity } from "../points/identity.ts";
import { followingTrash } from "../points/trash.ts";
import { acquireLock } from "../state/lock.ts";
import { makeScratch } from "../state/scratch.ts";
import type { Store } from "../stores/store.ts";
import { judgeChain, meetStore, type NamedSigner, readTrust } from "./signers.ts";

export interface DrillWish {
  /** By name or URL; undefined: the off-site copies in turn. */
  readonly store: string | undefined;
  /** In place of the one in the settings. */
  readonly check: string | undefined;
  readonly onStep?: (step: string) => void;
  /** Of a store that is used for the first time. */
  readonly onNewSigners?: (signers: readonly NamedSigner[], store: string) => void;
  readonly signal: AbortSignal;
}

/**
 * Carries it out and keeps the evidence, also of one that failed. Throws `locked` while another is under way, `usage` for a store
 * that there is not, `key_missing` or `key_wrong` where nothing could be opened, which is no evidence.
 */
export async function drillNow(app: App, wish: DrillWish): Promise<DrillEvidence> {
  const { signal } = wish;
  const { drill, refuseEmpty } = await import("../drill/drill.ts");
  const check = wish.check ?? (await checkOfSettings(app));
  await using _lock = await acquireLock(app.state.drillLock, { purpose: "a drill", signal });
  const at = now();
  const { store, facts } = await chosenStore(app, wish.store);
  const common = { at: at.toISOString(), store: facts.name, isOffsite: facts.isOffsite };
  using scratch = makeScratch("drill", app.state.scratch);
  const startedAt = performance.now();
  try {
    await readIdentity(store, { signal });
    const { points } = await readCatalogue(store, { signal });
    refuseEmpty(store, points);
    const newSigners = meetStore(app, store, points);
    if (newSigners.length > 0) wish.onNewSigners?.(newSigners, store.name);
    const judge = readTrust(app);
    const openMs = performance.now() - startedAt;
    const drilled = await drill({
      // A point that is pruned meanwhile is no failure.
      store: followingTrash(store),
      points,
      scratch: scratch.path,
      judge: (chain) => judgeChain(chain, judge),
      random: random(),
      check,
      signal,
      ...(wish.onStep === undefined ? {} : { onStep: wish.onStep }),
    });
    const latest = drilled.find(({ role }) => role === "latest");
    const evidence: DrillEvidence = {
      ...common,
      isProven: drilled.every(({ findings }) => findings.length === 0),
      points: drilled,
      recoveryMs: latest === undefined || latest.findings.length > 0 ? null : openMs + latest.restoreMs,
      pointAgeMs: latest === undefined ? null : Math.max(0, at.getTime() - Date.parse(latest.createdAt)),
      error: null,
    };
    return keep(app, evidence);
  } catch (error) {
    // Without the key nothing was tried: that is no evidence.
    if (signal.aborted || (error instanceof BackupError && (error.code === "key_missing" || error.code === "key_wrong"))) throw error;
    return keep(app, { ...common, isProven: false, points: [], recoveryMs: null, pointAgeMs: null, error: describeError(error) });
  }
}

function keep(app: App, evidence: DrillEvidence): DrillEvidence {
  addEvidence(app.state.drills, evidence);
  const { store, isProven, recoveryMs, error } = evidence;
  app.log.write("drill", { store, isProven, recoveryMs, error });
  return evidence;
}

async function chosenStore(app: App, wish: string | undefined): Promise<{ store: Store; facts: DrillStore }> {
  const primary = primaryStore(app);
  const copies = await Promise.all(
    copyConfigs(app).map(async (config) => ({ config, facts: { name: config.name, isOffsite: await isOffsite(app, config), isPrimary: false } })),
  );
  if (wish !== undefined) {
    const store = await findStore(app, wish);
    const known = copies.find(({ facts }) => facts.name === store.name)?.facts;
    return { store, facts: known ?? { name: store.name, isOffsite: false, isPrimary: store.name === primary.name } };
  }
  const facts = chooseStore(
    [{ name: primary.name, isOffsite: false, isPrimary: true }, ...copies.map(({ facts: known }) => known)],
    readEvidence(app.state.drills),
  );
  const chosen = copies.find(({ config }) => config.name === facts?.name);
  if (facts === undefined || chosen === undefined) return { store: primary, facts: { name: primary.name, isOffsite: false, isPrimary: true } };
  return { store: await openStore(app, chosen.config), facts };
}

/**
 * The command of the settings runs with the user's rights. A backup.yaml that git tracks changes with every pull: whoever
 * can push would run commands here, so of such a file none is taken.
 */
async function checkOfSettings(app: App): Promise<string | undefined> {
  const { check } = app.config.drill;
  if (check === undefined || !app.configFile.exists) return check;
  const { path } = app.configFile;
  if (!(await isTracked(path))) return check;
  throw new BackupError("config_invalid", `${path} is tracked by git, so the command drill.check in it is not run`, {
    hint: `if it is yours: holdfast drill --check ${JSON.stringify(check)}`,
  });
}
