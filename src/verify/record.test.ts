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
  second.forget("a");
  second.finish(new Set(["a", "b"]));
  expect(
    readFileSync(file, "utf8")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as unknown),
  ).toEqual([
    { store: "disk", key: "a", sha256: "1", at: at(4).toISOString() },
    { store: "local", key: "b", sha256: "3", at: at(5).toISOString() },
  ]);
});
