import fc from "fast-check";
import { expect, test } from "vitest";
import { nearestName } from "./nearest-name.ts";

const names = ["version", "stores", "mirrors", "include", "exclude"];

test.each([
  ["store", "stores"],
  ["mirors", "mirrors"],
  ["INCLUDE", "include"],
  ["exlcude", "exclude"],
  ["versoin", "version"],
])("%s probably means %s", (text, name) => {
  expect(nearestName(text, names)).toBe(name);
});

test.each(["", "x_y_z_w", "backup", "configuration"])("%j means none of them", (text) => {
  expect(nearestName(text, names)).toBeUndefined();
});

test("there is no nearest of none", () => {
  expect(nearestName("a", [])).toBeUndefined();
});

test("property: a name itself is always meant, and so is it with one letter lost", () => {
  fc.assert(
    fc.property(fc.constantFrom(...names), fc.nat(6), (name, index) => {
      expect(nearestName(name, names)).toBe(name);
      const lost = name.slice(0, index) + name.slice(index + 1);
      expect(nearestName(lost, names)).toBe(name);
    }),
  );
});
