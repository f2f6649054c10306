import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { baseName, decodePath, encodePath, isContained, parentOf, pathBytes, printablePath, splitPaths } from "./paths.ts";

/** Names as disks have them: mostly UTF-8, with pieces of it, whole surrogates in CESU-8, and anything else. */
const piece = fc.oneof(
  fc.uint8Array({ maxLength: 6 }).map((bytes) => Buffer.from(bytes)),
  fc.string({ unit: "grapheme", maxLength: 4 }).map((text) => Buffer.from(text)),
  fc.constantFrom(Buffer.from("😀"), Buffer.from([0xed, 0xb2, 0x80]), Buffer.from([0xf0, 0x9f]), Buffer.from([0x80]), Buffer.from("\u{1f480}")),
);
const bytes = fc.array(piece, { maxLength: 6 }).map((pieces) => Buffer.concat(pieces));
const nameBytes = bytes.map((name) => Buffer.from(name.filter((byte) => byte !== 0)));

/** Any code units, surrogates without their other half too: what a hostile inventory may say. */
const anyText = fc.array(fc.nat(0xffff), { maxLength: 20 }).map((units) => String.fromCharCode(...units));

describe("decodePath and pathBytes", () => {
  test("leave UTF-8 as it is", () => {
    expect(decodePath(Buffer.from("Ünï/😀.md"))).toBe("Ünï/😀.md");
    expect(encodePath("Ünï/😀.md")).toBe("Ünï/😀.md");
  });

  test("show each byte that is not UTF-8 as a lone surrogate", () => {
    expect(decodePath(Buffer.from([0x61, 0xe9, 0x2f, 0xff]))).toBe("a\udce9/\udcff");
    expect(encodePath("a\udce9")).toEqual(Buffer.from([0x61, 0xe9]));
  });

  test("property: are exact both ways for any bytes, through JSON too", () => {
    fc.assert(
      fc.property(bytes, (name) => {
        const path = decodePath(name);
        expect(pathBytes(path).equals(name)).toBe(true);
        expect(Buffer.from(encodePath(path)).equals(name)).toBe(true);
        expect(JSON.parse(JSON.stringify(path))).toBe(path);
      }),
      { numRuns: 2000 },
    );
  });

  test("property: two names are never one path", () => {
    fc.assert(
      fc.property(bytes, bytes, (a, b) => {
        expect(decodePath(a) === decodePath(b)).toBe(a.equals(b));
      }),
    );
  });

  test("property: no path smuggles a slash or a NUL into its bytes", () => {
    fc.assert(
      fc.property(anyText, (path) => {
        for (const byte of ["/", "\0"]) expect(pathBytes(path).includes(byte)).toBe(path.includes(byte));
      }),
    );
  });
});

describe("splitPaths", () => {
  test("gives nothing for nothing", () => {
    expect(splitPaths(Buffer.alloc(0))).toEqual([]);
  });

  test("takes a last path without its NUL", () => {
    expect(splitPaths(Buffer.from("a\0b"))).toEqual(["a", "b"]);
    expect(splitPaths(Buffer.from([0x61, 0, 0xff]))).toEqual(["a", "\udcff"]);
  });

  test("property: gives back what was joined", () => {
    fc.assert(
      fc.property(fc.array(nameBytes.filter((name) => name.length > 0)), (names) => {
        const output = Buffer.concat(names.flatMap((name) => [name, Buffer.of(0)]));
        expect(splitPaths(output)).toEqual(names.map(decodePath));
      }),
    );
  });
});

describe("printablePath", () => {
  test("shows what a terminal would obey", () => {
    expect(printablePath("a\u001b[31mb\n\u007f\u009b")).toBe("a\\u{1b}[31mb\\u{a}\\u{7f}\\u{9b}");
    expect(printablePath("x\u202egpj.exe\u061c\u2028")).toBe("x\\u{202e}gpj.exe\\u{61c}\\u{2028}");
    expect(printablePath("caf\udce9")).toBe("caf\\xe9");
    expect(printablePath("naïve 😀.md")).toBe("naïve 😀.md");
  });

  test("property: never lets a control, bidi or undecodable character out", () => {
    const any = fc.oneof(bytes.map(decodePath), anyText);
    fc.assert(
      fc.property(any, (path) => {
        expect(printablePath(path)).not.toMatch(/[\p{Cc}\p{Bidi_Control}\p{Zl}\p{Zp}\udc80-\udcff]/u);
      }),
      { numRuns: 1000 },
    );
  });
});

describe("isContained", () => {
  test.each(["a", "a/b", "...", "a/..b/c", ".git", " ", "a\\..\\b", "\udcff"])("takes %j", (path) => {
    expect(isContained(path)).toBe(true);
  });

  test.each(["", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/..", "a/./b", "./a", "a\0b", "a/..\0"])("refuses %j", (path) => {
    expect(isContained(path)).toBe(false);
  });

  test("property: a contained path, joined and resolved, lies below its folder", async () => {
    const { join, resolve } = await import("node:path/posix");
    const part = fc.constantFrom("a", "..", ".", "", "b c", "...", "\udcff");
    fc.assert(
      fc.property(fc.array(part), (parts) => {
        const path = parts.join("/");
        if (isContained(path)) expect(resolve("/root", path)).toBe(join("/root", path));
        if (isContained(path)) expect(resolve("/root", path).startsWith("/root/")).toBe(true);
      }),
    );
  });
});

test("parentOf and baseName put a path back together", () => {
  expect([parentOf("a/b/c"), baseName("a/b/c")]).toEqual(["a/b", "c"]);
  expect([parentOf("a"), baseName("a")]).toEqual(["", "a"]);
});
