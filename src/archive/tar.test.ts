/** Writing and reading together: our reader, GNU tar and the library must see the same members. */
import { execFileSync } from "node:child_process";
import { lstatSync, mkdirSync, readFileSync, readlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { Header, list } from "tar";
import { describe, expect, test } from "vitest";
import { needs } from "../../test/support/needs.ts";
import { tempDir } from "../../test/support/repo.ts";
import type { EntryKind } from "../core/contents.ts";
import { decodePath, encodePath, pathBytes } from "../core/paths.ts";
import { blockSize, endOfArchive, padded, parsePax, writeHeader } from "./tar-format.ts";
import { type TarMember, TarReader } from "./tar-read.ts";

interface Sample {
  readonly path: string;
  readonly kind: EntryKind;
  readonly mode: number;
  readonly mtime: string;
  readonly bytes: Buffer;
  readonly target?: string;
}

const gnuTar = needs("tar", "comparison with GNU tar") && /GNU tar/.test(execFileSync("tar", ["--version"], { encoding: "utf8" }));

function archive(samples: readonly Sample[]): Buffer {
  return Buffer.concat([
    ...samples.flatMap(({ bytes, ...member }) => [
      Buffer.from(writeHeader({ ...member, size: bytes.length })), // a copy: the next call uses the buffer again
      bytes,
      Buffer.alloc(padded(bytes.length) - bytes.length),
    ]),
    endOfArchive,
  ]);
}

function readAll(tar: Buffer, cuts: readonly number[] = [tar.length]): { member: TarMember; bytes: Buffer }[] {
  const found: { member: TarMember; bytes: Buffer }[] = [];
  let open = false;
  const reader = new TarReader("x.tar", {
    member: (member) => {
      expect(open).toBe(false);
      open = true;
      found.push({ member, bytes: Buffer.alloc(0) });
    },
    data: (piece) => {
      const last = found.at(-1);
      if (last !== undefined) last.bytes = Buffer.concat([last.bytes, piece]);
    },
    end: () => {
      expect(open).toBe(true);
      open = false;
    },
  });
  let at = 0;
  for (let index = 0; at < tar.length; index += 1) {
    const size = Math.max(1, cuts[index % cuts.length] ?? 1);
    reader.write(tar.subarray(at, at + size));
    at += size;
  }
  reader.finish();
  expect(open).toBe(false);
  return found;
}

const nameByte = fc.integer({ min: 1, max: 255 }).filter((byte) => byte !== 0x2f);
const name = fc
  .oneof(
    fc.array(nameByte, { minLength: 1, maxLength: 8 }).map((bytes) => decodePath(Buffer.from(bytes))),
    fc.string({ unit: "grapheme", minLength: 1, maxLength: 6 }).filter((text) => !/[/\0]/.test(text)),
    fc.integer({ min: 90, max: 300 }).map((length) => "n".repeat(length)),
    fc.constantFrom("a", "é", "a b", "-x", "a=b", "a\nb", "ü".repeat(60)),
  )
  .filter((text) => text !== "." && text !== "..");
const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join("/"));
const mtime = fc
  .oneof(
    fc.bigInt({ min: -(10n ** 18n), max: 10n ** 19n }),
    fc.constantFrom(0n, 1n, -1n, -999_999_999n, -1_000_000_000n, -1_500_000_000n, 1_700_000_000_000_000_000n),
  )
  .map(String);
const common = fc.record({ path, mode: fc.integer({ min: 0, max: 0o7777 }), mtime });
const samples: fc.Arbitrary<Sample[]> = fc.array(
  fc.oneof(
    fc.tuple(common, fc.uint8Array({ maxLength: 1100 })).map(([rest, bytes]) => ({ ...rest, kind: "file" as const, bytes: Buffer.from(bytes) })),
    common.map((rest) => ({ ...rest, kind: "folder" as const, bytes: Buffer.alloc(0) })),
    fc
      .tuple(common, fc.constantFrom("symlink" as const, "hardlink" as const), path)
      .map(([rest, kind, target]) => ({ ...rest, kind, target, bytes: Buffer.alloc(0) })),
  ),
  { maxLength: 5 },
);

