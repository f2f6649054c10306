import { appendFileSync, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { stateLayout } from "./layout.ts";
import { openRunLog, readRunLog } from "./run-log.ts";

const now = () => new Date("2026-11-21T14:30:05Z");
let folder: string;

beforeEach(() => {
  folder = join(mkdtempSync(join(tmpdir(), "holdfast-log-")), "state");
});
afterEach(() => rmSync(join(folder, ".."), { recursive: true, force: true }));

test("gives back what was written, oldest first, and no more than asked for", () => {
  const log = openRunLog(folder, "run-1", now);
  for (const step of [1, 2, 3]) log.write("step", { step });
  expect(readRunLog(folder, 2)).toEqual([2, 3].map((step) => ({ time: "2026-11-21T14:30:05.000Z", run: "run-1", event: "step", facts: { step } })));
  expect(readRunLog(folder, 0)).toEqual([]);
});

test("no log is no events", () => {
  expect(readRunLog(folder, 5)).toEqual([]);
});

test("a line cut short by a crash costs only itself", () => {
  const log = openRunLog(folder, "run-1", now);
  log.write("first");
  appendFileSync(stateLayout(folder).log, '{"time":"2026');
  log.write("second");
  expect(readRunLog(folder, 9).map((event) => event.event)).toEqual(["first", "second"]);
});

test("becomes the log before at 1 MiB, and is still read", () => {
  const log = openRunLog(folder, "run-1", now);
  const { log: file, logBefore } = stateLayout(folder);
  log.write("old");
  appendFileSync(file, `${"x".repeat(1024 * 1024)}\n`);
  log.write("new");
  log.write("newer");
  expect(existsSync(logBefore)).toBe(true);
  expect(statSync(file).size).toBeLessThan(1000);
  expect(readRunLog(folder, 3).map((event) => event.event)).toEqual(["old", "new", "newer"]);
});

test("never throws, whatever the disk or the facts", () => {
  mkdirSync(join(folder, ".."), { recursive: true });
  writeFileSync(folder, "a file where the folder should be");
  const log = openRunLog(folder, "run-1", now);
  const circular: Record<string, unknown> = {};
  circular["self"] = circular;
  expect(() => log.write("event")).not.toThrow();
  expect(() => log.write("event", circular)).not.toThrow();
  expect(() => log.write("event", { big: 1n })).not.toThrow();
});
