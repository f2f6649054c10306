import fc from "fast-check";
import { expect, test } from "vitest";
import { machineName } from "./machine-name.ts";
import { isRefName } from "./store-url.ts";

test.each([
  ["box", "box"],
  ["Anna's MacBook.local", "anna-s-macbook.local"],
  ["ip-10-0-0-1.eu.example", "ip-10-0-0-1.eu.example"],
  ["..a..b../", "a-b"],
  ["disk.lock", "disk.lock-machine"],
  ["kept", "kept-machine"],
  ["Übung", "bung"],
  ["日本", "machine"],
  ["", "machine"],
])("%j is %j", (hostname, name) => {
  expect(machineName(hostname)).toBe(name);
});

test("property: it is one component of a good ref, and a name of its own name", () => {
  fc.assert(
    fc.property(fc.string({ unit: "grapheme" }), (hostname) => {
      const name = machineName(hostname);
      expect(name).not.toContain("/");
      expect(isRefName(`refs/holdfast/${name}/heads/main`)).toBe(true);
      expect(machineName(name)).toBe(name);
    }),
  );
});
