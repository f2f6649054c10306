/** Encrypts the points that exist for the recipients of today: in the primary, and noted for every copy. */
import type { App } from "../app.ts";
import { copyConfigs, openStore, primaryStore } from "../app-stores.ts";
import { KnownState } from "../capture/known.ts";
import { BackupError } from "../core/errors.ts";
import type { PointId } from "../core/ids.ts";
import { type Manifest, signedText } from "../core/manifest.ts";
import { ensureSigningKey, type FoundSigningKey } from "../keys/signing-key.ts";
import { listPoints } from "../points/listing.ts";
import { rewrapPoint } from "../points/rewrap.ts";
import { readTrash } from "../points/trash.ts";
import { noteStale } from "../replicate/stale-list.ts";
import { acquireLock } from "../state/lock.ts";
import { endRewrapPlan, type RewrapPlan, readRewrapPlan, wasReplaced, withDone, withReplaced, writeRewrapPlan } from "../state/rewrap.ts";
import type { FolderStore } from "../stores/folder.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { judgeChain, readTrust, refuseBadSignature, signingKeyFile } from "./signers.ts";

export interface RewrapResult {
  readonly points: number;
  /** Keys of old artifacts that the store did not delete. */
  readonly kept: readonly string[];
  /** Points that cannot be read, and stay as they are. */
  readonly damaged: readonly { readonly id: PointId; readonly message: string }[];
  /** Stores with points that old keys open still: in the trash, or in a copy alone, such as those of a machine that was lost. */
  readonly beyond: readonly PointsBeyond[];
}

interface PointsBeyond {
  readonly store: string;
  /** Null: the copy could not be looked at. */
  readonly points: number | null;
}

interface RewrapOptions {
  readonly signal: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
}

/** Notes that all points of now are to be for `recipients`. What is under way for the same goes on where it stopped. */
export async function planRewrap(app: App, recipients: readonly string[]): Promise<void> {
  const { canonicalRecipients } = await import("../keys/recipients.ts");
  const wanted = canonicalRecipients(recipients);
  const before = readRewrapPlan(app.state.rewrap);
  if (before?.recipients.join("\n") === wanted.join("\n")) return;
  const until = (await listIds(primaryStore(app))).at(-1);
  // What a run for other recipients had replaced when it was killed still stands in the links of points after it.
  if (until !== undefined) writeRewrapPlan(app.state.rewrap, { recipients: wanted, until, done: null, replaced: before?.replaced ?? {} });
}

/**
 * Carries out what `planRewrap` noted for the recipients of the settings. The lock is held for one point at a time.
 * Throws `key_missing` or `key_wrong` where the old points do not open; a later run goes on.
 */
export async function rewrapAll(app: App, { signal, onProgress }: RewrapOptions): Promise<RewrapResult> {
  const { encryption } = app.config;
  if (encryption === null) throw new BackupError("usage", "points are not encrypted yet", { hint: "holdfast init --yes --encrypt" });
  await using _own = await acquireLock(`${app.state.rewrap}.lock`, { purpose: "encrypting points again", waitMs: 0, signal });
  await planRewrap(app, encryption.recipients);
  const run = new Run(app, encryption.recipients);
  const seen = new Set<PointId>();
  // Points that were made meanwhile are for the new recipients; their link to the one before may be an old one.
  for (let ids = await listIds(run.store); ids.length > 0; ids = (await listIds(run.store)).filter((id) => !seen.has(id))) {
    for (const [index, id] of ids.entries()) {
      onProgress?.(index, ids.length);
      seen.add(id);
      await run.point(id, signal);
    }
  }
  endRewrapPlan(app.state.rewrap);
  app.log.write("rewrapped", { points: run.result.points, kept: run.result.kept.length, damaged: run.result.damaged.length });
  return { ...run.result, beyond: await findBeyond(app, seen, signal) };
}