describe("a tar that we write", () => {
  test("property: is read back exactly, in pieces of any size", () => {
    fc.assert(
      fc.property(samples, fc.array(fc.integer({ min: 1, max: 1500 }), { minLength: 1, maxLength: 5 }), (members, cuts) => {
        const found = readAll(archive(members), cuts);
        expect(found.map(({ member, bytes }) => ({ ...member, bytes: bytes.toString("hex") }))).toEqual(
          members.map(({ bytes, ...member }) => ({ ...member, size: bytes.length, bytes: bytes.toString("hex") })),
        );
      }),
      { numRuns: 200 },
    );
  });

  test("is read back when it comes byte by byte", () => {
    const members: Sample[] = [{ path: "a", kind: "file", mode: 0o600, mtime: "5", bytes: Buffer.from("hello") }];
    expect(readAll(archive(members), [1])[0]?.bytes.toString()).toBe("hello");
  });

  test("names the size of the largest files exactly", () => {
    for (const size of [0o77777777777 - 1, 0o77777777777, 0o77777777777 + 1, 2 ** 40 + 1, 10 ** 15 - 1]) {
      const members: TarMember[] = [];
      const reader = new TarReader("x", { member: (member) => members.push(member), data: () => undefined, end: () => undefined });
      reader.write(writeHeader({ path: "large", kind: "file", mode: 0o644, mtime: "0", size }));
      expect(members[0]?.size).toBe(size);
      expect(() => reader.finish()).toThrow(/ends too early/);
    }
  });

  test("property: has the members that the library finds", () => {
    // It splits pax records at line ends, and so misreads names that have one; GNU tar does not.
    const utf8 = samples.filter(
      (members) =>
        members.length > 0 &&
        members.every(({ path: at, target = "" }) =>
          [at, target].every((text) => !/[\udc80-\udcff]/.test(text) && text === Buffer.from(text).toString() && !text.includes("\n")),
        ),
    );
    fc.assert(
      fc.property(utf8, (members) => {
        const seen: unknown[] = [];
        const parser = list({
          sync: true,
          strict: true,
          file: writeTemp(archive(members)),
          onReadEntry: (entry) => {
            const folder = entry.type === "Directory";
            seen.push([entry.path.replace(/\/$/, folder ? "" : "$&"), entry.type, entry.mode, entry.linkpath ?? "", entry.size]);
          },
        });
        expect(parser).toBeUndefined();
        const types = { file: "File", folder: "Directory", symlink: "SymbolicLink", hardlink: "Link" };
        expect(seen).toEqual(members.map((member) => [member.path, types[member.kind], member.mode, member.target ?? "", member.bytes.length]));
      }),
      { numRuns: 40 },
    );
  });

  test.runIf(gnuTar)("unpacks with GNU tar: names, bytes, modes, links, and times to the nanosecond", () => {
    using dir = tempDir();
    const bytes = (text: string) => Buffer.from(text);
    const file = (at: string, more: Partial<Sample> = {}): Sample => ({
      path: at,
      kind: "file",
      mode: 0o640,
      mtime: "1700000000123456789",
      bytes: bytes(at),
      ...more,
    });
    const members: Sample[] = [
      file("plain"),
      file("a b/ü/😀"),
      file(`${"l".repeat(120)}/${"m".repeat(255)}`),
      file("latin\udce9\udcff"),
      file("new\nline"),
      file("old", { mtime: "-1500000001", mode: 0o4755 }),
      file("older", { mtime: "-1" }),
      file("far", { mtime: "4102444800999999999" }),
      file("empty", { bytes: Buffer.alloc(0), mtime: "0" }),
      file("block", { bytes: Buffer.alloc(blockSize, 7) }),
      { path: "link", kind: "symlink", mode: 0o777, mtime: "1700000000000000001", target: "nowhere\udce9", bytes: Buffer.alloc(0) },
      { path: "longlink", kind: "symlink", mode: 0o777, mtime: "1", target: "t".repeat(300), bytes: Buffer.alloc(0) },
      { path: "hard", kind: "hardlink", mode: 0o640, mtime: "1700000000123456789", target: "plain", bytes: Buffer.alloc(0) },
      { path: "folder", kind: "folder", mode: 0o750, mtime: "1600000000000000002", bytes: Buffer.alloc(0) },
    ];
    const tar = join(dir.path, "x.tar");
    writeFileSync(tar, archive(members));
    for (const locale of ["C", "C.UTF-8"]) {
      const out = join(dir.path, locale);
      mkdirSync(out);
      const listed = execFileSync("tar", ["-tvf", tar], { encoding: "latin1", env: { ...process.env, LC_ALL: locale } });
      expect(listed.trimEnd().split("\n")).toHaveLength(members.length);
      execFileSync("tar", ["-xpf", tar, "-C", out], { env: { ...process.env, LC_ALL: locale }, stdio: "pipe" });
      for (const member of members) {
        const full = encodePath(`${out}/${member.path}`);
        const stat = lstatSync(full, { bigint: true });
        expect([member.path, stat.mtimeNs]).toEqual([member.path, BigInt(member.mtime)]);
        if (member.kind !== "symlink") expect(Number(stat.mode) & 0o7777).toBe(member.mode);
        if (member.kind === "file") expect(readFileSync(full).equals(member.bytes)).toBe(true);
        if (member.kind === "symlink") expect(readlinkSync(full, { encoding: "buffer" }).equals(pathBytes(member.target ?? ""))).toBe(true);
        if (member.kind === "hardlink") expect(stat.ino).toBe(lstatSync(`${out}/plain`, { bigint: true }).ino);
      }
    }
  });

  test.runIf(gnuTar)("and one that GNU tar wrote in pax form is read", () => {
    using dir = tempDir();
    writeFileSync(join(dir.path, "ü"), "text", { mode: 0o640 });
    const tar = execFileSync("tar", ["--format=pax", "--pax-option=delete=atime,delete=ctime", "-C", dir.path, "-cf", "-", "ü"]);
    const { mtimeNs } = lstatSync(join(dir.path, "ü"), { bigint: true });
    expect(readAll(tar)).toMatchObject([{ member: { path: "ü", kind: "file", mode: 0o640, mtime: String(mtimeNs), size: 4 } }]);
  });
});

