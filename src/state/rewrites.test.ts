import { appendFileSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import type { Rewrite } from "../core/rewrites.ts";
import { acknowledgeRewrites, addRewrites, readRewrites } from "./rewrites.ts";

let dir: TempDir;
let file = "";
beforeEach(() => {
  dir = tempDir();
  file = join(dir.path, "state/rewrites.ndjson");
});
afterEach(() => dir[Symbol.dispose]());

const rewrite = (ref: string): Rewrite => ({
  ref: `refs/heads/${ref}`,
  old: "a".repeat(40),
  new: null,
  lost: 2,
  point: "p1",
  seenAt: "2026-11-21T14:30:05.000Z",
  isOurs: true,
});
const names = (): string[] => readRewrites(file).map(({ ref }) => ref.slice(11));

test("nothing was seen where there is no file", () => {
  expect(readRewrites(file)).toEqual([]);
});

test("what was added is read, in its order, and the same one again is one", () => {
  addRewrites(file, [rewrite("a"), rewrite("b")]);
  addRewrites(file, [rewrite("b"), rewrite("c")]);
  expect(readRewrites(file)).toEqual([rewrite("a"), rewrite("b"), rewrite("c")]);
});

test("what was acknowledged is silent, what comes later is not; an acknowledged one does not come back", () => {
  addRewrites(file, [rewrite("a")]);
  acknowledgeRewrites(file, new Date());
  expect(names()).toEqual([]);
  addRewrites(file, [rewrite("a"), rewrite("b")]);
  expect(names()).toEqual(["b"]);
});

test("a line that a crash cut short, or that is not ours, hides no other", () => {
  addRewrites(file, [rewrite("a")]);
  appendFileSync(file, '{"t":"rewrite","ref":"refs/he');
  addRewrites(file, [rewrite("b")]);
  appendFileSync(file, 'null\n[]\n{"t":"rewrite"}\n{"t":"other"}\n');
  expect(names()).toEqual(["a", "b"]);
});

test("the file does not grow for ever: the newest stay", () => {
  for (let round = 0; round < 90; round += 1) {
    addRewrites(
      file,
      Array.from({ length: 100 }, (_, at) => rewrite(`${round}-${at}`)),
    );
  }
  expect(statSync(file).size).toBeLessThan(1.1 * 1024 * 1024);
  expect(names().at(-1)).toBe("89-99");
  expect(readFileSync(file, "utf8")).not.toContain('"refs/heads/0-0"');
});
