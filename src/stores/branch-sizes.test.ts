import { expect, test } from "vitest";
import type { BranchFile } from "./branch-files.ts";
import { fillSizes, tellingManifests } from "./branch-sizes.ts";

const point = "20261121/20261121T143005Z-a1b2c3";
const file = (size: number | null): BranchFile => ({ size, parts: [{ path: "x", oid: "1".repeat(40), size }] });

test("the manifest of a point tells the sizes of its artifacts that are not here", () => {
  const files = new Map([[`${point}.bundle`, file(null)], [`${point}.tar.zst`, file(7)], [`${point}.json`, file(300)], ["20261121/other.bundle", file(null)]]); // biome-ignore format: pairs
  expect([...tellingManifests(files)]).toEqual([`${point}.json`]);
  const name = point.slice("20261121/".length);
  const manifest = Buffer.from(JSON.stringify({ artifacts: [{ name: `${name}.bundle`, size: 4321 }, { name: `${name}.tar.zst`, size: 1 }] })); // biome-ignore format: short
  const filled = fillSizes(files, new Map([[`${point}.json`, manifest]]));
  expect([...filled].map(([key, { size }]) => [key, size])).toEqual([
    [`${point}.bundle`, 4321],
    [`${point}.tar.zst`, 7],
    [`${point}.json`, 300],
    ["20261121/other.bundle", null],
  ]);
});

test("without anything unknown no manifest is read", () => {
  expect(tellingManifests(new Map([[`${point}.bundle`, file(1)], [`${point}.json`, file(2)]])).size).toBe(0); // biome-ignore format: pairs
});

test.each(["{", "null", "[]", '{"artifacts":1}', '{"artifacts":[null,{"name":1,"size":2},{"name":"20261121T143005Z-a1b2c3.bundle","size":-1}]}'])(
  "a manifest that says %s tells nothing",
  (text) => {
    const files = new Map([[`${point}.bundle`, file(null)], [`${point}.json`, file(2)]]); // biome-ignore format: pairs
    expect(fillSizes(files, new Map([[`${point}.json`, Buffer.from(text)]])).get(`${point}.bundle`)?.size).toBe(null);
  },
);
