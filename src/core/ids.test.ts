import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dayOf, isPointId, newPointId, pointTime } from "./ids.ts";

const now = new Date("2026-11-21T14:30:05.678Z");
const random24 = fc.integer({ min: 0, max: 0xffffff });
const moment = fc.date({ min: new Date("1970-01-01"), max: new Date("9999-12-30"), noInvalidDate: true });

describe("a point id", () => {
  test("says when, to the second, and where it is kept", () => {
    expect(newPointId(now, 0xa1b2c3)).toBe("20261121T143005Z-a1b2c3");
    expect(dayOf("20261121T143005Z-a1b2c3")).toBe("20261121");
    expect(pointTime("20261121T143005Z-a1b2c3")).toEqual(new Date("2026-11-21T14:30:05Z"));
  });

  test("fills its suffix with zeros", () => {
    expect(newPointId(now, 7)).toBe("20261121T143005Z-000007");
  });

  test("of the same second is later than the last", () => {
    expect(newPointId(now, 5, "20261121T143005Z-a1b2c3")).toBe("20261121T143005Z-a1b2c9");
  });

  test("goes on from the last when the clock was set back", () => {
    expect(newPointId(new Date("2020-01-01T00:00:00Z"), 0, "20261121T143005Z-a1b2c3")).toBe("20261121T143005Z-a1b2c4");
  });

  test("takes the next second when the suffixes of one are used up", () => {
    expect(newPointId(now, 9, "20261121T143005Z-ffffff")).toBe("20261121T143006Z-000009");
    expect(newPointId(now, 9, "20261231T235959Z-ffffff")).toBe("20270101T000000Z-000009");
  });

  test("property: is always a valid id and later than the last one, whatever the clock does", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(moment, random24), { minLength: 1, maxLength: 30 }), (calls) => {
        let last: string | undefined;
        for (const [at, random] of calls) {
          const id = newPointId(at, random, last);
          expect(isPointId(id)).toBe(true);
          if (last !== undefined) expect(id > last).toBe(true);
          last = id;
        }
      }),
    );
  });

  test("property: sorts by time and gives its time back", () => {
    fc.assert(
      fc.property(moment, moment, random24, (a, b, random) => {
        const [first, second] = [newPointId(a, random), newPointId(b, random)];
        expect(pointTime(first).getTime()).toBe(Math.floor(a.getTime() / 1000) * 1000);
        if (pointTime(first) < pointTime(second)) expect(first < second).toBe(true);
      }),
    );
  });

  test.each([
    "",
    "latest",
    "20261121T143005Z",
    "20261121T143005Z-A1B2C3",
    "20261121T143005Z-a1b2c",
    "20261121T143005Z-a1b2c33",
    "20261121T143005Z-a1b2c3\n",
    "../../x20261121T143005Z-a1b2c3",
    "20261399T143005Z-a1b2c3",
    "20260230T143005Z-a1b2c3",
    "20261121T240000Z-a1b2c3",
  ])("is not %j", (text) => {
    expect(isPointId(text)).toBe(false);
    if (!/^\d{8}T\d{6}Z-[0-9a-f]{6}$/.test(text)) expect(() => pointTime(text)).toThrow(RangeError);
  });
});
