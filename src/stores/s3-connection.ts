/**
 * The way to one bucket: the SDK's client, made at the first call, with the whole credential chain that users know (environment,
 * ~/.aws, SSO, web identity, container, instance). Every error that leaves is ours.
 */
import { setTimeout as delay } from "node:timers/promises";
import { S3, type S3ClientConfig } from "@aws-sdk/client-s3";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import type { S3Location } from "../core/store-url.ts";
import { type Doing, reasonOf, translate } from "./s3-errors.ts";
import type { CallOptions } from "./store.ts";

export interface Patience {
  readonly connectMs: number;
  /** Without a byte in either direction. */
  readonly idleMs: number;
  /** Of one request: the first one, and what follows on errors that may pass, with jitter between. */
  readonly attempts: number;
}

const usualPatience: Patience = { connectMs: 10_000, idleMs: 60_000, attempts: 5 };

/** Servers that name no region take this one. */
const fallbackRegion = "us-east-1";

export class S3Connection {
  readonly bucket: string;
  readonly patience: Patience;
  readonly #name: string;
  readonly #location: S3Location;
  #client: Promise<S3> | undefined;

  constructor(name: string, location: S3Location, patience: Partial<Patience> = {}) {
    this.bucket = location.bucket;
    this.patience = { ...usualPatience, ...patience };
    this.#name = name;
    this.#location = location;
  }

  /** One request, tried again where that may help. `options` go to the SDK's call. Throws as the port says, with S3Details. */
  async call<T>(doing: Doing, act: (client: S3, options: { abortSignal?: AbortSignal }) => Promise<T>, { signal }: CallOptions = {}): Promise<T> {
    signal?.throwIfAborted();
    for (let attempt = 1; ; attempt += 1) {
      try {
        this.#client ??= makeClient(this.#location, this.patience);
        return await act(await this.#client, signal === undefined ? {} : { abortSignal: signal });
      } catch (error) {
        signal?.throwIfAborted();
        const known = this.translate(error, doing);
        // The SDK does not try these again: bytes that were changed on their way, and a create that met another one.
        if (!passing.has(reasonOf(known) ?? "") || attempt >= this.patience.attempts) throw known;
        await this.pause(attempt, signal);
      }
    }
  }

  /** Between tries: 0.1 s, doubling, with jitter. */
  async pause(attempt: number, signal: AbortSignal | undefined): Promise<void> {
    await delay(100 * 2 ** Math.min(attempt, 6) * Math.random(), undefined, { signal }).catch(() => undefined);
    signal?.throwIfAborted();
  }

  translate(error: unknown, doing: Doing): Error {
    return translate(error, doing, { name: this.#name, bucket: this.bucket, host: hostOf(this.#location) });
  }
}

const passing = new Set(["BadDigest", "XAmzContentSHA256Mismatch", "ConditionalRequestConflict", "OperationAborted", "IncompleteBody"]);

async function makeClient({ endpoint, region, isPathStyle, profile }: S3Location, { connectMs, idleMs, attempts }: Patience): Promise<S3> {
  const config: S3ClientConfig = {
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(profile === undefined ? {} : { profile }),
    forcePathStyle: isPathStyle,
    maxAttempts: attempts,
    retryMode: "standard",
    // By default the SDK sends bodies in a framing that servers other than Amazon's refuse, or store. We send Content-MD5.
    requestChecksumCalculation: "WHEN_REQUIRED",
    responseChecksumValidation: "WHEN_REQUIRED",
    requestHandler: new NodeHttpHandler({ connectionTimeout: connectMs, socketTimeout: idleMs, logger: silent }),
    logger: silent,
  };
  if (region !== undefined) return new S3({ ...config, region });
  const client = new S3(config);
  try {
    await client.config.region();
    return client;
  } catch {
    return new S3({ ...config, region: fallbackRegion }); // neither the environment nor ~/.aws/config names one
  }
}

function hostOf({ endpoint, bucket }: S3Location): string {
  return endpoint === undefined ? `${bucket}.s3.amazonaws.com` : new URL(endpoint).host;
}

/** What it has to say comes as an error, or not at all. */
const silent = { trace() {}, debug() {}, info() {}, warn() {}, error() {} };
