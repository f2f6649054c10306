/** A store that fails on purpose: the nth call of a method, or the nth call of any, does what the script says. */
import { BackupError } from "../../src/core/errors.ts";
import { type CallOptions, copyKey, type Range, type Source, type Store, type StoreEntry } from "../../src/stores/store.ts";

export type Method = "put" | "replace" | "folders" | "get" | "stat" | "list" | "delete" | "flush" | "copy";

export interface Fault {
  /** Any method when undefined. */
  readonly method?: Method;
  /** Counted from 1, over the calls that `method` means. */
  readonly nth: number;
  /**
   * fail: throws before anything happens. after: throws when it has happened. cut: `get` ends after half of its bytes,
   * `put` gets half of its source. flip: one bit of what `get` gives, or `put` is given, is another. hang: never answers until
   * the signal aborts. stale: `list` does not yet know what was put since the wrapper was made. twice: a `put` that happens twice.
   */
  readonly does: "fail" | "after" | "cut" | "flip" | "hang" | "stale" | "twice";
  /** From the nth on, every call. */
  readonly stays?: boolean;
}

export interface FaultyStore extends Store {
  /** Every call in order, for a sweep: how many there are. */
  readonly calls: readonly { readonly method: Method; readonly key: string }[];
  /** How many faults took effect. */
  readonly faults: number;
}

export function faultyStore(inner: Store, script: readonly Fault[] = []): FaultyStore {
  const calls: { method: Method; key: string }[] = [];
  const counts = new Map<Method, number>();
  const put = new Set<string>();
  let faults = 0;
  const next = (method: Method, key: string): Fault["does"] | undefined => {
    calls.push({ method, key });
    const count = (counts.get(method) ?? 0) + 1;
    counts.set(method, count);
    const fault = script.find((candidate) => {
      if (candidate.method !== undefined && candidate.method !== method) return false;
      const at = candidate.method === undefined ? calls.length : count;
      return candidate.stays === true ? at >= candidate.nth : at === candidate.nth;
    });
    if (fault !== undefined) faults += 1;
    return fault?.does;
  };
  const failure = (method: Method, key: string): BackupError => new BackupError("store_failed", `${method} ${key} was made to fail`);
  /** What every method but the streaming ones does about its fault. */
  const call = async <T>(method: Method, key: string, options: CallOptions | undefined, act: () => Promise<T>): Promise<T> => {
    const does = next(method, key);
    if (does === "hang") await untilAbort(options?.signal);
    if (does === "fail" || does === "cut" || does === "flip") throw failure(method, key);
    const result = await act();
    if (does === "after") throw failure(method, key);
    return result;
  };
  return {
    name: inner.name,
    url: inner.url,
    calls,
    get faults() {
      return faults;
    },
    async put(key, source, options) {
      const does = next("put", key);
      if (does === "hang") await untilAbort(options?.signal);
      if (does === "fail") throw failure("put", key);
      const given = does === "cut" ? halfSource(source, failure("put", key)) : does === "flip" ? flippedSource(source) : source;
      for (let time = does === "twice" ? 2 : 1; time > 0; time -= 1) await inner.put(key, given, options);
      put.add(key);
      if (does === "after") throw failure("put", key);
    },
    async get(key, options: CallOptions & { readonly range?: Range } = {}) {
      const does = next("get", key);
      if (does === "hang") await untilAbort(options.signal);
      if (does === "fail" || does === "after") throw failure("get", key);
      const stream = await inner.get(key, options);
      if (stream === undefined) return stream;
      return does === "cut" ? half(stream) : does === "flip" ? flipped(stream) : stream;
    },
    replace: (key, source, options) => call("replace", key, options, () => inner.replace(key, source, options)),
    folders: (options) => call("folders", "", options, () => inner.folders(options)),
    stat: (key, options): Promise<StoreEntry | undefined> => call("stat", key, options, () => inner.stat(key, options)),
    async *list(prefix, options) {
      const does = next("list", prefix);
      if (does === "hang") await untilAbort(options?.signal);
      if (does === "fail") throw failure("list", prefix);
      const entries: StoreEntry[] = [];
      for await (const entry of inner.list(prefix, options)) entries.push(entry);
      if (does === "stale") yield* entries.filter((entry) => !put.has(entry.key));
      else yield* does === undefined || does === "twice" ? entries : entries.slice(0, entries.length / 2);
      if (does !== undefined && does !== "stale" && does !== "twice") throw failure("list", prefix);
    },
    delete: (key, options) => call("delete", key, options, () => inner.delete(key, options)),
    flush: (options) => call("flush", "", options, () => inner.flush(options)),
    copy: (from, to, options) => call("copy", to, options, () => copyKey(inner, from, to, options)),
  };
}

async function untilAbort(signal: AbortSignal | undefined): Promise<never> {
  if (signal === undefined) throw new Error("a call without a signal would hang for ever");
  if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  throw signal.reason;
}

function halfSource(source: Source, failure: Error): Source {
  return {
    size: source.size,
    async *open() {
      yield* half(source.open());
      throw failure;
    },
  };
}

function flippedSource(source: Source): Source {
  return { ...source, open: () => flipped(source.open()) };
}

async function* half(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const bytes = await whole(stream);
  yield bytes.subarray(0, bytes.length >> 1);
}

async function* flipped(stream: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const bytes = Buffer.from(await whole(stream));
  const middle = bytes.length >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 1;
  yield bytes;
}

async function whole(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of stream) chunks.push(chunk);
  return Buffer.concat(chunks);
}
