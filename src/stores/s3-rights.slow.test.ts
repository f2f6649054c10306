/** What credentials may do, and what a thief of them cannot undo: on a real server, with its policies, versions and locks. */
import type { S3 } from "@aws-sdk/client-s3";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { noise } from "../../test/support/noise.ts";
import { hasS3, type S3Server, s3Server, s3Store, s3Url, useCredentials } from "../../test/support/s3-server.ts";
import { parseStoreUrl, type S3Location } from "../core/store-url.ts";
import { S3PastStore } from "./s3-past.ts";
import { bytesSource, readAll, type Store } from "./store.ts";

const large = noise(20 << 20, 3);

describe.skipIf(!hasS3("ceph-rgw", "S3 stores"))("rights", () => {
  let server: S3Server;
  let bucket: string;
  let url: string;
  beforeAll(async () => {
    server = await s3Server();
    bucket = await server.makeBucket();
    url = s3Url(server.endpoint, bucket, "place");
  });
  beforeEach(() => useCredentials(server.owner));

  const allow = async (...actions: string[]): Promise<void> => {
    const Resource = [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`];
    const Statement = [
      { Effect: "Allow", Principal: { AWS: ["arn:aws:iam:::user/writer"] }, Action: actions.map((action) => `s3:${action}`), Resource },
    ];
    await server.client.putBucketPolicy({ Bucket: bucket, Policy: JSON.stringify({ Version: "2012-10-17", Statement }) });
    useCredentials({ key: "writerkey", secret: "writersecret" });
  };

  test("without the right to delete everything but deleting works", async () => {
    await allow("ListBucket", "GetObject", "PutObject");
    const store = s3Store(url);
    await store.put("20261121/small", bytesSource("one"));
    await store.put("20261121/small", bytesSource("one"));
    await store.put("20261121/large", bytesSource(large));
    await store.replace("RECOVERY.md", bytesSource("first"));
    await store.replace("RECOVERY.md", bytesSource("second"));
    expect((await readAll(store, "20261121/large"))?.equals(large)).toBe(true);
    expect((await readAll(store, "RECOVERY.md"))?.toString()).toBe("second");
    await expect(store.delete("20261121/small")).rejects.toMatchObject({
      code: "store_unwritable",
      message: "cannot delete 20261121/small from the store bucket: these credentials lack a right (s3:DeleteObject)",
      hint: expect.stringContaining("docs/configuration.md"),
    });
    expect((await readAll(store, "20261121/small"))?.toString()).toBe("one");
  });

  test("of a credential that may only read, or only list, the missing right is named", async () => {
    await s3Store(url).put("20261121/there", bytesSource("x"));
    await allow("ListBucket", "GetObject");
    expect((await readAll(s3Store(url), "20261121/there"))?.toString()).toBe("x");
    await expect(s3Store(url).put("20261121/b", bytesSource("x"))).rejects.toMatchObject({
      code: "store_unwritable",
      message: expect.stringContaining("s3:PutObject"),
    });
    await allow("ListBucket");
    await expect(readAll(s3Store(url), "20261121/there")).rejects.toMatchObject({
      code: "store_unwritable",
      message: expect.stringContaining("s3:GetObject"),
    });
    await allow("GetObject");
    await expect(s3Store(url).folders()).rejects.toMatchObject({ code: "store_unwritable", message: expect.stringContaining("s3:ListBucket") });
  });
});

describe.skipIf(!hasS3("ceph-rgw", "Object Lock"))("a bucket with Object Lock", () => {
  let server: S3Server;
  let bucket: string;
  let url: string;
  beforeAll(async () => {
    server = await s3Server();
    bucket = await server.makeBucket({ hasLock: true });
    url = s3Url(server.endpoint, bucket, "place");
  });
  beforeEach(() => useCredentials(server.owner));

  test("what is put is locked for its days, small or large; so is a point's file that is replaced, and nothing else", async () => {
    for (const mode of ["governance", "compliance"] as const) {
      const store = s3Store(url, { lock: { days: 3, mode } });
      await store.put(`20261121/small-${mode}`, bytesSource("x"));
      await store.put(`20261121/large-${mode}`, bytesSource(large));
      await store.replace("RECOVERY.md", bytesSource(mode));
      await store.put(`20261121/again-${mode}.json`, bytesSource("old"));
      await store.replace(`20261121/again-${mode}.json`, bytesSource("new"));
      await store.replace(`20261121/again-${mode}.bundle`, bytesSource(large));
      for (const name of ["small-?", "large-?", "again-?.json", "again-?.bundle"]) {
        const key = `20261121/${name.replace("?", mode)}`;
        const { Retention } = await server.client.getObjectRetention({ Bucket: bucket, Key: `place/${key}` });
        expect(Retention?.Mode).toBe(mode.toUpperCase());
        const days = ((Retention?.RetainUntilDate?.getTime() ?? 0) - Date.now()) / 86_400_000;
        expect(days).toBeGreaterThan(2.9);
        expect(days).toBeLessThanOrEqual(3);
      }
      await expect(server.client.getObjectRetention({ Bucket: bucket, Key: "place/RECOVERY.md" })).rejects.toThrow();
    }
  });

  test("a delete hides and never fails; the bytes stay, and the bucket as it was gives them back", async () => {
    const place = s3Url(server.endpoint, bucket, "past");
    const store = s3Store(place, { lock: { days: 1, mode: "compliance" } });
    await store.put("20261121/a", bytesSource("precious"));
    await store.put("20261121/b", bytesSource(large));
    await store.replace("RECOVERY.md", bytesSource("good"));
    const before = await lastWrite(server.client, bucket);
    // The thief deletes what he can, writes over the rest, and tries the versions themselves.
    await store.delete("20261121/a");
    await store.delete("20261121/b");
    await store.replace("RECOVERY.md", bytesSource("pay us"));
    const { Versions } = await server.client.listObjectVersions({ Bucket: bucket, Prefix: "past/2026" });
    for (const { Key, VersionId } of Versions ?? [])
      await expect(server.client.deleteObject({ Bucket: bucket, Key: Key ?? "", VersionId: VersionId ?? "" })).rejects.toThrow();
    expect(await store.stat("20261121/a")).toBeUndefined();
    expect(await store.folders()).toEqual([]);

    const past = new S3PastStore({ name: "past", url: place, location: parseStoreUrl(place) as S3Location, folder: "" }, before);
    expect((await readAll(past, "20261121/a"))?.toString()).toBe("precious");
    expect((await readAll(past, "20261121/b"))?.equals(large)).toBe(true);
    expect((await readAll(past, "RECOVERY.md"))?.toString()).toBe("good");
    expect(await past.folders()).toEqual(["20261121"]);
    expect((await keysOf(past)).sort()).toEqual(["20261121/a", "20261121/b", "RECOVERY.md"]);
    for (const write of [past.put(), past.replace(), past.delete()]) await expect(write).rejects.toMatchObject({ code: "usage" });
    const long = new S3PastStore({ name: "past", url: place, location: parseStoreUrl(place) as S3Location, folder: "" }, new Date(0));
    expect(await keysOf(long)).toEqual([]);
    // A key that was deleted may be put anew.
    await store.put("20261121/a", bytesSource("precious"));
    expect((await readAll(store, "20261121/a"))?.toString()).toBe("precious");
  });

  test("the inspection tries to delete what is locked, and tells who could", async () => {
    const place = s3Url(server.endpoint, bucket, "inspected");
    const facts = await s3Store(place, { lock: { days: 1, mode: "governance" } }).inspect();
    expect(facts).toMatchObject([
      // Ceph 16 looks only in buckets without versions.
      { what: expect.stringContaining("never written over"), answer: "no" },
      { what: expect.stringContaining("in parts"), answer: "yes" },
      { what: expect.stringContaining("Content-MD5"), answer: "yes" },
      { what: expect.stringContaining("pages"), answer: "yes" },
      { what: "the bucket keeps versions", answer: "yes" },
      { what: "the bucket has Object Lock", answer: "yes" },
      { what: "deleting a locked object is refused", answer: "yes" },
      // They are the bucket's owner's.
      { what: "these credentials cannot lift a governance lock", answer: "no", note: expect.stringContaining("compliance") },
    ]);
    expect(facts.some(({ isWrong }) => isWrong)).toBe(false);
    const { Versions } = await server.client.listObjectVersions({ Bucket: bucket, Prefix: "inspected/facts/locked" });
    expect(Versions ?? []).toEqual([]); // lifted
  });

  test("a lock that is asked for where there is none is found out", async () => {
    const plain = await server.makeBucket();
    const facts = await s3Store(s3Url(server.endpoint, plain), { lock: { days: 1, mode: "compliance" } }).inspect();
    expect(facts.filter(({ isWrong }) => isWrong).map(({ what }) => what)).toEqual([
      "the bucket has Object Lock",
      "deleting a locked object is refused",
    ]);
  });
});

async function keysOf(store: Store): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of store.list("")) keys.push(key);
  return keys;
}

/** When the last of all that is there was written, by the server's clock. */
async function lastWrite(client: S3, bucket: string): Promise<Date> {
  const { Versions } = await client.listObjectVersions({ Bucket: bucket });
  return new Date(Math.max(...(Versions ?? []).map(({ LastModified }) => LastModified?.getTime() ?? 0)));
}
