/**
 * A store on an orphan branch: each key is a file of the branch's tree, so a plain clone of the branch is the store.
 *
 * The commits are made in a bare repository of our own. A *part* is one piece (`KEY.part001`) of a file that is above
 * the host's limit; `cat KEY.part*` is the file. *Staged* is what was put or deleted since the last flush; `flush` makes
 * commits of it and pushes them. Several machines may share a branch (branch-history.ts).
 */
import { BackupError } from "../core/errors.ts";
import { isContained } from "../core/paths.ts";
import {
  type BranchFile,
  type BranchFiles,
  type BranchPart,
  type Changes,
  fileOf,
  isMadeOf,
  PartReader,
  partPaths,
  sameFile,
} from "./branch-files.ts";
import { BranchHistory, type BranchHistoryOptions, throwIfInterrupted } from "./branch-history.ts";
import { BranchReader } from "./branch-reader.ts";
import { type CallOptions, type Range, type Source, type Store, type StoreEntry, topFolders } from "./store.ts";

export interface BranchStoreOptions extends BranchHistoryOptions {
  /** As in backup.yaml. */
  readonly url: string;
  /** Bytes of the largest file in the tree. Default 45 MiB. */
  readonly partSize?: number;
}

const defaultPartSize = 45 * 1024 * 1024;

export class BranchStore implements Store {
  readonly name: string;
  readonly url: string;
  readonly #history: BranchHistory;
  readonly #reader: BranchReader;
  readonly #partSize: number;
  readonly #staged = new Map<string, Staged>();
  /** Folders that keys had at some time: those of `#foldersFrom`, and of what was put since. */
  readonly #folders = new Set<string>();
  #foldersFrom: BranchFiles | undefined;
  #opening: Promise<void> | undefined;
  #last: Promise<void> = Promise.resolve();

  constructor(options: BranchStoreOptions) {
    this.name = options.name;
    this.url = options.url;
    this.#partSize = options.partSize ?? defaultPartSize;
    this.#history = new BranchHistory(options);
    this.#reader = new BranchReader(this.#history.repository, this.#history.remote);
  }

  /**
   * Makes the bare repository where it is missing, and brings what others have pushed. Every other method does so by
   * itself, at the first look; what was seen once is read and added to without the remote, too. Throws `remote_failed`, `store_failed`, `store_unwritable`.
   */
  async open(options: CallOptions = {}): Promise<void> {
    await this.#openLocal();
    await this.#seeRemote(options);
  }

  /** Brings what other machines have pushed since. Throws `remote_failed`. */
  async refresh(options: CallOptions = {}): Promise<void> {
    await this.#openLocal();
    await this.#exclusively(() => this.#history.pull(options));
  }

  /**
   * Why the host does not take a ref of this name; undefined when it does, or cannot be reached. Pushes an empty commit
   * beside it, and takes it back.
   */
  async probe(options: CallOptions = {}): Promise<BackupError | undefined> {
    await this.#openLocal();
    return this.#history.probe(options);
  }

