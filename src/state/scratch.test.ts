import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { tempDir } from "../../test/support/repo.ts";
import { makeScratch, sweepScratch } from "./scratch.ts";

describe.each(["in the state", "beside the folder"])("noted %s", (where) => {
  /** Notes of its own for each test, but where they lie in the system's temporary folder. */
  const notesIn = (folder: string): string => (where === "in the state" ? join(folder, "state/scratch") : tmpdir());
  const names = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder) : []).filter((name) => name.startsWith("holdfast-"));

  test("a folder is there until it is given back, and then no note of it", () => {
    using dir = tempDir();
    const notes = notesIn(dir.path);
    {
      using scratch = makeScratch("verify", notes);
      writeFileSync(join(scratch.path, "plain"), "secret");
      expect(sweepScratch(notes)).toEqual([]);
      expect(readdirSync(scratch.path)).toEqual(["plain"]);
    }
    expect([...names(tmpdir()), ...names(notes)]).toEqual([]);
  });

  test("what a killed run left is removed by the next one, that of a living one is not", () => {
    using dir = tempDir();
    const notes = notesIn(dir.path);
    using living = makeScratch("drill", notes);
    const left = makeScratch("verify", notes);
    writeFileSync(join(left.path, "plain"), "secret");
    const [note = ""] = names(notes).filter((name) => name.startsWith("holdfast-verify-") && name.endsWith(".json"));
    const dead = spawnSync(process.execPath, ["--version"]).pid;
    writeFileSync(join(notes, note), JSON.stringify({ ...JSON.parse(readFileSync(join(notes, note), "utf8")), pid: dead }));
    using next = makeScratch("verify", notes);
    expect([left, living, next].map(({ path }) => existsSync(path))).toEqual([false, true, true]);
    expect(existsSync(join(notes, note))).toBe(false);
  });
});

test("a note that was not written to its end goes after a day; what is no note of ours is left alone", () => {
  using dir = tempDir();
  const torn = join(dir.path, "holdfast-verify-0123456789abcdef.json");
  for (const file of [torn, join(dir.path, "holdfast-notes.json"), join(dir.path, "other")]) writeFileSync(file, "{");
  expect(sweepScratch(dir.path)).toEqual([]);
  expect(existsSync(torn)).toBe(true);
  const then = new Date(Date.now() - 25 * 60 * 60_000);
  utimesSync(torn, then, then);
  expect(sweepScratch(dir.path)).toEqual([]);
  expect(readdirSync(dir.path).sort()).toEqual(["holdfast-notes.json", "other"]);
});
