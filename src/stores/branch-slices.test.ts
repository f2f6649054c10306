import fc from "fast-check";
import { expect, test } from "vitest";
import type { BranchFile, BranchPart } from "./branch-files.ts";
import { planSlices, type Slice } from "./branch-slices.ts";

const point = "20261121/20261121T143005Z-a1b2c3";

function file(path: string, ...sizes: number[]): BranchFile {
  const parts = sizes.map((size, at): BranchPart => ({ path: sizes.length === 1 ? path : `${path}.part00${at + 1}`, oid: `${path}#${at}`, size }));
  return { size: sizes.reduce((sum, size) => sum + size, 0), parts };
}

const shape = (slices: readonly Slice[]): unknown => slices.map(({ changes, early }) => [...changes.keys(), ...early.map(({ path }) => path)]);

test("what fits into one push is one commit", () => {
  const changes = new Map([["b", file("b", 4)], ["a", file("a", 6)], ["c", null]]); // biome-ignore format: pairs
  expect(planSlices(changes, () => false, 10)).toEqual([{ changes, early: [] }]);
});

test("more than that is several; a manifest comes after the artifacts of its point, a deletion last", () => {
  const keys = [`${point}.bundle`, `${point}.json`, `${point}.tar.zst`, "20261121/20261121T153005Z-d4e5f6.bundle"];
  const changes = new Map<string, BranchFile | null>([["old", null], ...keys.map((key) => [key, file(key, 6)] as const)]);
  expect(shape(planSlices(changes, () => false, 10))).toEqual([[keys[0]], [keys[2]], [keys[1]], [keys[3], "old"]]);
});

test("parts of a file that is above the limit wait apart until the last one comes", () => {
  const changes = new Map([["small", file("small", 3)], ["big", file("big", 5, 5, 5, 5, 2)]]); // biome-ignore format: pairs
  expect(shape(planSlices(changes, () => false, 10))).toEqual([
    ["small"],
    [".holdfast-parts/big.part001", ".holdfast-parts/big.part002"],
    [".holdfast-parts/big.part003", ".holdfast-parts/big.part004"],
    ["big"],
  ]);
});

test("what the remote has already costs nothing", () => {
  const changes = new Map([["a", file("a", 9)], ["b", file("b", 9)], ["c", file("c", 9)]]); // biome-ignore format: pairs
  expect(shape(planSlices(changes, (oid) => oid !== "b#0", 10))).toEqual([["a", "b", "c"]]);
});

test("property: every change is in exactly one slice, every part once, none above the limit, manifests after artifacts", () => {
  const sizes = fc.array(fc.integer({ min: 0, max: 10 }), { minLength: 1, maxLength: 6 });
  const key = fc.tuple(fc.constantFrom("d/p1", "d/p2", "d/p3"), fc.constantFrom(".bundle", ".json", ".tar.zst")).map((parts) => parts.join(""));
  fc.assert(
    fc.property(fc.array(fc.tuple(key, fc.option(sizes))), fc.integer({ min: 10, max: 30 }), (wished, limit) => {
      const changes = new Map(wished.map(([name, parts]) => [name, parts === null ? null : file(name, ...parts)]));
      const slices = planSlices(changes, () => false, limit);
      expect(new Map(slices.flatMap((slice) => [...slice.changes]))).toEqual(changes);
      expect(slices.flatMap((slice) => [...slice.changes]).length).toBe(changes.size);
      const sent = new Set<string>();
      const present = new Set<string>();
      for (const slice of slices) {
        const whole = [...slice.changes.values()].flatMap((change) => change?.parts ?? []);
        const added = [...slice.early, ...whole].filter(({ oid }) => !sent.has(oid));
        expect(added.reduce((sum, { size }) => sum + (size ?? 0), 0)).toBeLessThanOrEqual(limit);
        for (const { oid } of added) sent.add(oid);
        for (const [name, change] of slice.changes) if (change !== null) present.add(name);
        for (const name of present) {
          if (!name.endsWith(".json")) continue;
          const stem = name.slice(0, -".json".length);
          for (const [other, change] of changes) if (other.startsWith(stem) && change !== null) expect(present.has(other)).toBe(true);
        }
      }
    }),
  );
});
