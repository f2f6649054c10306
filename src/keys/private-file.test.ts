import { mkdirSync, readdirSync, readFileSync, statSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { runWithFileLimit } from "../../test/support/file-limit.ts";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import { createPrivateFile, replacePrivateFile } from "./private-file.ts";

const links = vi.hoisted(() => ({ areThere: true }));
vi.mock("node:fs", async (original) => {
  const fs = await original<typeof import("node:fs")>();
  const linkSync: typeof fs.linkSync = (from, to) => {
    if (!links.areThere) throw Object.assign(new Error("no links"), { code: "EPERM" });
    fs.linkSync(from, to);
  };
  return { ...fs, linkSync };
});

let dir: TempDir;
let file = "";
beforeEach(() => {
  dir = tempDir();
  file = join(dir.path, "file");
});
afterEach(() => {
  links.areThere = true;
  dir[Symbol.dispose]();
});

const text = (): string => readFileSync(file, "utf8");
const mode = (path: string): number => statSync(path).mode & 0o777;

describe.each([true, false])("with links: %s", (areThere) => {
  test("it is created once, and replaced, for its owner alone", () => {
    links.areThere = areThere;
    expect([createPrivateFile(file, "first"), createPrivateFile(file, "second"), text(), mode(file)]).toEqual([true, false, "first", 0o600]);
    replacePrivateFile(file, "third");
    expect([text(), mode(file), readdirSync(dir.path)]).toEqual(["third", 0o600, ["file"]]);
  });

  test("it is not created in the place of a link that leads nowhere", () => {
    links.areThere = areThere;
    symlinkSync(join(dir.path, "nowhere"), file);
    expect([createPrivateFile(file, "x"), readdirSync(dir.path)]).toEqual([false, ["file"]]);
  });
});

test.each(["directory", "device"])("a %s is not replaced", (kind) => {
  if (kind === "directory") mkdirSync(file);
  else symlinkSync("/dev/null", file);
  expect(() => replacePrivateFile(file, "x")).toThrow(expect.objectContaining({ code: "io_failed", message: `cannot write ${file}: it is no file` }));
  expect(readdirSync(dir.path)).toEqual(["file"]);
});

test.skipIf(process.platform === "win32")("of a text that does not fit onto the volume nothing is left, and the old one stays", () => {
  const module = JSON.stringify(new URL("./private-file.ts", import.meta.url).href);
  replacePrivateFile(file, "old");
  for (const [call, name] of [
    ["createPrivateFile", "new"],
    ["replacePrivateFile", "file"],
  ]) {
    const path = JSON.stringify(join(dir.path, name ?? ""));
    expect(runWithFileLimit(`import { ${call} } from ${module}; ${call}(${path}, "x".repeat(100_000));`)).toMatch(/cannot write \S+: EFBIG/);
  }
  expect([text(), readdirSync(dir.path)]).toEqual(["old", ["file"]]);
});