describe("a hostile tar is damage, never another error:", () => {
  const good = archive([{ path: "a", kind: "file", mode: 0o644, mtime: "0", bytes: Buffer.from("text") }]);
  const damaged = (tar: Buffer, how: RegExp | string = "") =>
    expect(() => readAll(tar, [700])).toThrow(expect.objectContaining({ code: "damaged", message: expect.stringMatching(how) }));

  test("a wrong checksum", () => {
    for (const at of [0, blockSize * 2, blockSize * 2 + 110]) {
      const tar = Buffer.from(good);
      tar[at] = (tar[at] ?? 0) ^ 1;
      damaged(tar, /checksum/);
    }
  });

  test("an end too early, wherever it is", () => {
    for (let end = 0; end < good.length; end += 100) damaged(good.subarray(0, end), /too early/);
    damaged(good.subarray(0, -blockSize), /too early/);
    damaged(good.subarray(0, -1), /too early/);
  });

  test("members after its end", () => {
    damaged(Buffer.concat([good, good]), /after its end/);
    damaged(Buffer.concat([good, Buffer.from("x")]), /too early/);
    expect(readAll(Buffer.concat([good, Buffer.alloc(20 * blockSize)]))).toHaveLength(1);
  });

  test("one zero block and then more", () => {
    damaged(Buffer.concat([good.subarray(0, -blockSize), good]), /after its end/);
  });

  test.each([
    "CharacterDevice",
    "BlockDevice",
    "FIFO",
    "ContiguousFile",
    "GlobalExtendedHeader",
    "NextFileHasLongPath",
    "GNUDumpDir",
    "SparseFile",
  ] as const)("a member of type %s", (type) => {
    damaged(Buffer.concat([header({ path: "x", type, size: 0 }), endOfArchive]));
  });

  test("an extended header without end, without bytes, twice, or broken", () => {
    damaged(pax(Buffer.alloc((1 << 20) + 1, "x")), /extended header/);
    damaged(Buffer.concat([header({ type: "ExtendedHeader", size: 2 ** 33 }), Buffer.alloc(4096)]), /extended header/);
    damaged(pax(Buffer.alloc(0)), /extended header/);
    damaged(Buffer.concat([pax(Buffer.from("12 path=abc\n")), pax(Buffer.from("12 path=abc\n"))]), /extended header/);
    damaged(pax(Buffer.from("99 path=abc\n")), /extended header/);
  });

  test("a size below zero, beyond all numbers, or in words", () => {
    for (const size of ["-1", "1e3", "0x10", "", " 5", "9".repeat(30), "NaN"]) {
      damaged(Buffer.concat([pax(record("size", size)), good.subarray(2 * blockSize)]));
    }
  });

  test("a name that is nothing", () => {
    damaged(Buffer.concat([pax(record("path", "")), good.subarray(2 * blockSize)]), /without a name/);
  });

  test("numbers in base 256 that no number holds, in each field", () => {
    for (const at of [100, 108, 116, 124, 136]) {
      const block = Buffer.from(good.subarray(2 * blockSize, 3 * blockSize));
      block.fill(0xff, at + 1, at + (at < 124 ? 8 : 12));
      block[at] = 0x80;
      block.write("        ", 148);
      const sum = block.reduce((total, byte) => total + byte, 0);
      block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
      try {
        readAll(Buffer.concat([block, good.subarray(3 * blockSize)]));
      } catch (error) {
        expect(error).toMatchObject({ code: "damaged" });
      }
    }
  });

  test("property: flipped bytes, cut and joined pieces give members or damage", () => {
    const edit = fc.record({ at: fc.nat(good.length - 1), byte: fc.nat(255) });
    fc.assert(
      fc.property(
        fc.array(edit, { maxLength: 8 }),
        fc.nat(good.length),
        fc.uint8Array({ maxLength: 600 }),
        fc.boolean(),
        (edits, cut, tail, mends) => {
          const tar = Buffer.from(good);
          for (const { at, byte } of edits) tar[at] = byte;
          if (mends) for (const block of [0, 2]) mendChecksum(tar.subarray(block * blockSize, (block + 1) * blockSize));
          try {
            readAll(Buffer.concat([tar.subarray(0, cut), tail]), [333]);
          } catch (error) {
            expect(error).toMatchObject({ code: "damaged" });
          }
        },
      ),
      { numRuns: 1000 },
    );
  });
});