  async put(key: string, source: Source, options: CallOptions = {}): Promise<void> {
    const paths = this.#pathsFor(key, source.size);
    await this.#prepareWrite(options);
    const existing = await this.#find(key);
    if (existing !== undefined) {
      if (await this.#hasBytes(existing, source, options)) return;
      throw this.#taken(key);
    }
    this.#refuseNesting(key);
    const parts: BranchPart[] = [];
    await using reader = new PartReader(key, source, options.signal);
    for (const path of paths) {
      const size = Math.min(this.#partSize, source.size - parts.length * this.#partSize);
      parts.push({ path, size, oid: await this.#history.repository.writeBlob(reader.take(size)) });
    }
    await reader.expectEnd();
    throwIfInterrupted(options.signal);
    const file = fileOf(parts);
    const meanwhile = this.#view(key);
    if (meanwhile === undefined) this.#staged.set(key, { file, isReplacement: this.#staged.has(key) });
    else if (!sameFile(meanwhile, file)) throw this.#taken(key);
  }

  async replace(key: string, source: Source, options: CallOptions = {}): Promise<void> {
    const before = this.#staged.get(key);
    await this.delete(key, options);
    try {
      await this.put(key, source, options);
    } catch (error) {
      if (before === undefined) this.#staged.delete(key);
      else this.#staged.set(key, before);
      throw error;
    }
  }

  async folders(options: CallOptions = {}): Promise<string[]> {
    await this.#prepareRead(options);
    await this.#history.reload();
    return topFolders(this.#keys());
  }

  async get(key: string, options: CallOptions & { readonly range?: Range } = {}): Promise<AsyncIterable<Uint8Array> | undefined> {
    const file = await this.#read(key, options);
    return file === undefined ? undefined : this.#reader.stream(file, options);
  }

  async stat(key: string, options: CallOptions = {}): Promise<StoreEntry | undefined> {
    const file = await this.#read(key, options);
    return file === undefined ? undefined : { key, size: await this.#reader.sizeOf(file, options) };
  }

  async *list(prefix: string, options: CallOptions = {}): AsyncIterable<StoreEntry> {
    await this.#prepareRead(options);
    await this.#history.reload();
    for (const key of new Set([...this.#history.files.keys(), ...this.#staged.keys()])) {
      throwIfInterrupted(options.signal);
      const file = key.startsWith(prefix) ? this.#view(key) : undefined;
      if (file !== undefined) yield { key, size: await this.#reader.sizeOf(file, options) };
    }
  }

  async delete(key: string, options: CallOptions = {}): Promise<void> {
    await this.#prepareWrite(options);
    if ((await this.#find(key)) === undefined) return;
    if (this.#history.files.has(key)) this.#staged.set(key, { file: null, isReplacement: true });
    else this.#staged.delete(key);
  }

  /** The same blobs under another name: nothing is read or sent. */
  async copy(from: string, to: string, options: CallOptions = {}): Promise<void> {
    await this.#prepareWrite(options);
    const file = await this.#find(from);
    if (file === undefined) throw new BackupError("store_failed", `${this.name} has no ${from} to copy`);
    this.#pathsFor(to, file.size ?? 0);
    // With the size that its manifest tells: the parts' own are not known where the bytes are on the remote only.
    const copied = { size: file.size, parts: file.parts.map((part) => ({ ...part, path: `${to}${part.path.slice(from.length)}` })) };
    const existing = await this.#find(to);
    if (existing !== undefined && !sameFile(existing, copied)) throw this.#taken(to);
    if (existing !== undefined) return;
    this.#refuseNesting(to);
    this.#staged.set(to, { file: copied, isReplacement: this.#staged.has(to) });
  }

  /**
   * Commits all that is staged, then pushes, also what an earlier flush could not. After deletions the branch may begin
   * anew, so that the host can free them.
   * Throws `remote_failed` when the remote cannot be reached or refuses: the commits are then kept here for the next flush.
   * Throws `store_failed` when another machine has put other bytes under a key of ours: theirs stay, the rest is pushed.
   */
  async flush(options: CallOptions = {}): Promise<void> {
    throwIfInterrupted(options.signal);
    await this.#openLocal();
    await this.#exclusively(async () => {
      const conflicts = [...(await this.#commitStaged(options)), ...(await this.#history.push(options))];
      await this.#history.tidy(options);
      if (conflicts.length === 0) return;
      const message = `${conflicts.join(", ")}: another machine has put other bytes there; theirs stay`;
      throw new BackupError("store_failed", message, { details: { keys: conflicts } });
    });
  }

  /** Gives the keys that could not be committed because others stand there by now. */
  async #commitStaged(options: CallOptions): Promise<readonly string[]> {
    const { taken, conflicts } = await this.#history.commit((files) => {
      const taken = [...this.#staged];
      return { taken, ...changesOf(taken, files) };
    }, options);
    // Puts may have come while the commit was made: only what was taken is done.
    for (const [key, staged] of taken) if (this.#staged.get(key) === staged) this.#staged.delete(key);
    return conflicts;
  }

  /** Asks for no byte of the branch where the sizes of its parts are plain, or can be guessed. */
  async #hasBytes(file: BranchFile, source: Source, options: CallOptions): Promise<boolean> {
    const { objectFormat } = this.#history.repository;
    if (file.size !== null && file.size !== source.size) return false;
    if (file.parts.some(({ size }) => size === null)) {
      const last = file.parts.length - 1;
      const rest = source.size - last * this.#partSize;
      const guess = file.parts.map(({ oid }, index) => ({ oid, size: index === last ? rest : this.#partSize }));
      if (rest >= 0 && (await isMadeOf(guess, source, objectFormat))) return true;
    }
    return isMadeOf(await this.#reader.sized(file, options), source, objectFormat);
  }

  /** What a key is now: as staged, else as in the branch. */
  #view(key: string): BranchFile | undefined {
    const staged = this.#staged.get(key);
    return staged === undefined ? this.#history.files.get(key) : (staged.file ?? undefined);
  }

  /** On a miss the branch is read again: another run on this machine may have moved it. */
  async #find(key: string): Promise<BranchFile | undefined> {
    if (!this.#staged.has(key) && !this.#history.files.has(key)) await this.#history.reload();
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
      const isEmpty = this.#history.isEmpty && this.#staged.size === 0;
      if (isEmpty || !isRemoteFailure(error)) throw error;
      this.#history.giveUpSeeing();
    });
  }

  async #prepareWrite(options: CallOptions): Promise<void> {
    throwIfInterrupted(options.signal);
    await this.#openLocal();
    if (await this.#history.wasEverSeen()) return;
    await this.#seeRemote(options).catch((error: unknown) => {
      if (!isRemoteFailure(error)) throw error;
      this.#history.giveUpSeeing();
    });
  }

  async #seeRemote(options: CallOptions): Promise<void> {
    if (!this.#history.isRemoteSeen) await this.#exclusively(() => this.#history.see(options));
  }

  /** One at a time: flush, refresh and the first look at the remote move the same refs. */
  #exclusively(action: () => Promise<unknown>): Promise<void> {
    const run = this.#last.then(async () => void (await action()));
    this.#last = run.catch(() => undefined);
    return run;
  }

  #openLocal(): Promise<void> {
    this.#opening ??= this.#history.open().catch((error: unknown) => {
      this.#opening = undefined;
      throw error;
    });
    return this.#opening;
  }

  #pathsFor(key: string, size: number): string[] {
    try {
      if (!isContained(key)) throw new RangeError("not a name inside the store");
      return partPaths(key, size, this.#partSize);
    } catch (error) {
      throw new BackupError("store_failed", `${this.name} cannot hold ${key}: ${error instanceof Error ? error.message : ""}`, { cause: error });
    }
  }

  /** A tree cannot hold both `a` and `a/b`; git would drop one without a word. */
  #refuseNesting(key: string): void {
    const above = foldersOf(key).find((folder) => this.#view(folder) !== undefined);
    const other = above ?? (this.#mayBeFolder(key) ? this.#keys().find((below) => below.startsWith(`${key}/`)) : undefined);
    if (other !== undefined) throw new BackupError("store_failed", `${this.name} cannot hold ${key} beside ${other}`);
    for (const folder of foldersOf(key)) this.#folders.add(folder);
  }

  /** Also of one that is empty by now. It spares each put a look at all the keys. */
  #mayBeFolder(name: string): boolean {
    const { files } = this.#history;
    if (this.#foldersFrom !== files) for (const key of files.keys()) for (const folder of foldersOf(key)) this.#folders.add(folder);
    this.#foldersFrom = files;
    return this.#folders.has(name);
  }

  #keys(): string[] {
    return [...new Set([...this.#history.files.keys(), ...this.#staged.keys()])].filter((key) => this.#view(key) !== undefined);
  }

  #taken(key: string): BackupError {
    return new BackupError("store_failed", `${key} is already in ${this.name} with other bytes`);
  }
}

/** Those above a key: of `a/b/c` they are `a` and `a/b`. */
function foldersOf(key: string): string[] {
  const names = key.split("/");
  return names.slice(1).map((_, index) => names.slice(0, index + 1).join("/"));
}

interface Staged {
  /** Null: deleted. */
  readonly file: BranchFile | null;
  /** The caller deleted the key before: what stands in the branch is to go. */
  readonly isReplacement: boolean;
}

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
