import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type ContentsRecord, entryPath, type FileEntry, foldContents, parseContents, placeOf, writeRecord } from "./contents.ts";

const oid = "a".repeat(40);
const ids = ["20261121T100000Z-000001", "20261121T110000Z-000002", "20261121T120000Z-000003"] as const;

const head = (id: string, base: string | null): ContentsRecord => ({ t: "point", v: 1, id, base, objectFormat: "sha1", name: "notes" });
const file = (path: string, more: Partial<FileEntry> = {}): ContentsRecord => ({
  t: "file",
  path,
  kind: "file",
  mode: 0o644,
  mtime: "1",
  size: 0,
  ...more,
});
const ref = (name: string, value = oid): ContentsRecord => ({ t: "ref", name, oid: value });

describe("foldContents", () => {
  test("gives a full point as it is", () => {
    const worktree: ContentsRecord = { t: "worktree", name: "", path: "/w", isBare: false, branch: "refs/heads/main", oid };
    const state = foldContents([[head(ids[0], null), worktree, ref("refs/heads/main"), file("untracked/a"), { t: "left", path: "b", reason: "r" }]]);
    expect(state.header.id).toBe(ids[0]);
    expect([...state.refs.keys()]).toEqual(["refs/heads/main"]);
    expect([...state.files.keys()]).toEqual(["untracked/a"]);
    expect(state.worktrees).toHaveLength(1);
    expect(state.left).toHaveLength(1);
  });

  test("adds, replaces and takes away, point by point", () => {
    const state = foldContents([
      [head(ids[0], null), ref("refs/heads/a"), ref("refs/heads/b"), file("untracked/a"), file("untracked/b"), file("untracked/c")],
      [head(ids[1], ids[0]), { t: "ref-gone", name: "refs/heads/a" }, { t: "gone", path: "untracked/a" }, file("untracked/b", { mtime: "2" })],
      [head(ids[2], ids[1]), ref("refs/heads/b", "b".repeat(40)), { t: "gone", path: "untracked/never" }, file("untracked/a", { mtime: "3" })],
    ]);
    expect([...state.refs.values()].map(({ name, oid: at }) => [name, at])).toEqual([["refs/heads/b", "b".repeat(40)]]);
    expect(Object.fromEntries([...state.files.values()].map(({ path, mtime }) => [path, mtime]))).toEqual({
      "untracked/a": "3",
      "untracked/b": "2",
      "untracked/c": "1",
    });
  });

  test("tells why it was made of the newest point only", () => {
    const note: ContentsRecord = { t: "note", text: "before the upgrade", ticket: null };
    expect(foldContents([[head(ids[0], null), note]]).note).toMatchObject({ text: "before the upgrade", ticket: null });
    expect(foldContents([[head(ids[0], null), note], [head(ids[1], ids[0])]]).note).toBeUndefined();
  });

  test("tells worktrees, what was left out and problems of the newest point only", () => {
    const problem: ContentsRecord = { t: "problem", code: "vanished", path: "x", message: "m" };
    const state = foldContents([[head(ids[0], null), problem, { t: "left", path: "b", reason: "r" }], [head(ids[1], ids[0])]]);
    expect([state.worktrees, state.left, state.problems]).toEqual([[], [], []]);
    expect(state.lacksObjects).toBe(false);
  });

  test("lacks objects where any point of the chain did", () => {
    const problem: ContentsRecord = { t: "problem", code: "missing_objects", path: ".git/objects", message: "m" };
    expect(foldContents([[head(ids[0], null), problem], [head(ids[1], ids[0])]])).toMatchObject({ problems: [], lacksObjects: true });
  });

  test.each([
    ["nothing at all", []],
    ["an incremental alone", [[head(ids[1], ids[0])]]],
    ["a link left out", [[head(ids[0], null)], [head(ids[2], ids[1])]]],
    ["two full ones", [[head(ids[0], null)], [head(ids[1], null)]]],
    ["the wrong order", [[head(ids[1], ids[0])], [head(ids[0], null)]]],
  ])("refuses %s", (_, chain: ContentsRecord[][]) => {
    expect(() => foldContents(chain)).toThrow(expect.objectContaining({ code: "chain_broken" }));
  });

  test("property: a file goes by its last record", () => {
    const change = fc.record({ path: fc.constantFrom("untracked/a", "untracked/b", "git/__proto__"), isGone: fc.boolean(), mtime: fc.nat() });
    fc.assert(
      fc.property(fc.array(fc.array(change), { minLength: 1, maxLength: 6 }), (points) => {
        const model = new Map<string, string>();
        const chain = points.map((changes, index) => {
          for (const { path, isGone, mtime } of changes) isGone ? model.delete(path) : model.set(path, String(mtime));
          const records = changes.map(
            ({ path, isGone, mtime }): ContentsRecord => (isGone ? { t: "gone", path } : file(path, { mtime: String(mtime) })),
          );
          return [head(`p${index}`, index === 0 ? null : `p${index - 1}`), ...records];
        });
        const { files } = foldContents(chain);
        expect(new Map([...files].map(([path, entry]) => [path, entry.mtime]))).toEqual(model);
      }),
    );
  });
});

