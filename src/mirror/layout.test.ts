import fc from "fast-check";
import { expect, test } from "vitest";
import { mirrorModes } from "../core/config.ts";
import { isMirrored, isOursAlone, keptName, layoutOf, nameHere, parseKept, patternsThere, prefixesHere, tipsThere } from "./layout.ts";

const plain = layoutOf("branches-and-tags", "box");
const namespaced = layoutOf("namespaced", "box");
const exact = layoutOf("exact", "box", ["refs/heads/points"]);
const at = new Date("2026-11-21T14:30:05.700Z");

test.each([
  ["refs/heads/a/b", "refs/heads/a/b", "refs/holdfast/box/heads/a/b", "refs/heads/a/b"],
  ["refs/tags/v1", "refs/tags/v1", "refs/holdfast/box/tags/v1", "refs/tags/v1"],
  ["refs/notes/commits", undefined, undefined, "refs/notes/commits"],
  ["refs/replace/abc", undefined, undefined, "refs/replace/abc"],
  ["refs/stash", undefined, undefined, undefined],
  ["refs/remotes/origin/main", undefined, undefined, undefined],
  ["refs/holdfast/private", undefined, undefined, undefined],
  ["refs/pull/1/head", undefined, undefined, undefined],
  ["refs/bisect/bad", undefined, undefined, undefined],
])("%s is there as %s, %s, %s", (ref, ...names) => {
  expect([plain, namespaced, exact].map((layout) => [...tipsThere(layout, new Map([[ref, "1"]])).keys()][0])).toEqual(names);
});

test("an exact mirror reads every ref of both sides, the others theirs only", () => {
  expect(prefixesHere(["branches-and-tags", "namespaced"])).toEqual(["refs/heads", "refs/tags"]);
  expect(prefixesHere(["namespaced", "exact"])).toEqual(["refs"]);
  expect([plain, namespaced, exact].map(patternsThere)).toEqual([
    ["refs/heads/*", "refs/tags/*", "refs/holdfast/kept/*"],
    ["refs/holdfast/box/*"],
    [],
  ]);
});

test("branches that hold recovery points are nobody's to replace, and no other mode takes anything for its own", () => {
  const names = ["refs/heads/main", "refs/heads/points", "refs/heads/holdfast/backup"];
  expect(names.map((name) => isOursAlone(exact, name))).toEqual([true, false, false]);
  expect(names.some((name) => isOursAlone(plain, name) || isOursAlone(namespaced, name))).toBe(false);
});

test("a namespaced mirror keeps within its namespace", () => {
  expect(keptName(namespaced, "refs/holdfast/box/heads/main", at)).toBe("refs/holdfast/box/kept/20261121T143005Z/heads/main");
  expect(isMirrored(namespaced, "refs/holdfast/other/heads/main")).toBe(false);
  expect(parseKept(namespaced, "refs/holdfast/kept/20261121T143005Z/heads/main")).toBeUndefined();
});

test("property: names go there and back, a kept name tells what it was and when, and neither is taken for the other", () => {
  const refs = fc.constantFrom("refs/heads/a", "refs/heads/kept/20200101T000000Z/heads/x", "refs/tags/a/b", "refs/heads/holdfast/box/heads/main");
  fc.assert(
    fc.property(
      fc.constantFrom(...mirrorModes),
      refs,
      fc.date({ min: new Date(0), max: new Date("9999-12-31"), noInvalidDate: true }),
      (mode, ref, date) => {
        const layout = layoutOf(mode, "box");
        const [name = ""] = tipsThere(layout, new Map([[ref, "1"]])).keys();
        expect(nameHere(layout, name)).toBe(ref);
        expect(parseKept(layout, name)).toBeUndefined();
        const kept = keptName(layout, name, date);
        expect(isMirrored(layout, kept)).toBe(false);
        expect(parseKept(layout, kept)).toEqual({ name, at: new Date(Math.floor(date.getTime() / 1000) * 1000) });
      },
    ),
  );
});
