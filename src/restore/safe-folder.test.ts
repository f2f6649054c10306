import {
  closeSync,
  existsSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import { SafeFolder, secondsOf, settle, touchLink, writeAll } from "./safe-folder.ts";

let dir: TempDir;
let root = "";
let outside = "";
beforeEach(() => {
  dir = tempDir();
  root = join(dir.path, "root");
  outside = join(dir.path, "outside");
  mkdirSync(root);
  mkdirSync(outside);
  writeFileSync(join(outside, "precious"), "precious");
});
afterEach(() => {
  expect(readFileSync(join(outside, "precious"), "utf8")).toBe("precious");
  expect(readdirSync(outside)).toEqual(["precious"]);
  dir[Symbol.dispose]();
});

function write(folder: SafeFolder, path: string, text: string): void {
  const descriptor = folder.create(path);
  writeSync(descriptor, text);
  closeSync(descriptor);
}

const hostile = expect.objectContaining({ code: "hostile" });

describe("SafeFolder", () => {
  test("makes a file and the folders above it, closed to others until their modes are set", () => {
    write(new SafeFolder(root), "a/b/c", "text");
    expect(readFileSync(join(root, "a/b/c"), "utf8")).toBe("text");
    expect([lstatSync(join(root, "a")).mode & 0o777, lstatSync(join(root, "a/b/c")).mode & 0o777]).toEqual([0o700, 0o600]);
  });

  test("makes names of any bytes", () => {
    write(new SafeFolder(root), "caf\udce9/\udcff", "x");
    expect(readdirSync(root, { encoding: "buffer" })).toEqual([Buffer.from("caf\xe9", "latin1")]);
  });

  test("never goes through a symlink in a parent's place", () => {
    symlinkSync(outside, join(root, "a"));
    for (const path of ["a/x", "a/b/c", "a/precious"]) {
      const folder = new SafeFolder(root);
      expect(() => folder.create(path)).toThrow(hostile);
      expect(() => folder.symlink(path, "/")).toThrow(hostile);
      expect(() => folder.clear(path)).toThrow(hostile);
      expect(() => folder.link(path, join(outside, "precious"))).toThrow(hostile);
      expect(() => folder.replace(path, "elsewhere")).toThrow(hostile);
      expect(() => folder.at(path)).toThrow(hostile);
    }
    expect(() => new SafeFolder(root).folder("a")).toThrow(hostile);
  });

  test("takes the place of a symlink, and does not follow it", () => {
    symlinkSync(join(outside, "precious"), join(root, "a"));
    symlinkSync(join(outside, "new"), join(root, "b"));
    const folder = new SafeFolder(root);
    write(folder, "a", "mine");
    write(folder, "b", "mine");
    expect(lstatSync(join(root, "a")).isSymbolicLink()).toBe(false);
    expect(readFileSync(join(root, "b"), "utf8")).toBe("mine");
  });

  test("removes a symlink, not what it leads to", () => {
    symlinkSync(outside, join(root, "a"));
    new SafeFolder(root).clear("a");
    expect(existsSync(join(root, "a"))).toBe(false);
  });

  test("does not go through a symlink that it made itself, in the place of a folder that it knew", () => {
    const folder = new SafeFolder(root);
    write(folder, "a/b/c", "x");
    folder.symlink("a", outside);
    for (const path of ["a/x", "a/b/c", "a/b/x"]) expect(() => folder.create(path)).toThrow(hostile);
    expect(readlinkSync(join(root, "a"))).toBe(outside);
  });

  test("looks at every folder again once something was removed: under another spelling it may be the same", () => {
    const folder = new SafeFolder(root);
    write(folder, "A/x", "x");
    write(folder, "other", "x");
    // What a file system without case does when "a" is removed and made a symlink.
    rmSync(join(root, "A"), { recursive: true });
    folder.symlink("other", "anything");
    symlinkSync(outside, join(root, "A"));
    expect(() => folder.create("A/x")).toThrow(hostile);
  });

  test("never takes a file for a folder", () => {
    const folder = new SafeFolder(root);
    write(folder, "a", "x");
    expect(() => folder.create("a/b")).toThrow(hostile);
  });

  test("puts a file where a folder stood, and a folder's file where it then stands no more", () => {
    const folder = new SafeFolder(root);
    write(folder, "a/b/c", "x");
    write(folder, "a", "now a file");
    expect(readFileSync(join(root, "a"), "utf8")).toBe("now a file");
    folder.clear("a");
    write(folder, "a/b/c", "again");
    expect(readFileSync(join(root, "a/b/c"), "utf8")).toBe("again");
  });

  test("does not write into a hard link that stood there", () => {
    const folder = new SafeFolder(root);
    write(folder, "one", "1");
    folder.link("two", folder.at("one"));
    expect(lstatSync(join(root, "two")).ino).toBe(lstatSync(join(root, "one")).ino);
    write(folder, "two", "2");
    expect(readFileSync(join(root, "one"), "utf8")).toBe("1");
  });

  test("links to a symlink, not to what it leads to", () => {
    const folder = new SafeFolder(root);
    folder.symlink("a", join(outside, "precious"));
    folder.link("b", folder.at("a"));
    expect(lstatSync(join(root, "b")).isSymbolicLink()).toBe(true);
  });
});

describe("times", () => {
  test("property: are restored to the microsecond", () => {
    const file = join(root, "f");
    writeFileSync(file, "");
    symlinkSync("nowhere", join(root, "l"));
    const nanos = fc.oneof(
      fc.bigInt({ min: 0n, max: 4_102_444_800_000_000_000n }),
      fc.bigInt({ min: -2_000_000_000_000_000_000n, max: -1n }),
      fc.constantFrom(0n, 1n, 999n, 1000n, -1n, -999n, -1000n, -1001n, -1_500_000_000n, 1_700_000_000_123_456_789n, 1_700_000_000_999_999_999n),
    );
    fc.assert(
      fc.property(nanos, (time) => {
        const floored = time - (((time % 1000n) + 1000n) % 1000n);
        settle(openSync(file, "r+"), file, 0o640, String(time));
        touchLink(join(root, "l"), String(time));
        for (const name of ["f", "l"]) {
          const { mtimeNs } = lstatSync(join(root, name), { bigint: true });
          expect(mtimeNs - (((mtimeNs % 1000n) + 1000n) % 1000n)).toBe(floored);
        }
        utimesSync(file, 0, secondsOf(String(time)));
        const { mtimeNs } = lstatSync(file, { bigint: true });
        expect(mtimeNs - (((mtimeNs % 1000n) + 1000n) % 1000n)).toBe(floored);
      }),
      { numRuns: 300 },
    );
  });

  test("come with the mode, with setuid and sticky bits", () => {
    const file = join(root, "f");
    writeFileSync(file, "");
    settle(openSync(file, "r+"), file, 0o4751, "1000000000");
    expect(lstatSync(file)).toMatchObject({ mode: 0o104751, mtimeMs: expect.closeTo(1000, 2) });
  });
});

describe("writeAll", () => {
  test.each([true, false])("writes the same bytes with holes and without (%s)", (holes) => {
    const bytes = Buffer.concat([Buffer.alloc(10_000), Buffer.from("in the middle"), Buffer.alloc(100_000), Buffer.from("end"), Buffer.alloc(5000)]);
    const descriptor = openSync(join(root, "f"), "wx+");
    writeAll(descriptor, bytes.subarray(0, 50_001), 0, holes);
    writeAll(descriptor, bytes.subarray(50_001), 50_001, holes);
    const { size, blocks } = fstatSync(descriptor);
    closeSync(descriptor);
    expect(size).toBe(bytes.length);
    expect(readFileSync(join(root, "f")).equals(bytes)).toBe(true);
    if (holes && process.platform === "linux") expect(blocks * 512).toBeLessThan(bytes.length / 2);
  });
});
