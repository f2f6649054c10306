import fc from "fast-check";
import { expect, test } from "vitest";
import { mustWait, retryDelayMs } from "./backoff.ts";

test("the wait doubles from half a minute to six hours", () => {
  expect([1, 2, 3, 10, 11, 99].map((failures) => retryDelayMs(failures, 0.5))).toEqual([30_000, 60_000, 120_000, 15_360_000, 21_600_000, 21_600_000]);
});

test("nothing failed yet waits no longer than one failure", () => {
  expect(retryDelayMs(0, 0.5)).toBe(30_000);
});

test("property: the wait is a whole number from 24 seconds to six hours, and grows with the failures", () => {
  fc.assert(
    fc.property(fc.nat(100_000), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (failures, random) => {
      const delay = retryDelayMs(failures, random);
      expect(Number.isInteger(delay)).toBe(true);
      expect(delay).toBeGreaterThanOrEqual(24_000);
      expect(delay).toBeLessThanOrEqual(21_600_000);
      expect(retryDelayMs(failures + 1, random)).toBeGreaterThanOrEqual(delay);
    }),
  );
});

test("no wait lasts longer than the longest, whatever the clock was when it was noted", () => {
  const now = new Date("2026-11-21T12:00:00Z");
  const waits = (hours: number) => mustWait(new Date(now.getTime() + hours * 3_600_000), now);
  expect([-1, 0, 0.01, 6].map(waits)).toEqual([false, false, true, true]);
  expect([7, 24 * 365 * 10].map(waits)).toEqual([false, false]);
  expect(mustWait(null, now)).toBe(false);
});
