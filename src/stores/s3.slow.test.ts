/** Buckets on a real server, with networks, rights and quotas as they are. */
import { randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type ChaosProxy, chaosProxy } from "../../test/support/chaos-proxy.ts";
import { noise } from "../../test/support/noise.ts";
import { tempDir } from "../../test/support/repo.ts";
import { hasS3, type S3Server, s3Server, s3Store, s3Url, useCredentials } from "../../test/support/s3-server.ts";
import { bytesSource, readAll, type Source, type Store } from "./store.ts";

const mebibyte = 1 << 20;
const large = noise(64 * mebibyte, 7);

describe.skipIf(!hasS3("ceph-rgw", "S3 stores"))("a bucket", () => {
  let server: S3Server;
  let bucket: string;
  let proxy: ChaosProxy;
  let places = 0;
  /** A place of this test's own, through the proxy. */
  let url: string;
  beforeAll(async () => {
    server = await s3Server();
    bucket = await server.makeBucket();
    proxy = await chaosProxy(server.endpoint);
  });
  afterAll(() => proxy[Symbol.asyncDispose]());
  beforeEach(() => {
    useCredentials(server.owner);
    places += 1;
    url = s3Url(proxy.endpoint, bucket, `place-${places}`);
    proxy.rule = () => undefined;
    proxy.exchanges.length = 0;
  });

  describe("a large file", () => {
    test("goes in parts; a try that was cut in the middle is gone on with, and no part that arrived is sent again", async () => {
      const store = s3Store(url);
      let isCut = false;
      proxy.rule = ({ path, method }) => {
        isCut ||= /partNumber=5&/.test(path);
        return isCut && method !== "GET" ? "cut" : undefined;
      };
      await expect(store.put("20261121/a", bytesSource(large))).rejects.toMatchObject({ code: "remote_failed" });
      expect(await keysOf(server, bucket, `place-${places}/`)).toEqual([]);
      const arrived = new Set(
        sentParts(proxy)
          .filter(({ fault }) => fault === undefined)
          .map(({ part }) => part),
      );
      expect(arrived.size).toBeGreaterThanOrEqual(2);

      proxy.rule = () => undefined;
      proxy.exchanges.length = 0;
      await s3Store(url).put("20261121/a", bytesSource(large));
      const again = sentParts(proxy);
      expect(again.filter(({ part }) => arrived.has(part))).toEqual([]);
      expect(again.reduce((sum, { size }) => sum + size, 0)).toBe(large.length - arrived.size * 8 * mebibyte);
      expect((await readAll(store, "20261121/a"))?.equals(large)).toBe(true);
    });

    test("parts of other bytes are sent anew", async () => {
      const other = Buffer.from(large);
      other[0] = (other[0] ?? 0) ^ 1;
      proxy.rule = ({ path, method }) => (/uploadId=/.test(path) && method === "POST" ? "cut" : undefined);
      await expect(s3Store(url).put("20261121/a", bytesSource(large))).rejects.toMatchObject({ code: "remote_failed" });
      proxy.rule = () => undefined;
      proxy.exchanges.length = 0;
      await s3Store(url).put("20261121/a", bytesSource(other));
      expect(sentParts(proxy).map(({ part }) => part)).toEqual([1]);
      expect((await readAll(s3Store(url), "20261121/a"))?.equals(other)).toBe(true);
    });

    test("an answer that is lost when it is completed does no harm", async () => {
      let lost = 0;
      proxy.rule = ({ path, method }) => {
        if (method !== "POST" || !/uploadId=/.test(path)) return undefined;
        lost += 1;
        return lost === 1 ? "lost" : undefined;
      };
      await s3Store(url).put("20261121/a", bytesSource(large));
      expect(lost).toBeGreaterThan(1);
      expect((await readAll(s3Store(url), "20261121/a"))?.equals(large)).toBe(true);
    });

    test("a source that fails takes its parts with it; an abort leaves them for the next try, and no key", async () => {
      const store = s3Store(url);
      const broken: Source = {
        size: large.length,
        async *open() {
          yield large.subarray(0, 20 * mebibyte);
          throw new Error("the disk is gone");
        },
      };
      await expect(store.put("20261121/a", broken)).rejects.toThrow("the disk is gone");
      expect(await uploadsOf(server, bucket, `place-${places}/`)).toEqual([]);
      const controller = new AbortController();
      proxy.rule = ({ path }) => {
        if (/partNumber=3&/.test(path)) controller.abort(new Error("enough"));
        return undefined;
      };
      await expect(store.put("20261121/a", bytesSource(large), { signal: controller.signal })).rejects.toThrow("enough");
      expect(await store.stat("20261121/a")).toBeUndefined();
      expect(await uploadsOf(server, bucket, `place-${places}/`)).toHaveLength(1);
    });

    test("uploads that nobody went on with are cleared after a week, others stay; so is what a killed check left", async () => {
      const store = s3Store(url);
      proxy.rule = ({ path }) => (/partNumber=2&/.test(path) ? "cut" : undefined);
      await expect(store.put("20261121/a", bytesSource(large.subarray(0, 20 * mebibyte)))).rejects.toMatchObject({ code: "remote_failed" });
      await store.put(".holdfast-check-1/x", bytesSource("x"));
      const days = (count: number): Date => new Date(Date.now() + count * 24 * 60 * 60 * 1000);
      await store.clearLeftovers(new Date());
      expect(await store.stat(".holdfast-check-1/x")).toBeDefined();
      await store.clearLeftovers(days(6));
      expect(await store.stat(".holdfast-check-1/x")).toBeUndefined();
      expect(await uploadsOf(server, bucket, `place-${places}/`)).toHaveLength(1);
      await store.clearLeftovers(days(8));
      expect(await uploadsOf(server, bucket, `place-${places}/`)).toEqual([]);
    });

    test("a read that is cut goes on where it was", async () => {
      const store = s3Store(url);
      await store.put("20261121/a", bytesSource(large));
      let gets = 0;
      proxy.rule = ({ method }) => {
        if (method !== "GET") return undefined;
        gets += 1;
        return gets % 3 === 0 ? "half" : gets % 5 === 0 ? "busy" : undefined;
      };
      proxy.exchanges.length = 0;
      expect((await readAll(store, "20261121/a"))?.equals(large)).toBe(true);
      expect(proxy.exchanges.filter(({ fault }) => fault === "half").length).toBeGreaterThan(2);
    });

    test("a reader who leaves early, or wants little, makes no more than a piece or two come", async () => {
      const store = s3Store(url);
      await store.put("20261121/a", bytesSource(large));
      proxy.exchanges.length = 0;
      for await (const _ of (await store.get("20261121/a")) ?? []) break;
      expect(proxy.exchanges.length).toBeLessThanOrEqual(2);
    });

    test("that is replaced while it is read is an error, never bytes of both", async () => {
      const store = s3Store(url);
      await store.put("20261121/a", bytesSource(large));
      const reading = (async () => {
        let isFirst = true;
        for await (const _ of (await store.get("20261121/a")) ?? []) {
          if (isFirst) await store.replace("20261121/a", bytesSource(Buffer.alloc(large.length, "x")));
          isFirst = false;
        }
      })();
      await expect(reading).rejects.toMatchObject({ code: "store_failed", message: "20261121/a was replaced while it was read" });
    });
  });

  describe("a small file", () => {
    const bytes = randomBytes(5000);

    test("costs one write and one look once it is known that the server creates only", async () => {
      using dir = tempDir();
      const traitsFile = join(dir.path, "servers", "bucket.json");
      await s3Store(url, { traitsFile }).put("20261121/a", bytesSource(bytes));
      expect(JSON.parse(readFileSync(traitsFile, "utf8"))).toEqual({ place: `${proxy.endpoint} ${bucket}`, createOnly: true });
      proxy.exchanges.length = 0;
      await s3Store(url, { traitsFile }).put("20261121/b", bytesSource(bytes));
      expect(proxy.exchanges.map(({ method }) => method)).toEqual(["PUT", "HEAD"]);
      proxy.exchanges.length = 0;
      writeFileSync(traitsFile, "not JSON");
      await s3Store(url, { traitsFile }).put("20261121/c", bytesSource(bytes));
      expect(proxy.exchanges.map(({ method }) => method)).toEqual(["HEAD", "PUT", "PUT", "HEAD"]);
    });

    test.each(["lost", "cut", "error", "busy", "up"] as const)("arrives although the first try is: %s", async (fault) => {
      let writes = 0;
      proxy.rule = ({ method }) => {
        writes += method === "PUT" ? 1 : 0;
        return method === "PUT" && writes === 1 ? fault : undefined;
      };
      await s3Store(url).put("20261121/a", bytesSource(bytes));
      expect(writes).toBeGreaterThan(1);
      expect((await readAll(s3Store(url), "20261121/a"))?.equals(bytes)).toBe(true);
    });

    test("bytes that are changed on their way each time arrive nowhere", async () => {
      proxy.rule = ({ method }) => (method === "PUT" ? "up" : undefined);
      await expect(s3Store(url).put("20261121/a", bytesSource(bytes))).rejects.toMatchObject({ code: "store_failed" });
      expect(await keysOf(server, bucket, `place-${places}/`)).toEqual([]);
    });

    test("is read again when it was changed on its way, and refused when it always is", async () => {
      const store = s3Store(url);
      await store.put("20261121/a", bytesSource(bytes));
      let gets = 0;
      proxy.rule = ({ method }) => {
        gets += method === "GET" ? 1 : 0;
        return gets === 1 ? "down" : undefined;
      };
      expect((await readAll(store, "20261121/a"))?.equals(bytes)).toBe(true);
      expect(gets).toBe(2);
    });

    test("is read back where the ETag is no MD5, and told from other bytes all the same", async () => {
      proxy.rule = () => "etag";
      const store = s3Store(url);
      await store.put("20261121/a", bytesSource(bytes));
      await store.put("20261121/a", bytesSource(bytes));
      await store.replace("RECOVERY.md", bytesSource(bytes));
      expect((await readAll(store, "20261121/a"))?.equals(bytes)).toBe(true);
      await expect(store.put("20261121/a", bytesSource(randomBytes(5000)))).rejects.toMatchObject({ code: "store_failed" });
    });

    test("one who stands still is not waited for without end", async () => {
      proxy.rule = () => "stall";
      const store = s3Store(url, { patience: { connectMs: 500, idleMs: 300, attempts: 2 } });
      await expect(store.get("20261121/a")).rejects.toMatchObject({
        code: "remote_failed",
        message: expect.stringMatching(/does not answer in time/),
        hint: expect.stringContaining("holdfast sync"),
      });
    });

    test("of two who create it at once with other bytes one wins, and the other is told", async () => {
      const stores = [1, 2, 3, 4, 5].map(() => s3Store(url));
      await (stores[0] as Store).put("20261121/first", bytesSource("x"));
      await Promise.all(stores.slice(1).map((store, index) => store.put(`20261121/warm-${index}`, bytesSource("x"))));
      const outcomes = await Promise.allSettled(stores.map((store, index) => store.put("20261121/a", bytesSource(`bytes of ${index}`))));
      expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      const winner = outcomes.findIndex(({ status }) => status === "fulfilled");
      expect((await readAll(stores[0] as Store, "20261121/a"))?.toString()).toBe(`bytes of ${winner}`);
    });
  });

  test.each([
    ["a small one in one piece", 3_000],
    ["a large one in the parts that it came in", 20 * mebibyte + 7],
  ])("a copy is made by the server, and no byte of it passes through here: %s", async (_, size) => {
    const store = s3Store(url);
    const bytes = large.subarray(0, size);
    await store.put("20261121/a b+c", bytesSource(bytes));
    proxy.exchanges.length = 0;
    await store.copy("20261121/a b+c", "trash/20261121/a b+c");
    expect(proxy.exchanges.filter(({ method }) => method === "GET")).toEqual([]);
    expect(proxy.exchanges.reduce((sum, exchange) => sum + exchange.size, 0)).toBeLessThan(2_000);
    expect((await readAll(store, "trash/20261121/a b+c"))?.equals(bytes)).toBe(true);
    // A server that cannot.
    proxy.rule = ({ method, size: sent, path }) => (method === "PUT" && sent === 0 && path.includes("trash/20261122") ? "unable" : undefined);
    await store.copy("20261121/a b+c", "trash/20261122/a b+c");
    expect((await readAll(store, "trash/20261122/a b+c"))?.equals(bytes)).toBe(true);
    expect(await uploadsOf(server, bucket, `place-${places}/`)).toEqual([]);
  });

  test("a listing pages, and starts only below what is asked for", async () => {
    const store = s3Store(url);
    const keys = Array.from({ length: 1100 }, (_, index) => `20261121/${String(index).padStart(4, "0")}`);
    for (let at = 0; at < keys.length; at += 100)
      await Promise.all(keys.slice(at, at + 100).map((key) => server.client.putObject({ Bucket: bucket, Key: `place-${places}/${key}`, Body: "x" })));
    await store.put("20261122/a", bytesSource("x"));
    proxy.exchanges.length = 0;
    expect((await listed(store, "")).length).toBe(1101);
    expect(proxy.exchanges).toHaveLength(2);
    proxy.exchanges.length = 0;
    expect(await listed(store, "20261122/")).toEqual(["20261122/a"]);
    expect((await store.folders()).sort()).toEqual(["20261121", "20261122"]);
    expect(proxy.exchanges).toHaveLength(2);
  });

  describe("what is wrong is told", () => {
    const wrong = (change: (store: string) => string): Promise<unknown> => s3Store(change(url)).get("holdfast.json");

    test("no such bucket", async () => {
      const missing = url.replace(bucket, "no-such-bucket");
      const store = s3Store(missing);
      for (const call of [() => store.get("a"), () => store.put("a", bytesSource("x")), () => listed(store, "")]) {
        await expect(call()).rejects.toMatchObject({
          code: "store_missing",
          message: expect.stringMatching(/there is no bucket no-such-bucket at 127\.0\.0\.1:\d+$/),
          hint: expect.stringContaining("holdfast makes no bucket by itself"),
        });
      }
    });

    test("credentials that are missing, unknown or wrong, and never their text", async () => {
      useCredentials({ key: "testkey", secret: "not-the-secret" });
      const error = await wrong((same) => same).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "unauthorized", message: expect.stringContaining("SignatureDoesNotMatch") });
      useCredentials({ key: "stranger", secret: "not-the-secret" });
      const second = await wrong((same) => same).catch((thrown: unknown) => thrown);
      expect(second).toMatchObject({ code: "unauthorized", message: expect.stringContaining("InvalidAccessKeyId") });
      delete process.env["AWS_ACCESS_KEY_ID"];
      const third = await wrong((same) => same).catch((thrown: unknown) => thrown);
      expect(third).toMatchObject({
        code: "unauthorized",
        message: expect.stringContaining("no credentials"),
        hint: expect.stringContaining("~/.aws/credentials"),
      });
      for (const thrown of [error, second, third]) expect(everythingIn(thrown)).not.toMatch(/not-the-secret|stranger|testkey|AWS4/);
    });

    test("no server, no host", async () => {
      await expect(wrong((same) => same.replace(proxy.endpoint, "http://127.0.0.1:1"))).rejects.toMatchObject({
        code: "remote_failed",
        message: expect.stringContaining("127.0.0.1:1 cannot be reached (ECONNREFUSED)"),
      });
    });

    test("a server that is busy for too long", async () => {
      proxy.rule = () => "busy";
      await expect(wrong((same) => same)).rejects.toMatchObject({
        code: "store_failed",
        message: expect.stringContaining("busy and asks to wait (SlowDown)"),
      });
    });

    test("a quota that is used up", async () => {
      useCredentials({ key: "smallkey", secret: "smallsecret" });
      const own = `small-${bucket}`;
      const { S3 } = await import("@aws-sdk/client-s3");
      const credentials = { accessKeyId: "smallkey", secretAccessKey: "smallsecret" };
      await new S3({ endpoint: server.endpoint, region: "us-east-1", forcePathStyle: true, credentials }).createBucket({ Bucket: own });
      const store = s3Store(url.replace(bucket, own));
      await expect(store.put("20261121/a", bytesSource(large.subarray(0, 2 * mebibyte)))).rejects.toMatchObject({
        code: "store_full",
        message: expect.stringContaining("QuotaExceeded"),
      });
    });
  });
});

function sentParts({ exchanges }: ChaosProxy) {
  return exchanges.flatMap(({ path, method, size, fault }) => {
    const part = /partNumber=(\d+)/.exec(path)?.[1];
    return method === "PUT" && part !== undefined ? [{ part: Number(part), size, fault }] : [];
  });
}

async function keysOf({ client }: S3Server, bucket: string, prefix: string): Promise<string[]> {
  const { Contents } = await client.listObjectsV2({ Bucket: bucket, Prefix: prefix });
  return (Contents ?? []).map(({ Key }) => Key ?? "");
}

async function uploadsOf({ client }: S3Server, bucket: string, prefix: string): Promise<string[]> {
  const { Uploads } = await client.listMultipartUploads({ Bucket: bucket, Prefix: prefix });
  return (Uploads ?? []).map(({ Key }) => Key ?? "");
}

async function listed(store: Store, prefix: string): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list(prefix)) keys.push(key);
  return keys;
}

/** Message, hint, details, and all of it again of every cause. */
function everythingIn(error: unknown): string {
  if (!(error instanceof Error)) return JSON.stringify(error);
  return `${error.message} ${error.stack} ${JSON.stringify(error, Object.getOwnPropertyNames(error))} ${everythingIn(error.cause ?? "")}`;
}
