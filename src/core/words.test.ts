import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { expect, test } from "vitest";
import { shellWord, thousands } from "./words.ts";

test("whole numbers are grouped as English does it", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0 }), (number) => {
      expect(thousands(number)).toBe(number.toLocaleString("en"));
    }),
  );
  expect([0, 999, 1000, 1234567].map(thousands)).toEqual(["0", "999", "1,000", "1,234,567"]);
});

test("a shell reads each word as it was", () => {
  const words = ["plain/path", "two words", "it's", '$HOME `x` \\ "', "", "new\nline", "~", "#a"];
  const { stdout } = spawnSync("sh", ["-c", `printf '%s\\0' ${words.map(shellWord).join(" ")}`], { encoding: "utf8" });
  expect(stdout.split("\0").slice(0, -1)).toEqual(words);
});
