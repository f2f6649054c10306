import { appendFileSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/repo.ts";
import { VerifiedRecord } from "./record.ts";

const at = (second: number): Date => new Date(Date.UTC(2026, 10, 21, 12, 0, second));

test("the record of a store outlives runs that end and runs that are killed, and keeps those of other stores", () => {
  using dir = tempDir();
  const file = join(dir.path, "state/verified.ndjson");
  const first = new VerifiedRecord(file, "local");
  first.add("a", "1", at(1));
  first.add("a", "1", at(2));
  first.add("gone", "2", at(3));
  first.flush();
  appendFileSync(file, '{"store":"local","key":"b","sha2'); // killed here
  const other = new VerifiedRecord(file, "disk");
  expect(other.lastOf("a", "1")).toBeUndefined();
  other.add("a", "1", at(4));
  other.finish(new Set(["a"]));
  const second = new VerifiedRecord(file, "local");
  expect(second.lastOf("a", "1")).toBe(at(2).toISOString());
  expect(second.lastOf("a", "other bytes")).toBeUndefined();
  second.add("b", "3", at(5));
  second.finish(new Set(["a", "b"]));
  expect(
    readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual([
    { store: "local", key: "a", sha256: "1", at: at(2).toISOString() },
    { store: "disk", key: "a", sha256: "1", at: at(4).toISOString() },
    { store: "local", key: "b", sha256: "3", at: at(5).toISOString() },
  ]);
});

test("damage stands until the file is read well, is another one or is gone; damage inside until somebody looks there", () => {
  using dir = tempDir();
  const file = join(dir.path, "verified.ndjson");
  const before = new VerifiedRecord(file, "local");
  before.add("bytes", "1", at(1));
  for (const key of ["bytes", "gone", "other"]) before.addDamage(key, "1", at(2), "bytes");
  before.addDamage("inside", "1", at(2), "inside");
  before.addDamage("inside", "1", at(3), "bytes");
  const meanwhile = new VerifiedRecord(file, "local");
  before.finish(new Set(["bytes", "inside", "other"]));
  meanwhile.addDamage("later", "1", at(4), "bytes");
  meanwhile.finish(new Set(["bytes", "inside", "other", "later"]));
  before.finish(new Set(["bytes", "inside", "other", "later"]));

  const record = new VerifiedRecord(file, "local");
  const standing = (): (string | undefined)[] => ["bytes", "inside", "gone", "later"].map((key) => record.damageOf(key, "1"));
  expect(standing()).toEqual(["bytes", "inside", undefined, "bytes"]);
  expect(record.damageOf("other", "2")).toBeUndefined();
  expect(record.lastOf("bytes", "1")).toBeUndefined();
  for (const key of ["bytes", "inside", "later"]) record.add(key, "1", at(5));
  expect(standing()).toEqual([undefined, "inside", undefined, undefined]);
  record.add("inside", "1", at(6), true);
  expect(standing()).toEqual([undefined, undefined, undefined, undefined]);
});
