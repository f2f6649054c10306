import { describe, expect, test } from "vitest";
import { dayMs } from "../core/calendar.ts";
import { freshGrace, type Grace, isOver, passGrace } from "./grace.ts";

const folder = "trash/20261121";
const start = new Date("2026-11-21T12:00:00.000Z");
const days = 7;

/** Runs at these days after the start; says after which the folder was over. */
function overAfter(runs: readonly number[], grace: Grace = freshGrace): number | undefined {
  let state = grace;
  for (const day of runs) {
    const now = new Date(start.getTime() + day * dayMs);
    state = passGrace(state, now, [folder], days);
    if (isOver(state, folder, now, days)) return day;
  }
  return undefined;
}

describe("a day of the trash is over", () => {
  test("after its days, where runs saw them pass", () => {
    expect(overAfter([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])).toBe(8);
  });

  test("later where runs are rare: a step counts for a quarter at most", () => {
    expect(overAfter([0, 30, 60, 90, 120, 150])).toBe(120);
  });

  test("not sooner for a clock that jumped ahead, nor for one that went back and forth", () => {
    expect(overAfter([0, 4000, 4000.01, 4000.02])).toBeUndefined();
    expect(overAfter([0, 1, -400, 2, 3, -400, 4])).toBeUndefined();
  });

  test("not before its name says so, whatever was counted", () => {
    expect(overAfter([5], { elapsedMs: 100 * dayMs, seenAt: start, since: new Map([[folder, 0]]) })).toBeUndefined();
  });

  test("counted anew where the count was lost, and at once where nothing is to wait", () => {
    expect(overAfter([100, 101])).toBeUndefined();
    const state = passGrace(freshGrace, new Date(start.getTime() + dayMs), [folder], 0);
    expect(isOver(state, folder, new Date(start.getTime() + dayMs), 0)).toBe(true);
  });
});
