/**
 * A store in a bucket of any S3-compatible server. Every key of a repository begins with its own folder, so that many share a
 * bucket without a lock: names are unique, objects are never changed, and a listing reads nothing of the others.
 *
 * House rules:
 * - A put ends with a look: length and ETag as the server tells them. Where the ETag is no MD5 the object is read back.
 * - Nothing here needs the right to delete, but `delete` and clearing up.
 */
import type { ObjectLock } from "../core/config.ts";
import type { Decryptor } from "../core/encryption.ts";
import { BackupError } from "../core/errors.ts";
import type { S3Location } from "../core/store-url.ts";
import { type Patience, S3Connection } from "./s3-connection.ts";
import { copyObject } from "./s3-copy.ts";
import { download, etagOf } from "./s3-download.ts";
import { type Doing, reasonOf, statusOf } from "./s3-errors.ts";
import { inspectBucket } from "./s3-inspect.ts";
import { etagLike, isSame, md5, pieces } from "./s3-pieces.ts";
import { readTraits, type S3Traits, writeTraits } from "./s3-traits.ts";
import { abortUpload, type LockFields, partSizeFor, unfinishedUploads, uploadParts } from "./s3-upload.ts";
import {
  bytesSource,
  type CallOptions,
  copyThrough,
  emptyStream,
  keySource,
  type Range,
  type Source,
  type Store,
  type StoreEntry,
  type StoreFact,
} from "./store.ts";

export interface S3StoreOptions {
  readonly name: string;
  /** As in backup.yaml. */
  readonly url: string;
  readonly location: S3Location;
  /** "" or `ID/`: below the location's prefix. */
  readonly folder: string;
  readonly lock?: ObjectLock;
  /** Where to remember what the server can do; undefined: nowhere. */
  readonly traitsFile?: string;
  readonly patience?: Partial<Patience>;
  /** Bytes of a part; larger where a file would have more than 10,000. Default 8 MiB. */
  readonly partSize?: number;
  /** Files above it go in parts. Default 16 MiB. */
  readonly partsAbove?: number;
  /** Parts on their way at a time. Default 4. */
  readonly parallel?: number;
}

const mebibyte = 1 << 20;
const hourMs = 60 * 60 * 1000;
const uploadGraceMs = 7 * 24 * hourMs;
/** What `store check` writes below; a run that was killed leaves it. */
const checkPrefix = ".holdfast-check-";

export class S3Store implements Store {
  readonly name: string;
  readonly url: string;
  decryptor?: Decryptor;
  readonly #options: S3StoreOptions;
  readonly #connection: S3Connection;
  /** Before every key: the location's prefix and the repository's folder. */
  readonly #base: string;
  readonly #place: string;
  readonly #traits: S3Traits;

  constructor(options: S3StoreOptions) {
    const { location, folder } = options;
    this.name = options.name;
    this.url = options.url;
    this.#options = options;
    this.#connection = new S3Connection(options.name, location, options.patience);
    this.#base = `${location.prefix}${folder}`;
    this.#place = `${location.endpoint ?? ""} ${location.bucket}`;
    this.#traits = readTraits(options.traitsFile, this.#place);
  }

