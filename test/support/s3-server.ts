/**
 * Real S3 servers on loopback, each started by the first test that asks and shared by all of the run: Ceph's object gateway and
 * OpenStack Swift (scripts/servers). Buckets are a test's own.
 */
import { execFile } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { S3 } from "@aws-sdk/client-s3";
import { inject } from "vitest";
import { systemCode } from "../../src/core/errors.ts";
import { parseStoreUrl, type S3Location } from "../../src/core/store-url.ts";
import { S3Store, type S3StoreOptions } from "../../src/stores/s3.ts";
import { freePorts } from "./loopback.ts";
import { needs } from "./needs.ts";
import { until } from "./until.ts";

export interface S3User {
  readonly key: string;
  readonly secret: string;
}

export interface S3Server {
  readonly endpoint: string;
  /** May make buckets, and is the owner of those that tests make. */
  readonly owner: S3User;
  /** The SDK itself, for what a test does behind the store's back. */
  readonly client: S3;
  /** A new bucket's name. */
  makeBucket(options?: { readonly hasLock?: boolean }): Promise<string>;
}

const kinds = {
  "ceph-rgw": { programs: ["ceph-mon", "ceph-osd", "radosgw"], ports: 2, owner: { key: "testkey", secret: "testsecret" } },
  swift: { programs: ["swift-proxy-server", "memcached"], ports: 5, owner: { key: "test:tester", secret: "testing" } },
} as const;

export type S3Kind = keyof typeof kinds;

/** For `describe.skipIf(!hasS3("ceph-rgw", "…"))`. */
export function hasS3(kind: S3Kind, purpose: string): boolean {
  return kinds[kind].programs.every((program) => needs(program, purpose));
}

const started = new Map<S3Kind, Promise<S3Server>>();

/** The run's one server of its kind. Credentials of its owner are put into this process's environment. */
export function s3Server(kind: S3Kind = "ceph-rgw"): Promise<S3Server> {
  const running = started.get(kind) ?? start(kind);
  started.set(kind, running);
  return running;
}

async function start(kind: S3Kind): Promise<S3Server> {
  const { owner } = kinds[kind];
  const port = await sharedPort(kind);
  const endpoint = `http://127.0.0.1:${port}`;
  const client = new S3({
    endpoint,
    region: "us-east-1",
    forcePathStyle: true,
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    credentials: { accessKeyId: owner.key, secretAccessKey: owner.secret },
  });
  return {
    endpoint,
    owner,
    client,
    async makeBucket({ hasLock = false } = {}) {
      const Bucket = `b-${randomBytes(6).toString("hex")}`;
      await client.createBucket({ Bucket, ObjectLockEnabledForBucket: hasLock });
      return Bucket;
    },
  };
}

/** The first to make the folder starts the server; the others wait for the file with its port. */
async function sharedPort(kind: S3Kind): Promise<number> {
  const folder = join(inject("servers"), kind);
  const file = join(folder, "port");
  try {
    mkdirSync(folder);
  } catch (error) {
    if (systemCode(error) !== "EEXIST") throw error;
    let port: number | undefined;
    await until(`${kind} is started by another test file`, () => {
      port = readPort(file);
      return port !== undefined;
    });
    return port ?? 0;
  }
  const port = await freePorts(kinds[kind].ports);
  const script = fileURLToPath(new URL(`../../scripts/servers/${kind}.sh`, import.meta.url));
  await promisify(execFile)(script, ["start", folder, String(port)]);
  writeFileSync(`${file}.new`, String(port));
  renameSync(`${file}.new`, file);
  return port;
}

function readPort(file: string): number | undefined {
  try {
    return Number(readFileSync(file, "utf8"));
  } catch {
    return undefined; // not ready yet
  }
}

/** What the SDK's own chain finds: in this process and in programs that it starts. */
export function useCredentials({ key, secret }: S3User): void {
  process.env["AWS_ACCESS_KEY_ID"] = key;
  process.env["AWS_SECRET_ACCESS_KEY"] = secret;
}

export function s3Url(endpoint: string, bucket: string, prefix = ""): string {
  return `s3://${bucket}/${prefix}?endpoint=${endpoint}`;
}

/** A store below `prefix` of the bucket, as the wiring makes it. Waits little, so that tests of failures are short. */
export function s3Store(url: string, options: Partial<S3StoreOptions> = {}): S3Store {
  const location = parseStoreUrl(url) as S3Location;
  return new S3Store({ name: "bucket", url, location, folder: "", patience: { connectMs: 2_000, idleMs: 5_000, attempts: 4 }, ...options });
}
