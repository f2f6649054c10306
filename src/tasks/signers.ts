/** Whose points these are: this machine's signing key, and the signers that it trusts. */
import { appendFileSync, mkdirSync, readFileSync } from "node:fs";
import { hostname } from "node:os";
import { dirname, join } from "node:path";
import { type App, now } from "../app.ts";
import { copyConfigs, openStore, primaryStore } from "../app-stores.ts";
import { BackupError, describeError, systemCode } from "../core/errors.ts";
import type { RemovedPoint } from "../core/history.ts";
import type { PointId } from "../core/ids.ts";
import { machineName } from "../core/machine-name.ts";
import type { Manifest } from "../core/manifest.ts";
import { withoutCredentials } from "../git/run.ts";
import { configHome } from "../keys/config-home.ts";
import { addSigners, judgeSignature, judgeText, type PointSignature, readSigners, type Signer, signerOf, type Trusted } from "../keys/signers.ts";
import { ensureSigningKey, type FoundSigningKey, findSigningKey, signingKeyName } from "../keys/signing-key.ts";
import { fingerprintOf } from "../keys/ssh-signature.ts";
import { readCatalogue } from "../points/catalogue.ts";
import { type PrunedPoint, prunedText } from "../points/pruned.ts";
import type { Store } from "../stores/store.ts";

/** A signer as a person sees it. */
export interface NamedSigner {
  readonly name: string;
  /** `SHA256:…` */
  readonly fingerprint: string;
}

export function signingKeyFile(environment: NodeJS.ProcessEnv): string {
  return join(configHome(environment), signingKeyName);
}

/**
 * The key for a point into `store`, made where there is none; `allowed_signers` names it from then on. Where the store is used
 * for the first time, those who signed what is in it are taken too. Never throws: no point fails for want of a signature.
 */
export async function readySigner(app: App, store: Store): Promise<FoundSigningKey> {
  const found = ensureSigningKey(signingKeyFile(app.environment));
  try {
    await meetNew(app, store);
    if (found.status === "ready") addSigners(app.state.signers, [{ name: machineName(hostname()), key: found.key.publicKey }], "this machine");
  } catch (error) {
    app.log.write("signers_not_noted", { message: describeError(error) });
  }
  return found;
}

/** Judges by the repository's list, and by this machine's own key in any case. Of a list that cannot be read, which `doctor` tells, nobody is trusted. */
export function readTrust(app: Pick<App, "environment" | "state">): (manifest: Manifest) => PointSignature {
  const trusted = readTrusted(app);
  return (manifest) => judgeSignature(manifest, trusted);
}

/** The same for what is said of one pruned point: the best of it counts, since anybody may add a line. */
export function readPrunedTrust(app: Pick<App, "environment" | "state">): (records: readonly PrunedPoint[]) => RemovedPoint["record"] {
  const trusted = readTrusted(app);
  return (records) => {
    const all = records.map((record) => judgeText(prunedText(record), record.signature, trusted).status);
    return all.includes("trusted") ? "trusted" : all.every((status) => status === "unsigned") ? "unsigned" : "doubtful";
  };
}

function readTrusted({ environment, state }: Pick<App, "environment" | "state">): Trusted {
  const trusted = readableSigners(state.signers);
  const own = findSigningKey(signingKeyFile(environment));
  if (own?.status === "ready") trusted.set(own.key.fingerprint, { name: machineName(hostname()), key: own.key.publicKey });
  return trusted;
}

function readableSigners(file: string): Map<string, Signer> {
  try {
    return readSigners(file);
  } catch (error) {
    if (error instanceof BackupError) return new Map(); // a restore goes on, with a warning for each unknown signer
    throw error;
  }
}

/** The worst of a chain's signatures, since a restore believes all of it; and whose it is. */
export type ChainSignature = PointSignature & { readonly point: PointId };

const fromWorst = ["bad", "unknown_signer", "unsigned", "trusted"] as const;

/** `chain` has one point at least; of several equally bad ones the last counts. */
export function judgeChain(chain: readonly Manifest[], judge: (manifest: Manifest) => PointSignature): ChainSignature {
  const all = chain.map((manifest) => ({ ...judge(manifest), point: manifest.id }));
  const worst = fromWorst.map((status) => all.findLast((signature) => signature.status === status)).find((signature) => signature !== undefined);
  if (worst === undefined) throw new BackupError("internal", "a chain without a point has no signature");
  return worst;
}

/** Throws `signature_bad` where the manifests were changed after they were signed. */
export function refuseBadSignature(signature: ChainSignature): void {
  if (signature.status !== "bad") return;
  throw new BackupError("signature_bad", `the signature of point ${signature.point} does not hold: ${signature.reason}`, {
    details: { point: signature.point, fingerprint: signature.fingerprint },
  });
}