describe("parsePax", () => {
  test("takes what it knows and passes over the rest", () => {
    const body = Buffer.concat([
      record("comment", "x=y\nz"),
      record("path", "a=b\nc"),
      record("mtime", "-1.5"),
      record("size", "12"),
      record("linkpath", "\u00e9"),
    ]);
    expect(parsePax(body)).toEqual({ path: "a=b\nc", mtime: "-1500000000", size: 12, linkpath: "é" });
  });

  test.each([
    ["1.5", "1500000000"],
    ["0", "0"],
    ["-0.000000001", "-1"],
    ["1.1234567899", "1123456789"],
    ["1e9", "0"],
    ["", "0"],
    ["9".repeat(40), "0"],
  ])("reads the time %j as %s ns", (text, nanos) => {
    expect(parsePax(record("mtime", text))?.mtime).toBe(nanos);
  });

  test("property: bytes of any kind are fields or nothing", () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array().map((bytes) => Buffer.from(bytes)),
          fc.string().map((text) => Buffer.from(`${text.length} ${text}`)),
        ),
        (body) => {
          const fields = parsePax(body);
          if (fields !== undefined) expect(typeof fields).toBe("object");
        },
      ),
    );
  });
});

function header(fields: { path?: string; type: ConstructorParameters<typeof Header>[0] extends infer _ ? string : never; size?: number }): Buffer {
  const block = Buffer.alloc(blockSize);
  new Header({ path: "member", mode: 0o644, uid: 0, gid: 0, size: 0, mtime: new Date(0), ...fields } as ConstructorParameters<
    typeof Header
  >[0]).encode(block, 0);
  return block;
}

function pax(body: Buffer): Buffer {
  return Buffer.concat([header({ type: "ExtendedHeader", size: body.length }), body, Buffer.alloc(padded(body.length) - body.length)]);
}

function record(key: string, value: string): Buffer {
  const rest = Buffer.from(` ${key}=${value}\n`);
  let length = rest.length + 1;
  while (String(length).length + rest.length !== length) length += 1;
  return Buffer.concat([Buffer.from(String(length)), rest]);
}

function mendChecksum(block: Buffer): void {
  block.write("        ", 148);
  block.write(
    `${block
      .reduce((total, byte) => total + byte, 0)
      .toString(8)
      .padStart(6, "0")}\0 `,
    148,
  );
}

let files = 0;
function writeTemp(bytes: Buffer): string {
  files += 1;
  const file = join(process.env["TMPDIR"] ?? "/tmp", `${files}.tar`);
  writeFileSync(file, bytes);
  return file;
}

test("an archive that never comes to its end is damaged, long before all of it was read", () => {
  const reader = new TarReader("x.tar", { member: () => undefined, data: () => undefined, end: () => undefined });
  reader.write(Buffer.alloc(1 << 20));
  expect(() => reader.write(Buffer.alloc(2 << 20))).toThrow(expect.objectContaining({ code: "damaged", message: "x.tar does not come to its end" }));
});
