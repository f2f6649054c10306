import fc from "fast-check";
import { expect, test } from "vitest";
import { chainOf } from "../core/catalogue.ts";
import type { Manifest } from "../core/manifest.ts";
import { planBudget } from "./budget.ts";

/** A manifest of which the plan counts `size` and a little for itself. */
function point(id: string, size: number, base: string | null = null): Manifest {
  return { id, base, artifacts: [{ name: id, size }], counts: {} } as unknown as Manifest;
}

const kib = 1024;
const full = point("p1", 100 * kib);
const step = point("p2", 10 * kib, "p1");
const newFull = point("p3", 100 * kib);
const last = point("p4", 10 * kib, "p3");
const points = [full, step, newFull, last];
const plan = (maxBytes: number, change: Partial<Parameters<typeof planBudget>[0]> = {}): { send: string[]; beyond: string[] } => {
  const { send, beyond } = planBudget({ points, present: new Set(), usedBytes: 0, maxBytes, ...change });
  return { send: send.map(({ id }) => id), beyond: beyond.map(({ id }) => id) };
};

test.each<[string, number, string[]]>([
  ["all fits", 300 * kib, ["p1", "p2", "p3", "p4"]],
  ["the newest comes first, with all that it needs, oldest sent first", 115 * kib, ["p3", "p4"]],
  ["a base is paid for once", 222 * kib, ["p1", "p2", "p3", "p4"]],
  ["an older point that fits takes what a newer one could not", 215 * kib, ["p1", "p3", "p4"]],
  ["a point without its base is of no use", 105 * kib, ["p3"]],
  ["nothing fits", 5 * kib, []],
])("%s", (_, maxBytes, sent) => {
  expect(plan(maxBytes).send).toEqual(sent);
});

test("what is in the copy counts and stays; its bases need not be sent again", () => {
  expect(plan(125 * kib, { present: new Set(["p3"]), usedBytes: 101 * kib })).toEqual({ send: ["p4"], beyond: ["p1", "p2"] });
  expect(plan(100 * kib, { present: new Set(["p1", "p2"]), usedBytes: 111 * kib })).toEqual({ send: [], beyond: ["p3", "p4"] });
});

test("a point whose base is gone, or goes round in a circle, counts as what there is", () => {
  expect(plan(50 * kib, { points: [step] }).send).toEqual(["p2"]);
  expect(plan(50 * kib, { points: [point("p1", 1, "p2"), point("p2", 1, "p1")] }).send).toEqual(["p1", "p2"]);
});

test("property: never above the budget, every point sent with its chain, nothing left out that would still fit", () => {
  const ids = Array.from({ length: 8 }, (_, index) => `p${index}`);
  const shape = fc.tuple(fc.integer({ min: 0, max: 50 * kib }), fc.option(fc.nat()), fc.boolean());
  fc.assert(
    fc.property(fc.array(shape, { maxLength: 8 }), fc.integer({ min: 0, max: 300 * kib }), (shapes, maxBytes) => {
      const all = shapes.map(([size, base], index) =>
        point(ids[index] ?? "", size, base === null || index === 0 ? null : (ids[base % index] ?? null)),
      );
      const present = new Set(all.filter((_, index) => shapes[index]?.[2]).flatMap((each) => chainOf(each, all).map(({ id }) => id)));
      const { send, beyond } = planBudget({ points: all, present, usedBytes: 0, maxBytes });
      const held = new Set([...present, ...send.map(({ id }) => id)]);
      const bytes = (some: readonly Manifest[]): number => some.reduce((sum, { artifacts }) => sum + (artifacts[0]?.size ?? 0), 0);
      expect(bytes(send)).toBeLessThanOrEqual(maxBytes);
      expect([...send, ...beyond].map(({ id }) => id).sort()).toEqual(all.filter(({ id }) => !present.has(id)).map(({ id }) => id).sort()); // biome-ignore format: one line
      for (const each of send) for (const { id } of chainOf(each, all)) expect(held.has(id)).toBe(true);
      // 200 bytes and more are a manifest's own.
      for (const each of beyond)
        expect(bytes(send) + 2000 * all.length + bytes(chainOf(each, all).filter(({ id }) => !held.has(id)))).toBeGreaterThan(maxBytes);
    }),
  );
});
