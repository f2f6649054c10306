/**
 * A large object, sent in parts: several at a time, in bounded memory, and not again what the server has from a try that was cut.
 * Nobody sees the object before its last part has come. (Amazon S3 user guide, "Multipart upload")
 */
import type { Part } from "@aws-sdk/client-s3";
import { BackupError } from "../core/errors.ts";
import type { S3Connection } from "./s3-connection.ts";
import { etagOf } from "./s3-download.ts";
import { type Doing, reasonOf, statusOf } from "./s3-errors.ts";
import { etagOfParts, md5, pieces } from "./s3-pieces.ts";
import type { CallOptions, Source } from "./store.ts";

/** The fields of Object Lock, for whatever makes an object. */
export interface LockFields {
  readonly ObjectLockMode?: "GOVERNANCE" | "COMPLIANCE";
  readonly ObjectLockRetainUntilDate?: Date;
}

export interface UploadRequest extends CallOptions {
  /** As the store's caller knows it; for messages. */
  readonly key: string;
  /** Its whole key in the bucket. */
  readonly object: string;
  readonly source: Source;
  readonly partSize: number;
  /** Parts on their way at a time. */
  readonly parallel: number;
  readonly lock: LockFields;
  /** Refuse to complete over an object that is there; not every server does. */
  readonly isCreateOnly: boolean;
}

/** Of a part, where the server does not say how many there may be. (Amazon S3 user guide, "Multipart upload limits") */
const maxParts = 10_000;

/** Parts of `usual` bytes, or of as many MiB as keep them below 10,000. */
export function partSizeFor(size: number, usual: number): number {
  const mebibyte = 1 << 20;
  return Math.max(usual, Math.ceil(size / maxParts / mebibyte) * mebibyte);
}

/**
 * Gives the ETag that the object should have now; the caller looks. What was sent stays for the next try when the way there
 * fails or the signal aborts; when the source fails it is taken back.
 */
export async function uploadParts(connection: S3Connection, request: UploadRequest): Promise<string> {
  const upload = await beginOrResume(connection, request);
  const failing = new AbortController();
  const signal = request.signal === undefined ? failing.signal : AbortSignal.any([request.signal, failing.signal]);
  const sums: Buffer[] = [];
  const tags: string[] = [];
  const sending = new Set<Promise<void>>();
  const used: Buffer[] = [];
  try {
    for await (const piece of readPieces(request, signal, used)) {
      const number = sums.length + 1;
      sums.push(md5(piece));
      const part = sendPart(connection, { ...request, signal }, upload, number, piece, sums[number - 1] as Buffer)
        .then((tag) => {
          tags[number - 1] = tag;
          used.push(piece);
        })
        .finally(() => sending.delete(part));
      sending.add(part);
      part.catch((error: unknown) => failing.abort(error));
      if (sending.size >= request.parallel) await Promise.race(sending);
    }
    await Promise.all(sending);
    await complete(connection, request, upload.id, tags);
    return etagOfParts(sums);
  } catch (error) {
    failing.abort(error);
    await Promise.allSettled(sending);
    if (error instanceof SourceFailure) {
      await abandon(connection, request, upload.id);
      throw error.cause;
    }
    throw request.signal?.aborted === true ? request.signal.reason : failing.signal.reason;
  }
}

/** What the source threw, told apart from what the server did. */
class SourceFailure extends Error {}

async function* readPieces({ key, source, partSize }: UploadRequest, signal: AbortSignal, used: Buffer[]): AsyncGenerator<Buffer> {
  const reader = pieces(key, source, partSize, signal, used);
  try {
    for (;;) {
      const next = await reader.next().catch((error: unknown) => {
        throw signal.aborted ? error : new SourceFailure("the source failed", { cause: error });
      });
      if (next.done === true) return;
      yield next.value;
    }
  } finally {
    await reader.return(undefined);
  }
}

interface Upload {
  readonly id: string;
  /** Parts that the server has already, by number. */
  readonly present: ReadonlyMap<number, Part>;
}

async function sendPart(
  connection: S3Connection,
  { key, object, signal }: UploadRequest,
  { id, present }: Upload,
  number: number,
  piece: Buffer,
  sum: Buffer,
): Promise<string> {
  const known = present.get(number);
  if (known?.Size === piece.length && etagOf(known) === sum.toString("hex")) return known.ETag ?? "";
  const sent = await connection.call(
    writing(key),
    (client, options) =>
      client.uploadPart(
        { Bucket: connection.bucket, Key: object, UploadId: id, PartNumber: number, Body: piece, ContentMD5: sum.toString("base64") },
        options,
      ),
    { signal },
  );
  return sent.ETag ?? "";
}

