import { describe, expect, test } from "vitest";
import { parseDateWords } from "./date-words.ts";

/** In whatever zone the tests run. */
const now = new Date(2026, 10, 21, 14, 30, 15);
const local = (year: number, month: number, day: number, hour = 0, minute = 0, second = 0): Date =>
  new Date(year, month - 1, day, hour, minute, second);

describe("dates that are understood without git", () => {
  test.each([
    ["now", now],
    ["2026-11-20", local(2026, 11, 20)],
    ["2026-11-20 9:05", local(2026, 11, 20, 9, 5)],
    ["2026-11-20 09:05:07", local(2026, 11, 20, 9, 5, 7)],
    ["2026-11-20T09:05Z", new Date("2026-11-20T09:05:00Z")],
    ["2026-11-20 09:05 +0100", new Date("2026-11-20T08:05:00Z")],
    ["2026-11-20 09:05:00 -03:30", new Date("2026-11-20T12:35:00Z")],
    ["today", local(2026, 11, 21)],
    ["Yesterday  18:00", local(2026, 11, 20, 18)],
    ["yesterday noon", local(2026, 11, 20, 12)],
    ["yesterday at 7:45", local(2026, 11, 20, 7, 45)],
    ["9:15", local(2026, 11, 21, 9, 15)],
    ["noon", local(2026, 11, 21, 12)],
    ["2 hours ago", local(2026, 11, 21, 12, 30, 15)],
    ["an hour ago", local(2026, 11, 21, 13, 30, 15)],
    ["90 seconds ago", local(2026, 11, 21, 14, 28, 45)],
    ["3 weeks ago", local(2026, 10, 31, 14, 30, 15)],
    ["1 month ago", local(2026, 10, 21, 14, 30, 15)],
    ["2 days ago 9:00", local(2026, 11, 19, 9)],
  ])("%s", (text, expected) => expect(parseDateWords(text, now)).toEqual(expected));
});

test.each([
  "",
  "soon",
  "yesterday evening",
  "2026-02-30",
  "2026-13-01",
  "2026-11-20 25:00",
  "25:00",
  "1 fortnight ago",
  "last friday",
  "main",
  "20261121",
])("%s is no date, rather than a wrong one", (text) => expect(parseDateWords(text, now)).toBeUndefined());
