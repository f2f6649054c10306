import { expect, test } from "vitest";
import { BackupError, type ErrorCode } from "../core/errors.ts";
import { reasonOf, statusOf, translate } from "./s3-errors.ts";

const place = { name: "off", bucket: "mine", host: "s3.example.org" };
const doing = { action: "write a into", right: "s3:PutObject" };

/** As the SDK throws it. */
function refusal(name: string, status: number, more: object = {}): Error {
  return Object.assign(new Error("the server's own words"), { name, $metadata: { httpStatusCode: status }, ...more });
}

function network(code: string): Error {
  return Object.assign(new Error("connect"), { code });
}

test.each<[string, Error, ErrorCode, RegExp, RegExp]>([
  [
    "no credentials",
    Object.assign(new Error(), { name: "CredentialsProviderError" }),
    "unauthorized",
    /no credentials/,
    /AWS_ACCESS_KEY_ID.*profile=NAME/,
  ],
  ["expired ones", refusal("ExpiredToken", 400), "unauthorized", /ExpiredToken/, /AWS_SESSION_TOKEN/],
  ["wrong ones", refusal("SignatureDoesNotMatch", 403), "unauthorized", /SignatureDoesNotMatch/, /AWS_SECRET_ACCESS_KEY/],
  ["a missing right", refusal("AccessDenied", 403), "store_unwritable", /lack a right \(s3:PutObject\)/, /s3:PutObject in mine/],
  ["no bucket", refusal("NoSuchBucket", 404), "store_missing", /no bucket mine at s3\.example\.org/, /makes no bucket by itself/],
  [
    "another region, named in a header",
    refusal("PermanentRedirect", 301, { $response: { headers: { "x-amz-bucket-region": "eu-west-3" } } }),
    "store_missing",
    /lies in the region eu-west-3/,
    /region=eu-west-3/,
  ],
  [
    "another region, named in the answer",
    refusal("AuthorizationHeaderMalformed", 400, { Region: "eu-west-3" }),
    "store_missing",
    /eu-west-3/,
    /region=eu-west-3/,
  ],
  ["another region, not named", refusal("PermanentRedirect", 301), "store_missing", /another region/, /region=NAME/],
  ["a wrong clock", refusal("RequestTimeTooSkewed", 403), "store_failed", /clock/, /set the clock/],
  ["a quota", refusal("QuotaExceeded", 403), "store_full", /QuotaExceeded/, /quota/],
  ["a full disk", refusal("UnknownError", 507), "store_full", /no more room/, /free some space/],
  ["a busy server", refusal("SlowDown", 503), "store_failed", /asks to wait/, /holdfast sync/],
  ["a broken server", refusal("InternalError", 500), "store_failed", /InternalError \(HTTP 500\)/, /holdfast sync/],
  ["silence", Object.assign(new Error(), { name: "TimeoutError" }), "remote_failed", /s3\.example\.org does not answer in time/, /network/],
  ["no route", network("EHOSTUNREACH"), "remote_failed", /cannot be reached \(EHOSTUNREACH\)/, /endpoint/],
  ["an unknown certificate", network("DEPTH_ZERO_SELF_SIGNED_CERT"), "remote_failed", /certificate of s3\.example\.org/, /NODE_EXTRA_CA_CERTS=FILE/],
  ["anything else", new Error("something"), "store_failed", /answered an error/, /holdfast sync/],
])("%s", (_, thrown, code, message, hint) => {
  const error = translate(thrown, doing, place);
  expect(error).toMatchObject({ code, message: expect.stringMatching(message), hint: expect.stringMatching(hint) });
  expect(error.message).toMatch(/^cannot write a into the store off: /);
});

test("neither what was signed nor the server's own text comes along, and its name cannot speak to a terminal", () => {
  const thrown = refusal("\u001b[2JEvil", 400, { AWSAccessKeyId: "AKIASECRET", StringToSign: "AWS4-HMAC-SHA256", Region: "\u001b]0;x" });
  const error = translate(thrown, doing, place);
  const everything = `${error.message} ${error.hint} ${JSON.stringify(error.details)} ${String(error.cause)} ${JSON.stringify(error.cause)}`;
  for (const secret of ["AKIASECRET", "AWS4", "own words", "\u001b"]) expect(everything).not.toContain(secret);
  expect(error.message).toContain("2JEvil");
});

test("reason and status can be asked for, of ours alone; ours stay as they are", () => {
  const error = translate(refusal("NoSuchKey", 404), doing, place);
  expect([reasonOf(error), statusOf(error)]).toEqual(["NoSuchKey", 404]);
  expect([reasonOf(new Error("x")), statusOf(undefined)]).toEqual([undefined, undefined]);
  const ours = new BackupError("store_failed", "as it was");
  expect(translate(ours, doing, place)).toBe(ours);
});
