/**
 * A store on an orphan branch: each key is a file of the branch's tree, so a plain clone of the branch is the store.
 *
 * The commits are made in a bare repository of our own. A *part* is one piece (`KEY.part001`) of a file that is above
 * the host's limit; `cat KEY.part*` is the file. *Staged* is what was put or deleted since the last flush; `flush` makes
 * one commit of it and pushes it. *Known* is the tip that the remote had when we last looked, and the lease of a push.
 * Several machines may share a branch: where the remote moved meanwhile, our changes are made again on top of theirs.
 */
import { createHash, randomBytes } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { BackupError } from "../core/errors.ts";
import { isContained } from "../core/paths.ts";
import { withoutCredentials } from "../git/run.ts";
import { type BranchFile, type BranchFiles, isFileOf, mergeFiles, PartReader, partPaths, sameFile } from "./branch-files.ts";
import { BranchRemote } from "./branch-remote.ts";
import { type Author, BranchRepository, type Changes, type RefUpdate } from "./branch-repository.ts";
import type { CallOptions, Range, Source, Store, StoreEntry } from "./store.ts";

export interface BranchStoreOptions {
  readonly name: string;
  /** As in backup.yaml. */
  readonly url: string;
  /** A bare repository of our own, made when missing; for this store alone. */
  readonly gitDir: string;
  /** A URL or an absolute path; null keeps the branch on this machine. */
  readonly remoteUrl: string | null;
  readonly branch: string;
  /** Bytes of the largest file in the tree. Default 45 MiB. */
  readonly partSize?: number;
  /** As the remote's. Default sha1. */
  readonly objectFormat?: "sha1" | "sha256";
  readonly author?: Author;
  /** A git directory whose connection settings (ssh command, credentials, proxies) are used for the remote. */
  readonly configFrom?: string;
  /** The longest time without a word from the remote. Default a minute. */
  readonly silenceMs?: number;
  readonly now?: () => Date;
  /** In [0, 1). */
  readonly random?: () => number;
}

const defaultPartSize = 45 * 1024 * 1024;
const defaultAuthor: Author = { name: "Holdfast", email: "holdfast@localhost" };
/** How often others may be first before we give up, for this time. */
const attempts = 12;

export class BranchStore implements Store {
  readonly name: string;
  readonly url: string;
  readonly #options: BranchStoreOptions;
  readonly #repository: BranchRepository;
  readonly #remote: BranchRemote | null;
  readonly #ref: string;
  readonly #knownRef: string;
  /** The branch as last read. */
  #tip: string | null = null;
  #files: BranchFiles = new Map();
  readonly #staged = new Map<string, Staged>();
  #opening: Promise<void> | undefined;
  #isRemoteSeen = false;
  #last: Promise<void> = Promise.resolve();

  constructor(options: BranchStoreOptions) {
    const { name, url, gitDir, branch, remoteUrl, objectFormat = "sha1" } = options;
    this.name = name;
    this.url = url;
    this.#options = options;
    this.#repository = new BranchRepository(name, gitDir, objectFormat);
    this.#remote = remoteUrl === null ? null : new BranchRemote({ ...options, url: remoteUrl });
    this.#ref = `refs/heads/${branch}`;
    // What is known of one remote says nothing about another.
    const address = createHash("sha256").update(withoutCredentials(remoteUrl ?? ""));
    this.#knownRef = `refs/holdfast/remote/${address.digest("hex").slice(0, 8)}/${branch}`;
  }

  /**
   * Makes the bare repository where it is missing, and fetches the branch where it was never seen. Every other method
   * does so by itself, and puts also do without the remote. Throws `remote_failed`, `store_failed`, `store_unwritable`.
   */
  async open(options: CallOptions = {}): Promise<void> {
    await this.#openLocal();
    await this.#seeRemote(options);
  }

  /** Brings what other machines have pushed since. Throws `remote_failed`. */
  async refresh(options: CallOptions = {}): Promise<void> {
    await this.#openLocal();
    await this.#exclusively(() => this.#pull(options));
  }