/**
 * On the first use of a store its signers are taken, as ssh takes a host's key. Gives those that are new here, to be told.
 * From then on another key is an unknown signer until `trustSigner`.
 */
export function meetStore({ state }: Pick<App, "state">, store: Pick<Store, "name" | "url">, points: readonly Manifest[]): NamedSigner[] {
  try {
    if (hasMet({ state }, store)) return [];
    const added = takeSigners({ state }, points, `first use of the store ${store.name}`);
    mkdirSync(dirname(state.metStores), { recursive: true });
    appendFileSync(state.metStores, `${withoutCredentials(store.url)}\n`);
    return added;
  } catch (error) {
    // A repository that cannot be written to, as on a disk that is mounted to be rescued, can be read and restored from all the same.
    if (error instanceof BackupError || systemCode(error) !== undefined) return [];
    throw error;
  }
}

/** From now on whoever signed these points is trusted; gives those that are new here. `why` stands beside them in the list. */
export function takeSigners({ state }: Pick<App, "state">, points: readonly Manifest[], why: string): NamedSigner[] {
  return addSigners(state.signers, [...signersOf(points).values()], `${why}, ${now().toISOString()}`).map(named);
}

/** The same, where the points are not at hand: they are read where the store is new. */
export async function meetNew(app: App, store: Store): Promise<NamedSigner[]> {
  if (hasMet(app, store)) return [];
  const taken = meetStore(app, store, (await readCatalogue(store)).points);
  if (taken.length > 0) app.log.write("signers_taken", { store: store.name, signers: taken });
  return taken;
}

function hasMet({ state }: Pick<App, "state">, { url }: Pick<Store, "url">): boolean {
  return readLines(state.metStores).includes(withoutCredentials(url));
}

export interface UnknownSigner extends NamedSigner {
  readonly points: number;
  readonly newest: string;
  readonly store: string;
}

/** Keys that signed points of any store and are not trusted. A store that cannot be read now has no say. */
export async function findUnknownSigners(app: App): Promise<UnknownSigner[]> {
  const judge = readTrust(app);
  const unknown = new Map<string, UnknownSigner>();
  for (const { store, points } of await readStores(app)) {
    for (const point of points) {
      const signature = judge(point);
      if (signature.status !== "unknown_signer") continue;
      const before = unknown.get(signature.fingerprint);
      unknown.set(signature.fingerprint, {
        name: machineName(point.machine),
        fingerprint: signature.fingerprint,
        points: (before?.store === store.name ? before.points : 0) + 1,
        newest: point.id,
        store: store.name,
      });
    }
  }
  return [...unknown.values()];
}

/** From now on the points of this key are trusted. Throws `usage` where no point of any store was signed with it. */
export async function trustSigner(app: App, fingerprint: string): Promise<{ readonly signer: NamedSigner; readonly isNew: boolean }> {
  for (const { points } of await readStores(app)) {
    const signer = signersOf(points).get(fingerprint);
    if (signer === undefined) continue;
    const added = addSigners(app.state.signers, [signer], `trusted by hand, ${now().toISOString()}`);
    if (added.length > 0) app.log.write("signer_trusted", { ...named(signer) });
    return { signer: named(signer), isNew: added.length > 0 };
  }
  throw new BackupError("usage", `no point of any store was signed with the key ${fingerprint}`, {
    hint: "holdfast key trust, without a fingerprint, lists the unknown ones",
  });
}

async function readStores(app: App): Promise<{ readonly store: Store; readonly points: readonly Manifest[] }[]> {
  const found: { store: Store; points: readonly Manifest[] }[] = [];
  for (const open of [async () => primaryStore(app), ...copyConfigs(app).map((config) => () => openStore(app, config))]) {
    try {
      const store = await open();
      found.push({ store, points: (await readCatalogue(store)).points });
    } catch (error) {
      if (!(error instanceof BackupError)) throw error; // away, or damaged: the others may tell
    }
  }
  return found;
}

function signersOf(points: readonly Manifest[]): Map<string, Signer> {
  const signers = new Map<string, Signer>();
  for (const point of points) {
    const signer = signerOf(point);
    if (signer !== undefined) signers.set(fingerprintOf(signer.key), signer);
  }
  return signers;
}

function named({ name, key }: Signer): NamedSigner {
  return { name, fingerprint: fingerprintOf(key) };
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, "utf8").split("\n");
  } catch (error) {
    if (systemCode(error) === "ENOENT") return [];
    throw new BackupError("io_failed", `cannot read ${file}: ${systemCode(error)}`, { cause: error });
  }
}
