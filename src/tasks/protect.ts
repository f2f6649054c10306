/** Puts protection in place: settings, store, hooks, the first point, and a restore of it to prove that it works. */
import { type App, openApp, proposedStore } from "../app.ts";
import { createPrimary, createStoreFolder } from "../app-new-stores.ts";
import { folderStores } from "../app-places.ts";
import { refuseHiddenRef } from "../app-stores.ts";
import { type Config, mirrorOf, type StoreConfig } from "../core/config.ts";
import type { Problem } from "../core/contents.ts";
import { BackupError } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import { parseStoreUrl } from "../core/store-url.ts";
import type { Repository } from "../git/repository.ts";
import { type InstallResult, installHooks } from "../hooks/install.ts";
import { findIdentity } from "../points/identity.ts";
import type { RestoreResult } from "../restore/restore.ts";
import { writeConfigFile } from "../setup/config-file.ts";
import { programFile, readPackageFile } from "../setup/package-files.ts";
import { findRepositoryId } from "../state/repository-id.ts";
import { FolderStore } from "../stores/folder.ts";
import { chooseEncryption, type KeyNews } from "./encryption.ts";
import { makePointNow } from "./point.ts";
import { findRestore, proveRestore } from "./restore.ts";

export interface ProtectWish {
  /** Store URLs; a folder among them becomes the primary, else one in the data folder. */
  readonly stores: readonly string[];
  readonly mirrors: readonly string[];
  readonly hooks: boolean;
  /** The folder that points are written to first, in place of the one in the settings: that one stayed with another machine. */
  readonly primary?: string;
  /** Undefined: as soon as a store stands elsewhere. */
  readonly encrypt?: boolean;
}

export interface ProtectResult {
  readonly store: string;
  readonly configFile: string;
  /** Undefined: not asked for. */
  readonly hooks: InstallResult | undefined;
  readonly point: Manifest;
  readonly problems: readonly Problem[];
  /** Undefined where the point is encrypted and its key is not at hand: `unproven` says what is missing. */
  readonly proof: RestoreResult | undefined;
  readonly unproven?: BackupError;
  /** Encryption was turned on. */
  readonly key?: KeyNews;
}

/** The settings that `protect` would write: what is there already, and what was asked for. Pure but for the proposal. */
export function planSettings(app: App, { stores, mirrors, primary }: ProtectWish): Config {
  const known = primary === undefined ? app.config.stores : withPrimary(app.config.stores, primary);
  const added = stores.filter((url) => !known.some((store) => store.url === url));
  const hasFolder = [...known.map(({ url }) => url), ...stores].some((url) => parseStoreUrl(url).kind === "folder");
  const all: StoreConfig[] = hasFolder ? [...known] : [{ name: "local", url: proposedStore(app) }, ...known];
  const newMirrors = [...new Set(mirrors)].filter((remote) => !app.config.mirrors.some((mirror) => mirror.remote === remote));
  for (const url of added) all.push({ name: freeName(url, all), url });
  return { ...app.config, stores: all, mirrors: [...app.config.mirrors, ...newMirrors.map(mirrorOf)] };
}

/** The first folder becomes this one; where another store was at it already, that one's entry goes. */
function withPrimary(stores: readonly StoreConfig[], primary: string): StoreConfig[] {
  if (parseStoreUrl(primary).kind !== "folder")
    throw new BackupError("usage", `the primary store is a folder, ${primary} is none`, {
      hint: "--primary /path/to/folder; others: holdfast store add",
    });
  const rest = stores.filter(({ url }) => url !== primary);
  const first = rest.find(({ url }) => parseStoreUrl(url).kind === "folder");
  const others = rest.filter((store) => store !== first);
  return [{ name: first?.name ?? freeName(primary, others), url: primary }, ...others];
}

export async function protect(app: App, wish: ProtectWish, options: { signal: AbortSignal; onStep(step: string): void }): Promise<ProtectResult> {
  const planned = planSettings(app, wish);
  if (wish.encrypt === false && app.config.encryption !== null)
    throw new BackupError("usage", "points are encrypted already", {
      hint: `to stop that, take encryption: out of ${app.configFile.path}; what is encrypted stays so`,
    });
  const added = planned.stores.filter((store) => !app.config.stores.includes(store));
  const primary = folderStores({ ...app, config: planned })[0];
  if (primary === undefined) throw new BackupError("internal", "no folder was chosen for the store");
  options.onStep("store");
  for (const store of added) await refuseHiddenRef(app, store);
  await createPrimary({ ...app, config: planned }, primary.path);
  // After the stores were looked at: joining an encrypted one needs its key, and no other may be made on the way.
  const { config, news } = await chooseEncryption(app, planned, added, wish.encrypt);
  for (const url of wish.stores) {
    const location = parseStoreUrl(url);
    if (location.kind === "folder") await createStoreFolder(app, location.path);
  }
  if (JSON.stringify(config) !== JSON.stringify(app.config) || !app.configFile.exists) writeConfigFile(app.repository, app.configFile.path, config);
  const ready = await openApp(app.repository.here.root ?? app.repository.commonDir, app.environment);
  options.onStep("hooks");
  const hooks = wish.hooks ? await installHere(app.repository) : undefined;
  options.onStep("first point");
  const made = await makePointNow(ready, { kind: "manual", isAsked: true, signal: options.signal });
  if (made.status === "unchanged") throw new BackupError("internal", "the first point was not made");
  options.onStep("proof");
  const proof = await prove(ready, made.manifest, options);
  const key = news === undefined ? {} : { key: news };
  return { store: primary.path, configFile: ready.configFile.path, hooks, point: made.manifest, problems: made.problems, ...proof, ...key };
}

/** A key that is kept elsewhere, as it may be, keeps nobody from being protected. */
async function prove(app: App, { id }: Manifest, options: { signal: AbortSignal }): Promise<Pick<ProtectResult, "proof" | "unproven">> {
  try {
    const found = await findRestore(app, { what: id, at: undefined, filesFrom: undefined, paths: [], from: undefined }, options.signal);
    return { proof: await proveRestore(found, options) };
  } catch (error) {
    if (!(error instanceof BackupError) || !["key_missing", "key_wrong", "age_missing"].includes(error.code)) throw error;
    return { proof: undefined, unproven: error };
  }
}

/**
 * The primary store that `config` names, where this repository had it before and it is not there: a disk that is not mounted, or
 * gone. `protect` begins a new one in its place.
 */
export async function findLostPrimary(app: App, config: Config): Promise<string | undefined> {
  const primary = folderStores({ ...app, config })[0];
  const isKnown = primary !== undefined && folderStores(app).some(({ path }) => path === primary.path);
  if (!isKnown || findRepositoryId(app.state) === undefined) return undefined;
  return (await findIdentity(new FolderStore(primary.name, primary.path))) === undefined ? primary.path : undefined;
}

/** Installs the hooks with this very runtime and program. `everyRef`: reference-transaction too; undefined: as it is. */
export function installHere(repository: Repository, everyRef?: boolean): Promise<InstallResult> {
  return installHooks({
    repository,
    everyRef,
    runtime: { node: process.execPath, main: programFile() },
    triggerTemplate: readPackageFile("hooks/trigger"),
  });
}

export function freeName(url: string, taken: readonly StoreConfig[]): string {
  const { kind } = parseStoreUrl(url);
  const wish = kind === "folder" ? "local" : kind === "branch_url" ? "branch" : kind;
  for (let number = 1; ; number += 1) {
    const name = number === 1 ? wish : `${wish}${number}`;
    if (!taken.some((store) => store.name === name)) return name;
  }
}
