import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { type BranchFile, type BranchFiles, isMadeOf, mergeFiles, parseFiles, partPaths } from "./branch-files.ts";
import { bytesSource } from "./store.ts";

const oid = (digit: string) => digit.repeat(40);

test("a file up to the part size is one file, above it parts in the shell's order", () => {
  expect(partPaths("a", 10, 10)).toEqual(["a"]);
  expect(partPaths("a", 11, 10)).toEqual(["a.part001", "a.part002"]);
  const many = partPaths("a", 9990, 10);
  expect(many).toHaveLength(999);
  expect([...many].sort()).toEqual(many);
  expect(() => partPaths("a", 9991, 10)).toThrow(/999/);
  expect(() => partPaths("a.part001", 1, 10)).toThrow(RangeError);
});

test("a tree is read as keys; links, submodules and hostile names are not seen", () => {
  const lines = [
    `100644 blob ${oid("1")}\t20261121/a b`,
    `100755 blob ${oid("2")}\trestore.sh`,
    `100644 blob ${oid("3")}\tbig.part001`,
    `100644 blob ${oid("4")}\tbig.part002`,
    `120000 blob ${oid("5")}\tlink`,
    `160000 commit ${oid("6")}\tmodule`,
    `100644 blob ${oid("7")}\t../out`,
    `100644 blob ${oid("8")}\twhole`,
    `100644 blob ${oid("9")}\twhole.part001`,
    `100644 blob ${oid("a")}\t.holdfast-parts/on-its-way.part001`,
    `100644 blob ${oid("b")}\tfar.part001`,
    `100644 blob ${oid("1")}\tfar.part002`,
  ];
  const sizes = new Map(["3", "4", "10", "5"].map((size, index) => [oid(String(index + 1)), Number(size)]));
  sizes.set(oid("8"), 1);
  const files = parseFiles(Buffer.from(lines.map((line) => `${line}\0`).join("")), sizes);
  expect([...files].map(([key, file]) => [key, file.size])).toEqual([
    ["20261121/a b", 3],
    ["restore.sh", 4],
    ["whole", 1],
    ["big", 15],
    ["far", null],
  ]);
  expect(files.get("big")?.parts.map((part) => part.path)).toEqual(["big.part001", "big.part002"]);
});

test("a source is compared by the blobs' oids alone", async () => {
  const blob = (bytes: string) => createHash("sha1").update(`blob ${bytes.length}\0${bytes}`).digest("hex");
  const parts = [
    { oid: blob("abc"), size: 3 },
    { oid: blob("de"), size: 2 },
  ];
  expect(await isMadeOf(parts, bytesSource("abcde"), "sha1")).toBe(true);
  expect(await isMadeOf(parts, bytesSource("abcdf"), "sha1")).toBe(false);
  expect(await isMadeOf(parts, bytesSource("abcd"), "sha1")).toBe(false);
});

const file = (digit: string): BranchFile => ({ size: 1, parts: [{ path: "x", oid: oid(digit), size: 1 }] });
const tree: fc.Arbitrary<BranchFiles> = fc
  .array(fc.tuple(fc.constantFrom("a", "b", "c", "d"), fc.constantFrom("1", "2", "3")))
  .map((entries) => new Map(entries.map(([key, digit]) => [key, file(digit)])));

test("property: a merge loses no key that a side still has, unless the other side deleted it on purpose", () => {
  fc.assert(
    fc.property(tree, tree, tree, fc.boolean(), (base, ours, theirs, hasGrown) => {
      const { changes, conflicts } = mergeFiles(base, ours, theirs, hasGrown);
      const merged = new Map(theirs);
      for (const [key, change] of changes) change === null ? merged.delete(key) : merged.set(key, change);
      for (const key of ours.keys()) {
        const isDeletedThere = hasGrown && base.has(key) && !theirs.has(key);
        if (!isDeletedThere) expect(merged.has(key)).toBe(true);
      }
      for (const key of theirs.keys()) {
        const isDeletedHere = base.has(key) && !ours.has(key);
        if (!isDeletedHere) expect(merged.has(key)).toBe(true);
      }
      // What only one side changed is as that side left it.
      for (const [key, mine] of ours) if (theirs.get(key) === base.get(key) && hasGrown) expect(merged.get(key)).toEqual(mine);
      for (const key of conflicts) expect(merged.get(key)).toEqual(theirs.get(key));
    }),
  );
});
