/**
 * Bytes of the branch: from the bare repository, or fetched for the reading alone, so that they never lie here twice.
 * Parts are fetched one by one: a host that is asked for several searches for deltas between them, which took twice the
 * time and four times its memory (git 2.39, five parts of 45 MiB).
 */
import { BackupError } from "../core/errors.ts";
import type { BranchFile, BranchPart } from "./branch-files.ts";
import { throwIfInterrupted } from "./branch-history.ts";
import type { BranchRemote } from "./branch-remote.ts";
import type { BranchRepository, Scratch } from "./branch-repository.ts";
import type { CallOptions, Range } from "./store.ts";

export class BranchReader {
  readonly #repository: BranchRepository;
  readonly #remote: BranchRemote | null;

  constructor(repository: BranchRepository, remote: BranchRemote | null) {
    this.#repository = repository;
    this.#remote = remote;
  }

  /** The bytes of a file in order; beyond its end none. Throws `remote_failed` or `damaged` where some are not here and cannot be fetched. */
  async *stream(file: BranchFile, { range, ...options }: CallOptions & { readonly range?: Range }): AsyncIterable<Uint8Array> {
    let skip = range?.offset ?? 0;
    let left = range?.length ?? Number.POSITIVE_INFINITY;
    for (const part of file.parts) {
      throwIfInterrupted(options.signal);
      if (left <= 0) return;
      if (part.size !== null && skip >= part.size) {
        skip -= part.size;
        continue;
      }
      await using open = await this.#open(part, options);
      for await (const chunk of this.#repository.readBlob(part.oid, { cwd: open.gitDir, ...options })) {
        const wanted = chunk.subarray(skip, skip + left);
        skip = Math.max(0, skip - chunk.length);
        left -= wanted.length;
        if (wanted.length > 0) yield wanted;
        if (left <= 0) return;
      }
    }
  }

  async sizeOf(file: BranchFile, options: CallOptions): Promise<number> {
    return file.size ?? (await this.sized(file, options)).reduce((sum, { size }) => sum + size, 0);
  }

  /** The parts with their sizes; those that are not here are fetched to know. */
  async sized(file: BranchFile, options: CallOptions): Promise<{ readonly oid: string; readonly size: number }[]> {
    const sized: { oid: string; size: number }[] = [];
    for (const part of file.parts) {
      await using open = await this.#open(part, options);
      sized.push({ oid: part.oid, size: open.size });
    }
    return sized;
  }

  /** Looks first: another run on this machine may have dropped the blob since the branch was read. */
  async #open({ oid }: BranchPart, options: CallOptions): Promise<OpenPart> {
    const here = (await this.#repository.sizesOf([oid])).get(oid);
    if (here !== undefined) return { gitDir: this.#repository.gitDir, size: here, [Symbol.asyncDispose]: async () => undefined };
    const scratch = await this.#repository.openScratch();
    try {
      const size = await this.#fetch(oid, scratch, options);
      if (size !== undefined) return { ...scratch, size };
    } catch (error) {
      await scratch[Symbol.asyncDispose]();
      throw error;
    }
    await scratch[Symbol.asyncDispose]();
    throw new BackupError("damaged", `${this.#remote ?? "the branch"} no longer has what its tree names (${oid})`, {
      hint: "restore from another copy: restore-from-git --from STORE",
    });
  }

  /** Gives the blob's size, or undefined where the remote lacks it. A host that gives no blob by its id gives the whole branch. */
  async #fetch(oid: string, { gitDir }: Scratch, options: CallOptions): Promise<number | undefined> {
    if (this.#remote === null) return undefined;
    if (!(await this.#remote.fetchBlobs([oid], { ...options, into: gitDir }))) await this.#remote.fetchWhole(gitDir, options);
    return (await this.#repository.sizesOf([oid], gitDir)).get(oid);
  }
}

interface OpenPart extends AsyncDisposable {
  readonly gitDir: string;
  readonly size: number;
}