describe("parseContents", () => {
  test("refuses a text of more lines than a list can have at its first line", () => {
    expect(() => parseContents("\n".repeat(150_000_000), "c.zst")).toThrow("c.zst line 1 is not a record of a contents file");
  });

  const first = writeRecord(head(ids[0], null));

  test("property: gives back what was written, any name", () => {
    const name = fc.oneof(
      fc.array(fc.nat(0xffff), { maxLength: 20 }).map((units) => String.fromCharCode(...units)),
      fc.constantFrom("a\nb", "\udcff", "\u2028", '"', "__proto__"),
    );
    fc.assert(
      fc.property(fc.array(name), (names) => {
        const records = [head(ids[0], null), ...names.flatMap((path) => [file(path), { t: "gone", path } as const])];
        expect(parseContents(records.map(writeRecord).join(""), "c")).toEqual(records);
      }),
    );
  });

  test.each([
    ["not JSON", "{"],
    ["an empty line", ""],
    ["no kind of record", '{"t":"other"}'],
    ["not an object", "[]"],
    ["null", "null"],
    ["a file without a path", '{"t":"file","kind":"file","mode":420,"mtime":"1"}'],
    ["a file of no kind", '{"t":"file","path":"a","kind":"fifo","mode":420,"mtime":"1"}'],
    ["a mode beyond the bits", '{"t":"file","path":"a","kind":"file","mode":4096,"mtime":"1"}'],
    ["a mode that is text", '{"t":"file","path":"a","kind":"file","mode":"644","mtime":"1"}'],
    ["a time that is a number", '{"t":"file","path":"a","kind":"file","mode":420,"mtime":1}'],
    ["a time with an exponent", '{"t":"file","path":"a","kind":"file","mode":420,"mtime":"1e9"}'],
    ["a time without end", `{"t":"file","path":"a","kind":"file","mode":420,"mtime":"${"9".repeat(21)}"}`],
    ["a size below zero", '{"t":"file","path":"a","kind":"file","mode":420,"mtime":"1","size":-1}'],
    ["a target that is no text", '{"t":"file","path":"a","kind":"symlink","mode":420,"mtime":"1","target":{}}'],
    ["a ref without an object", '{"t":"ref","name":"refs/heads/a"}'],
    ["a ref to half an object", '{"t":"ref","name":"refs/heads/a","oid":"abc"}'],
    ["a gone without a path", '{"t":"gone"}'],
    ["a worktree without its facts", '{"t":"worktree","name":""}'],
    ["a point of no format", '{"t":"point","v":1,"id":"x","base":null,"objectFormat":"md5","name":"n"}'],
  ])("names the line of %s", (_, line) => {
    const text = `${first}${writeRecord(file("untracked/a"))}${line}\n${writeRecord(file("untracked/b"))}`;
    expect(() => parseContents(text, "c.zst")).toThrow(
      expect.objectContaining({ code: "damaged", message: expect.stringContaining("c.zst line 3 ") }),
    );
  });

  test.each(["", "\n", writeRecord(file("untracked/a"))])("refuses a beginning without its point: %j", (text) => {
    expect(() => parseContents(text, "c")).toThrow(expect.objectContaining({ code: "damaged" }));
  });

  test("refuses a newer version with a word of its own", () => {
    expect(() => parseContents(first.replace('"v":1', '"v":2'), "c")).toThrow(expect.objectContaining({ code: "format_newer" }));
  });
});

describe("placeOf", () => {
  test("tells worktree, area and path", () => {
    expect(placeOf("untracked/a/b")).toEqual({ worktree: "", area: "untracked", path: "a/b" });
    expect(placeOf("worktrees/side/git/index")).toEqual({ worktree: "side", area: "git", path: "index" });
    expect(placeOf("git/worktrees/side/HEAD")).toEqual({ worktree: "", area: "git", path: "worktrees/side/HEAD" });
  });

  test.each([
    "",
    "/",
    "untracked",
    "untracked/",
    "/untracked/a",
    "untracked//a",
    "untracked/../a",
    "untracked/a/..",
    "untracked/./a",
    "untracked/a/",
    "untracked/a\0b",
    "Untracked/a",
    "other/a",
    "../untracked/a",
    "git/..",
    "git/../../x",
    "worktrees",
    "worktrees/",
    "worktrees/side",
    "worktrees/side/",
    "worktrees/side/git",
    "worktrees/side/git/",
    "worktrees//untracked/a",
    "worktrees/../untracked/a",
    "worktrees/./untracked/a",
    "worktrees/s\0de/untracked/a",
    "worktrees/side/untracked/../a",
    "worktrees/side/worktrees/b/untracked/a",
    "worktrees/untracked/a",
  ])("refuses %j", (path) => {
    // biome-ignore format: a list of words
    expect(() => placeOf(path)).toThrow(expect.objectContaining({ code: "hostile" }));
  });

  test("property: takes apart what entryPath put together, and refuses all that leads out", () => {
    const part = fc.constantFrom("a", "..", ".", "", "b c", "worktrees", "git", "\0", "\udcff");
    const areas = fc.constantFrom("untracked", "modified", "tracked", "folder", "git");
    fc.assert(
      fc.property(fc.option(part, { nil: "" }), areas, fc.array(part, { minLength: 1 }), (worktree, area, parts) => {
        const path = parts.join("/");
        const isBad = (text: string) => text === "" || text === "." || text === ".." || text.includes("\0");
        const whole = entryPath(worktree, area, path);
        if (parts.some(isBad) || (worktree !== "" && isBad(worktree)))
          expect(() => placeOf(whole)).toThrow(expect.objectContaining({ code: "hostile" }));
        else expect(placeOf(whole)).toEqual({ worktree, area, path });
      }),
    );
  });
});
