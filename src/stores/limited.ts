/**
 * A store that takes no more than so many bytes a second. What it takes is held back at the source, piece by piece, so it
 * serves every store that sends while it reads; git does not (a push sends what is in its repository already).
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Decryptor } from "../core/encryption.ts";
import { type CallOptions, copyThrough, type Range, type Source, type Store, type StoreEntry } from "./store.ts";

export interface Clock {
  /** Milliseconds; only differences count. */
  now(): number;
  /** Resolves after `ms`; rejects at once when the signal aborts. */
  sleep(ms: number, signal: AbortSignal | undefined): Promise<void>;
}

const systemClock: Clock = {
  now: () => performance.now(),
  sleep: async (ms, signal) => delay(ms, undefined, { signal }),
};

/** A piece is what is sent in a tenth of a second, within these bounds: no burst, and no thousand timers. */
const pieceBytes = { least: 4 * 1024, most: 1 << 20 };

/** All that goes into one store shares its limit, however many puts run side by side. */
export class LimitedStore implements Store {
  readonly #inner: Store;
  readonly #bytesPerSecond: number;
  readonly #clock: Clock;
  /** When all that was let through until now would be sent, at the limit. */
  #busyUntil: number;

  constructor(inner: Store, bytesPerSecond: number, clock: Clock = systemClock) {
    this.#inner = inner;
    this.#bytesPerSecond = bytesPerSecond;
    this.#clock = clock;
    this.#busyUntil = clock.now();
  }

  get name(): string {
    return this.#inner.name;
  }

  get url(): string {
    return this.#inner.url;
  }

  get decryptor(): Decryptor | undefined {
    return this.#inner.decryptor;
  }

  set decryptor(decryptor: Decryptor | undefined) {
    this.#inner.decryptor = decryptor;
  }

  put(key: string, source: Source, options: CallOptions = {}): Promise<void> {
    return this.#inner.put(key, this.#heldBack(source, options), options);
  }

  replace(key: string, source: Source, options: CallOptions = {}): Promise<void> {
    return this.#inner.replace(key, this.#heldBack(source, options), options);
  }

  get(key: string, options?: CallOptions & { readonly range?: Range }): Promise<AsyncIterable<Uint8Array> | undefined> {
    return this.#inner.get(key, options);
  }

  stat(key: string, options?: CallOptions): Promise<StoreEntry | undefined> {
    return this.#inner.stat(key, options);
  }

  list(prefix: string, options?: CallOptions): AsyncIterable<StoreEntry> {
    return this.#inner.list(prefix, options);
  }

  folders(options?: CallOptions): Promise<string[]> {
    return this.#inner.folders(options);
  }

  copy(from: string, to: string, options?: CallOptions): Promise<void> {
    // Where it is not done over there, the bytes go up again, and count.
    return this.#inner.copy === undefined ? copyThrough(this, from, to, options) : this.#inner.copy(from, to, options);
  }

  delete(key: string, options?: CallOptions): Promise<void> {
    return this.#inner.delete(key, options);
  }

  flush(options?: CallOptions): Promise<void> {
    return this.#inner.flush(options);
  }

  async clearLeftovers(now: Date, options?: CallOptions): Promise<void> {
    await this.#inner.clearLeftovers?.(now, options);
  }

  /** Without its `file`: where a store renames it nothing is sent, and a copy on another volume would be made at full speed. */
  #heldBack(source: Source, { signal }: CallOptions): Source {
    const { size, sha256 } = source;
    return { size, ...(sha256 === undefined ? {} : { sha256 }), open: () => this.#trickle(source.open(), signal) };
  }

  async *#trickle(stream: AsyncIterable<Uint8Array>, signal: AbortSignal | undefined): AsyncIterable<Uint8Array> {
    const most = Math.min(pieceBytes.most, Math.max(pieceBytes.least, Math.floor(this.#bytesPerSecond / 10)));
    for await (const chunk of stream) {
      for (let at = 0; at < chunk.length; at += most) {
        const piece = chunk.subarray(at, at + most);
        await this.#wait(piece.length, signal);
        yield piece;
      }
    }
  }

  async #wait(bytes: number, signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    const now = this.#clock.now();
    this.#busyUntil = Math.max(this.#busyUntil, now) + (bytes / this.#bytesPerSecond) * 1000;
    try {
      await this.#clock.sleep(this.#busyUntil - now, signal);
    } catch (error) {
      throw signal?.aborted === true ? signal.reason : error;
    }
  }
}