  async put(key: string, source: Source, options: CallOptions = {}): Promise<void> {
    const lock = this.#lock();
    const isLarge = source.size > this.#partsAbove;
    const etag = isLarge ? await this.#createInParts(key, source, lock, options) : await this.#create(key, source, lock, options);
    if (await this.#stands(key, source, etag, options)) return etag === undefined ? undefined : this.#ensureLocked(key, lock, options);
    if (etag !== undefined) throw this.#changed(key);
    throw new BackupError("store_failed", `${key} is already in the store ${this.name} with other bytes`);
  }

  async replace(key: string, source: Source, options: CallOptions = {}): Promise<void> {
    const lock = isPointFile(key) ? this.#lock() : {};
    const wish = { isCreateOnly: false, lock };
    if (source.size > this.#partsAbove) {
      const etag = await this.#sendParts(key, source, wish, options);
      if (!(await this.#stands(key, source, etag, options))) throw this.#changed(key);
    } else {
      const bytes = await readWhole(key, source, options);
      const sum = md5(bytes);
      const answered = await this.#write(key, bytes, sum, wish, options);
      // Where the answer tells the sum it is done, and what another machine wrote a moment later is not ours to judge.
      if (answered !== sum.toString("hex") && !(await this.#stands(key, source, sum.toString("hex"), options))) throw this.#changed(key);
    }
    await this.#ensureLocked(key, lock, options);
  }

  /** By the server, where it can. */
  async copy(from: string, to: string, options: CallOptions = {}): Promise<void> {
    const there = await this.#head(from, options);
    if (there === undefined) throw new BackupError("store_failed", `the store ${this.name} has no ${from} to copy`);
    const source = keySource(this, from, there.size, options);
    const lock = this.#lock();
    const isNew = (await this.#head(to, options)) === undefined;
    try {
      if (isNew) await this.#copyNew(from, to, there, lock, options);
    } catch (error) {
      if (statusOf(error) === 501 || statusOf(error) === 405) return copyThrough(this, from, to, options);
      if (statusOf(error) !== 412) throw error; // another one stands there now: it is looked at
    }
    if (await this.#stands(to, source, there.etag, options)) return isNew ? this.#ensureLocked(to, lock, options) : undefined;
    if (isNew) throw this.#changed(to);
    throw new BackupError("store_failed", `${to} is already in the store ${this.name} with other bytes`);
  }

  async get(key: string, options: CallOptions & { readonly range?: Range } = {}): Promise<AsyncIterable<Uint8Array> | undefined> {
    if (options.range?.length === 0) return (await this.stat(key, options)) === undefined ? undefined : emptyStream();
    return download(this.#connection, { ...options, key, object: this.#objectOf(key) });
  }

  async stat(key: string, options: CallOptions = {}): Promise<StoreEntry | undefined> {
    const head = await this.#head(key, options);
    return head === undefined ? undefined : { key, size: head.size };
  }

  async *list(prefix: string, options: CallOptions = {}): AsyncIterable<StoreEntry> {
    for await (const { key, size } of this.#list(prefix, options)) yield { key, size };
  }

  async folders(options: CallOptions = {}): Promise<string[]> {
    const folders: string[] = [];
    for await (const page of this.#pages("", options, "/")) {
      for (const { Prefix } of page.CommonPrefixes ?? []) {
        const name = Prefix?.startsWith(this.#base) === true ? Prefix.slice(this.#base.length, -1) : "";
        if (name !== "" && !name.startsWith(checkPrefix)) folders.push(name);
      }
    }
    return folders;
  }

  /** In a bucket with versions it leaves the bytes, under a marker that says deleted; Object Lock forbids no marker. */
  async delete(key: string, options: CallOptions = {}): Promise<void> {
    await this.#connection.call(
      { action: `delete ${key} from`, right: "s3:DeleteObject" },
      (client, http) => client.deleteObject({ Bucket: this.#connection.bucket, Key: this.#objectOf(key) }, http),
      options,
    );
  }

  /** A put is durable when it returns. */
  async flush(): Promise<void> {}

  /** Unfinished uploads that nobody went on with for a week, and what a check left that was killed. */
  async clearLeftovers(now: Date, options: CallOptions = {}): Promise<void> {
    for await (const { id, object, begunAt } of unfinishedUploads(this.#connection, this.#base, options)) {
      const isOld = now.getTime() - begunAt.getTime() > uploadGraceMs;
      if (isOld && object.startsWith(this.#base)) await abortUpload(this.#connection, object.slice(this.#base.length), object, id, options);
    }
    for await (const { key, modifiedAt } of this.#list(checkPrefix, options)) {
      if (modifiedAt !== undefined && now.getTime() - modifiedAt.getTime() > hourMs) await this.delete(key, options);
    }
  }

  async inspect(options: CallOptions = {}): Promise<StoreFact[]> {
    const plain = new S3Store({ ...this.#withoutLock, folder: `${this.#options.folder}facts/` });
    plain.#traits.isCreateOnly = undefined; // tried anew: a bucket's settings may have changed
    await plain.put("create-only", bytesSource("x"), options);
    const inParts = new S3Store({ ...this.#withoutLock, folder: `${this.#options.folder}facts/`, partsAbove: 1, partSize: 5 * mebibyte });
    return inspectBucket(this.#connection, (key, bytes) => inParts.put(key, bytesSource(bytes), options), {
      ...options,
      base: `${this.#base}facts/`,
      lock: this.#lock(),
      isCreateOnly: plain.#traits.isCreateOnly === true,
    });
  }

  get #withoutLock(): S3StoreOptions {
    const { lock: _, ...others } = this.#options;
    return others;
  }

  get #partsAbove(): number {
    return this.#options.partsAbove ?? 16 * mebibyte;
  }

  /** The ETag that it should have now; undefined where something stood there before, which may be the same. */
  async #create(key: string, source: Source, lock: LockFields, options: CallOptions): Promise<string | undefined> {
    const bytes = await readWhole(key, source, options);
    const sum = md5(bytes);
    const wish = { lock, isCreateOnly: this.#traits.isCreateOnly !== false };
    if (this.#traits.isCreateOnly !== true && (await this.#head(key, options)) !== undefined) return undefined;
    try {
      await this.#write(key, bytes, sum, wish, options);
    } catch (error) {
      if (statusOf(error) === 412) return undefined;
      if (statusOf(error) !== 501 || !wish.isCreateOnly) throw error;
      this.#learn(false);
      await this.#write(key, bytes, sum, { ...wish, isCreateOnly: false }, options);
    }
    if (this.#traits.isCreateOnly === undefined) this.#learn(await this.#refusesAgain(key, bytes, sum, lock, options));
    return sum.toString("hex");
  }

  /** Whether the server keeps what it has when the same bytes come again to be created. Writes nothing new, whatever it does. */
  async #refusesAgain(key: string, bytes: Buffer, sum: Buffer, lock: LockFields, options: CallOptions): Promise<boolean> {
    try {
      await this.#write(key, bytes, sum, { lock, isCreateOnly: true }, options);
      return false;
    } catch (error) {
      if (statusOf(error) === 412) return true;
      throw error;
    }
  }

  async #createInParts(key: string, source: Source, lock: LockFields, options: CallOptions): Promise<string | undefined> {
    // Not every server looks when an upload is completed; and so no byte is sent in vain.
    if ((await this.#head(key, options)) !== undefined) return undefined;
    return this.#sendParts(key, source, { lock, isCreateOnly: this.#traits.isCreateOnly === true }, options);
  }

  async #copyNew(from: string, to: string, { size }: Head, lock: LockFields, options: CallOptions): Promise<void> {
    const { parallel = 4 } = this.#options;
    await copyObject(this.#connection, {
      ...options,
      key: from,
      from: this.#objectOf(from),
      to: this.#objectOf(to),
      size,
      partSize: size > this.#partsAbove ? this.#partSize({ size }) : undefined,
      parallel,
      lock,
      isCreateOnly: this.#traits.isCreateOnly === true,
    });
  }

  async #sendParts(key: string, source: Source, wish: WriteWish, options: CallOptions): Promise<string> {
    const { parallel = 4 } = this.#options;
    const partSize = this.#partSize(source);
    return uploadParts(this.#connection, { ...options, ...wish, key, object: this.#objectOf(key), source, partSize, parallel });
  }

  #partSize({ size }: Pick<Source, "size">): number {
    return partSizeFor(size, this.#options.partSize ?? 8 * mebibyte);
  }

  /** Gives the ETag that the server answers. */
  async #write(key: string, bytes: Buffer, sum: Buffer, { isCreateOnly, lock }: WriteWish, options: CallOptions): Promise<string> {
    const answer = await this.#connection.call(
      { action: `write ${key} into`, right: lock.ObjectLockMode === undefined ? "s3:PutObject" : "s3:PutObject, s3:PutObjectRetention" },
      (client, http) =>
        client.putObject(
          {
            Bucket: this.#connection.bucket,
            Key: this.#objectOf(key),
            Body: bytes,
            ContentMD5: sum.toString("base64"),
            ...lock,
            ...(isCreateOnly ? { IfNoneMatch: "*" } : {}),
          },
          http,
        ),
      options,
    );
    return etagOf(answer);
  }

  /** Whether what stands there are the source's bytes: by length and ETag where these tell, else by reading. `etag`: what it should be, if known. */
  async #stands(key: string, source: Source, etag: string | undefined, options: CallOptions): Promise<boolean> {
    const there = await this.#head(key, options);
    if (there === undefined || there.size !== source.size) return false;
    if (there.etag === (etag ?? (await etagLike(there.etag, key, source, this.#partSize(source), options.signal)))) return true;
    const stored = await download(this.#connection, { ...options, key, object: this.#objectOf(key) });
    return stored !== undefined && isSame(key, source, stored);
  }

  /** Some servers forget the lock of what came in parts (Ceph 16), and an upload that was gone on with has an older one. */
  async #ensureLocked(key: string, { ObjectLockMode, ObjectLockRetainUntilDate: until }: LockFields, options: CallOptions): Promise<void> {
    if (ObjectLockMode === undefined || until === undefined) return;
    const there = await this.#head(key, options);
    // Some keep whole seconds.
    if (there?.lockedUntil !== undefined && there.lockedUntil.getTime() > until.getTime() - 1000) return;
    await this.#connection.call(
      { action: `lock ${key} in`, right: "s3:PutObjectRetention" },
      (client, http) =>
        client.putObjectRetention(
          { Bucket: this.#connection.bucket, Key: this.#objectOf(key), Retention: { Mode: ObjectLockMode, RetainUntilDate: until } },
          http,
        ),
      options,
    );
  }

  async #head(key: string, options: CallOptions): Promise<Head | undefined> {
    try {
      const head = await this.#connection.call(
        { action: `look for ${key} in`, right: "s3:GetObject and s3:ListBucket" },
        (client, http) => client.headObject({ Bucket: this.#connection.bucket, Key: this.#objectOf(key) }, http),
        options,
      );
      return { size: head.ContentLength ?? 0, etag: etagOf(head), lockedUntil: head.ObjectLockRetainUntilDate };
    } catch (error) {
      if (statusOf(error) === 404 && reasonOf(error) !== "NoSuchBucket") return undefined;
      throw error;
    }
  }

  async *#list(prefix: string, options: CallOptions): AsyncGenerator<StoreEntry & { readonly modifiedAt: Date | undefined }> {
    for await (const page of this.#pages(prefix, options)) {
      for (const { Key, Size, LastModified } of page.Contents ?? []) {
        const key = Key?.startsWith(this.#base) === true ? Key.slice(this.#base.length) : undefined;
        if (key?.startsWith(prefix) === true) yield { key, size: Size ?? 0, modifiedAt: LastModified };
      }
    }
  }

  async *#pages(prefix: string, options: CallOptions, delimiter?: string) {
    const listing: Doing = { action: "list", right: "s3:ListBucket" };
    for (let after: string | undefined; ; ) {
      const page = await this.#connection.call(
        listing,
        (client, http) =>
          client.listObjectsV2(
            {
              Bucket: this.#connection.bucket,
              Prefix: `${this.#base}${prefix}`,
              ...(delimiter === undefined ? {} : { Delimiter: delimiter }),
              ...(after === undefined ? {} : { ContinuationToken: after }),
            },
            http,
          ),
        options,
      );
      yield page;
      if (page.IsTruncated !== true) return;
      if (page.NextContinuationToken === undefined || page.NextContinuationToken === after)
        throw new BackupError("store_failed", `the server does not end its list of the store ${this.name}`);
      after = page.NextContinuationToken;
    }
  }

  #learn(isCreateOnly: boolean): void {
    this.#traits.isCreateOnly = isCreateOnly;
    writeTraits(this.#options.traitsFile, this.#place, this.#traits);
  }

  #lock(): LockFields {
    const { lock } = this.#options;
    if (lock === undefined) return {};
    return {
      ObjectLockMode: lock.mode === "compliance" ? "COMPLIANCE" : "GOVERNANCE",
      ObjectLockRetainUntilDate: new Date(Date.now() + lock.days * 24 * hourMs),
    };
  }

  #objectOf(key: string): string {
    return `${this.#base}${key}`;
  }

  #changed(key: string): BackupError {
    return new BackupError("store_failed", `the store ${this.name} does not have ${key} as it was sent`);
  }
}

interface Head {
  readonly size: number;
  readonly etag: string;
  /** Undefined also where we may not know. */
  readonly lockedUntil: Date | undefined;
}

interface WriteWish {
  readonly isCreateOnly: boolean;
  readonly lock: LockFields;
}

/** RECOVERY.md and its like are written over again and again: a lock on each of their versions would help nobody. */
function isPointFile(key: string): boolean {
  return /^\d{8}\//.test(key);
}

async function readWhole(key: string, source: Source, { signal }: CallOptions): Promise<Buffer> {
  signal?.throwIfAborted();
  for await (const piece of pieces(key, source, Math.max(1, source.size), signal)) return piece;
  return Buffer.alloc(0);
}
