import fc from "fast-check";
import { expect, test } from "vitest";
import type { Manifest } from "../core/manifest.ts";
import { choosePoints, chooseStore, type DrillStore } from "./choose.ts";
import type { DrillEvidence } from "./evidence.ts";

const primary: DrillStore = { name: "local", isOffsite: false, isPrimary: true };
const disk: DrillStore = { name: "disk", isOffsite: false, isPrimary: false };
const bucket: DrillStore = { name: "bucket", isOffsite: true, isPrimary: false };
const branch: DrillStore = { name: "branch", isOffsite: true, isPrimary: false };

const drilled = (store: string, at: string): DrillEvidence => ({
  at,
  store,
  isOffsite: true,
  isProven: true,
  points: [],
  recoveryMs: null,
  pointAgeMs: null,
  error: null,
});

test("off-site copies come first, the one whose last drill is longest ago", () => {
  const stores = [primary, disk, bucket, branch];
  expect(chooseStore(stores, [])?.name).toBe("bucket");
  const once = [drilled("bucket", "2026-11-20T00:00:00.000Z")];
  expect(chooseStore(stores, once)?.name).toBe("branch");
  const twice = [...once, drilled("branch", "2026-11-21T00:00:00.000Z"), drilled("disk", "2026-11-21T01:00:00.000Z")];
  expect(chooseStore(stores, twice)?.name).toBe("bucket");
});

test("without one it is another copy, and the primary where there is no other", () => {
  expect(chooseStore([primary, disk], [])?.name).toBe("disk");
  expect(chooseStore([primary], [])?.name).toBe("local");
  expect(chooseStore([], [])).toBeUndefined();
});

test("property: every off-site copy has its turn", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 20 }), (count, rounds) => {
      const stores = Array.from({ length: count }, (_, index) => ({ ...bucket, name: `bucket${index}` }));
      const history: DrillEvidence[] = [];
      for (let round = 0; round < rounds * count; round += 1)
        history.push(drilled(chooseStore(stores, history)?.name ?? "", new Date(1000 * round).toISOString()));
      for (const { name } of stores) expect(history.filter(({ store }) => store === name)).toHaveLength(rounds);
    }),
  );
});

test("the newest point, and any older one", () => {
  const points = ["a", "b", "c"].map((id) => ({ id }) as Manifest);
  expect(choosePoints([], 0.5)).toEqual([]);
  expect(choosePoints(points.slice(0, 1), 0.999).map(({ role }) => role)).toEqual(["latest"]);
  expect(
    [0, 0.49, 0.5, 0.999].map((random) =>
      choosePoints(points, random)
        .map(({ point }) => point.id)
        .join(),
    ),
  ).toEqual(["c,a", "c,a", "c,b", "c,b"]);
});
