/** Where the stores of the settings lie: on which disk, at which host, on this machine or off it. */
import { homedir } from "node:os";
import { join, resolve as resolvePath } from "node:path";
import type { App } from "./app.ts";
import type { StoreConfig } from "./core/config.ts";
import { BackupError } from "./core/errors.ts";
import { type BranchLocation, isBranch, parseStoreUrl } from "./core/store-url.ts";
import { configFolder } from "./setup/config-file.ts";

/** The URL that is pushed to; undefined where the repository does not know the remote. */
export async function branchAddress({ repository }: App, location: BranchLocation): Promise<string | undefined> {
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

export function folderStores(app: Pick<App, "config" | "repository">): { name: string; path: string }[] {
  return app.config.stores.flatMap(({ name, url }) => {
    const location = parseStoreUrl(url);
    return location.kind === "folder" ? [{ name, path: folderPath(app, location.path) }] : [];
  });
}

/** `~` and relative paths, as people write them in backup.yaml: relative to the repository. */
export function folderPath(app: Pick<App, "repository">, path: string): string {
  const home = path === "~" || path.startsWith("~/") ? join(homedir(), path.slice(1)) : path;
  return resolvePath(configFolder(app.repository), home);
}

/** A path in a remote's or a branch's URL means a repository on this disk; git counts it from the worktree's root. */
export function absoluteUrl(url: string, from: string): string {
  return /^[a-z][a-z0-9+.-]+:|^[^/]+:/i.test(url) ? url : resolvePath(from, url);
}
