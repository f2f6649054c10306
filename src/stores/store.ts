/**
 * A store holds the artifacts of points under keys such as `20261121/20261121T143005Z-a1b2c3.bundle`.
 * Every store holds the same bytes under the same keys.
 *
 * What every store promises:
 * - A finished `put` is visible to `get`, `stat` and `list` of the same store object; nobody sees half a `put`.
 * - A finished `put` or `replace` was read back: the place itself has shown, after the bytes were there, that it holds this length
 *   and this checksum (a folder reads its file, git names an object by its bytes, a bucket is asked). Otherwise it throws
 *   `store_failed`. A `file` that the store renames was read back by its writer.
 * - A `put` of a key that is there with the same bytes is done; with other bytes it throws `store_failed`.
 * - After `flush` all earlier puts and deletes survive a power cut and are visible to everyone.
 *   Where `put` itself gives that (a folder, a bucket), `flush` does nothing. Where another machine was first with other
 *   bytes, theirs stay, the rest is done, and `flush` throws `store_failed` with these `keys` in its details.
 * - A missing key is a known answer: `stat` and `get` give undefined.
 * - When `signal` aborts, nothing more is written and the call throws.
 * - Errors are BackupErrors: `store_missing`, `store_unwritable`, `store_full`, `remote_failed`, `unauthorized`, `store_failed`.
 */

import { createHash } from "node:crypto";
import type { Decryptor } from "../core/encryption.ts";
import { BackupError } from "../core/errors.ts";

export interface StoreEntry {
  readonly key: string;
  readonly size: number;
}

/** Something that can be read again, so that a failed put can be tried again. */
export interface Source {
  readonly size: number;
  /** Of all the bytes, in hex, where it is known before: a store refuses to have put others. */
  readonly sha256?: string;
  open(): AsyncIterable<Uint8Array>;
  /** A file with these bytes that the store may take away (rename), or undefined. */
  readonly file?: string;
}

export interface Range {
  readonly offset: number;
  readonly length: number;
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

/** Something that a place behind a store can do or not, as `store check` tells it. */
export interface StoreFact {
  /** A claim, such as "deleting a locked object is refused". */
  readonly what: string;
  readonly answer: "yes" | "no" | "unknown";
  /** The settings ask for more than this. */
  readonly isWrong?: boolean;
  readonly note?: string;
}

export interface Store {
  /** As in backup.yaml. */
  readonly name: string;
  readonly url: string;
  put(key: string, source: Source, options?: CallOptions): Promise<void>;
  /** The bytes, or undefined when the key is absent. Bytes beyond the end are not given. */
  get(key: string, options?: CallOptions & { readonly range?: Range }): Promise<AsyncIterable<Uint8Array> | undefined>;
  stat(key: string, options?: CallOptions): Promise<StoreEntry | undefined>;
  /** Keys that begin with `prefix`, in no particular order. */
  list(prefix: string, options?: CallOptions): AsyncIterable<StoreEntry>;
  /**
   * As `put`, but over whatever stands there, which nobody sees absent or half-written. For what is not a point's, such as RECOVERY.md,
   * and for a point's files that were encrypted again or are mended: these are locked as by `put`, where the place locks.
   */
  replace(key: string, source: Source, options?: CallOptions): Promise<void>;
  /** Names of the folders at the top, such as days, in no particular order. Costs no more than there are of them, where the backend can. */
  folders(options?: CallOptions): Promise<string[]>;
  /** Absent already is fine. */
  delete(key: string, options?: CallOptions): Promise<void>;
  flush(options?: CallOptions): Promise<void>;
  /** As `put` of what stands under `from`, without its bytes passing through here. Without it they do: see `copyKey`. */
  copy?(from: string, to: string, options?: CallOptions): Promise<void>;
  /** Removes what killed runs left: temporary files, unfinished uploads, each after its grace. */
  clearLeftovers?(now: Date, options?: CallOptions): Promise<void>;
  /** Looks what the place can do. Writes below this store's own folder. */
  inspect?(options?: CallOptions): Promise<StoreFact[]>;
  /** Opens what is encrypted in this store; set by the wiring. Without it an encrypted artifact cannot be read. */
  decryptor?: Decryptor | undefined;
}

/** A store on this machine, which captures are written into directly. */
export interface LocalStore extends Store {
  /** A new empty folder on the store's own volume; a `put` of a file from it is a rename. */
  spool(): string;
  /** The file of a key, for readers that need to seek. */
  fileOf(key: string): string;
}

export function bytesSource(bytes: Uint8Array | string): Source {
  const buffer = typeof bytes === "string" ? Buffer.from(bytes, "utf8") : bytes;
  return {
    size: buffer.length,
    sha256: createHash("sha256").update(buffer).digest("hex"),
    async *open() {
      yield buffer;
    },
  };
}

/** Throws `store_failed` where the bytes that came, by their sha256 in hex, are not those that the source announced. */
export function refuseOther(key: string, { sha256 }: Source, came: string): void {
  if (sha256 !== undefined && sha256 !== came)
    throw new BackupError("store_failed", `${key}: other bytes came than were announced`, { hint: "holdfast sync sends it again" });
}

/** Far more than any manifest has. */
const readAllLimit = 64 << 20;

/**
 * All bytes of a key, or undefined when it is absent. For small things: manifests, RECOVERY.md. Throws `damaged` where there
 * is no end to it.
 */
export async function readAll(store: Store, key: string, options: CallOptions = {}): Promise<Buffer | undefined> {
  const stream = await store.get(key, options);
  if (stream === undefined) return undefined;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of stream) {
    size += chunk.length;
    if (size > readAllLimit) throw new BackupError("damaged", `${key} in the store ${store.name} is far too large for what it should be`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

/** Puts what stands under `from` under `to` as well. Throws `store_failed` where it is absent, or other bytes are there. */
export async function copyKey(store: Store, from: string, to: string, options: CallOptions = {}): Promise<void> {
  return store.copy === undefined ? copyThrough(store, from, to, options) : store.copy(from, to, options);
}

/** The same by reading and putting: the bytes pass through here. */
export async function copyThrough(store: Store, from: string, to: string, options: CallOptions = {}): Promise<void> {
  const size = (await store.stat(from, options))?.size;
  if (size === undefined) throw new BackupError("store_failed", `the store ${store.name} has no ${from} to copy`);
  await store.put(to, keySource(store, from, size, options), options);
}

/** What stands under a key, to be put under another one. */
export function keySource(store: Store, key: string, size: number, options: CallOptions = {}): Source {
  return {
    size,
    async *open() {
      yield* (await store.get(key, options)) ?? [];
    },
  };
}

export async function* emptyStream(): AsyncGenerator<Uint8Array> {}

/** The first parts of keys that have more than one. */
export function topFolders(keys: Iterable<string>): string[] {
  const folders = new Set<string>();
  for (const key of keys) {
    const slash = key.indexOf("/");
    if (slash > 0) folders.add(key.slice(0, slash));
  }
  return [...folders];
}
