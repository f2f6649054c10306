/**
 * A store on any remote that the user's rclone knows: the keys lie below `REMOTE:PATH`, under their own names.
 *
 * Nobody sees half a put. A bucket shows an object when it is whole; elsewhere a file is written under a temporary name,
 * read back, and then gets its own name by a move on the remote's side. Where a remote can do neither, a file that is being
 * written stands there half until it is done: its size tells, and a point exists from its manifest on, which goes last.
 * A put is read back: by a sum that the remote itself gives, else byte for byte.
 * `replace` is as good as the remote's move: some take the old file away just before.
 */
import { createHash, randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import * as z from "zod";
import type { Decryptor } from "../core/encryption.ts";
import { BackupError } from "../core/errors.ts";
import { type HashType, RcloneRemote, type RemoteFacts } from "./rclone-remote.ts";
import { type CallOptions, emptyStream, type Range, type Source, type Store, type StoreEntry } from "./store.ts";

export interface RcloneOptions {
  readonly name: string;
  readonly url: string;
  /** `REMOTE:PATH`, as rclone takes it. */
  readonly path: string;
  /** Below it: "" or `some/folder/`. */
  readonly folder: string;
  readonly environment?: NodeJS.ProcessEnv;
}

/** Lie at the top, with the time of their making in the name: not every remote keeps one. */
const temporaryPrefix = ".holdfast-";
const leftoverAgeMs = 24 * 60 * 60 * 1000;

/** Below this a bucket gets a temporary name too: a manifest cut short by a kill would look like one. */
const smallSize = 1 << 20;
const attempts = 3;

export class RcloneStore implements Store {
  readonly name: string;
  readonly url: string;
  decryptor?: Decryptor;
  readonly #remote: RcloneRemote;

  constructor({ name, url, path, folder, environment = process.env }: RcloneOptions) {
    this.name = name;
    this.url = url;
    const below = folder.replace(/\/+$/, "");
    const place = below === "" ? path : `${path}${/[:/]$/.test(path) ? "" : "/"}${below}`;
    this.#remote = new RcloneRemote({ store: name, path: place }, environment);
  }

  async put(key: string, source: Source, options: CallOptions = {}): Promise<void> {
    const facts = await this.#remote.facts(options);
    const present = await this.#find(key, options);
    if (present === undefined) return this.#write(key, source, facts, true, options);
    if (!(await this.#isSame(key, present.size, source, facts, options)))
      throw new BackupError("store_failed", `${key} is already in the store ${this.name} with other bytes`);
  }

  async replace(key: string, source: Source, options: CallOptions = {}): Promise<void> {
    await this.#write(key, source, await this.#remote.facts(options), false, options);
  }

  /** On the remote's side, where it can; else by rclone itself. */
  async copy(from: string, to: string, options: CallOptions = {}): Promise<void> {
    const facts = await this.#remote.facts(options);
    const type = facts.hash ?? "sha256";
    const there = await this.#find(from, options, type);
    if (there === undefined) throw new BackupError("store_failed", `the store ${this.name} has no ${from} to copy`);
    const sum = there.sum ?? (await this.#sumOf(from, type, options)) ?? "";
    if ((await this.#find(to, options)) !== undefined) {
      await this.#readBack(to, to, there.size, sum, type, options).catch((error: unknown) => {
        if (!(error instanceof BackupError) || error.code !== "store_failed") throw error;
        throw new BackupError("store_failed", `${to} is already in the store ${this.name} with other bytes`);
      });
      return;
    }
    const { place, isDirect } = placeFor(to, there.size, facts);
    try {
      await this.#remote.call("operations/copyfile", { srcRemote: from, dstRemote: place }, z.object({}), `copy ${from} within`, options);
      await this.#readBack(place, to, there.size, sum, type, options);
      if (!isDirect) await this.#move(place, to, there.size, options);
    } catch (error) {
      await this.#discard(place);
      throw error;
    }
  }

  async get(key: string, options: CallOptions & { readonly range?: Range } = {}): Promise<AsyncIterable<Uint8Array> | undefined> {
    if (options.range?.length === 0) return (await this.stat(key, options)) === undefined ? undefined : emptyStream();
    return this.#remote.read(key, options);
  }

  async stat(key: string, options: CallOptions = {}): Promise<StoreEntry | undefined> {
    const found = await this.#find(key, options);
    return found === undefined ? undefined : { key, size: found.size };
  }

  async *list(prefix: string, options: CallOptions = {}): AsyncIterable<StoreEntry> {
    const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    for (const { Path: key, Size } of await this.#entries(folder, { recurse: true, filesOnly: true }, options)) {
      if (key.startsWith(prefix) && isPlain(key) && !key.startsWith(temporaryPrefix)) yield { key, size: Size };
    }
  }

  async folders(options: CallOptions = {}): Promise<string[]> {
    const entries = await this.#entries("", { dirsOnly: true }, options);
    return entries.map(({ Path }) => Path).filter(isPlain);
  }

  async delete(key: string, options: CallOptions = {}): Promise<void> {
    await this.#remote.call("operations/deletefile", { remote: key }, z.object({}), `delete ${key} from`, options);
  }

  /** A put is as durable when it returns as the remote makes it. */
  async flush(): Promise<void> {}

  async clearLeftovers(now: Date, options: CallOptions = {}): Promise<void> {
    for (const { Path } of await this.#entries("", { filesOnly: true }, options)) {
      const madeAt = Number.parseInt(/^\.holdfast-([0-9a-z]+)-[0-9a-f]+$/.exec(Path)?.[1] ?? "", 36);
      if (now.getTime() - madeAt > leftoverAgeMs) await this.delete(Path, options);
    }
  }

  /** Ends the rclone that waits for more; without it that happens after a while, and with this process. */
  async close(): Promise<void> {
    await this.#remote.close();
  }

  /** rclone tries again by itself, but for an upload: it cannot read its input twice. */
  async #write(key: string, source: Source, facts: RemoteFacts, isNew: boolean, options: CallOptions): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.#writeOnce(key, source, facts, isNew, options);
      } catch (error) {
        if (attempt === attempts || !(error instanceof BackupError) || error.code !== "remote_failed" || options.signal?.aborted === true)
          throw error;
        await delay(300 * attempt, undefined, { signal: options.signal });
      }
    }
  }

  async #writeOnce(key: string, source: Source, facts: RemoteFacts, isNew: boolean, options: CallOptions): Promise<void> {
    const { place, isDirect } = placeFor(key, source.size, facts);
    const type = facts.hash ?? "sha256";
    try {
      const sum = await this.#remote.upload(place, source, type, options);
      await this.#readBack(place, key, source.size, sum, type, options);
      if (!isDirect) await this.#move(place, key, source.size, options);
    } catch (error) {
      if (!isDirect || isNew) await this.#discard(place);
      throw error;
    }
  }

  async #move(from: string, to: string, size: number, options: CallOptions): Promise<void> {
    options.signal?.throwIfAborted();
    const doing = `write ${to} into`;
    await this.#remote.call("operations/movefile", { srcRemote: from, dstRemote: to }, z.object({}), doing, options);
    if ((await this.#find(to, options))?.size !== size) throw this.#other(to);
  }

  async #discard(place: string): Promise<void> {
    // The first error is the one that tells; what stays has a name that is cleared after a day.
    await this.delete(place).catch(() => undefined);
  }

  /** What stands there, by the remote's own word on it or byte for byte. */
  async #readBack(place: string, key: string, size: number, sum: string, type: HashType, options: CallOptions): Promise<void> {
    const found = await this.#find(place, options, type);
    if (found?.size !== size || (found.sum ?? (await this.#sumOf(place, type, options))) !== sum) throw this.#other(key);
  }

  async #isSame(key: string, size: number, source: Source, facts: RemoteFacts, options: CallOptions): Promise<boolean> {
    if (size !== source.size) return false;
    const type = facts.hash ?? "sha256";
    const theirs = (await this.#find(key, options, type))?.sum ?? (await this.#sumOf(key, type, options));
    return theirs === (await sumOf(source.open(), type));
  }

  async #sumOf(key: string, type: HashType, options: CallOptions): Promise<string | undefined> {
    const stream = await this.#remote.read(key, options);
    return stream === undefined ? undefined : sumOf(stream, type);
  }

  async #find(key: string, options: CallOptions, type?: HashType): Promise<{ readonly size: number; readonly sum: string | undefined } | undefined> {
    const hashes = type === undefined ? {} : { showHash: true, hashTypes: [type] };
    const parameters = { remote: key, opt: { noModTime: true, noMimeType: true, filesOnly: true, ...hashes } };
    const item = (await this.#remote.call("operations/stat", parameters, statShape, `look for ${key} in`, options))?.item;
    if (item === null || item === undefined || item.IsDir) return undefined;
    const sum = type === undefined ? undefined : item.Hashes?.[type];
    return { size: item.Size, sum: sum === "" ? undefined : sum };
  }

  async #entries(folder: string, opt: object, options: CallOptions): Promise<readonly z.infer<typeof entryShape>[]> {
    const parameters = { remote: folder.replace(/\/$/, ""), opt: { noModTime: true, noMimeType: true, ...opt } };
    return (await this.#remote.call("operations/list", parameters, listShape, "list", options))?.list ?? [];
  }

  #other(key: string): BackupError {
    return new BackupError("store_failed", `the store ${this.name} does not have ${key} as it was sent`);
  }
}

const entryShape = z.object({ Path: z.string(), Size: z.number(), IsDir: z.boolean(), Hashes: z.record(z.string(), z.string()).nullish() });
const listShape = z.object({ list: z.array(entryShape).nullable() });
const statShape = z.object({ item: entryShape.nullable() });

/** Where a file is written first. */
function placeFor(key: string, size: number, { canMove, isAtomic }: RemoteFacts): { readonly place: string; readonly isDirect: boolean } {
  const isDirect = !canMove || (isAtomic && size >= smallSize);
  return { place: isDirect ? key : `${temporaryPrefix}${Date.now().toString(36)}-${randomBytes(6).toString("hex")}`, isDirect };
}

/** Names come from whoever can write to the remote: what leads out of the store, or a terminal astray, is no key of ours. */
function isPlain(key: string): boolean {
  return !/[\p{Cc}\p{Cf}\\]/u.test(key) && key.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

async function sumOf(bytes: AsyncIterable<Uint8Array>, type: HashType): Promise<string> {
  const hash = createHash(type);
  for await (const chunk of bytes) hash.update(chunk);
  return hash.digest("hex");
}