async function complete(connection: S3Connection, request: UploadRequest, id: string, tags: readonly string[]): Promise<void> {
  const { key, object, isCreateOnly } = request;
  try {
    await connection.call(
      writing(key),
      (client, options) =>
        client.completeMultipartUpload(
          {
            Bucket: connection.bucket,
            Key: object,
            UploadId: id,
            MultipartUpload: { Parts: tags.map((ETag, index) => ({ ETag, PartNumber: index + 1 })) },
            ...(isCreateOnly ? { IfNoneMatch: "*" } : {}),
          },
          options,
        ),
      request,
    );
  } catch (error) {
    // Another try, or another run with the same bytes, has completed it: what stands there is looked at by the caller.
    if (reasonOf(error) === "NoSuchUpload") return;
    if (statusOf(error) !== 412) throw error;
    await abandon(connection, request, id);
  }
}

/** Best effort: what stays is cleared after its grace. */
async function abandon(connection: S3Connection, { key, object }: UploadRequest, id: string): Promise<void> {
  await abortUpload(connection, key, object, id).catch(() => undefined);
}

export async function abortUpload(connection: S3Connection, key: string, object: string, id: string, options: CallOptions = {}): Promise<void> {
  try {
    await connection.call(
      { action: `clear an unfinished upload of ${key} in`, right: "s3:AbortMultipartUpload" },
      (client, http) => client.abortMultipartUpload({ Bucket: connection.bucket, Key: object, UploadId: id }, http),
      options,
    );
  } catch (error) {
    if (reasonOf(error) !== "NoSuchUpload") throw error;
  }
}

async function beginOrResume(connection: S3Connection, request: UploadRequest): Promise<Upload> {
  const { key, object, lock } = request;
  const found = await findUpload(connection, request);
  if (found !== undefined) return found;
  const { UploadId } = await connection.call(
    writing(key),
    (client, options) => client.createMultipartUpload({ Bucket: connection.bucket, Key: object, ...lock }, options),
    request,
  );
  if (UploadId === undefined) throw new BackupError("store_failed", `the server began no upload of ${key}`);
  return { id: UploadId, present: new Map() };
}

/** The newest unfinished upload of this very key, with its parts. */
async function findUpload(connection: S3Connection, request: UploadRequest): Promise<Upload | undefined> {
  let newest: UnfinishedUpload | undefined;
  try {
    for await (const upload of unfinishedUploads(connection, request.object, request)) {
      if (upload.object === request.object && (newest === undefined || upload.begunAt > newest.begunAt)) newest = upload;
    }
    if (newest === undefined) return undefined;
    return { id: newest.id, present: await listParts(connection, request, newest.id) };
  } catch (error) {
    // Without the right to look, or on a server that cannot: everything is sent.
    if (request.signal?.aborted === true || !(error instanceof BackupError) || error.code === "remote_failed") throw error;
    return undefined;
  }
}

async function listParts(connection: S3Connection, request: UploadRequest, id: string): Promise<Map<number, Part>> {
  const parts = new Map<number, Part>();
  for (let after: string | undefined; ; ) {
    const { Parts, NextPartNumberMarker, IsTruncated } = await connection.call(
      { action: `look for parts of ${request.key} in`, right: "s3:ListMultipartUploadParts" },
      (client, options) =>
        client.listParts(
          { Bucket: connection.bucket, Key: request.object, UploadId: id, ...(after === undefined ? {} : { PartNumberMarker: after }) },
          options,
        ),
      request,
    );
    for (const part of Parts ?? []) if (part.PartNumber !== undefined) parts.set(part.PartNumber, part);
    if (IsTruncated !== true || NextPartNumberMarker === undefined || NextPartNumberMarker === after) return parts;
    after = NextPartNumberMarker;
  }
}

export interface UnfinishedUpload {
  readonly id: string;
  readonly object: string;
  readonly begunAt: Date;
}

/** Those whose keys in the bucket begin with `prefix`. */
export async function* unfinishedUploads(connection: S3Connection, prefix: string, options: CallOptions): AsyncGenerator<UnfinishedUpload> {
  for (let marker: { readonly KeyMarker?: string; readonly UploadIdMarker?: string } = {}; ; ) {
    const page = await connection.call(
      { action: "look for unfinished uploads in", right: "s3:ListBucketMultipartUploads" },
      (client, http) => client.listMultipartUploads({ Bucket: connection.bucket, Prefix: prefix, ...marker }, http),
      options,
    );
    for (const { Key, UploadId, Initiated } of page.Uploads ?? []) {
      if (Key !== undefined && UploadId !== undefined) yield { id: UploadId, object: Key, begunAt: Initiated ?? new Date() };
    }
    const { NextKeyMarker, NextUploadIdMarker } = page;
    if (page.IsTruncated !== true || NextKeyMarker === undefined) return;
    if (NextKeyMarker === marker.KeyMarker && NextUploadIdMarker === marker.UploadIdMarker) return; // a server that goes in a circle
    marker = { KeyMarker: NextKeyMarker, ...(NextUploadIdMarker === undefined ? {} : { UploadIdMarker: NextUploadIdMarker }) };
  }
}

function writing(key: string): Doing {
  return { action: `write ${key} into`, right: "s3:PutObject" };
}
