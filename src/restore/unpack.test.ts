/** Hostile and honest tarballs, made by hand member by member. */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import { endOfArchive, padded, writeHeader } from "../archive/tar-format.ts";
import type { EntryKind, FileEntry } from "../core/contents.ts";
import type { TargetLayout } from "./place.ts";
import { Unpacker } from "./unpack.ts";

let dir: TempDir;
let outside = "";
let layout: TargetLayout = { root: "", gitDir: "", worktrees: new Map() };

beforeEach(() => {
  dir = tempDir();
  outside = join(dir.path, "outside");
  const root = join(dir.path, "target");
  layout = { root, gitDir: join(root, ".git"), worktrees: new Map() };
  for (const folder of [outside, root, layout.gitDir]) mkdirSync(folder);
  writeFileSync(join(outside, "precious"), "precious");
});
afterEach(() => {
  expect(readdirSync(outside)).toEqual(["precious"]);
  expect(readFileSync(join(outside, "precious"), "utf8")).toBe("precious");
  expect(statSync(join(outside, "precious")).nlink).toBe(1);
  dir[Symbol.dispose]();
});

interface Made {
  readonly path: string;
  readonly kind: EntryKind;
  readonly text: string;
  readonly target?: string;
  readonly mode?: number;
}

const file = (path: string, text = path): Made => ({ path, kind: "file", text });
const symlink = (path: string, target: string): Made => ({ path, kind: "symlink", text: "", target });
const hardlink = (path: string, target: string): Made => ({ path, kind: "hardlink", text: "", target });
const patch = (id: number, path: string, steps: string, data: string): Made[] => [
  file(`patches/00000${id}/path`, path),
  file(`patches/00000${id}/steps`, steps),
  file(`patches/00000${id}/data`, data),
];

async function unpack(
  tars: readonly (readonly Made[])[],
  wanted: readonly string[],
  more: { replaces?: boolean; sparse?: boolean } = {},
): Promise<Unpacker> {
  const files = new Map(
    wanted.map((path): [string, FileEntry] => [path, { path, kind: "file", mode: 0o644, mtime: "0", ...(more.sparse ? { sparse: true } : {}) }]),
  );
  const unpacker = new Unpacker({ layout, files, replaces: more.replaces ?? true });
  for (const members of tars) {
    const bytes = Buffer.concat([
      ...members.flatMap(({ text, mode = 0o640, ...member }) => {
        const body = Buffer.from(text, "latin1");
        const header = Buffer.from(writeHeader({ ...member, mode, mtime: "1700000000123456000", size: body.length }));
        return [header, body, Buffer.alloc(padded(body.length) - body.length)];
      }),
      endOfArchive,
    ]);
    await unpacker.unpack("x.tar.zst", pieces(bytes));
  }
  return unpacker;
}

const at = (path: string) => join(layout.root, path);
const read = (path: string) => readFileSync(at(path), "latin1");

describe("unpacking a chain", () => {
  test("gives bytes, modes and times", async () => {
    await unpack([[{ ...file("untracked/a/b", "text"), mode: 0o751 }]], ["untracked/a/b"]);
    expect(read("a/b")).toBe("text");
    expect(lstatSync(at("a/b"), { bigint: true })).toMatchObject({ mode: 0o100751n });
    expect(lstatSync(at("a/b"), { bigint: true }).mtimeNs / 1000n).toBe(1700000000123456n);
  });

  test("gives the last version of what came twice, and links where links were", async () => {
    await unpack(
      [
        [file("untracked/a", "old"), hardlink("untracked/b", "untracked/a"), symlink("untracked/l", "../outside")],
        [file("untracked/a", "new"), hardlink("untracked/b", "untracked/a")],
      ],
      ["untracked/a", "untracked/b", "untracked/l"],
    );
    expect([read("a"), read("b"), readlinkSync(at("l"))]).toEqual(["new", "new", "../outside"]);
    expect(lstatSync(at("a")).ino).toBe(lstatSync(at("b")).ino);
  });

  test("writes only what the last point holds", async () => {
    await unpack([[file("untracked/a"), file("untracked/stray"), file("deleted", "x\0"), file("times", "x")]], ["untracked/a"]);
    expect(readdirSync(layout.root).sort()).toEqual([".git", "a"]);
  });

  test("leaves what is there, when it is told not to replace", async () => {
    writeFileSync(at("a"), "mine");
    const unpacker = await unpack([[file("untracked/a"), file("untracked/b")], [file("untracked/b", "later")]], ["untracked/a", "untracked/b"], {
      replaces: false,
    });
    expect([read("a"), read("b")]).toEqual(["mine", "later"]);
    expect([...unpacker.skipped]).toEqual(["untracked/a"]);
  });

  test("puts a patched file together from its last version and new bytes", async () => {
    const steps = "base 5 5\ndata 0 3\nbase 0 5\ndata 3 2\n";
    await unpack(
      [[file("untracked/f", "0123456789")], patch(1, "untracked/f", steps, "abcde"), patch(1, "untracked/f", "base 0 15\ndata 0 1\n", "!")],
      ["untracked/f"],
    );
    expect(read("f")).toBe("56789abc01234de!");
    expect(lstatSync(at("f")).mode & 0o777).toBe(0o640);
    expect(readdirSync(layout.root).sort()).toEqual([".git", "f"]);
  });

  test("patches a file whose name has all the bytes that a name can have", async () => {
    const name = "n".repeat(255);
    await unpack([[file(`untracked/${name}`, "0123")], patch(1, `untracked/${name}`, "base 0 4\n", "")], [`untracked/${name}`]);
    expect(read(name)).toBe("0123");
  });

  test("passes over a patch of a file that is not wanted", async () => {
    await unpack([patch(1, "untracked/other", "base 0 5\n", "")], ["untracked/f"]);
    expect(readdirSync(layout.root)).toEqual([".git"]);
  });

  test("leaves holes in a file that had them", async () => {
    const text = `${"\0".repeat(200_000)}end`;
    await unpack([[file("untracked/f", text)]], ["untracked/f"], { sparse: true });
    expect(read("f")).toBe(text);
    if (process.platform === "linux") expect(lstatSync(at("f")).blocks * 512).toBeLessThan(100_000);
  });
});

