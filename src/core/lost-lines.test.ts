import { expect, test } from "vitest";
import { type CommitFacts, drawLines, looksLikeStash } from "./lost-lines.ts";

const commit = (oid: string, minute: number, ...parents: string[]): CommitFacts => ({
  oid,
  parents,
  authoredAt: new Date(Date.UTC(2026, 0, 1, 12, minute)).toISOString(),
  subject: oid,
});
const drawn = (lost: readonly CommitFacts[]): string[] =>
  drawLines(lost, looksLikeStash).map(({ tip, commits, isStash }) => `${tip.oid} ${isStash ? "stash" : commits}`);

test("a lost branch is one line with all its commits, whatever it stood on", () => {
  expect(drawn([commit("c", 3, "b"), commit("b", 2, "a"), commit("a", 1, "main")])).toEqual(["c 3"]);
});

test("lines that share commits are two, the newest tip first", () => {
  expect(drawn([commit("a", 1), commit("x", 2, "a"), commit("y", 3, "a")])).toEqual(["y 2", "x 2"]);
});

test("a merge counts what both sides bring, once", () => {
  expect(drawn([commit("a", 1), commit("x", 2, "a"), commit("y", 3, "a"), commit("m", 4, "x", "y")])).toEqual(["m 4"]);
});

test("nothing lost is no line", () => {
  expect(drawn([])).toEqual([]);
});

test("a stash hides neither the branch that it was made on nor shows its own parts", () => {
  const stash = { ...commit("s", 5, "b", "index", "untracked"), subject: "On topic: later" };
  const lost = [commit("a", 1, "main"), commit("b", 2, "a"), commit("index", 5, "b"), commit("untracked", 5), stash];
  expect(drawn(lost)).toEqual(["s stash", "b 2"]);
});

test("a merge whose message looks like a stash's in a word is none", () => {
  expect(looksLikeStash({ ...commit("m", 1, "a", "b"), subject: "Only merged: x" })).toBe(false);
  expect(looksLikeStash({ ...commit("m", 1, "a"), subject: "On main: x" })).toBe(false);
});
