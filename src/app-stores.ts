/** The wiring of stores: from what the settings say to the adapter that does it. The only place that chooses one. */
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join, resolve as resolvePath } from "node:path";
import type { App } from "./app.ts";
import { absoluteUrl, branchAddress, folderPath, folderStores } from "./app-places.ts";
import type { StoreConfig } from "./core/config.ts";
import type { Decryptor } from "./core/encryption.ts";
import { BackupError } from "./core/errors.ts";
import { isRepositoryId } from "./core/ids.ts";
import { type BranchLocation, isBranch, parseStoreUrl, type RcloneLocation, type S3Location } from "./core/store-url.ts";
import type { Repository } from "./git/repository.ts";
import { type KeySettings, lazyDecryptor } from "./keys/open.ts";
import { configFolder, settings } from "./setup/config-file.ts";
import type { BranchStore } from "./stores/branch.ts";
import { FolderStore } from "./stores/folder.ts";
import type { Store } from "./stores/store.ts";

/** The store that points are written to first. Throws `not_protected` where the settings name none. */
export function primaryStore(app: App): FolderStore {
  const chosen = settings(configFolder(app.repository), app.environment)["HOLDFAST_STORE"];
  const folder = chosen === undefined ? folderStores(app)[0] : { name: "environment", path: folderPath(app, chosen) };
  if (folder === undefined)
    throw new BackupError("not_protected", `${app.name} is not protected yet: ${app.configFile.path} names no folder for its points`);
  return readable(app, new FolderStore(folder.name, folder.path));
}

/** Which key opens what is encrypted here. */
export function keySettings({ repository, environment, config }: Pick<App, "repository" | "environment" | "config">): KeySettings {
  const folder = configFolder(repository);
  return { environment, own: settings(folder, environment), configured: config.encryption?.identity, folder };
}

/** One for all stores of a repository, so that a passphrase is asked for once. */
const decryptors = new WeakMap<Repository, Decryptor>();

export function readable<Kind extends Store>(app: App, store: Kind): Kind {
  const decryptor = decryptors.get(app.repository) ?? lazyDecryptor(keySettings(app));
  decryptors.set(app.repository, decryptor);
  store.decryptor = decryptor;
  return store;
}

/** Every other store, in the order of the settings. */
export function copyConfigs(app: App): StoreConfig[] {
  const primary = primaryStore(app).name;
  return app.config.stores.filter((store) => store.name !== primary);
}

/** The primary, or the store that was asked for. */
export async function chosenStore(app: App, nameOrUrl: string | undefined): Promise<Store> {
  return nameOrUrl === undefined ? primaryStore(app) : await findStore(app, nameOrUrl);
}

/** A store by its name in the settings, or by its URL. */
export async function findStore(app: App, nameOrUrl: string): Promise<Store> {
  return openStore(app, findStoreConfig(app, nameOrUrl));
}

