/**
 * Reading from a bucket: a large object in pieces, several on their way at a time; goes on where a connection was cut, and never
 * gives bytes of two versions.
 */
import { createHash } from "node:crypto";
import { Readable } from "node:stream";
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
const pieceSize = 8 << 20;
/** Pieces on their way at a time, once the reader has shown that it wants more than the first. */
const parallel = 4;
/** Of one piece, each going on where the last one was cut. */
const maxTries = 6;
const replacedReason = "Replaced";

/** The bytes, or undefined when there is no such object. */
export async function download(connection: S3Connection, request: DownloadRequest): Promise<AsyncIterable<Uint8Array> | undefined> {
  const { offset, length } = request.range ?? { offset: 0, length: Number.POSITIVE_INFINITY };
  const first = await open(connection, request, offset, offset + Math.min(length, pieceSize));
  if (first === undefined) return undefined;
  const isChecked = request.range === undefined && first.size <= checkedSize && /^[0-9a-f]{32}$/.test(first.etag);
  return isChecked ? checked(connection, request, first) : inPieces(connection, request, first, Math.min(offset + length, first.size));
}

interface Opened {
  readonly body: Readable;
  /** Where the body begins in the object, and ends. */
  readonly at: number;
  readonly end: number;
  /** Of the whole object. */
  readonly size: number;
  readonly etag: string;
}

/** Bytes of the object from `at` to before `end`. Undefined: there is no such object. `etag`: of the one that was begun with. */
async function open(connection: S3Connection, request: DownloadRequest, at: number, end: number, etag?: string): Promise<Opened | undefined> {
  const { object, version } = request;
  try {
    const output = await connection.call(
      doing(request),
      (client, options) =>
        client.getObject(
          {
            Bucket: connection.bucket,
            Key: object,
            Range: `bytes=${at}-${end - 1}`,
            ...(etag === undefined ? {} : { IfMatch: etag }),
            ...(version === undefined ? {} : { VersionId: version }),
          },
          options,
        ),
      request,
    );
    const opened = { body: bodyOf(output), at, end: at + (output.ContentLength ?? 0), size: sizeOf(output), etag: etagOf(output) };
    if (opened.end > end) throw failed(request, "gives more than was asked for");
    if (etag !== undefined && opened.etag !== etag) throw replaced(request);
    return opened;
  } catch (error) {
    if (statusOf(error) === 412 && etag !== undefined) throw replaced(request);
    // The object is there, and ends before: an empty one has no first byte.
    if (statusOf(error) === 416 && etag === undefined) return { body: Readable.from([]), at, end: at, size: at, etag: "" };
    if (statusOf(error) === 404 && reasonOf(error) !== "NoSuchBucket") return undefined;
    throw error;
  }
}

/** What `first` opened, to its end, through as many connections as it takes. */
async function fetchPiece(connection: S3Connection, request: DownloadRequest, first: Opened): Promise<Buffer> {
  const bytes = Buffer.allocUnsafeSlow(first.end - first.at);
  let filled = 0;
  let opened: Opened | undefined = first;
  for (let tries = 1; ; tries += 1) {
    try {
      opened ??= await openAgain(connection, request, first.at + filled, first.end, first.etag);
      await drain(opened.body, connection.patience.idleMs, request.signal, (chunk) => {
        if (filled + chunk.length > bytes.length) throw failed(request, "gives more bytes than it announced");
        bytes.set(chunk, filled);
        filled += chunk.length;
      });
      if (filled === bytes.length) return bytes;
      throw failed(request, "gave less bytes than it announced");
    } catch (error) {
      request.signal?.throwIfAborted();
      if (tries >= maxTries || isFinal(error)) throw connection.translate(error, doing(request));
      await connection.pause(tries, request.signal);
      opened = undefined;
    }
  }
}

