import fc from "fast-check";
import { expect, test } from "vitest";
import { shouldReroot } from "./branch-reroot.ts";

const mib = 1024 ** 2;
const rule = { garbageBytes: 64 * mib };

test.each([
  ["nothing was deleted", { live: 0, garbage: 0, refusedAt: 0 }, false],
  ["little, though most of it", { live: mib, garbage: 63 * mib, refusedAt: 0 }, false],
  ["much, but less than lives", { live: 1000 * mib, garbage: 999 * mib, refusedAt: 0 }, false],
  ["more than lives, and enough", { live: 63 * mib, garbage: 64 * mib, refusedAt: 0 }, true],
  ["the host refused at that much", { live: 0, garbage: 100 * mib, refusedAt: 100 * mib }, false],
  ["it has doubled since the host refused", { live: 0, garbage: 200 * mib, refusedAt: 100 * mib }, true],
])("%s", (_, weight, isWorthIt) => {
  expect(shouldReroot(weight, rule)).toBe(isWorthIt);
});

test("property: a history that begins anew is at least halved", () => {
  const size = fc.integer({ min: 0, max: 1e9 });
  fc.assert(
    fc.property(size, size, size, (live, garbage, refusedAt) => {
      if (shouldReroot({ live, garbage, refusedAt }, rule)) expect(live).toBeLessThan((live + garbage) / 2);
    }),
  );
});
