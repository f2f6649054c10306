/** What a bucket and its server can do, tried out below a folder of its own. */
import { randomBytes } from "node:crypto";
import { BackupError } from "../core/errors.ts";
import type { S3Connection } from "./s3-connection.ts";
import { type Doing, reasonOf, statusOf } from "./s3-errors.ts";
import { md5 } from "./s3-pieces.ts";
import type { LockFields } from "./s3-upload.ts";
import type { CallOptions, StoreFact } from "./store.ts";

export interface Inspection extends CallOptions {
  /** Before each key, with a slash at its end: nothing else is there. */
  readonly base: string;
  /** What the settings ask for; empty: nothing. */
  readonly lock: LockFields;
  /** Whether the server refuses to write over an object when asked. */
  readonly isCreateOnly: boolean;
}

/** Long enough to be tried, short enough that nothing stays locked for long. */
const trialLockMs = 60_000;
/** The smallest part that servers take, and a little. */
const twoParts = 5 * 1024 * 1024 + 1;

export async function inspectBucket(
  connection: S3Connection,
  putInParts: (key: string, bytes: Buffer) => Promise<void>,
  inspection: Inspection,
): Promise<StoreFact[]> {
  const { isCreateOnly } = inspection;
  return [
    {
      what: "an object that is there is never written over (If-None-Match)",
      answer: isCreateOnly ? "yes" : "no",
      ...(isCreateOnly ? {} : { note: "holdfast looks first; the names of its files are unique in any case" }),
    },
    await tried("large files go in parts", () => putInParts("parts", randomBytes(twoParts))),
    await refusesDamage(connection, inspection),
    await pages(connection, inspection),
    await hasVersions(connection, inspection),
    await hasLock(connection, inspection),
    ...(inspection.lock.ObjectLockMode === undefined ? [] : await tamper(connection, inspection)),
  ];
}

const trying: Doing = { action: "try something in", right: "s3:PutObject" };

async function tried(what: string, act: () => Promise<void>): Promise<StoreFact> {
  try {
    await act();
    return { what, answer: "yes" };
  } catch (error) {
    if (!(error instanceof BackupError)) throw error;
    return { what, answer: "no", isWrong: true, note: error.message };
  }
}

async function refusesDamage(connection: S3Connection, { base, signal }: Inspection): Promise<StoreFact> {
  const what = "bytes that were changed on their way are refused (Content-MD5)";
  try {
    await connection.call(
      trying,
      (client, http) =>
        client.putObject(
          { Bucket: connection.bucket, Key: `${base}damaged`, Body: "these", ContentMD5: md5(Buffer.from("those")).toString("base64") },
          http,
        ),
      { signal },
    );
    return { what, answer: "no", note: "holdfast reads length and ETag back in any case" };
  } catch (error) {
    if (statusOf(error) === 400) return { what, answer: "yes" };
    return unknown(what, error);
  }
}

async function pages(connection: S3Connection, { base, signal }: Inspection): Promise<StoreFact> {
  const what = "long lists come in pages";
  const options = { signal };
  const names = ["page-1", "page-2", "page-3"];
  try {
    for (const name of names)
      await connection.call(
        trying,
        (client, http) => client.putObject({ Bucket: connection.bucket, Key: `${base}${name}`, Body: name }, http),
        options,
      );
    const seen: string[] = [];
    for (let after: string | undefined, page = 0; page < 2 * names.length; page += 1) {
      const { Contents, NextContinuationToken } = await connection.call(
        { action: "list", right: "s3:ListBucket" },
        (client, http) =>
          client.listObjectsV2(
            { Bucket: connection.bucket, Prefix: `${base}page-`, MaxKeys: 1, ...(after === undefined ? {} : { ContinuationToken: after }) },
            http,
          ),
        options,
      );
      seen.push(...(Contents ?? []).map(({ Key }) => Key?.slice(base.length) ?? ""));
      after = NextContinuationToken;
      if (after === undefined) break;
    }
    return seen.join() === names.join() ? { what, answer: "yes" } : { what, answer: "no", isWrong: true, note: "a list of this server is not whole" };
  } catch (error) {
    return unknown(what, error);
  }
}