describe("a hostile tarball", () => {
  test("settings of a nested repository in the place of a folder", async () => {
    for (const made of [file("folder/n/.git/config"), symlink("folder/n/.git/config", "x"), hardlink("folder/n/.git/config", "untracked/x")])
      await expect(unpack([[file("untracked/x"), made]], ["untracked/x", made.path])).rejects.toMatchObject({ code: "hostile" });
    expect(readdirSync(layout.root).sort()).toEqual([".git", "x"]);
  });

  const refused = (tars: readonly (readonly Made[])[], wanted: readonly string[], code = "hostile") =>
    expect(unpack(tars, wanted)).rejects.toMatchObject({ code });

  test("cannot write through a symlink that it made", async () => {
    await refused([[symlink("untracked/a", outside), file("untracked/a/precious", "gone")]], ["untracked/a", "untracked/a/precious"]);
    await refused([[symlink("untracked/b", "../outside")], [file("untracked/b/new")]], ["untracked/b", "untracked/b/new"]);
    await refused([[file("untracked/c/x"), symlink("untracked/c", outside), file("untracked/c/x")]], ["untracked/c", "untracked/c/x"]);
    await refused([[symlink("untracked/d", outside), symlink("untracked/d/new", "x")]], ["untracked/d", "untracked/d/new"]);
    await refused([[symlink("untracked/e", outside), { ...file("untracked/e/new"), kind: "folder" }]], ["untracked/e", "untracked/e/new"]);
  });

  test("cannot write into the file that its symlink names", async () => {
    await unpack([[symlink("untracked/a", join(outside, "precious")), file("untracked/a", "mine")]], ["untracked/a"]);
    expect(read("a")).toBe("mine");
  });

  test("cannot link to a file outside, nor to one that it did not bring", async () => {
    writeFileSync(at("there"), "before us");
    for (const target of ["../outside/precious", join(outside, "precious"), "untracked/../../outside/precious", "git/../../x"]) {
      await refused([[hardlink("untracked/h", target)]], ["untracked/h"]);
    }
    await unpack([[hardlink("untracked/h", "untracked/there")]], ["untracked/h"]).catch((error: unknown) =>
      expect(error).toMatchObject({ code: "damaged" }),
    );
    expect(existsSync(at("h"))).toBe(false);
  });

  test("cannot link through a symlinked folder", async () => {
    await refused(
      [[symlink("untracked/a", outside), hardlink("untracked/h", "untracked/a/precious")], []],
      ["untracked/a", "untracked/h"],
      "hostile",
    ).catch(() => undefined);
    expect(existsSync(at("h"))).toBe(false);
    await refused(
      [[file("untracked/a/precious", "x"), symlink("untracked/a", outside), hardlink("untracked/h", "untracked/a/precious")]],
      ["untracked/a", "untracked/a/precious", "untracked/h"],
    );
  });

  test.each(["untracked/.git/config", "git/objects/info/alternates", "git/refs/heads/main", "untracked/../outside/new", "untracked//x"])(
    "cannot write %s",
    async (path) => {
      await refused([[file(path, "x")]], [path]);
    },
  );

  test("cannot write outside of its inventory, whatever its members are called", async () => {
    const names = ["/etc/x", "../outside/new", "untracked/../../outside/new", "untracked/.git/config", "a", "patches/x/path"];
    await unpack([names.map((path) => file(path, "x"))], ["untracked/a"]);
    expect(readdirSync(layout.root)).toEqual([".git"]);
  });

  test("cannot put its configuration and hooks to work", async () => {
    await unpack([[file("git/config", "[core]"), file("git/hooks/pre-commit", "#!/bin/sh")]], ["git/config", "git/hooks/pre-commit"]);
    expect(readdirSync(layout.gitDir)).toEqual(["holdfast-restored"]);
  });

  test.each(["FETCH_HEAD", "COMMIT_EDITMSG", "logs", "logs/HEAD", "worktrees/side", "index"])(
    "cannot make git write elsewhere later: .git/%s is no symlink that leads out",
    async (name) => {
      const top = "../".repeat(name.split("/").length);
      const ups = ["/etc/x", outside, `${top}outside`, `${top}../outside/precious`, `a/../${top}x`, "a/..", "./x", `./${top}x`, top];
      for (const target of ups) {
        const entry = `git/${name}`;
        const unpacker = await unpack([[symlink(entry, target)]], [entry]);
        expect(() => lstatSync(join(layout.gitDir, name))).toThrow();
        expect([...unpacker.skipped]).toEqual([entry]);
      }
    },
  );

  test.each(["", "a\0b"])("cannot make a symlink to %j", async (target) => {
    await refused([[symlink("untracked/l", target)]], ["untracked/l"], "damaged");
  });

  test("of a link that leads out and a file of the same name the newer counts", async () => {
    const [link, entry] = [symlink("git/info/exclude", "/etc/x"), file("git/info/exclude", "*.o")];
    expect([...(await unpack([[link], [entry]], [entry.path])).skipped]).toEqual([]);
    expect(read(".git/info/exclude")).toBe("*.o");
    const { skipped, links } = await unpack([[entry], [link]], [entry.path]);
    expect([[...skipped], [...links], readdirSync(at(".git/info"))]).toEqual([[entry.path], [entry.path], []]);
  });

  test("but a symlink within the git directory is kept", async () => {
    await unpack(
      [[symlink("git/info/exclude", "../shared/exclude"), symlink("git/hooks/pre-commit", "/usr/bin/true"), symlink("git/svn", "info")]],
      ["git/info/exclude", "git/hooks/pre-commit", "git/svn"],
    );
    expect(readlinkSync(join(layout.gitDir, "info/exclude"))).toBe("../shared/exclude");
    expect(readlinkSync(join(layout.gitDir, "svn"))).toBe("info");
    expect(readlinkSync(join(layout.gitDir, "holdfast-restored/hooks/pre-commit"))).toBe("/usr/bin/true");
  });

  test.each<[string, string, string]>([
    ["a range of the base beyond its end", "base 8 5\n", ""],
    ["a range of the base far away", "base 999999999999999 1\n", ""],
    ["a range of the data beyond its end", "data 3 5\n", "abcd"],
    ["more data than there is", "data 0 999999999999999\n", "abcd"],
    ["a step that is none", "copy 0 5\n", ""],
    ["an offset below zero", "base -1 5\n", ""],
    ["an offset of sixteen digits", "base 1111111111111111 5\n", ""],
    ["no line end", "base 0 5", ""],
  ])("cannot patch with %s", async (_, steps, data) => {
    await refused([[file("untracked/f", "0123456789")], patch(1, "untracked/f", steps, data)], ["untracked/f"], "damaged");
  });

  test("cannot patch what has no base", async () => {
    writeFileSync(at("f"), "0123456789");
    await refused([patch(1, "untracked/f", "base 0 5\n", "")], ["untracked/f"], "damaged");
    expect(read("f")).toBe("0123456789");
  });

  test("cannot borrow bytes from outside by patching a symlink", async () => {
    await refused([[symlink("untracked/f", join(outside, "precious"))], patch(1, "untracked/f", "base 0 8\n", "")], ["untracked/f"], "damaged");
    expect(lstatSync(at("f")).isSymbolicLink()).toBe(true);
  });

  test("cannot use the name of a patch in the making", async () => {
    symlinkSync(join(outside, "precious"), at(".holdfast-patch"));
    await unpack([[file("untracked/f", "0123")], patch(1, "untracked/f", "base 0 4\n", "")], ["untracked/f"]);
    expect(read("f")).toBe("0123");
  });

  test("that ends too early is damage", async () => {
    const unpacker = new Unpacker({ layout, files: new Map(), replaces: true });
    await expect(unpacker.unpack("x", pieces(Buffer.alloc(512)))).rejects.toMatchObject({ code: "damaged" });
  });
});

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let offset = 0; offset < bytes.length; offset += 700) yield bytes.subarray(offset, offset + 700);
}
