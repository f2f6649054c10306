/**
 * Where things lie in a repository's state folder, `<common git dir>/holdfast/`.
 * Everything in it can be deleted and is rebuilt. Pure: names only.
 * hooks/trigger and the block in hook files know `hook`, `dirty` and `worker` by these names.
 */
import { join } from "node:path";

export interface StateLayout {
  readonly root: string;
  /** Marks of hooks that fired: one event name a line. It is there while work is waiting. */
  readonly dirty: string;
  /** The marks that a worker has taken; left over by a worker that was killed. */
  readonly dirtyTaken: string;
  /** The living worker's pid. Its mtime is kept ahead of the clock, so that a shell sees it as newer than any mark. */
  readonly lease: string;
  /** Held by the one worker. */
  readonly workerLock: string;
  /** Held by whatever makes, restores or prunes points of this repository. */
  readonly lock: string;
  /** The script that the hooks source: this machine's paths are written into it. */
  readonly hook: string;
  /** There while a throwaway commit looks whether the hooks fire; the worker then only answers. */
  readonly probe: string;
  readonly probeAnswer: string;
  /** What the hook files were before installation. */
  readonly hooksBefore: string;
  readonly log: string;
  /** The log before the last rotation. */
  readonly logBefore: string;
  /** Refs whose history was forced, as points saw it. */
  readonly rewrites: string;
  /** A folder per git remote that gets refs: its queue and its last outcome. */
  readonly mirrors: string;
  /** A bare repository per backup branch. */
  readonly branches: string;
  /** A file per store on a server: what was learnt of the server. */
  readonly servers: string;
  /** A folder: what the last capture saw, the stat cache and the last point. */
  readonly captureState: string;
  /** The id that the stores of this repository carry. */
  readonly repositoryId: string;
  /** Empty; its time is when leftovers of killed runs were last looked for. */
  readonly swept: string;
  /** Touched when the catalogue for people was written. */
  readonly catalogued: string;
  /** A file per store: when it was last pruned. */
  readonly prunes: string;
  /** A folder: for each other store what is known of that copy, and the lock of whoever sends to it. */
  readonly copies: string;
  /** What drills have proven. */
  readonly drills: string;
  /** Held by the one drill that is under way. */
  readonly drillLock: string;
  /** A note for each scratch folder that is in use, or left over. */
  readonly scratch: string;
  /** Whose signatures count, as `ssh-keygen -Y verify -f` reads it. */
  readonly signers: string;
  /** Stores whose signers were taken on first use: one address a line. */
  readonly metStores: string;
  /** What was verified when, one file of a store a line. */
  readonly verified: string;
  /** What the last verification of each store found. */
  readonly verifications: string;
  /** How far an encryption of older points for other keys has come. */
  readonly rewrap: string;
}

/** The state folder of the repository whose worktrees share `commonDir`. */
export function stateDirOf(commonDir: string): string {
  return join(commonDir, "holdfast");
}

export function stateLayout(stateDir: string): StateLayout {
  const at = (name: string): string => join(stateDir, name);
  return {
    root: stateDir,
    dirty: at("dirty"),
    dirtyTaken: at("dirty.taken"),
    lease: at("worker"),
    workerLock: at("worker.lock"),
    lock: at("lock"),
    hook: at("hook"),
    probe: at("probe"),
    probeAnswer: at("probe.answer"),
    hooksBefore: at("hooks-before"),
    log: at("log.ndjson"),
    logBefore: at("log.1"),
    rewrites: at("rewrites.ndjson"),
    mirrors: at("mirrors"),
    branches: at("branches"),
    servers: at("servers"),
    captureState: at("capture"),
    repositoryId: at("repository"),
    swept: at("swept"),
    catalogued: at("catalogued"),
    prunes: at("prunes"),
    copies: at("copies"),
    drills: at("drills.ndjson"),
    drillLock: at("drill.lock"),
    scratch: at("scratch"),
    signers: at("allowed_signers"),
    metStores: at("met-stores"),
    verified: at("verified.ndjson"),
    verifications: at("verifications.json"),
    rewrap: at("rewrap.json"),
  };
}