async function hasVersions(connection: S3Connection, options: CallOptions): Promise<StoreFact> {
  const what = "the bucket keeps versions";
  try {
    const { Status } = await connection.call(
      { action: "look at the settings of", right: "s3:GetBucketVersioning" },
      (client, http) => client.getBucketVersioning({ Bucket: connection.bucket }, http),
      options,
    );
    return { what, answer: Status === "Enabled" ? "yes" : "no" };
  } catch (error) {
    return unknown(what, error);
  }
}

async function hasLock(connection: S3Connection, options: Inspection): Promise<StoreFact> {
  const what = "the bucket has Object Lock";
  const isAsked = options.lock.ObjectLockMode !== undefined;
  try {
    const { ObjectLockConfiguration } = await connection.call(
      { action: "look at the settings of", right: "s3:GetBucketObjectLockConfiguration" },
      (client, http) => client.getObjectLockConfiguration({ Bucket: connection.bucket }, http),
      options,
    );
    const rule = ObjectLockConfiguration?.Rule?.DefaultRetention;
    const period = rule?.Days === undefined ? (rule?.Years === undefined ? undefined : `${rule.Years} years`) : `${rule.Days} days`;
    const note =
      period === undefined ? {} : { note: `whatever is written is locked for ${period} by the bucket itself (${rule?.Mode?.toLowerCase()})` };
    const isOn = ObjectLockConfiguration?.ObjectLockEnabled === "Enabled";
    return { what, answer: isOn ? "yes" : "no", ...note, ...(isAsked && !isOn ? { isWrong: true } : {}) };
  } catch (error) {
    if (reasonOf(error) === "ObjectLockConfigurationNotFoundError" || statusOf(error) === 404)
      return { what, answer: "no", ...(isAsked ? { isWrong: true, note: "it is switched on when a bucket is made" } : {}) };
    return unknown(what, error);
  }
}

/** Deletes the very version of a locked object, as a thief would: that must be refused. */
async function tamper(connection: S3Connection, { base, lock, signal }: Inspection): Promise<StoreFact[]> {
  const what = "deleting a locked object is refused";
  const options = { signal };
  const object = { Bucket: connection.bucket, Key: `${base}locked` };
  try {
    const until = new Date(Date.now() + trialLockMs);
    const body = Buffer.from("locked for a minute, to see whether it can be deleted\n");
    const { VersionId } = await connection.call(
      { action: "write a locked object into", right: "s3:PutObject, s3:PutObjectRetention" },
      (client, http) =>
        client.putObject({ ...object, ...lock, ObjectLockRetainUntilDate: until, Body: body, ContentMD5: md5(body).toString("base64") }, http),
      options,
    );
    if (VersionId === undefined) return [{ what, answer: "no", isWrong: true, note: "the server took the lock and ignored it" }];
    const isRefused = async (hasBypass: boolean): Promise<boolean> => {
      try {
        await connection.call(
          { action: "delete a version from", right: "s3:DeleteObjectVersion" },
          (client, http) => client.deleteObject({ ...object, VersionId, ...(hasBypass ? { BypassGovernanceRetention: true } : {}) }, http),
          options,
        );
        return false;
      } catch (error) {
        if (statusOf(error) === 403 || statusOf(error) === 400) return true;
        throw error;
      }
    };
    if (!(await isRefused(false))) return [{ what, answer: "no", isWrong: true, note: "object_lock_days protects nothing here" }];
    const facts: StoreFact[] = [{ what, answer: "yes" }];
    if (lock.ObjectLockMode !== "GOVERNANCE") return facts;
    const isHeld = await isRefused(true);
    facts.push({
      what: "these credentials cannot lift a governance lock",
      answer: isHeld ? "yes" : "no",
      ...(isHeld ? {} : { note: "who steals them can delete: use others without s3:BypassGovernanceRetention, or the compliance mode" }),
    });
    return facts;
  } catch (error) {
    return [{ ...unknown(what, error), isWrong: true }];
  }
}

/** A right to look may be missing, or the server knows no such thing. */
function unknown(what: string, error: unknown): StoreFact {
  if (!(error instanceof BackupError) || error.code === "remote_failed") throw error;
  if (statusOf(error) === 501 || statusOf(error) === 405) return { what, answer: "no" };
  return { what, answer: "unknown", note: error.message };
}
