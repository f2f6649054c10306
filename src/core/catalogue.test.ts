import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chainOf, findPoint, nearestPoint, neededBases, pointAt, sortPoints } from "./catalogue.ts";
import type { Manifest } from "./manifest.ts";

/** Of a manifest only what these questions look at. */
function point(id: string, base: string | null = null, createdAt = `2026-11-21T10:00:0${id.at(-1)}.000Z`): Manifest {
  return { id, base, createdAt } as Manifest;
}

const [a, b, c] = [point("p1"), point("p2", "p1"), point("p3", "p2")];

describe("chainOf", () => {
  test("lists what a restore reads, base first", () => {
    expect(chainOf(c, [a, b, c])).toEqual([a, b, c]);
    expect(chainOf(a, [a, b, c])).toEqual([a]);
  });

  test("does not need the point itself to be in the catalogue", () => {
    expect(chainOf(c, [a, b])).toEqual([a, b, c]);
  });

  test("names the base that is missing", () => {
    expect(() => chainOf(c, [a, c])).toThrow(expect.objectContaining({ code: "chain_broken", message: expect.stringContaining("p2") }));
  });

  test.each([
    ["itself", [point("p1", "p1")]],
    ["two", [point("p1", "p2"), point("p2", "p1")]],
    ["those below it", [point("p1", "p2"), point("p2", "p3"), point("p3", "p2")]],
  ])("ends where a chain goes round in %s", (_, points) => {
    expect(() => chainOf(points[0] as Manifest, points)).toThrow(expect.objectContaining({ code: "chain_broken" }));
    expect(() => chainOf(structuredClone(points[0]) as Manifest, points)).toThrow(expect.objectContaining({ code: "chain_broken" }));
  });

  test("property: gives every base before what builds on it, or says that the chain is broken", () => {
    const name = fc.constantFrom("p1", "p2", "p3", "p4", "p5");
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(name, fc.option(name)), { minLength: 1, selector: ([id]) => id }), (pairs) => {
        const points = pairs.map(([id, base]) => point(id, base));
        for (const each of points) {
          try {
            const chain = chainOf(each, points);
            expect(chain.at(-1)).toBe(each);
            expect(chain.map(({ base }) => base)).toEqual([null, ...chain.slice(0, -1).map(({ id }) => id)]);
          } catch (error) {
            expect(error).toMatchObject({ code: "chain_broken" });
          }
        }
      }),
    );
  });
});

describe("findPoint", () => {
  const points = ["20261121T100000Z-aaaaaa", "20261121T100000Z-ab0000", "20261122T100000Z-aaaaaa"].map((id) => point(id));

  test("takes an id, a beginning of one, and the word latest", () => {
    expect(findPoint("20261121T100000Z-ab0000", points)).toBe(points[1]);
    expect(findPoint("20261122", points)).toBe(points[2]);
    expect(findPoint("latest", points)).toBe(points[2]);
  });

  test("gives nothing for what no point is called", () => {
    expect(findPoint("2025", points)).toBeUndefined();
    expect(findPoint("latest", [])).toBeUndefined();
    expect(findPoint("", [])).toBeUndefined();
  });

  test("asks for more where several fit, and names some", () => {
    expect(() => findPoint("20261121", points)).toThrow(
      expect.objectContaining({ code: "ambiguous", message: "20261121 fits 2 points: 20261121T100000Z-aaaaaa, 20261121T100000Z-ab0000" }),
    );
    expect(() =>
      findPoint(
        "p",
        Array.from({ length: 9 }, (_, index) => point(`p${index}`)),
      ),
    ).toThrow("p fits 9 points: p0, p1, p2, p3, …");
  });
});

describe("by time", () => {
  const at = (text: string) => new Date(`2026-11-21T${text}Z`);

  test("pointAt gives the newest one not later", () => {
    expect(pointAt(at("10:00:02.000"), [a, b, c])).toBe(b);
    expect(pointAt(at("10:00:02.999"), [a, b, c])).toBe(b);
    expect(pointAt(at("09:59:59.999"), [a, b, c])).toBeUndefined();
    expect(pointAt(at("23:00:00.000"), [])).toBeUndefined();
  });

  test("pointAt gives the last of several with one time", () => {
    const twins = sortPoints([point("q2", null, a.createdAt), a]);
    expect(pointAt(at("10:00:01.000"), twins)?.id).toBe("q2");
  });

  test("nearestPoint looks both ways, and takes the earlier of two equally near", () => {
    expect(nearestPoint(at("10:00:02.400"), [a, b, c])).toBe(b);
    expect(nearestPoint(at("10:00:02.600"), [a, b, c])).toBe(c);
    expect(nearestPoint(at("10:00:02.500"), [a, b, c])).toBe(b);
    expect(nearestPoint(at("00:00:00.000"), [a, b, c])).toBe(a);
    expect(nearestPoint(at("00:00:00.000"), [])).toBeUndefined();
  });

  test("sortPoints puts what was made last to the end, also where its clock had gone back, and leaves its argument alone", () => {
    const points = [c, point("p4", null, a.createdAt), a, b];
    expect(sortPoints(points).map(({ id }) => id)).toEqual(["p1", "p2", "p3", "p4"]);
    expect(points[0]).toBe(c);
  });

  test("property: the order does not depend on the order of listing", () => {
    const some = fc.uniqueArray(fc.tuple(fc.nat(99), fc.nat(3)), { selector: ([id]) => id, maxLength: 8 });
    fc.assert(
      fc.property(
        some.chain((pairs) => fc.tuple(fc.constant(pairs), fc.shuffledSubarray(pairs, { minLength: pairs.length }))),
        ([first, second]) => {
          const make = (pairs: readonly (readonly [number, number])[]) =>
            sortPoints(pairs.map(([id, time]) => point(`p${id}`, null, `2026-11-21T10:00:0${time}.000Z`)));
          expect(make(first)).toEqual(make(second));
        },
      ),
    );
  });
});

test("neededBases names every point that another builds on", () => {
  expect(neededBases([a, b, c])).toEqual(new Set(["p1", "p2"]));
});