async function findBeyond(app: App, ours: ReadonlySet<PointId>, signal: AbortSignal): Promise<PointsBeyond[]> {
  const found: PointsBeyond[] = [await countBeyond(primaryStore(app), ours, signal)];
  for (const config of copyConfigs(app)) {
    try {
      found.push(await countBeyond(await openStore(app, config), ours, signal));
    } catch (error) {
      if (!(error instanceof BackupError) || signal.aborted) throw error;
      found.push({ store: config.name, points: null });
    }
  }
  return found.filter(({ points }) => points !== 0);
}

async function countBeyond(store: Store, ours: ReadonlySet<PointId>, signal: AbortSignal): Promise<PointsBeyond> {
  const living = (await listIds(store, { signal })).filter((id) => !ours.has(id));
  const trashed = await readTrash(store, { signal });
  return { store: store.name, points: living.length + trashed.length };
}

class Run {
  readonly store: FolderStore;
  readonly result = { points: 0, kept: [] as string[], damaged: [] as { id: PointId; message: string }[] };
  readonly #app: App;
  readonly #recipients: readonly string[];
  readonly #copies: readonly string[];
  readonly #judge: ReturnType<typeof readTrust>;
  readonly #signer: FoundSigningKey;
  #plan: RewrapPlan;

  constructor(app: App, recipients: readonly string[]) {
    this.#app = app;
    this.store = primaryStore(app);
    this.#recipients = recipients;
    this.#copies = copyConfigs(app).map(({ name }) => name);
    this.#judge = readTrust(app);
    this.#signer = ensureSigningKey(signingKeyFile(app.environment));
    this.#plan = readRewrapPlan(app.state.rewrap) ?? { recipients: [], until: "", done: null, replaced: {} };
  }

  async point(id: PointId, signal: AbortSignal): Promise<void> {
    const { until, done } = this.#plan;
    let previous: PointId | null = null;
    if (done !== null && id < done) return;
    const { makeEncryptor } = await import("../keys/encryptor.ts");
    const state = this.#app.state;
    await using _lock = await acquireLock(state.lock, { purpose: "encrypting a point again", waitMs: 10 * 60_000, signal });
    try {
      const outcome = await rewrapPoint(id, {
        store: this.store,
        encryptor: makeEncryptor(this.#recipients),
        sign: async (next, before) => this.#sign(next, before),
        isDone: id > until || id === done,
        replaced: { has: (earlier, sum) => wasReplaced(this.#plan, earlier, sum) },
        beforeReplace: (point, sum) => {
          this.#keep(withReplaced(this.#plan, point, sum));
          noteStale(state.copies, this.#copies, point);
        },
        afterReplace: (point, sum) => {
          // Once more: a copy may have looked at the old one in between.
          noteStale(state.copies, this.#copies, point);
          rememberSum(new KnownState(state.captureState), point, sum);
        },
        signal,
      });
      previous = outcome.previous;
      if (outcome.isRewrapped) this.result.points += 1;
      this.result.kept.push(...outcome.kept);
    } catch (error) {
      if (!(error instanceof BackupError) || !["damaged", "format_newer", "signature_bad"].includes(error.code)) throw error;
      this.result.damaged.push({ id, message: error.message });
    }
    this.#keep(withDone(this.#plan, id, previous));
  }

  /** Vouches for what a trusted machine had signed, and for nothing else. */
  #sign(next: Manifest, before: Manifest): Manifest {
    const signature = judgeChain([before], this.#judge);
    refuseBadSignature(signature);
    const isOurs = signature.status === "trusted" && this.#signer.status === "ready";
    return { ...next, signature: isOurs ? this.#signer.key.sign(signedText(next)) : null };
  }

  #keep(plan: RewrapPlan): void {
    this.#plan = plan;
    writeRewrapPlan(this.#app.state.rewrap, plan);
  }
}

/** The machine's own memory of the newest point names its manifest by the sum: the next point takes it from there. */
function rememberSum(state: KnownState, id: PointId, sum: string): void {
  const known = state.load();
  if (known?.id !== id) return;
  state.stage({ ...known, manifestSha256: sum });
  state.promote();
}

async function listIds(store: Store, options: CallOptions = {}): Promise<PointId[]> {
  return [...(await listPoints(store, undefined, options)).points.keys()];
}
