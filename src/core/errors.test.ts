import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { BackupError, describeError, type ErrorCode, errorKinds, exitCodes, isFullVolume, systemCode } from "./errors.ts";

const source = join(import.meta.dirname, "..");
const codes = Object.keys(errorKinds) as ErrorCode[];
const texts = (readdirSync(source, { recursive: true }) as string[])
  .filter((path) => path.endsWith(".ts") && !path.endsWith(".test.ts") && path !== join("core", "errors.ts"))
  .map((path) => readFileSync(join(source, path), "utf8"));
const whole = texts.join("\n");

describe("the table of errors", () => {
  test.each(codes)("%s has an exit code that is a failure, and a hint", (code) => {
    const { exit, hint } = errorKinds[code];
    expect(exit).toBeGreaterThan(0);
    expect(exit).toBeLessThan(256);
    expect(exit).not.toBe(exitCodes.partial);
    expect(hint).toMatch(/^[a-z].*[^.]$/);
  });

  test("holds no code that nothing uses", () => {
    expect(codes.filter((code) => !whole.includes(`"${code}"`))).toEqual([]);
  });

  test("names only commands that there are", () => {
    const program = readFileSync(join(source, "ui/cli/program.ts"), "utf8");
    const commands = new Map([...program.matchAll(/add\("(\w+)((?: [^"]*)?)"/g)].map((match) => [match[1], match[2]]));
    expect(commands.size).toBeGreaterThan(10);
    for (const text of [...codes.map((code) => errorKinds[code].hint), ...hintsIn(whole)]) {
      for (const [, command = ""] of text.matchAll(/\bholdfast (?!@|is\b|or\b)([a-z]+)(?= |$|")/g)) {
        if (!commands.has(command)) expect.fail(`a hint names "holdfast ${command}": ${text}`);
      }
      for (const [option] of text.matchAll(/(?<=\s)--[a-z-]+/g)) {
        // Options of git and npm stand in their own commands.
        if (!/git |npm /.test(text) && option !== "--help" && !program.includes(`${option}`)) expect.fail(`a hint names ${option}: ${text}`);
      }
    }
  });
});

describe("BackupError", () => {
  test("takes its exit code, hint and whether to try again from the table", () => {
    const error = new BackupError("store_full", "no space left on /mnt");
    expect(error).toMatchObject({
      code: "store_full",
      exitCode: 1,
      isRetryable: true,
      hint: errorKinds.store_full.hint,
      details: {},
      name: "BackupError",
    });
    expect("cause" in error).toBe(false);
  });

  test("a volume that is full has its own hint, be it the system that says so or git", () => {
    const full = Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" });
    expect(new BackupError("io_failed", "cannot write /x", { cause: full }).hint).toMatch(/^free some space/);
    expect(new BackupError("git_failed", "git bundle: fatal: write error: No space left on device").hint).toMatch(/^free some space/);
    for (const words of [
      "fatal: sha1 file 'x' write error. Out of diskspace",
      "error: failed to write new configuration file .git/config.lock",
      "fatal: cannot update ref 'refs/heads/main': couldn't write '.git/refs/heads/main.lock'",
    ])
      expect(new BackupError("git_failed", words).hint).toMatch(/^free some space/);
    expect(new BackupError("git_failed", "unable to write file x: Permission denied").hint).toBe(errorKinds.git_failed.hint);
    expect(new BackupError("io_failed", "cannot write /x").hint).toBe(errorKinds.io_failed.hint);
  });

  test("takes a better hint, facts and a cause", () => {
    const cause = new Error("ENOSPC");
    expect(new BackupError("usage", "m", { hint: "h", details: { a: 1 }, cause })).toMatchObject({ hint: "h", details: { a: 1 }, cause });
  });
});

test("isFullVolume knows a full volume by the system's code, and by git's words", () => {
  const words = ["No space left on device", "Disk quota exceeded", "fatal: sha1 file 'x' write error. Out of diskspace"];
  const full = [{ code: "ENOSPC" }, { code: "EDQUOT" }, ...words, ...words.map((text) => new BackupError("git_failed", text))];
  expect(full.map(isFullVolume)).toEqual(full.map(() => true));
  expect([undefined, null, "", "write error", new Error("x"), { code: "EACCES" }].map(isFullVolume)).toEqual(new Array(6).fill(false));
});

test("systemCode tells the system's code, of anything thrown", () => {
  expect(systemCode(Object.assign(new Error("x"), { code: "ENOENT" }))).toBe("ENOENT");
  expect([undefined, null, "ENOENT", 5, {}, { code: 5 }, new Error("x")].map(systemCode)).toEqual(new Array(7).fill(undefined));
});

test("describeError has a line for anything thrown", () => {
  expect([new Error("broken"), "text", undefined, { toString: () => "thing" }].map(describeError)).toEqual(["broken", "text", "undefined", "thing"]);
});

function hintsIn(text: string): string[] {
  return [...text.matchAll(/hint: "((?:[^"\\]|\\.)*)"/g)].map((match) => match[1] ?? "");
}
