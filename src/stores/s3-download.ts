/** Reading from a bucket: goes on where a connection was cut, and never gives bytes of two versions. */
import { createHash } from "node:crypto";
import type { Readable } from "node:stream";
import type { GetObjectCommandOutput } from "@aws-sdk/client-s3";
import { BackupError } from "../core/errors.ts";
import type { S3Connection } from "./s3-connection.ts";
import { type Doing, reasonOf, statusOf } from "./s3-errors.ts";
import type { CallOptions, Range } from "./store.ts";

export interface DownloadRequest extends CallOptions {
  /** As the store's caller knows it; for messages. */
  readonly key: string;
  /** Its whole key in the bucket. */
  readonly object: string;
  readonly range?: Range;
  /** Of a bucket with versions: this one. */
  readonly version?: string;
}

/** Whole objects up to here are held in memory and compared with their ETag before a byte is given: JSON and texts have no other sum. */
const checkedSize = 1 << 20;
/** Tries without much progress. */
const maxTries = 6;
const progressSize = 8 << 20;

/** The bytes, or undefined when there is no such object. */
export async function download(connection: S3Connection, request: DownloadRequest): Promise<AsyncIterable<Uint8Array> | undefined> {
  const first = await open(connection, request, undefined);
  if (first === undefined) return undefined;
  if (request.range !== undefined || first.end > checkedSize || !/^[0-9a-f]{32}$/.test(first.etag)) return stream(connection, request, first);
  return checked(connection, request, first);
}

interface Opened {
  readonly body: AsyncIterable<Uint8Array> & { destroy?(): void };
  /** Of the object, from where to where: the next byte and the one after the last. */
  readonly at: number;
  readonly end: number;
  readonly etag: string;
}

/** `before`: what was opened first, to go on from `at`. Undefined: there is no such object. */
async function open(connection: S3Connection, request: DownloadRequest, before: Opened | undefined): Promise<Opened | undefined> {
  const { object, range, version } = request;
  const at = before?.at ?? range?.offset ?? 0;
  const last = before === undefined ? (range === undefined ? "" : at + range.length - 1) : before.end - 1;
  const isWhole = at === 0 && last === "";
  try {
    const output = await connection.call(
      doing(request),
      (client, options) =>
        client.getObject(
          {
            Bucket: connection.bucket,
            Key: object,
            ...(isWhole ? {} : { Range: `bytes=${at}-${last}` }),
            ...(before === undefined ? {} : { IfMatch: before.etag }),
            ...(version === undefined ? {} : { VersionId: version }),
          },
          options,
        ),
      request,
    );
    const opened = { body: bodyOf(output), at, end: at + (output.ContentLength ?? 0), etag: etagOf(output) };
    if (before !== undefined && (opened.etag !== before.etag || opened.end !== before.end)) throw replaced(request);
    return opened;
  } catch (error) {
    if (statusOf(error) === 412 && before !== undefined) throw replaced(request);
    if (statusOf(error) === 416 && before === undefined) return { body: nothing(), at, end: at, etag: "" };
    if (statusOf(error) === 404 && reasonOf(error) !== "NoSuchBucket") return undefined;
    throw error;
  }
}

async function* stream(connection: S3Connection, request: DownloadRequest, first: Opened): AsyncGenerator<Uint8Array> {
  let opened = first;
  let tries = 0;
  let progressAt = opened.at;
  while (opened.at < opened.end) {
    try {
      for await (const chunk of patient(opened, connection.patience.idleMs, request.signal)) {
        opened = { ...opened, at: opened.at + chunk.length };
        if (opened.at > opened.end) throw failed(request, "gives more bytes than it announced");
        yield chunk;
      }
      if (opened.at < opened.end) throw failed(request, "gave less bytes than it announced");
    } catch (error) {
      request.signal?.throwIfAborted();
      tries = opened.at - progressAt >= progressSize ? 1 : tries + 1;
      progressAt = opened.at;
      if (tries >= maxTries || opened.at > opened.end) throw connection.translate(error, doing(request));
      await connection.pause(tries, request.signal);
      const again = await open(connection, request, opened);
      if (again === undefined) throw replaced(request);
      opened = again;
    }
  }
}

/** Gives the body's chunks while they come; one that stands still is cut. Leaving early ends the request. */
async function* patient({ body }: Opened, idleMs: number, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array> {
  const stop = (): void => body.destroy?.();
  signal?.addEventListener("abort", stop, { once: true });
  let timer = setTimeout(stop, idleMs);
  try {
    for await (const chunk of body) {
      clearTimeout(timer);
      signal?.throwIfAborted();
      yield chunk;
      timer = setTimeout(stop, idleMs);
    }
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
    stop();
  }
}

/**
 * Read again where they are not the bytes that the ETag tells of. The same bytes twice were not changed on the way: some servers
 * have other ETags than MD5, as has Amazon with KMS.
 */
async function checked(connection: S3Connection, request: DownloadRequest, first: Opened): Promise<AsyncIterable<Uint8Array>> {
  let opened = first;
  const seen: Buffer[] = [];
  for (let attempt = 1; ; attempt += 1) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of stream(connection, request, opened)) chunks.push(chunk);
    const bytes = Buffer.concat(chunks);
    if (createHash("md5").update(bytes).digest("hex") === opened.etag || seen.some((earlier) => earlier.equals(bytes))) return oneChunk(bytes);
    if (attempt >= maxTries) throw failed(request, "gives other bytes each time");
    seen.push(bytes);
    const again = await open(connection, request, undefined);
    if (again === undefined) throw replaced(request);
    opened = again;
  }
}

export function etagOf({ ETag }: { readonly ETag?: string | undefined }): string {
  return (ETag ?? "").replace(/^(?:W\/)?"?(.*?)"?$/, "$1");
}

function bodyOf({ Body }: GetObjectCommandOutput): Opened["body"] {
  return Body === undefined ? nothing() : (Body as Readable);
}

function doing({ key }: DownloadRequest): Doing {
  return { action: `read ${key} from`, right: "s3:GetObject" };
}

function replaced({ key }: DownloadRequest): BackupError {
  return new BackupError("store_failed", `${key} was replaced while it was read`, { hint: "run it again" });
}

function failed({ key }: DownloadRequest, what: string): BackupError {
  return new BackupError("store_failed", `the server ${what}: ${key}`);
}

async function* nothing(): AsyncGenerator<Uint8Array> {}

async function* oneChunk(bytes: Buffer): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}
