/** Bytes of the branch: from the bare repository, or fetched for the reading alone, so that they never lie here twice. */
import { BackupError } from "../core/errors.ts";
import type { BranchFile, BranchPart } from "./branch-files.ts";
import { throwIfInterrupted } from "./branch-history.ts";
import type { BranchRemote } from "./branch-remote.ts";
import type { BranchRepository, Scratch } from "./branch-repository.ts";
import type { CallOptions, Range } from "./store.ts";

/** Parts that are fetched at once: fewer connections against more room on the disk (8 of 45 MiB). */
const partsAtOnce = 8;

export class BranchReader {
  readonly #repository: BranchRepository;
  readonly #remote: BranchRemote | null;

  constructor(repository: BranchRepository, remote: BranchRemote | null) {
    this.#repository = repository;
    this.#remote = remote;
  }

  /** The bytes of a file in order; beyond its end none. Throws `remote_failed` where some are not here and cannot be fetched. */
  async *stream(file: BranchFile, { range, ...options }: CallOptions & { readonly range?: Range }): AsyncIterable<Uint8Array> {
    let skip = range?.offset ?? 0;
    let left = range?.length ?? Number.POSITIVE_INFINITY;
    for (let at = 0; at < file.parts.length && left > 0; at += partsAtOnce) {
      const parts = file.parts.slice(at, at + partsAtOnce);
      if (parts.every(({ size }) => size !== null) && skip >= sumOf(parts)) {
        skip -= sumOf(parts);
        continue;
      }
      await using place = await this.#open(parts, options);
      for (const { oid, size } of place.parts) {
        throwIfInterrupted(options.signal);
        if (left <= 0) return;
        if (skip >= size) {
          skip -= size;
          continue;
        }
        for await (const chunk of this.#repository.readBlob(oid, { cwd: place.gitDir(oid), ...options })) {
          const wanted = chunk.subarray(skip, skip + left);
          skip = Math.max(0, skip - chunk.length);
          left -= wanted.length;
          if (wanted.length > 0) yield wanted;
          if (left <= 0) return;
        }
      }
    }
  }

  async sizeOf(file: BranchFile, options: CallOptions): Promise<number> {
    return file.size ?? (await this.sized(file, options)).reduce((sum, { size }) => sum + size, 0);
  }

  /** The parts with their sizes; those that are not here are fetched to know. */
  async sized(file: BranchFile, options: CallOptions): Promise<{ readonly oid: string; readonly size: number }[]> {
    const sized: { oid: string; size: number }[] = [];
    for (let at = 0; at < file.parts.length; at += partsAtOnce) {
      await using place = await this.#open(file.parts.slice(at, at + partsAtOnce), options);
      sized.push(...place.parts);
    }
    return sized;
  }

  /** Looks first: another run on this machine may have dropped a blob since the branch was read. */
  async #open(parts: readonly BranchPart[], options: CallOptions): Promise<OpenParts> {
    const oids = [...new Set(parts.map(({ oid }) => oid))];
    const sizes = await this.#repository.sizesOf(oids);
    const lacking = oids.filter((oid) => !sizes.has(oid));
    const scratch = lacking.length === 0 ? undefined : await this.#fetch(lacking, options);
    const fetched = scratch === undefined ? new Map<string, number>() : await this.#repository.sizesOf(lacking, scratch.gitDir);
    return {
      parts: parts.map(({ oid }) => ({ oid, size: sizes.get(oid) ?? fetched.get(oid) ?? 0 })),
      gitDir: (oid) => (scratch !== undefined && fetched.has(oid) ? scratch.gitDir : this.#repository.gitDir),
      [Symbol.asyncDispose]: async () => scratch?.[Symbol.asyncDispose](),
    };
  }

  async #fetch(oids: readonly string[], options: CallOptions): Promise<Scratch> {
    const remote = this.#remote;
    const scratch = await this.#repository.openScratch();
    try {
      const isThere =
        (await remote?.fetchBlobs(oids, { ...options, into: scratch.gitDir })) === true || (await this.#fetchAll(scratch, oids, options));
      if (isThere) return scratch;
    } catch (error) {
      await scratch[Symbol.asyncDispose]();
      throw error;
    }
    await scratch[Symbol.asyncDispose]();
    throw new BackupError("damaged", `${remote ?? "the branch"} no longer has what its tree names (${oids[0]})`, {
      hint: "restore from another copy: restore-from-git --from STORE",
    });
  }

  /** A host that gives no blob by its id gives the whole branch. */
  async #fetchAll(scratch: Scratch, oids: readonly string[], options: CallOptions): Promise<boolean> {
    await this.#remote?.fetchWhole(scratch.gitDir, options);
    return (await this.#repository.sizesOf(oids, scratch.gitDir)).size === oids.length;
  }
}

interface OpenParts extends AsyncDisposable {
  readonly parts: readonly { readonly oid: string; readonly size: number }[];
  gitDir(oid: string): string;
}

function sumOf(parts: readonly BranchPart[]): number {
  return parts.reduce((sum, { size }) => sum + (size ?? 0), 0);
}
