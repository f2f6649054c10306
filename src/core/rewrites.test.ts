import { describe, expect, test } from "vitest";
import { alarming, describeRewrite, isWatched, type Rewrite } from "./rewrites.ts";

const now = new Date("2026-11-21T15:00:00Z");
const forced: Rewrite = {
  ref: "refs/remotes/origin/main",
  old: "a",
  new: "b",
  lost: 14,
  point: "p1",
  seenAt: "2026-11-20T15:00:00.000Z",
  isOurs: false,
};
const alarms = (...rewrites: Rewrite[]): string[] => alarming(rewrites, now, (ref) => ref.endsWith("/backup")).map(({ ref }) => ref);

describe("people hear of", () => {
  test("others' rewrites of remotes, the newest first", () => {
    expect(alarms(forced, { ...forced, ref: "refs/remotes/origin/next" })).toEqual(["refs/remotes/origin/next", "refs/remotes/origin/main"]);
    // Of a bare repository, into which they push.
    expect(alarms({ ...forced, ref: "refs/heads/main" })).toEqual(["refs/heads/main"]);
  });

  test.each<[string, Partial<Rewrite>]>([
    ["their own amends", { ref: "refs/heads/main", isOurs: true }],
    ["tags", { ref: "refs/tags/v1" }],
    ["their own force-pushes", { isOurs: true }],
    ["refs that are rewritten by their nature", { ref: "refs/remotes/origin/backup" }],
    ["what is more than two weeks old", { seenAt: "2026-11-07T14:59:59.000Z" }],
  ])("not of %s", (_, change) => {
    expect(alarms({ ...forced, ...change })).toEqual([]);
  });
});

test.each<[Partial<Rewrite>, string]>([
  [{}, "origin/main was force-pushed: 14 commits are in no ref any more, point p1 has them"],
  [{ new: null, lost: 1 }, "origin/main was deleted: 1 commit is in no ref any more, point p1 has it"],
  [{ lost: 0 }, "origin/main was force-pushed: other refs here still reach what it had, and so does point p1"],
  [{ lost: null }, "origin/main was force-pushed: what it had is gone here, point p1 has it"],
  [{ ref: "refs/heads/main", isOurs: true }, "main was rewritten: 14 commits are in no ref any more, point p1 has them"],
  [{ ref: "refs/remotes/o/\u202ex", lost: 0 }, "o/\\u{202e}x was force-pushed: other refs here still reach what it had, and so does point p1"],
])("is said in one sentence: %j", (change, sentence) => {
  expect(describeRewrite({ ...forced, ...change })).toBe(sentence);
});

test("branches, remotes' branches and tags are watched; stashes and notes are not", () => {
  expect(["refs/heads/a", "refs/remotes/o/a", "refs/tags/a", "refs/stash", "refs/notes/commits"].filter(isWatched)).toHaveLength(3);
});