  async put(key: string, source: Source, options: CallOptions = {}): Promise<void> {
    const paths = this.#pathsFor(key, source.size);
    await this.#prepareWrite(options);
    const existing = await this.#find(key);
    if (existing !== undefined) {
      if (await isFileOf(existing, source, this.#repository.objectFormat)) return;
      throw this.#taken(key);
    }
    this.#refuseNesting(key);
    const parts: BranchFile["parts"][number][] = [];
    await using reader = new PartReader(key, source, options.signal);
    for (const path of paths) {
      const size = Math.min(this.#partSize(), source.size - parts.length * this.#partSize());
      parts.push({ path, size, oid: await this.#repository.writeBlob(reader.take(size)) });
    }
    await reader.expectEnd();
    throwIfInterrupted(options.signal);
    const file = { size: source.size, parts };
    const meanwhile = this.#view(key);
    if (meanwhile === undefined) this.#staged.set(key, { file, isReplacement: this.#staged.has(key) });
    else if (!sameFile(meanwhile, file)) throw this.#taken(key);
  }

  async get(key: string, options: CallOptions & { readonly range?: Range } = {}): Promise<AsyncIterable<Uint8Array> | undefined> {
    const file = await this.#read(key, options);
    return file === undefined ? undefined : this.#stream(file, options);
  }

  async stat(key: string, options: CallOptions = {}): Promise<StoreEntry | undefined> {
    const file = await this.#read(key, options);
    return file === undefined ? undefined : { key, size: file.size };
  }

  async *list(prefix: string, options: CallOptions = {}): AsyncIterable<StoreEntry> {
    await this.#prepareRead(options);
    await this.#reload();
    for (const key of new Set([...this.#files.keys(), ...this.#staged.keys()])) {
      throwIfInterrupted(options.signal);
      const file = key.startsWith(prefix) ? this.#view(key) : undefined;
      if (file !== undefined) yield { key, size: file.size };
    }
  }

  async delete(key: string, options: CallOptions = {}): Promise<void> {
    await this.#prepareWrite(options);
    if ((await this.#find(key)) === undefined) return;
    if (this.#files.has(key)) this.#staged.set(key, { file: null, isReplacement: true });
    else this.#staged.delete(key);
  }

  /**
   * One commit of all that is staged, then the push, also of commits that an earlier flush could not push.
   * Throws `remote_failed` when the remote cannot be reached or refuses: the commit is then kept here for the next flush.
   * Throws `store_failed` when another machine has put other bytes under a key of ours: theirs stay, the rest is pushed.
   */
  async flush(options: CallOptions = {}): Promise<void> {
    throwIfInterrupted(options.signal);
    await this.#openLocal();
    await this.#exclusively(async () => {
      const conflicts = [...(await this.#commitStaged(options)), ...(await this.#push(options))];
      if (conflicts.length === 0) return;
      const message = `${conflicts.join(", ")}: another machine has put other bytes there; theirs stay`;
      throw new BackupError("store_failed", message, { details: { keys: conflicts } });
    });
  }

  /** Gives the keys that could not be committed because others stand there by now. */
  async #commitStaged(options: CallOptions): Promise<readonly string[]> {
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      await this.#reload();
      const taken = [...this.#staged];
      const { changes, conflicts } = changesOf(taken, this.#files);
      const isDone = changes.size === 0 || (await this.#advance(this.#tip, this.#tip, this.#files, changes, [], options));
      if (!isDone) continue;
      // Puts may have come while the commit was made: only what was taken is done.
      for (const [key, staged] of taken) if (this.#staged.get(key) === staged) this.#staged.delete(key);
      return conflicts;
    }
    throw new BackupError("store_failed", `the branch of ${this.name} is moved by another run all the time`);
  }

  /** Gives the keys that both sides have put with other bytes. */
  async #push(options: CallOptions): Promise<readonly string[]> {
    const conflicts: string[] = [];
    if (this.#remote === null) return conflicts;
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      const known = await this.#repository.resolve(this.#knownRef);
      const tip = this.#tip;
      if (tip === null || tip === known) return conflicts;
      const refusal = await this.#remote.push(tip, known, options);
      if (refusal === undefined) {
        await this.#repository.update({ ref: this.#knownRef, to: tip });
        return conflicts;
      }
      const isUnmoved = (await this.#remote.tip(options)) === known;
      if (isUnmoved && !refusal.isPassing) throw refusal.error;
      if (!isUnmoved) conflicts.push(...(await this.#pull(options)));
      // Two machines that met should not meet again in step.
      await sleep((this.#options.random ?? Math.random)() * 100 * attempt);
      throwIfInterrupted(options.signal);
    }
    throw new BackupError("remote_failed", `${this.#remote} was moved by others ${attempts} times in a row; the commit waits here`);
  }

  /** Fetches the remote's branch and brings ours on top of it. Gives the keys that both sides have put with other bytes. */
  async #pull(options: CallOptions): Promise<readonly string[]> {
    if (this.#remote === null) return [];
    if ((await this.#remote.tip(options)) === null) {
      // Gone there, or never was: what we have is pushed anew.
      await this.#repository.update({ ref: this.#knownRef, to: null });
      this.#isRemoteSeen = true;
      return [];
    }
    const incoming = `refs/holdfast/incoming/${randomBytes(6).toString("hex")}`;
    await this.#remote.fetch(incoming, options);
    try {
      return await this.#adopt(await this.#repository.resolve(incoming), options);
    } finally {
      await this.#repository.update({ ref: incoming, to: null });
    }
  }

  async #adopt(theirs: string | null, options: CallOptions): Promise<readonly string[]> {
    const repository = this.#repository;
    const nowKnown = { ref: this.#knownRef, to: theirs };
    for (let attempt = 1; attempt <= attempts; attempt += 1) {
      await this.#reload();
      const ours = this.#tip;
      const known = await repository.resolve(this.#knownRef);
      this.#isRemoteSeen = true;
      if (theirs === null || (await repository.follows(ours, theirs))) {
        await repository.update(nowKnown);
        return [];
      }
      const standing = await repository.filesAt(theirs);
      // Only a branch that grew from what we saw can have deleted on purpose; one that was reset or made anew has lost.
      const hasGrown = await repository.follows(theirs, known);
      const isForward = ours === null || (await repository.follows(theirs, ours));
      const { changes, conflicts } = isForward ? nothing : mergeFiles(await repository.filesAt(known), this.#files, standing, hasGrown);
      if (await this.#advance(theirs, ours, standing, changes, [nowKnown], options)) return conflicts;
    }
    throw new BackupError("store_failed", `the branch of ${this.name} is moved by another run all the time`);
  }

  /** Moves the branch from `from` to a commit of `changes` on `parent`, or to `parent` itself. False when another run has moved it. */
  async #advance(
    parent: string | null,
    from: string | null,
    files: BranchFiles,
    changes: Changes,
    more: readonly RefUpdate[],
    options: CallOptions,
  ): Promise<boolean> {
    const { author = defaultAuthor, now = () => new Date() } = this.#options;
    const to = changes.size === 0 ? parent : await this.#repository.commit(parent, files, changes, author, now());
    throwIfInterrupted(options.signal);
    const isMoved = await this.#repository.update({ ref: this.#ref, to, from }, ...more);
    await this.#reload();
    return isMoved;
  }

  async *#stream(file: BranchFile, { range, signal }: CallOptions & { readonly range?: Range }): AsyncIterable<Uint8Array> {
    let skip = range?.offset ?? 0;
    let left = Math.min(range?.length ?? file.size, file.size - skip);
    for (const part of file.parts) {
      throwIfInterrupted(signal);
      if (left <= 0) return;
      if (skip >= part.size) {
        skip -= part.size;
        continue;
      }
      for await (const chunk of this.#repository.readBlob(part.oid, signal)) {
        const wanted = chunk.subarray(skip, skip + left);
        skip = Math.max(0, skip - chunk.length);
        left -= wanted.length;
        if (wanted.length > 0) yield wanted;
        if (left <= 0) return;
      }
    }
  }

  /** What a key is now: as staged, else as in the branch. */
  #view(key: string): BranchFile | undefined {
    const staged = this.#staged.get(key);
    return staged === undefined ? this.#files.get(key) : (staged.file ?? undefined);
  }

  /** On a miss the branch is read again: another run on this machine may have moved it. */
  async #find(key: string): Promise<BranchFile | undefined> {
    if (!this.#staged.has(key) && !this.#files.has(key)) await this.#reload();
    return this.#view(key);
  }

  async #read(key: string, options: CallOptions): Promise<BranchFile | undefined> {
    throwIfInterrupted(options.signal);
    if (this.#view(key) === undefined) await this.#prepareRead(options);
    return this.#find(key);
  }

  async #prepareRead(options: CallOptions): Promise<void> {
    throwIfInterrupted(options.signal);
    await this.#openLocal();
    await this.#seeRemote(options).catch((error: unknown) => {
      // What is here can be read without the remote; where nothing is here, "no such key" would be a lie.
      const isEmpty = this.#tip === null && this.#staged.size === 0;
      if (isEmpty || !isRemoteFailure(error)) throw error;
    });
  }

  async #prepareWrite(options: CallOptions): Promise<void> {
    throwIfInterrupted(options.signal);
    await this.#openLocal();
    await this.#seeRemote(options).catch((error: unknown) => {
      if (!isRemoteFailure(error)) throw error;
      // The flush meets it again. Until then each put would wait for the same silence.
      this.#isRemoteSeen = true;
    });
  }

  async #seeRemote(options: CallOptions): Promise<void> {
    if (this.#isRemoteSeen || this.#remote === null) return;
    await this.#exclusively(async () => {
      if (this.#isRemoteSeen) return;
      if ((await this.#repository.resolve(this.#knownRef)) === null) await this.#pull(options);
      this.#isRemoteSeen = true;
    });
  }

  /** One at a time: flush, refresh and the first look at the remote move the same refs. */
  #exclusively(action: () => Promise<unknown>): Promise<void> {
    const run = this.#last.then(async () => void (await action()));
    this.#last = run.catch(() => undefined);
    return run;
  }

  #openLocal(): Promise<void> {
    this.#opening ??= this.#repository
      .create(this.#options.branch)
      .then(() => this.#reload())
      .catch((error: unknown) => {
        this.#opening = undefined;
        throw error;
      });
    return this.#opening;
  }

  async #reload(): Promise<void> {
    const tip = await this.#repository.resolve(this.#ref);
    if (tip === this.#tip) return;
    this.#files = await this.#repository.filesAt(tip);
    this.#tip = tip;
  }

  #pathsFor(key: string, size: number): string[] {
    try {
      if (!isContained(key)) throw new RangeError("not a name inside the store");
      return partPaths(key, size, this.#partSize());
    } catch (error) {
      throw new BackupError("store_failed", `${this.name} cannot hold ${key}: ${error instanceof Error ? error.message : ""}`, { cause: error });
    }
  }

  /** A tree cannot hold both `a` and `a/b`; git would drop one without a word. */
  #refuseNesting(key: string): void {
    const keys = [...this.#files.keys(), ...this.#staged.keys()].filter((other) => this.#view(other) !== undefined);
    const other = keys.find((other) => other.startsWith(`${key}/`) || key.startsWith(`${other}/`));
    if (other !== undefined) throw new BackupError("store_failed", `${this.name} cannot hold ${key} beside ${other}`);
  }

  #partSize(): number {
    return this.#options.partSize ?? defaultPartSize;
  }

  #taken(key: string): BackupError {
    return new BackupError("store_failed", `${key} is already in ${this.name} with other bytes`);
  }
}

interface Staged {
  /** Null: deleted. */
  readonly file: BranchFile | null;
  /** The caller deleted the key before: what stands in the branch is to go. */
  readonly isReplacement: boolean;
}

const nothing = { changes: new Map<string, BranchFile | null>(), conflicts: [] };

function changesOf(staged: readonly (readonly [string, Staged])[], files: BranchFiles): { changes: Changes; conflicts: string[] } {
  const changes = new Map<string, BranchFile | null>();
  const conflicts: string[] = [];
  for (const [key, { file, isReplacement }] of staged) {
    const standing = files.get(key);
    if (sameFile(standing, file ?? undefined)) continue;
    if (file !== null && standing !== undefined && !isReplacement) conflicts.push(key);
    else changes.set(key, file);
  }
  return { changes, conflicts };
}

function isRemoteFailure(error: unknown): boolean {
  return error instanceof BackupError && error.code === "remote_failed";
}

function throwIfInterrupted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw signal.reason instanceof BackupError ? signal.reason : new BackupError("interrupted", "interrupted", { cause: signal.reason });
}