/** Reads a body to its end. By events, which cost a third of what a loop over its chunks does; one that stands still is cut. */
function drain(body: Readable, idleMs: number, signal: AbortSignal | undefined, take: (chunk: Buffer) => void): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => void body.destroy(new Error("interrupted"));
    const timer = setTimeout(() => body.destroy(Object.assign(new Error("no bytes came"), { name: "TimeoutError" })), idleMs);
    signal?.addEventListener("abort", stop, { once: true });
    body
      .on("data", (chunk: Buffer) => {
        timer.refresh();
        try {
          take(chunk);
        } catch (error) {
          body.destroy(error as Error);
        }
      })
      .once("end", resolve)
      .once("error", reject)
      .once("close", () => {
        clearTimeout(timer);
        signal?.removeEventListener("abort", stop);
        resolve(); // cut without an error: who counts the bytes sees it
      });
    if (signal?.aborted === true) stop();
  });
}

async function openAgain(connection: S3Connection, request: DownloadRequest, at: number, end: number, etag: string): Promise<Opened> {
  const opened = await open(connection, request, at, end, etag);
  if (opened === undefined) throw replaced(request);
  return opened;
}

/** From where `first` begins to `end`, in order. What is on its way when the reader leaves is cut. */
async function* inPieces(connection: S3Connection, request: DownloadRequest, first: Opened, end: number): AsyncGenerator<Uint8Array> {
  const leaving = new AbortController();
  const signal = request.signal === undefined ? leaving.signal : AbortSignal.any([request.signal, leaving.signal]);
  const abortable = { ...request, signal };
  const fetch = async (at: number): Promise<Buffer> => {
    const opened = at === first.at ? first : await openAgain(connection, abortable, at, Math.min(at + pieceSize, end), first.etag);
    return fetchPiece(connection, abortable, opened);
  };
  const coming: Promise<Buffer>[] = [];
  try {
    let next = first.at;
    for (let given = 0; next < end || coming.length > 0; given += 1) {
      for (; next < end && coming.length <= Math.min(given, parallel - 1); next += pieceSize) {
        const piece = fetch(next);
        piece.catch(() => undefined); // thrown when its turn comes
        coming.push(piece);
      }
      const piece = (await coming.shift()) as Buffer;
      request.signal?.throwIfAborted();
      yield piece;
      request.signal?.throwIfAborted();
    }
  } finally {
    leaving.abort(new BackupError("interrupted", "the reader has left"));
    first.body.destroy();
    await Promise.allSettled(coming);
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
    const bytes = await fetchPiece(connection, request, opened);
    if (createHash("md5").update(bytes).digest("hex") === opened.etag || seen.some((earlier) => earlier.equals(bytes))) return oneChunk(bytes);
    if (attempt >= maxTries) throw failed(request, "gives other bytes each time");
    seen.push(bytes);
    const again = await open(connection, request, 0, pieceSize);
    if (again === undefined || again.end < again.size) throw replaced(request);
    opened = again;
  }
}

export function etagOf({ ETag }: { readonly ETag?: string | undefined }): string {
  return (ETag ?? "").replace(/^(?:W\/)?"?(.*?)"?$/, "$1");
}

/** Of the whole object: `bytes 5-9/20`. A server that knows no ranges gives all of it. */
function sizeOf({ ContentRange, ContentLength }: GetObjectCommandOutput): number {
  const total = /\/(\d+)$/.exec(ContentRange ?? "")?.[1];
  return total === undefined ? (ContentLength ?? 0) : Number(total);
}

function bodyOf({ Body }: GetObjectCommandOutput): Readable {
  return Body === undefined ? Readable.from([]) : (Body as Readable);
}

function doing({ key }: DownloadRequest): Doing {
  return { action: `read ${key} from`, right: "s3:GetObject" };
}

function replaced({ key }: DownloadRequest): BackupError {
  return new BackupError("store_failed", `${key} was replaced while it was read`, { hint: "run it again", details: { reason: replacedReason } });
}

/** Another try would not help: it is another object now. */
function isFinal(error: unknown): boolean {
  return reasonOf(error) === replacedReason;
}

function failed({ key }: DownloadRequest, what: string): BackupError {
  return new BackupError("store_failed", `the server ${what}: ${key}`);
}

async function* oneChunk(bytes: Buffer): AsyncGenerator<Uint8Array> {
  if (bytes.length > 0) yield bytes;
}
