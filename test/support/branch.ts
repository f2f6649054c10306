/** A remote on this disk that knows filters, as the large hosts do, and machines with branch stores onto it. */
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { BranchStore, type BranchStoreOptions } from "../../src/stores/branch.ts";
import { bytesSource, type Store } from "../../src/stores/store.ts";
import { type TempDir, tempDir } from "./repo.ts";

export const branchRef = "refs/heads/holdfast/backup";

export interface BranchPlace extends TempDir {
  readonly remote: string;
  /** git in the remote. */
  git(...args: string[]): string;
  /** The store of a machine; the same name opens the same bare repository. */
  open(machine: string, more?: Partial<BranchStoreOptions>): BranchStore;
  gitDir(machine: string): string;
  /** What a stranger sees who has only the remote. */
  shown(ref?: string): string[];
  /** Is the blob that the key has on the remote in the machine's own repository? */
  isHere(machine: string, key: string): boolean;
}

export function branchPlace({ knowsFilters = true }: { readonly knowsFilters?: boolean } = {}): BranchPlace {
  const dir = tempDir();
  const remote = join(dir.path, "remote.git");
  const git = (...args: string[]): string => gitIn(remote, ...args);
  gitIn(dir.path, "init", "-q", "--bare", remote);
  if (knowsFilters) git("config", "uploadpack.allowFilter", "true");
  const gitDir = (machine: string): string => join(dir.path, `${machine}.git`);
  return {
    path: dir.path,
    remote,
    git,
    gitDir,
    open: (machine, more = {}) =>
      new BranchStore({
        name: machine,
        url: "branch:origin",
        gitDir: gitDir(machine),
        remoteUrl: remote,
        ref: branchRef,
        partSize: 1000,
        blobLimit: 100,
        ...more,
      }),
    shown: (ref = branchRef) => git("ls-tree", "-r", "--name-only", ref).split("\n").sort(),
    isHere(machine, key) {
      if (!existsSync(gitDir(machine))) return false;
      const oids = git("ls-tree", "-r", branchRef, "--", key, `${key}.part001`)
        .split("\n")
        .map((line) => line.split(/\s/)[2] ?? "");
      const text = execFileSync("git", ["cat-file", "--batch-check"], {
        cwd: gitDir(machine),
        input: `${oids[0]}\n`,
        stdio: ["pipe", "pipe", "ignore"],
      });
      return !text.includes("missing");
    },
    [Symbol.dispose]: () => dir[Symbol.dispose](),
  };
}

export function gitIn(cwd: string, ...args: string[]): string {
  return execFileSync("git", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
}

export async function keysOf(store: Store): Promise<string[]> {
  const found: string[] = [];
  for await (const { key } of store.list("")) found.push(key);
  return found.sort();
}

/** Puts and flushes: text, or bytes by key. */
export async function save(store: Store, files: Readonly<Record<string, string | Uint8Array>>): Promise<void> {
  for (const [key, bytes] of Object.entries(files)) await store.put(key, bytesSource(bytes));
  await store.flush();
}
