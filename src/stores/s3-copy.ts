/**
 * Copies an object within its bucket: the server moves the bytes. A large one goes in the parts that a put would have sent it in, so
 * that the copy's ETag is the original's, whatever its size. (Amazon S3 user guide, "Copying an object using multipart upload")
 */
import type { S3Connection } from "./s3-connection.ts";
import type { Doing } from "./s3-errors.ts";
import { abortUpload, type LockFields } from "./s3-upload.ts";
import type { CallOptions } from "./store.ts";

export interface CopyRequest extends CallOptions {
  /** As the store's caller knows it; for messages. */
  readonly key: string;
  /** Whole keys in the bucket. */
  readonly from: string;
  readonly to: string;
  readonly size: number;
  /** Undefined: in one piece, which servers take up to 5 GiB. */
  readonly partSize: number | undefined;
  /** Parts on their way at a time. */
  readonly parallel: number;
  readonly lock: LockFields;
  /** Refuse to complete over an object that is there; not every server does. */
  readonly isCreateOnly: boolean;
}

/** The caller looks what then stands there. */
export async function copyObject(connection: S3Connection, request: CopyRequest): Promise<void> {
  if (request.partSize !== undefined) return copyParts(connection, request, request.partSize);
  const { to, lock, isCreateOnly } = request;
  await connection.call(
    copying(request),
    (client, http) =>
      client.copyObject(
        { Bucket: connection.bucket, Key: to, ...sourceOf(connection, request), ...lock, ...(isCreateOnly ? { IfNoneMatch: "*" } : {}) },
        http,
      ),
    request,
  );
}

async function copyParts(connection: S3Connection, request: CopyRequest, partSize: number): Promise<void> {
  const { key, to, size, parallel, lock, isCreateOnly } = request;
  const target = { Bucket: connection.bucket, Key: to };
  const { UploadId } = await connection.call(copying(request), (client, http) => client.createMultipartUpload({ ...target, ...lock }, http), request);
  try {
    const numbers = Array.from({ length: Math.ceil(size / partSize) }, (_, index) => index + 1);
    const parts: { readonly ETag: string | undefined; readonly PartNumber: number }[] = [];
    for (let at = 0; at < numbers.length; at += parallel) {
      const copied = numbers.slice(at, at + parallel).map(async (PartNumber) => {
        const range = `bytes=${(PartNumber - 1) * partSize}-${Math.min(PartNumber * partSize, size) - 1}`;
        const { CopyPartResult } = await connection.call(
          copying(request),
          (client, http) =>
            client.uploadPartCopy({ ...target, UploadId, PartNumber, ...sourceOf(connection, request), CopySourceRange: range }, http),
          request,
        );
        return { ETag: CopyPartResult?.ETag, PartNumber };
      });
      // All have ended before one's failure is told: none is on its way when the upload is taken back.
      await Promise.allSettled(copied);
      parts.push(...(await Promise.all(copied)));
    }
    await connection.call(
      copying(request),
      (client, http) =>
        client.completeMultipartUpload(
          { ...target, UploadId, MultipartUpload: { Parts: parts }, ...(isCreateOnly ? { IfNoneMatch: "*" } : {}) },
          http,
        ),
      request,
    );
  } catch (error) {
    // Best effort: what stays is cleared after its grace.
    if (UploadId !== undefined) await abortUpload(connection, key, to, UploadId).catch(() => undefined);
    throw error;
  }
}

/** The SDK sends the name as it is given. No condition goes with it: Swift compares an object's ETag wrongly that came in parts. */
function sourceOf({ bucket }: S3Connection, { from }: CopyRequest): { readonly CopySource: string } {
  return { CopySource: `${bucket}/${from.split("/").map(encodeURIComponent).join("/")}` };
}

function copying({ key }: CopyRequest): Doing {
  return { action: `copy ${key} within`, right: "s3:GetObject, s3:PutObject" };
}