/** One of the settings is that one, also where its address is given: its lock and what is known of it are the same. Throws `usage` for a name that is not there. */
export function findStoreConfig(app: App, nameOrUrl: string): StoreConfig {
  const { stores } = app.config;
  const known = stores.find(({ name }) => name === nameOrUrl) ?? stores.find(({ url }) => addressOf(app, url) === addressOf(app, nameOrUrl));
  if (known !== undefined) return known;
  if (!/[/:#]/.test(nameOrUrl)) {
    const names = app.config.stores.map((store) => store.name);
    throw new BackupError("usage", `there is no store called ${nameOrUrl}`, {
      hint: names.length === 0 ? "holdfast store add NAME URL" : `stores: ${names.join(", ")}`,
    });
  }
  return { name: unnamed(nameOrUrl), url: nameOrUrl };
}

/** A folder may be written in several ways. */
function addressOf(app: App, url: string): string {
  return /^[a-z0-9]{2,}:/i.test(url) ? url : folderPath(app, url);
}

/** A name for a store that has none in the settings: its own, so that two branches never share a bare repository. */
function unnamed(url: string): string {
  return `named-${createHash("sha256").update(url).digest("hex").slice(0, 8)}`;
}

/** A store as the settings say, or would say. */
export async function openStore(app: App, store: StoreConfig): Promise<Store> {
  const opened = readable(app, await chooseStore(app, store));
  if (store.uploadLimit === undefined) return opened;
  const { LimitedStore } = await import("./stores/limited.ts");
  return new LimitedStore(opened, store.uploadLimit);
}

async function chooseStore(app: App, store: StoreConfig): Promise<Store> {
  const location = parseStoreUrl(store.url);
  switch (location.kind) {
    case "folder":
      return new FolderStore(store.name, folderPath(app, location.path));
    case "s3":
      return openShared(app, store.url, location.prefix, await s3Opener(store, location, join(app.state.servers, `${store.name}.json`)));
    case "rclone":
      return openShared(app, store.url, location.path, await rcloneOpener(store, location, app.environment));
    default:
      return openBranch(app, store, location);
  }
}

/** Opens a bucket's store below a folder: "" or `ID/`. */
async function s3Opener(store: StoreConfig, location: S3Location, traitsFile?: string): Promise<OpenAt> {
  const [{ S3Store }, { S3PastStore }] = await Promise.all([import("./stores/s3.ts"), import("./stores/s3-past.ts")]);
  const { name, url, objectLock } = store;
  return (folder) => {
    const lock = objectLock === undefined ? {} : { lock: objectLock };
    const options = { name, url, location, folder, ...lock, ...(traitsFile === undefined ? {} : { traitsFile }) };
    return location.asOf === undefined ? new S3Store(options) : new S3PastStore(options, location.asOf);
  };
}

/** A place below a store's own where `store check` may write: stores of nothing, each in a folder of its own. */
export interface Scratch {
  readonly prefix: string;
  /** Without lock, so that what is tried can be cleared. */
  open(part: string): Promise<Store>;
  /** As the settings say, to be inspected. */
  readonly whole: Store;
  /** Needs the right to delete. */
  clear(): Promise<void>;
}

/** Undefined for a branch, which has one history: whatever is tried there would stay in it. */
export async function openScratch(app: App, store: StoreConfig, prefix: string): Promise<Scratch | undefined> {
  const location = parseStoreUrl(store.url);
  if (location.kind === "folder") {
    const path = folderPath(app, location.path);
    // Made anew on the way it would be a store on the disk below an empty mount point.
    if (!existsSync(path)) throw new BackupError("store_missing", `there is no folder ${path}`);
    const root = join(path, prefix);
    const folders = await import("./stores/folder.ts");
    const open = async (part: string): Promise<Store> => {
      await folders.createStoreFolder(join(root, part));
      return new FolderStore(store.name, join(root, part));
    };
    return { prefix, open, whole: new FolderStore(store.name, root), clear: () => rm(root, { recursive: true, force: true }) };
  }
  if (isBranch(location)) return undefined;
  const id = namesRepository(location.kind === "s3" ? location.prefix : location.path) ? undefined : await repositoryId(app);
  const folder = `${id === undefined ? "" : `${id}/`}${prefix}/`;
  const { objectLock: _, ...plain } = store;
  const opener = (config: StoreConfig): Promise<OpenAt> =>
    location.kind === "s3"
      ? s3Opener(config, location, join(app.state.servers, `${store.name}.json`))
      : rcloneOpener(config, location, app.environment);
  const [openPlain, openWhole] = await Promise.all([opener(plain), opener(store)]);
  const whole = openWhole(folder);
  const clear = async (): Promise<void> => {
    for await (const { key } of whole.list("")) await whole.delete(key);
  };
  return { prefix, open: async (part) => openPlain(`${folder}${part}/`), whole, clear };
}

async function rcloneOpener({ name, url }: StoreConfig, { path }: RcloneLocation, environment?: NodeJS.ProcessEnv): Promise<OpenAt> {
  const { RcloneStore } = await import("./stores/rclone.ts");
  return (folder) => new RcloneStore({ name, url, path, folder, ...(environment === undefined ? {} : { environment }) });
}

type OpenAt = (folder: string) => Store;

/** The repository's own folder in a place that many share; where its id is not known, the only one that is there. */
async function openShared(app: App, url: string, path: string, openAt: OpenAt): Promise<Store> {
  if (namesRepository(path)) return openAt("");
  const id = await repositoryId(app);
  return id === undefined ? findRepositoryAt(url, openAt) : openAt(`${id}/`);
}

/** Whether such a place is narrowed to one repository: its last part is a repository's id. */
function namesRepository(path: string): boolean {
  return isRepositoryId(path.split(/[/:]/).findLast((part) => part !== "") ?? "");
}

/** The id that this repository's stores carry, as the machine or the primary knows it; undefined before the first store is made. */
async function repositoryId(app: App): Promise<string | undefined> {
  const [{ findRepositoryId }, { findIdentity }] = await Promise.all([import("./state/repository-id.ts"), import("./points/identity.ts")]);
  const known = findRepositoryId(app.state);
  if (known !== undefined || folderStores(app).length === 0) return known;
  return (await findIdentity(primaryStore(app)))?.repository;
}

async function findRepositoryAt(url: string, openAt: OpenAt): Promise<Store> {
  const { findRepository } = await import("./points/find-repository.ts");
  return findRepository(url, openAt);
}

async function openBranch(app: App, { name, url, ref }: StoreConfig, location: BranchLocation): Promise<BranchStore> {
  const { repository, state } = app;
  const address = await branchAddress(app, location);
  if (address === undefined)
    throw new BackupError("config_invalid", `store ${name}: there is no remote called ${location.kind === "branch" ? location.remote : url}`, {
      hint: "git remote -v",
    });
  const { BranchStore } = await import("./stores/branch.ts");
  return new BranchStore({
    name,
    url,
    gitDir: join(state.branches, `${name}.git`),
    remoteUrl: absoluteUrl(address, configFolder(repository)),
    ref: ref ?? location.ref,
    configFrom: repository.commonDir,
  });
}

/**
 * Throws `remote_failed` where the host of a branch store does not take a ref of its name. Asks only for refs that are no
 * branches. A host that cannot be reached now is not judged: the first copy tells.
 */
export async function refuseHiddenRef(app: App, store: StoreConfig): Promise<void> {
  const location = parseStoreUrl(store.url);
  if (!isBranch(location) || (store.ref ?? location.ref).startsWith("refs/heads/")) return;
  const refusal = await (await openBranch(app, store, location)).probe();
  if (refusal === undefined) return;
  throw new BackupError("remote_failed", refusal.message, {
    cause: refusal,
    hint: "keep the points on a branch: branch:REMOTE/holdfast/backup",
  });
}

/** A store without a repository around: for the bare machine. `scratch` takes what a branch needs locally. */
export async function openBareStore(url: string, scratch: string, environment: NodeJS.ProcessEnv): Promise<Store> {
  const store = await chooseBareStore(url, scratch);
  store.decryptor = lazyDecryptor({ environment, own: environment, configured: undefined, folder: process.cwd() });
  return store;
}

async function chooseBareStore(url: string, scratch: string): Promise<Store> {
  const location = parseStoreUrl(url);
  if (location.kind === "s3") return findRepositoryAt(url, await s3Opener({ name: "named", url }, location));
  if (location.kind === "rclone") return findRepositoryAt(url, await rcloneOpener({ name: "named", url }, location));
  if (location.kind === "folder") return new FolderStore("named", resolvePath(location.path));
  if (location.kind === "branch") {
    throw new BackupError("usage", `${url} names a remote, and there is no repository here that knows it`, {
      hint: "branch:URL#NAME, for example branch:https://host/me/repo.git#holdfast/backup",
    });
  }
  const { BranchStore } = await import("./stores/branch.ts");
  const store = new BranchStore({
    name: "named",
    url,
    gitDir: join(scratch, "branch.git"),
    remoteUrl: absoluteUrl(location.url, process.cwd()),
    ref: location.ref,
  });
  await store.open();
  return store;
}
