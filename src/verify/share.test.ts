import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { isInShare, parseShare } from "./share.ts";

const sumOf = (text: string): string => createHash("sha256").update(text).digest("hex");
const day = (number: number): Date => new Date(Date.UTC(2026, 0, 1, 23, 59) + number * 86_400_000);

test("property: the shares 1/t to t/t together hold everything, and nothing twice", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.array(fc.string()), (of, names) => {
      for (const name of names) {
        const shares = Array.from({ length: of }, (_, index) => parseShare(`${index + 1}/${of}`, day(0)));
        expect(shares.filter((share) => isInShare(share, sumOf(name)))).toHaveLength(1);
      }
    }),
  );
});

test("property: t daily runs of auto/t read everything, whichever day they begin", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 60 }), fc.nat(20_000), fc.string(), (of, first, name) => {
      const shares = Array.from({ length: of }, (_, index) => parseShare(`auto/${of}`, day(first + index)));
      expect(shares.filter((share) => isInShare(share, sumOf(name)))).toHaveLength(1);
    }),
  );
});

test("a share is about as large as it says", () => {
  const share = parseShare("3/4", day(0));
  const held = Array.from({ length: 4000 }, (_, index) => sumOf(String(index))).filter((sum) => isInShare(share, sum));
  expect(Math.abs(held.length - 1000)).toBeLessThan(150);
});

test.each(["", "7", "0/7", "8/7", "1/0", "-1/7", "1/7 ", "a/7", "auto", "auto/0", "1/99999"])("%j is no share", (text) => {
  expect(() => parseShare(text, day(0))).toThrow(expect.objectContaining({ code: "usage" }));
});
