/** The wiring of stores: from what the settings say to the adapter that does it. The only place that chooses one. */
import { createHash, randomUUID } from "node:crypto";
import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join, resolve as resolvePath } from "node:path";
import { type App, now, recoveryTexts } from "./app.ts";
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

function readable<Kind extends Store>(app: App, store: Kind): Kind {
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

/** The URL that is pushed to; undefined where the repository does not know the remote. */
async function branchAddress({ repository }: App, location: BranchLocation): Promise<string | undefined> {
  if (location.kind === "branch_url") return location.url;
  const { pushUrls } = await import("./git/porcelain.ts");
  const urls = await pushUrls(repository.commonDir, location.remote).catch((error: unknown) => {
    if (error instanceof BackupError && /No such remote/.test(error.message)) return [];
    throw error;
  });
  return urls[0];
}

/** What a bare machine would be given as the address of a branch store; undefined where the repository does not know the remote. */
export async function branchUrl(app: App, store: StoreConfig): Promise<string | undefined> {
  const location = parseStoreUrl(store.url);
  const address = isBranch(location) ? await branchAddress(app, location) : undefined;
  return address === undefined ? undefined : absoluteUrl(address, configFolder(app.repository));
}

/** Whether the store stands at another place than this machine: it survives the machine, and others may read it. */
export async function isOffsite(app: App, store: StoreConfig): Promise<boolean> {
  if (store.isOffsite !== undefined) return store.isOffsite;
  const location = parseStoreUrl(store.url);
  if (location.kind === "folder") return false;
  if (location.kind === "s3") return location.endpoint === undefined || !isLoopback(new URL(location.endpoint).hostname);
  if (location.kind === "rclone") return !/^:local\b/.test(location.path);
  if (!isBranch(location)) return true;
  const address = await branchAddress(app, location);
  // Not known where to: then it may be anywhere.
  if (address === undefined) return true;
  const host = hostOf(address);
  return host !== undefined && !isLoopback(host);
}

/** The host of a git URL (`https://HOST/…`, `user@HOST:path`); undefined for a path on this machine. */
function hostOf(address: string): string | undefined {
  if (/^file:/i.test(address)) return undefined;
  const [, url, scp] = /^[a-z][a-z0-9+.-]+:\/\/(?:[^/@]*@)?(\[[^\]]*\]|[^/:]*)|^(?:[^/@:]*@)?([^/:]{2,}):/i.exec(address) ?? [];
  return url ?? scp;
}

/** A server on this very machine goes where the machine goes. */
function isLoopback(host: string): boolean {
  return /^(?:localhost|.*\.localhost|127(?:\.\d+){3}|\[::1\])$/i.test(host);
}

/** The path on this machine's disks that the store lies at; undefined where it does not lie on one, or is not known. */
export async function diskPathOf(app: App, store: StoreConfig): Promise<string | undefined> {
  const location = parseStoreUrl(store.url);
  if (location.kind === "folder") return folderPath(app, location.path);
  if (!isBranch(location)) return undefined;
  const address = await branchAddress(app, location);
  if (address === undefined || hostOf(address) !== undefined) return undefined;
  return absoluteUrl(address.replace(/^file:\/\//i, ""), configFolder(app.repository));
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

export function folderStores(app: Pick<App, "config" | "repository">): { name: string; path: string }[] {
  return app.config.stores.flatMap(({ name, url }) => {
    const location = parseStoreUrl(url);
    return location.kind === "folder" ? [{ name, path: folderPath(app, location.path) }] : [];
  });
}

/** `~` and relative paths, as people write them in backup.yaml: relative to the repository. */
function folderPath(app: Pick<App, "repository">, path: string): string {
  const home = path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
  return resolvePath(configFolder(app.repository), home);
}

/** A path in a remote's or a branch's URL means a repository on this disk; git counts it from the worktree's root. */
function absoluteUrl(url: string, from: string): string {
  return /^[a-z][a-z0-9+.-]+:|^[^/]+:/i.test(url) ? url : resolvePath(from, url);
}

/** Makes the folder a store of this repository. A store of it that is there already is taken as it is. Throws `store_foreign`. */
export async function createPrimary(app: App, folder: string): Promise<FolderStore> {
  const [
    { createStoreFolder },
    { findIdentity, withoutName, writeIdentity },
    { writeRecoveryFiles },
    { findRepositoryId, refuseForeignStore, rememberRepositoryId },
  ] = await Promise.all([
    import("./stores/folder.ts"),
    import("./points/identity.ts"),
    import("./points/recovery-files.ts"),
    import("./state/repository-id.ts"),
  ]);
  await createStoreFolder(folder);
  const store = readable(app, new FolderStore("local", folder));
  const known = findRepositoryId(app.state);
  const present = await findIdentity(store);
  if (present !== undefined && known === undefined) await refuseUnrelated(app, store, present.name);
  if (present !== undefined) refuseForeignStore(app.state, present, folder);
  const identity = present ?? {
    format: 1,
    repository: known ?? (await repositoryIdOfOthers(app)) ?? randomUUID(),
    name: app.name,
    created: now().toISOString(),
  };
  if (present === undefined) await writeIdentity(store, app.config.encryption === null ? identity : withoutName(identity));
  await writeRecoveryFiles(store, recoveryTexts());
  rememberRepositoryId(app.state, identity.repository);
  return store;
}

/** A clone made anew, or a recovered folder, may go on with its store; a repository that shares no commit with it may not. */
async function refuseUnrelated(app: App, store: FolderStore, name: string): Promise<void> {
  if (await isRelated(app, store)) return;
  throw new BackupError("store_foreign", `the store at ${store.url} holds points of ${name}, which has no commit in common with this repository`, {
    hint: `choose another folder; to get back what is in it: holdfast recover ${store.url} NEW-FOLDER`,
  });
}

/**
 * All stores of a repository carry one id: that of one which is still there, where the machine has forgotten it. So another
 * machine joins a branch; one with points of an unrelated repository says nothing.
 */
async function repositoryIdOfOthers(app: App): Promise<string | undefined> {
  const { findIdentity } = await import("./points/identity.ts");
  for (const config of app.config.stores) {
    try {
      const store = await openStore(app, config);
      const identity = await findIdentity(store);
      if (identity !== undefined && (store instanceof FolderStore || (await isRelated(app, store)))) return identity.repository;
    } catch (error) {
      // Not there, or damaged: another may tell. One that only lacks its key is not passed over.
      if (!(error instanceof BackupError) || error.code === "key_missing" || error.code === "key_wrong") throw error;
    }
  }
  return undefined;
}

async function isRelated(app: App, store: Store): Promise<boolean> {
  const [{ sharesHistory }, { findObjects }] = await Promise.all([import("./points/kinship.ts"), import("./git/refs.ts")]);
  return sharesHistory(store, async (oids) => (await findObjects(app.repository.commonDir, oids)).size);
}

/** Makes a folder ready to become a copy. */
export async function createStoreFolder(app: App, path: string): Promise<void> {
  const folders = await import("./stores/folder.ts");
  await folders.createStoreFolder(folderPath(app, path));
}
