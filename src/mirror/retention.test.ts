import fc from "fast-check";
import { expect, test } from "vitest";
import { keptName, layoutOf } from "./layout.ts";
import { freshRetention, isReliable, pass, planExpiry, type Retention, remember } from "./retention.ts";

const hour = 3_600_000;
const day = 24 * hour;
const layout = layoutOf("branches-and-tags", "box");
const start = new Date("2026-11-21T14:30:05Z");
const after = (ms: number): Date => new Date(start.getTime() + ms);

/** A tip kept at `at`, by a mirror that has just begun. */
function keeping(at: Date, keepDays: number): { retention: Retention; tip: { ref: string; oid: string; keptAs: string } } {
  const tip = { ref: "refs/heads/main", oid: "a", keptAs: keptName(layout, "refs/heads/main", at) };
  const remote = new Map([[tip.keptAs, tip.oid]]);
  return { retention: remember(pass(freshRetention, at, keepDays), layout, remote, [tip]), tip };
}

function expiry(retention: Retention, keptAs: string, keepDays: number | null, now: Date): number {
  return planExpiry(retention, layout, new Map([[keptAs, "a"]]), keepDays, now).length;
}

test("with a run a day a tip goes on the day when its days are over", () => {
  let { retention, tip } = keeping(start, 90);
  for (let i = 1; i < 90; i += 1) {
    retention = pass(retention, after(i * day), 90);
    expect(expiry(retention, tip.keptAs, 90, after(i * day))).toBe(0);
  }
  expect(expiry(pass(retention, after(90 * day), 90), tip.keptAs, 90, after(90 * day))).toBe(1);
});

test("a machine that was off for long counts a week of it, or a quarter of the days", () => {
  const { retention } = keeping(start, 90);
  expect(pass(retention, after(60 * day), 90).elapsedMs).toBe(7 * day);
  expect(pass(retention, after(60 * day), 4).elapsedMs).toBe(day);
  expect(pass(retention, after(60 * day), null).elapsedMs).toBe(7 * day);
  expect(pass(retention, after(-60 * day), 90).elapsedMs).toBe(0);
});

test("only what we kept goes, and only while it shows what we kept there", () => {
  let { retention, tip } = keeping(start, 1);
  for (let i = 1; i <= 8; i += 1) retention = pass(retention, after(i * 6 * hour), 1);
  const now = after(2 * day);
  expect(expiry(retention, tip.keptAs, 1, now)).toBe(1);
  expect(expiry(retention, tip.keptAs, null, now)).toBe(0);
  expect(expiry(retention, keptName(layout, "refs/heads/theirs", start), 1, now)).toBe(0);
  expect(planExpiry(retention, layout, new Map([[tip.keptAs, "b"]]), 1, now)).toEqual([]);
  expect(remember(retention, layout, new Map([[tip.keptAs, "b"]]), []).kept.size).toBe(0);
});

test("on a remote that is ours alone every kept tip is, from when it was first seen; no other ref is", () => {
  const exact = layoutOf("exact", "box");
  const kept = keptName(exact, "refs/heads/x", new Date(0));
  const remote = new Map([
    [kept, "a"],
    ["refs/heads/main", "a"],
    ["refs/holdfast/kept/nonsense", "a"],
  ]);
  const retention = remember(pass(freshRetention, start, 90), exact, remote, []);
  expect([...retention.kept.keys()]).toEqual([kept]);
  expect(planExpiry(retention, exact, remote, 1, start)).toEqual([]);
  expect(remember(freshRetention, layout, remote, []).kept.size).toBe(0);
});

test("a kept tip that is used again counts anew, and is used only with half of its days left", () => {
  const { retention, tip } = keeping(start, 4);
  const later = pass(retention, after(day), 4);
  expect(isReliable(later, tip.keptAs, 4)).toBe(true);
  const tooLate = pass(later, after(2 * day), 4);
  expect(isReliable(tooLate, tip.keptAs, 4)).toBe(false);
  expect(isReliable(tooLate, tip.keptAs, null)).toBe(true);
  expect(isReliable(later, "refs/holdfast/kept/20261121T143005Z/heads/theirs", 4)).toBe(false);
  const again = remember(later, layout, new Map([[tip.keptAs, "a"]]), [tip]);
  expect(again.kept.get(tip.keptAs)?.sinceMs).toBe(day);
});

test("property: whatever the clock does in three runs, nothing that was kept before them goes", () => {
  const clock = fc.date({ min: new Date("1970-01-02"), max: new Date("2200-01-01"), noInvalidDate: true });
  fc.assert(
    fc.property(clock, fc.array(clock, { maxLength: 3 }), fc.integer({ min: 1, max: 400 }), (keptAt, runs, keepDays) => {
      let { retention, tip } = keeping(keptAt, keepDays);
      for (const now of runs) {
        retention = pass(retention, now, keepDays);
        expect(expiry(retention, tip.keptAs, keepDays, now)).toBe(0);
      }
    }),
  );
});

test("property: with a clock that is right, nothing goes before its days are over, and everything does in time", () => {
  const gaps = fc.array(fc.integer({ min: 1, max: 30 * day }), { minLength: 1, maxLength: 60 });
  fc.assert(
    fc.property(gaps, fc.integer({ min: 1, max: 100 }), (steps, keepDays) => {
      let { retention, tip } = keeping(start, keepDays);
      let passed = 0;
      for (const step of steps) {
        passed += step;
        retention = pass(retention, after(passed), keepDays);
        if (expiry(retention, tip.keptAs, keepDays, after(passed)) > 0) expect(passed).toBeGreaterThanOrEqual(keepDays * day);
      }
      for (let i = 0; i < 4 * 100; i += 1) {
        passed += day;
        retention = pass(retention, after(passed), keepDays);
      }
      expect(expiry(retention, tip.keptAs, keepDays, after(passed))).toBe(1);
    }),
  );
});
