/**
 * A bucket with versions as it was at a moment: what was deleted or written over since is there. It is only read. So one gets back
 * what a thief of the keys deleted from a bucket whose versions he could not.
 */
import type { Decryptor } from "../core/encryption.ts";
import { BackupError } from "../core/errors.ts";
import type { S3StoreOptions } from "./s3.ts";
import { S3Connection } from "./s3-connection.ts";
import { download } from "./s3-download.ts";
import { type CallOptions, type Range, type Store, type StoreEntry, topFolders } from "./store.ts";

interface Version {
  readonly size: number;
  readonly id: string | undefined;
}

export class S3PastStore implements Store {
  readonly name: string;
  readonly url: string;
  decryptor?: Decryptor;
  readonly #connection: S3Connection;
  readonly #base: string;
  readonly #asOf: Date;
  #versions: Promise<ReadonlyMap<string, Version>> | undefined;

  constructor({ name, url, location, folder, patience }: S3StoreOptions, asOf: Date) {
    this.name = name;
    this.url = url;
    this.#connection = new S3Connection(name, location, patience);
    this.#base = `${location.prefix}${folder}`;
    this.#asOf = asOf;
  }

  async get(key: string, options: CallOptions & { readonly range?: Range } = {}): Promise<AsyncIterable<Uint8Array> | undefined> {
    const version = (await this.#read(options)).get(key);
    if (version === undefined) return undefined;
    return download(this.#connection, {
      ...options,
      key,
      object: `${this.#base}${key}`,
      ...(version.id === undefined ? {} : { version: version.id }),
    });
  }

  async stat(key: string, options: CallOptions = {}): Promise<StoreEntry | undefined> {
    const version = (await this.#read(options)).get(key);
    return version === undefined ? undefined : { key, size: version.size };
  }

  async *list(prefix: string, options: CallOptions = {}): AsyncIterable<StoreEntry> {
    for (const [key, { size }] of await this.#read(options)) if (key.startsWith(prefix)) yield { key, size };
  }

  async folders(options: CallOptions = {}): Promise<string[]> {
    return topFolders((await this.#read(options)).keys());
  }

  async put(): Promise<void> {
    throw this.#readOnly();
  }

  async replace(): Promise<void> {
    throw this.#readOnly();
  }

  async delete(): Promise<void> {
    throw this.#readOnly();
  }

  async flush(): Promise<void> {}

  #read(options: CallOptions): Promise<ReadonlyMap<string, Version>> {
    this.#versions ??= this.#readVersions(options);
    return this.#versions;
  }

  /** Of each key the newest version up to the moment, unless that is a marker that says deleted. */
  async #readVersions(options: CallOptions): Promise<ReadonlyMap<string, Version>> {
    const newest = new Map<string, Version & { readonly at: number; readonly isDeleted: boolean }>();
    for (let marker: { readonly KeyMarker?: string; readonly VersionIdMarker?: string } = {}; ; ) {
      const page = await this.#connection.call(
        { action: "list the versions in", right: "s3:ListBucketVersions" },
        (client, http) => client.listObjectVersions({ Bucket: this.#connection.bucket, Prefix: this.#base, ...marker }, http),
        options,
      );
      const entries = [
        ...(page.Versions ?? []).map((version) => ({ ...version, isDeleted: false })),
        ...(page.DeleteMarkers ?? []).map((version) => ({ ...version, Size: 0, isDeleted: true })),
      ];
      for (const { Key, VersionId, LastModified, Size, isDeleted } of entries) {
        const at = LastModified?.getTime() ?? 0;
        if (Key?.startsWith(this.#base) !== true || at > this.#asOf.getTime()) continue;
        const key = Key.slice(this.#base.length);
        const known = newest.get(key);
        if (known === undefined || at > known.at) newest.set(key, { at, isDeleted, size: Size ?? 0, id: VersionId });
      }
      const { NextKeyMarker, NextVersionIdMarker } = page;
      const isSame = NextKeyMarker === marker.KeyMarker && NextVersionIdMarker === marker.VersionIdMarker;
      if (page.IsTruncated !== true || NextKeyMarker === undefined || isSame) break;
      marker = { KeyMarker: NextKeyMarker, ...(NextVersionIdMarker === undefined ? {} : { VersionIdMarker: NextVersionIdMarker }) };
    }
    return new Map([...newest].filter(([, { isDeleted }]) => !isDeleted));
  }

  #readOnly(): BackupError {
    return new BackupError("usage", `the store ${this.name} shows what was at ${this.#asOf.toISOString()}: it is only read`, {
      hint: "take as_of out of its address to write there",
    });
  }
}
