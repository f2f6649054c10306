import { describe, expect, test } from "vitest";
import { dateIn, isTimeZone, weekOf } from "./calendar.ts";

describe("the ISO week", () => {
  test.each([
    // 2020 and 2026 have a week 53.
    ["2020-12-27", "2020-W52"],
    ["2020-12-28", "2020-W53"],
    ["2021-01-03", "2020-W53"],
    ["2021-01-04", "2021-W01"],
    ["2024-12-29", "2024-W52"],
    ["2024-12-30", "2025-W01"],
    ["2025-01-05", "2025-W01"],
    ["2025-12-28", "2025-W52"],
    ["2025-12-29", "2026-W01"],
    ["2026-01-04", "2026-W01"],
    ["2026-12-27", "2026-W52"],
    ["2026-12-28", "2026-W53"],
    ["2027-01-03", "2026-W53"],
    ["2027-01-04", "2027-W01"],
    ["2026-11-21", "2026-W47"],
  ])("of %s is %s", (date, week) => {
    expect(weekOf(date)).toBe(week);
  });
});

describe("the date in a time zone", () => {
  test.each([
    ["UTC", "2026-11-21T23:59:59.999Z", "2026-11-21"],
    ["Europe/Zurich", "2026-11-21T22:59:59.999Z", "2026-11-21"],
    ["Europe/Zurich", "2026-11-21T23:00:00.000Z", "2026-11-22"],
    // The nights in which the clock is set: 25 hours and 23 hours.
    ["Europe/Zurich", "2026-10-24T22:00:00.000Z", "2026-10-25"],
    ["Europe/Zurich", "2026-10-25T22:59:00.000Z", "2026-10-25"],
    ["Europe/Zurich", "2026-10-25T23:00:00.000Z", "2026-10-26"],
    ["Europe/Zurich", "2026-03-28T23:00:00.000Z", "2026-03-29"],
    ["Europe/Zurich", "2026-03-29T21:59:00.000Z", "2026-03-29"],
    ["Europe/Zurich", "2026-03-29T22:00:00.000Z", "2026-03-30"],
    ["America/St_Johns", "2026-01-01T03:29:00.000Z", "2025-12-31"],
    ["Pacific/Kiritimati", "2025-12-31T10:00:00.000Z", "2026-01-01"],
  ])("%s at %s is %s", (zone, moment, date) => {
    expect(dateIn(zone)(new Date(moment))).toBe(date);
  });

  test("only of zones that there are", () => {
    expect(["UTC", "Europe/Zurich", "Mars/Olympus", ""].map(isTimeZone)).toEqual([true, true, false, false]);
  });
});
