import { expect, test } from "vitest";
import { MemoryStore } from "../stores/memory.ts";
import { addMark, copyMarks, deleteMarks, type Mark, readMarks } from "./marks.ts";

const [one, two] = ["20261121T143005Z-a1b2c3", "20261122T143005Z-a1b2c3"];
const at = "2026-11-23T10:00:00.000Z";
const stamp = (second: number): string => `20261123T10000${second}Z-000000`;
const mark = (wish: Partial<Mark>): Omit<Mark, "format"> => ({ point: one, mark: "pinned", at, by: null, note: null, ...wish });

test("of the marks of a point the latest counts, of verified ones too", async () => {
  const store = new MemoryStore("store");
  await addMark(store, mark({ mark: "unpinned" }), stamp(3));
  await addMark(store, mark({}), stamp(1));
  await addMark(store, mark({ mark: "verified", by: "Ann" }), stamp(2));
  await addMark(store, mark({ mark: "verified", by: "Ben" }), stamp(4));
  await addMark(store, mark({ point: two }), stamp(1));
  const marks = await readMarks(store);
  expect(marks.get(one)).toMatchObject({ isPinned: false, verified: { by: "Ben" } });
  expect(marks.get(two)).toEqual({ isPinned: true, verified: undefined });
});

test.each(["", "{", "[]", '{"format":2}', '{"format":1,"point":"20261122T143005Z-a1b2c3","mark":"unpinned","at":"x","by":null,"note":null}'])(
  "one that cannot be read keeps its point: %s",
  async (text) => {
    const files = new Map([[`marks/${one}.${stamp(1)}.json`, Buffer.from(text)]]);
    expect((await readMarks(new MemoryStore("store", files))).get(one)).toEqual({ isPinned: true, verified: undefined });
  },
);

test("other names in the folder are no marks", async () => {
  const files = new Map(["marks/x.json", `marks/${one}.json`, `marks/${one}.later.json`].map((key) => [key, Buffer.from("{}")]));
  expect((await readMarks(new MemoryStore("store", files))).size).toBe(0);
});

test("copies get what they lack, lose nothing, and those of points that are gone go", async () => {
  const [from, to] = [new MemoryStore("from"), new MemoryStore("to")];
  await addMark(from, mark({}), stamp(1));
  await addMark(to, mark({ mark: "unpinned" }), stamp(2));
  await addMark(to, mark({ point: two }), stamp(3));
  await copyMarks(from, to);
  await copyMarks(from, to);
  expect((await readMarks(to)).get(one)?.isPinned).toBe(false);
  expect((await readMarks(to)).get(two)?.isPinned).toBe(true);
  await deleteMarks(to, new Set([one]));
  expect([...(await readMarks(to)).keys()]).toEqual([two]);
});
