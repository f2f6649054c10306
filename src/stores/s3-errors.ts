/**
 * What an S3 server or the SDK says, as our errors. The original does not travel along: it carries headers, the string that was
 * signed and the id of the key. (Amazon S3 API reference, "Error responses")
 */
import { BackupError, type ErrorCode, systemCode } from "../core/errors.ts";

/** What was being done, for the message, and the right that it needs. */
export interface Doing {
  /** "write 20261121/x into". The store's name follows. */
  readonly action: string;
  /** `s3:PutObject` */
  readonly right: string;
}

export interface Place {
  /** The store's, as in backup.yaml. */
  readonly name: string;
  readonly bucket: string;
  /** Where it was asked for, without credentials: a host's name. */
  readonly host: string;
}

/** What every error of ours has in its details. `reason` is the server's own word, such as `NoSuchKey`. */
export interface S3Details {
  readonly status: number | undefined;
  readonly reason: string;
}

export function reasonOf(error: unknown): string | undefined {
  return error instanceof BackupError && typeof error.details["reason"] === "string" ? error.details["reason"] : undefined;
}

export function statusOf(error: unknown): number | undefined {
  return error instanceof BackupError && typeof error.details["status"] === "number" ? error.details["status"] : undefined;
}

interface Verdict {
  readonly code: ErrorCode;
  readonly what: string;
  readonly hint?: string;
}

/** The error for anything that a call of the SDK throws; a BackupError stays as it is. */
export function translate(error: unknown, { action, right }: Doing, place: Place): BackupError {
  if (error instanceof BackupError) return error;
  const details = readDetails(error);
  const { code, what, hint } = judge(error, details, right, place);
  const cause = new Error(`${details.reason}${details.status === undefined ? "" : ` (HTTP ${details.status})`}`);
  return new BackupError(code, `cannot ${action} the store ${place.name}: ${what}`, {
    ...(hint === undefined ? {} : { hint }),
    details: { ...details },
    cause,
  });
}

const credentialReasons = new Set([
  "InvalidAccessKeyId",
  "SignatureDoesNotMatch",
  "ExpiredToken",
  "ExpiredTokenException",
  "InvalidToken",
  "InvalidClientTokenId",
  "TokenRefreshRequired",
  "AuthFailure",
  "UnrecognizedClientException",
]);
const throttlingReasons = new Set(["SlowDown", "ServiceUnavailable", "Throttling", "ThrottlingException", "TooManyRequests", "RequestLimitExceeded"]);
const fullReasons = new Set(["QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "InsufficientCapacity"]);
const tryLater = "it is tried again by itself; now: holdfast sync";

function judge(error: unknown, { status, reason }: S3Details, right: string, { bucket, host }: Place): Verdict {
  const region = wantedRegion(error);
  if (/^(?:CredentialsProviderError|TokenProviderError|ProviderError)$/.test(reason))
    return {
      code: "unauthorized",
      what: "no credentials were found",
      hint: "put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY into the environment, or a profile into ~/.aws/credentials and profile=NAME into the address",
    };
  if (region !== undefined && (status === 301 || status === 307 || status === 400))
    return { code: "store_missing", what: `the bucket ${bucket} lies in the region ${region}`, hint: `add region=${region} to the store's address` };
  if (status === 301 || reason === "PermanentRedirect" || reason === "IllegalLocationConstraintException")
    return {
      code: "store_missing",
      what: `the bucket ${bucket} lies in another region`,
      hint: "add region=NAME to the store's address; the provider's pages name it",
    };
  if (reason === "NoSuchBucket")
    return {
      code: "store_missing",
      what: `there is no bucket ${bucket} at ${host}`,
      hint: `holdfast makes no bucket by itself: make ${bucket} at your provider, or mend its name, region or endpoint in the address`,
    };
  if (credentialReasons.has(reason) || status === 401)
    return {
      code: "unauthorized",
      what: `the server does not accept the credentials (${reason})`,
      hint: "look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN and ~/.aws/credentials; are they this server's, and not expired?",
    };
  if (reason === "RequestTimeTooSkewed")
    return { code: "store_failed", what: "this machine's clock differs too much from the server's", hint: "set the clock, then: holdfast sync" };
  if (fullReasons.has(reason) || status === 507)
    return {
      code: "store_full",
      what: `the server has no more room for us (${reason})`,
      hint: "free some space there or have the quota raised; existing points are untouched",
    };
  if (status === 403)
    return {
      code: "store_unwritable",
      what: `these credentials lack a right (${right})`,
      hint: `let them do ${right} in ${bucket}; docs/configuration.md has a policy with all that is needed`,
    };
  if (throttlingReasons.has(reason)) return { code: "store_failed", what: `the server is busy and asks to wait (${reason})`, hint: tryLater };
  const network = networkFault(error, reason, host);
  if (network !== undefined) return network;
  return { code: "store_failed", what: `the server answered ${reason}${status === undefined ? "" : ` (HTTP ${status})`}`, hint: tryLater };
}

function networkFault(error: unknown, reason: string, host: string): Verdict | undefined {
  const code = systemCode(error);
  if (reason === "TimeoutError" || code === "ETIMEDOUT")
    return { code: "remote_failed", what: `${host} does not answer in time`, hint: "look at the network, then: holdfast sync" };
  if (code === undefined) return undefined;
  if (/CERT|TLS|SSL|SIGNATURE|ISSUER/.test(code))
    return {
      code: "remote_failed",
      what: `the certificate of ${host} is not trusted (${code})`,
      hint: "for a certificate authority of your own: NODE_EXTRA_CA_CERTS=FILE",
    };
  return { code: "remote_failed", what: `${host} cannot be reached (${code})`, hint: "look at the network and the endpoint, then: holdfast sync" };
}

function readDetails(error: unknown): S3Details {
  const { name, Code, $metadata } = (typeof error === "object" && error !== null ? error : {}) as {
    readonly name?: unknown;
    readonly Code?: unknown;
    readonly $metadata?: { readonly httpStatusCode?: unknown };
  };
  const status = typeof $metadata?.httpStatusCode === "number" ? $metadata.httpStatusCode : undefined;
  const word = [name, Code].find((text): text is string => typeof text === "string" && text !== "" && text !== "Error") ?? "an error";
  // A server's own word: no more of it than a word.
  return { status, reason: word.replaceAll(/[^\w. ]/g, "").slice(0, 64) };
}

/** The region that the server names where the request went to another. */
function wantedRegion(error: unknown): string | undefined {
  const { Region, $response } = (typeof error === "object" && error !== null ? error : {}) as {
    readonly Region?: unknown;
    readonly $response?: { readonly headers?: Readonly<Record<string, unknown>> };
  };
  const named = Region ?? $response?.headers?.["x-amz-bucket-region"];
  return typeof named === "string" && /^[\w-]{1,40}$/.test(named) ? named : undefined;
}
