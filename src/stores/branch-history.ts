/**
 * The commits of a backup branch, here and on its remote. *Known* is the tip that the remote had when we last looked, and
 * the lease of a push. Where the remote moved meanwhile, our changes are made again on top of theirs.
 *
 * Blobs that the remote has are dropped here, and those of others are not fetched before they are read. So a branch that
 * was reset or lost gets back what is here or what its host still gives by id; the rest comes from the primary store,
 * whose points the copy lacks then.
 */
import { createHash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { BackupError } from "../core/errors.ts";
import { withoutCredentials } from "../git/run.ts";
import { type BranchFile, type BranchFiles, blobsOf, type Changes, mergeFiles } from "./branch-files.ts";
import { BranchRemote, type Refusal } from "./branch-remote.ts";
import { type Author, BranchRepository, type CommitBlobs, type RefUpdate } from "./branch-repository.ts";
import { isReplacement, type RerootRule, reroot, shouldReroot } from "./branch-reroot.ts";
import { salvage } from "./branch-salvage.ts";
import { planSlices } from "./branch-slices.ts";
import type { CallOptions } from "./store.ts";

export interface BranchHistoryOptions {
  readonly name: string;
  /** A bare repository of our own, made when missing; for this store alone. */
  readonly gitDir: string;
  /** A URL or an absolute path; null keeps the branch on this machine. */
  readonly remoteUrl: string | null;
  /** The whole name of the ref on the remote: a branch, or any other that the host takes. */
  readonly ref: string;
  /** As the remote's. Default sha1. */
  readonly objectFormat?: "sha1" | "sha256";
  readonly author?: Author;
  /** A git directory whose connection settings (ssh command, credentials, proxies) are used for the remote. */
  readonly configFrom?: string;
  /** The longest time without a word from the remote. Default a minute. */
  readonly silenceMs?: number;
  /** Bytes of new blobs in one push. Default 1 GiB; GitHub takes 2. */
  readonly pushLimit?: number;
  /** A blob above this many bytes is not fetched before it is read, nor kept once the remote has it. Default 16 KiB, far above a manifest. */
  readonly blobLimit?: number;
  readonly reroot?: RerootRule;
  readonly now?: () => Date;
  /** In [0, 1). */
  readonly random?: () => number;
}

const defaultAuthor: Author = { name: "Holdfast", email: "holdfast@localhost" };
const defaultPushLimit = 1024 ** 3;
const defaultBlobLimit = 16 * 1024;
const defaultReroot: RerootRule = { garbageBytes: 64 * 1024 ** 2 };
/** How often others may be first before we give up, for this time. */
const attempts = 20;

export class BranchHistory {
  readonly repository: BranchRepository;
  readonly remote: BranchRemote | null;
  readonly #options: BranchHistoryOptions;
  readonly #ref: string;
  readonly #knownRef: string;
  readonly #blobLimit: number;
  #tip: string | null = null;
  #files: BranchFiles = new Map();
  #isRemoteSeen = false;

  constructor(options: BranchHistoryOptions) {
    const { name, gitDir, ref, remoteUrl, objectFormat = "sha1", blobLimit = defaultBlobLimit } = options;
    this.#options = options;
    this.repository = new BranchRepository(name, gitDir, objectFormat);
    this.remote = remoteUrl === null ? null : new BranchRemote({ ...options, url: remoteUrl });
    // Refs of our own lie below refs/holdfast, where a hidden one of the user's may lie too.
    this.#ref = ref.startsWith("refs/heads/") ? ref : ref.replace(/^refs\//, "refs/hidden/");
    // What is known of one remote says nothing about another.
    const address = createHash("sha256").update(withoutCredentials(remoteUrl ?? ""));
    this.#knownRef = `refs/holdfast/remote/${address.digest("hex").slice(0, 8)}/${ref.replace(/^refs\/(heads\/)?/, "")}`;
    this.#blobLimit = blobLimit;
  }

  /** Keys of the branch as last read. */
  get files(): BranchFiles {
    return this.#files;
  }

  get isEmpty(): boolean {
    return this.#tip === null;
  }

  async open(): Promise<void> {
    await this.repository.create(this.#ref);
    await this.reload();
  }

  /** Another run on this machine may have moved the branch. */
  async reload(): Promise<void> {
    const tip = await this.repository.resolve(this.#ref);
    if (tip === this.#tip) return;
    this.#files = await this.repository.filesAt(tip);
    this.#tip = tip;
  }

  /** Looked at by this object, or given up. */
  get isRemoteSeen(): boolean {
    return this.#isRemoteSeen || this.remote === null;
  }

  /** Looked at by this machine, at some time. */
  async wasEverSeen(): Promise<boolean> {
    return this.isRemoteSeen || (await this.repository.resolve(this.#knownRef)) !== null;
  }

  async probe(options: CallOptions): Promise<BackupError | undefined> {
    const { remote } = this;
    if (remote === null) return undefined;
    const { author = defaultAuthor, now = () => new Date() } = this.#options;
    const empty = await this.repository.commit(null, new Map(), { changes: new Map(), author, at: now() });
    const suffix = `-probe-${randomBytes(4).toString("hex")}`;
    try {
      const refusal = await remote.push(empty, null, { ...options, suffix });
      if (refusal === undefined) await remote.deleteBeside(suffix, options);
      return refusal?.error;
    } catch (error) {
      if (error instanceof BackupError && error.code === "remote_failed") return undefined;
      throw error;
    }
  }

  /** The first look at the remote. */
  async see(options: CallOptions): Promise<void> {
    if (!this.isRemoteSeen) await this.pull(options);
  }

  /** Do not ask again: each call would wait for the same silence, and the next push meets the remote anyway. */
  giveUpSeeing(): void {
    this.#isRemoteSeen = true;
  }

  /**
   * Commits what `plan` makes of the branch as it stands; asked again when another run has moved it meanwhile. Gives what was planned.
   */
  async commit<Plan extends { readonly changes: Changes }>(plan: (files: BranchFiles) => Plan, options: CallOptions): Promise<Plan> {
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      await this.reload();
      const planned = plan(this.#files);
      if (planned.changes.size === 0) return planned;
      if (await this.#advance(this.#tip, this.#tip, this.#files, planned.changes, [], options)) return planned;
    }
    throw this.#movedAllTheTime();
  }

  /** Brings all commits of ours there. Gives the keys that both sides have put with other bytes: theirs stay. */
  async push(options: CallOptions): Promise<readonly string[]> {
    const conflicts: string[] = [];
    if (this.remote === null) return conflicts;
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      const known = await this.repository.resolve(this.#knownRef);
      if (this.#tip === null || this.#tip === known) return conflicts;
      const commits = await this.repository.newBlobs(known, this.#tip);
      if (await this.#isBeyondUs(known, this.#tip, commits)) {
        // Another run on this machine may have brought them there at this moment, and dropped their blobs.
        if (known !== (await this.repository.resolve(this.#knownRef))) continue;
        const base = await this.repository.filesAt(known);
        const saved = await salvage({ repository: this.repository, remote: this.remote, base, files: this.#files }, options);
        await this.#advance(known, this.#tip, base, saved, [], options);
        continue;
      }
      const stopped = await this.#pushSlices(this.remote, known, commits, options);
      if (stopped === undefined) return conflicts;
      const isUnmoved = (await this.remote.tip(options)) === stopped.expected;
      if (isUnmoved && !stopped.isPassing) throw stopped.error;
      // Machines that met should not meet again in step; and from the look at the remote to the push no time is lost.
      if (attempt > 1) await sleep((this.#options.random ?? Math.random)() * Math.min(5_000, 50 * 2 ** attempt));
      throwIfInterrupted(options.signal);
      if (!isUnmoved) conflicts.push(...(await this.pull(options)));
    }
    throw new BackupError("remote_failed", `${this.remote} was moved by others ${attempts} times in a row; the commit waits here`);
  }

  /** Fetches the remote's branch and brings ours on top of it. Gives the keys that both sides have put with other bytes. */
  async pull(options: CallOptions): Promise<readonly string[]> {
    if (this.remote === null) return [];
    const there = await this.remote.tip(options);
    if (there !== null && there === (await this.repository.resolve(this.#knownRef))) {
      this.#isRemoteSeen = true;
      return [];
    }
    if (there === null) {
      // Gone there, or never was: what we have is pushed anew.
      await this.repository.update({ ref: this.#knownRef, to: null });
      this.#isRemoteSeen = true;
      return [];
    }
    const incoming = incomingRef();
    try {
      await this.#fetch(this.remote, incoming, options);
      return await this.#adopt(await this.repository.resolve(incoming), options);
    } finally {
      await this.repository.update({ ref: incoming, to: null });
    }
  }

  /**
   * Begins the history anew where most of it is garbage (branch-reroot.ts). Housekeeping: a host that refuses keeps its history, and
   * one that cannot be reached is asked another time. Throws only what this machine's own repository does, and `interrupted`.
   */
  async tidy(options: CallOptions): Promise<void> {
    const tip = this.#tip;
    const { author = defaultAuthor, reroot: rule = defaultReroot } = this.#options;
    if (this.remote === null || tip === null || tip !== (await this.repository.resolve(this.#knownRef))) return;
    const garbage = await this.repository.garbageOf(tip);
    const live = [...this.#files.values()].reduce((sum, { size }) => sum + (size ?? 0), 0);
    if (!shouldReroot({ live, garbage, refusedAt: await this.repository.remembered(refusedAt) }, rule)) return;
    try {
      const at = (this.#options.now ?? (() => new Date()))();
      const outcome = await reroot({ repository: this.repository, remote: this.remote, tip, author, at }, options);
      if (outcome.status === "refused") await this.repository.remember(refusedAt, garbage);
      if (outcome.status !== "done") return;
      // Another run may have committed on the old tip: its next push finds the new root, and goes on from there.
      await this.repository.update({ ref: this.#knownRef, to: outcome.root });
      await this.repository.update({ ref: this.#ref, to: outcome.root, from: tip });
      await this.reload();
      await this.repository.prune();
    } catch (error) {
      if (!(error instanceof BackupError && error.code === "remote_failed")) throw error;
    }
  }

  /** The ref is new to us: its last commit alone, by way of a repository without history. Later fetches bring what came since. */
  async #fetch(remote: BranchRemote, incoming: string, options: CallOptions): Promise<void> {
    const wish = { ...options, blobLimit: this.#blobLimit };
    if ((await this.repository.resolve(this.#knownRef)) !== null) return void (await remote.fetch(incoming, wish));
    await using scratch = await this.repository.openScratch();
    const first = "refs/heads/first";
    await remote.fetch(first, { ...wish, scratch: { gitDir: scratch.gitDir, objects: this.repository.objects } });
    await this.repository.adoptFrom(scratch, first, incoming);
  }

  async #adopt(theirs: string | null, options: CallOptions): Promise<readonly string[]> {
    const { repository } = this;
    const nowKnown = { ref: this.#knownRef, to: theirs };
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      await this.reload();
      const ours = this.#tip;
      const known = await repository.resolve(this.#knownRef);
      this.#isRemoteSeen = true;
      if (theirs === null || (await repository.follows(ours, theirs))) {
        await repository.update(nowKnown);
        return [];
      }
      const standing = await repository.filesAt(theirs);
      // Only a branch that grew from what we saw can have deleted on purpose; one that was reset or made anew has lost.
      const hasGrown = (await repository.follows(theirs, known)) || (await this.#isReplacement(theirs, known, options));
      const isForward = ours === null || (await repository.follows(theirs, ours));
      const { changes, conflicts } = isForward ? nothing : mergeFiles(await repository.filesAt(known), this.#files, standing, hasGrown);
      if (await this.#advance(theirs, ours, standing, changes, [nowKnown], options)) return conflicts;
    }
    throw this.#movedAllTheTime();
  }

  async #isReplacement(theirs: string, known: string | null, options: CallOptions): Promise<boolean> {
    if (known === null || this.remote === null) return false;
    const { remote } = this;
    return isReplacement({ repository: this.repository, theirs, known }, async (commit) => {
      const incoming = incomingRef();
      try {
        return await remote.fetch(incoming, { ...options, from: commit, blobLimit: this.#blobLimit });
      } finally {
        await this.repository.update({ ref: incoming, to: null });
      }
    });
  }

  /** Moves the branch from `from` to commits of `changes` on `parent`, or to `parent` itself. False when another run has moved it. */
  async #advance(
    parent: string | null,
    from: string | null,
    files: BranchFiles,
    changes: Changes,
    more: readonly RefUpdate[],
    options: CallOptions,
  ): Promise<boolean> {
    const { author = defaultAuthor, now = () => new Date(), pushLimit = defaultPushLimit } = this.#options;
    const there = new Set(blobsOf(files.values()));
    let to = parent;
    for (const slice of planSlices(changes, (oid) => there.has(oid), pushLimit)) {
      to = await this.repository.commit(to, files, { ...slice, author, at: now() });
    }
    throwIfInterrupted(options.signal);
    const isMoved = await this.repository.update({ ref: this.#ref, to, from }, ...more);
    await this.reload();
    return isMoved;
  }

  /** As many commits at once as one push may hold. What has arrived is known, so that an interrupted push goes on where it was. */
  async #pushSlices(
    remote: BranchRemote,
    known: string | null,
    commits: readonly CommitBlobs[],
    options: CallOptions,
  ): Promise<(Refusal & { readonly expected: string | null }) | undefined> {
    let expected = known;
    for (const { commit, oids } of groupsOf(commits, this.#options.pushLimit ?? defaultPushLimit, this.#blobLimit)) {
      const refusal = await remote.push(commit, expected, options);
      if (refusal !== undefined) return { ...refusal, expected };
      await this.repository.update({ ref: this.#knownRef, to: commit });
      await this.repository.dropBlobs(oids);
      expected = commit;
    }
    return undefined;
  }

  /** The remote lost what we had brought there: our commits need blobs that are no longer here, or history that never was. */
  async #isBeyondUs(known: string | null, tip: string, commits: readonly CommitBlobs[]): Promise<boolean> {
    if (known === null && (await this.repository.isCut(tip))) return true;
    return commits.some(({ blobs }) => blobs.some(({ size }) => size === null));
  }

  #movedAllTheTime(): BackupError {
    return new BackupError("store_failed", `the branch of ${this.#options.name} is moved by another run all the time`);
  }
}

const refusedAt = "rerootRefusedAt";
const nothing = { changes: new Map<string, BranchFile | null>(), conflicts: [] };

function incomingRef(): string {
  return `refs/holdfast/incoming/${randomBytes(6).toString("hex")}`;
}

/** Consecutive commits within the limit, by their last one, with the blobs that need not stay here after. */
function groupsOf(commits: readonly CommitBlobs[], limitBytes: number, keepBytes: number): { commit: string; oids: string[] }[] {
  const groups: { commit: string; oids: string[]; bytes: number }[] = [];
  for (const { commit, blobs } of commits) {
    const bytes = blobs.reduce((sum, { size }) => sum + (size ?? 0), 0);
    const oids = blobs.filter(({ size }) => (size ?? 0) > keepBytes).map(({ oid }) => oid);
    const open = groups.at(-1);
    if (open === undefined || open.bytes + bytes > limitBytes) groups.push({ commit, oids, bytes });
    else Object.assign(open, { commit, oids: [...open.oids, ...oids], bytes: open.bytes + bytes });
  }
  return groups;
}

export function throwIfInterrupted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw signal.reason instanceof BackupError ? signal.reason : new BackupError("interrupted", "interrupted", { cause: signal.reason });
}
