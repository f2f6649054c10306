import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import * as z from "zod";
import { tempDir } from "../../test/support/repo.ts";
import { readRemembered, remember, replaceFile } from "./remembered.ts";

const form = z.object({ count: z.int() });

test("what was remembered is read back; what is not there, torn or of another form is as none", () => {
  using dir = tempDir();
  const file = join(dir.path, "deep/er/count.json");
  expect(readRemembered(file, form)).toBeUndefined();
  for (const count of [1, 2]) {
    remember(file, { count });
    expect(readRemembered(file, form)).toEqual({ count });
  }
  expect(readdirSync(join(dir.path, "deep/er"))).toEqual(["count.json"]);
  for (const text of ["", '{"cou', '{"count":"two"}', "null"]) {
    writeFileSync(file, text);
    expect(readRemembered(file, form)).toBeUndefined();
  }
});

test("what a killed run left is written over; what cannot be written throws, and the old stays", () => {
  using dir = tempDir();
  const file = join(dir.path, "text");
  writeFileSync(`${file}.new`, "half of something longer");
  replaceFile(file, "whole");
  expect(readFileSync(file, "utf8")).toBe("whole");
  mkdirSync(`${file}.new`);
  expect(() => replaceFile(file, "another")).toThrow(/EISDIR/);
  expect(readFileSync(file, "utf8")).toBe("whole");
});
