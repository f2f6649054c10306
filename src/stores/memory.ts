/** A store in memory, for tests. Stores that are given the same map are one place. */
import { createHash } from "node:crypto";
import type { Decryptor } from "../core/encryption.ts";
import { BackupError } from "../core/errors.ts";
import { bytesSource, type CallOptions, type Range, refuseOther, type Source, type Store, type StoreEntry, topFolders } from "./store.ts";

export class MemoryStore implements Store {
  readonly name: string;
  readonly url: string;
  decryptor?: Decryptor;
  readonly #files: Map<string, Buffer>;

  constructor(name: string, files: Map<string, Buffer> = new Map()) {
    this.name = name;
    this.url = `memory:${name}`;
    this.#files = files;
  }

  async put(key: string, source: Source, options: CallOptions = {}): Promise<void> {
    const chunks: Uint8Array[] = [];
    options.signal?.throwIfAborted();
    for await (const chunk of source.open()) {
      options.signal?.throwIfAborted();
      chunks.push(Uint8Array.from(chunk));
    }
    options.signal?.throwIfAborted();
    const bytes = Buffer.concat(chunks);
    if (bytes.length !== source.size) throw new BackupError("store_failed", `${key}: ${bytes.length} bytes came, ${source.size} were announced`);
    refuseOther(key, source, createHash("sha256").update(bytes).digest("hex"));
    const existing = this.#files.get(key);
    if (existing !== undefined && !existing.equals(bytes)) throw new BackupError("store_failed", `${key} is already there with other bytes`);
    this.#files.set(key, bytes);
  }

  async replace(key: string, source: Source, options: CallOptions = {}): Promise<void> {
    const fresh = new MemoryStore(this.name);
    await fresh.put(key, source, options);
    this.#files.set(key, fresh.#files.get(key) as Buffer);
  }

  async folders(): Promise<string[]> {
    return topFolders(this.#files.keys());
  }

  async get(key: string, options: CallOptions & { readonly range?: Range } = {}): Promise<AsyncIterable<Uint8Array> | undefined> {
    const bytes = this.#files.get(key);
    if (bytes === undefined) return undefined;
    const { range, signal } = options;
    return stream(range === undefined ? bytes : bytes.subarray(range.offset, range.offset + range.length), signal);
  }

  async stat(key: string): Promise<StoreEntry | undefined> {
    const bytes = this.#files.get(key);
    return bytes === undefined ? undefined : { key, size: bytes.length };
  }

  async *list(prefix: string): AsyncIterable<StoreEntry> {
    for (const [key, bytes] of [...this.#files]) if (key.startsWith(prefix)) yield { key, size: bytes.length };
  }

  async delete(key: string): Promise<void> {
    this.#files.delete(key);
  }

  async flush(): Promise<void> {}

  async copy(from: string, to: string, options: CallOptions = {}): Promise<void> {
    const bytes = this.#files.get(from);
    if (bytes === undefined) throw new BackupError("store_failed", `there is no ${from} to copy`);
    await this.put(to, bytesSource(bytes), options);
  }
}

async function* stream(bytes: Buffer, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 65_536) {
    signal?.throwIfAborted();
    yield bytes.subarray(at, at + 65_536);
  }
}
