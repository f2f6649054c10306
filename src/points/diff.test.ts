import { expect, test } from "vitest";
import type { FileEntry, RefEntry, WorktreeEntry } from "../core/contents.ts";
import { type CommittedFacts, diffFiles, diffRefs, halfCommitted, type Moment } from "./diff.ts";

const main: WorktreeEntry = { name: "", path: "/r", isBare: false, branch: "refs/heads/main", oid: "1".repeat(40) };

function moment(files: Readonly<Record<string, Partial<FileEntry>>>, refs: readonly RefEntry[] = [], worktrees = [main]): Moment {
  const entries = Object.entries(files).map(([path, wish]): [string, FileEntry] => [
    path,
    {
      path,
      kind: "file",
      mode: 0o644,
      mtime: "1",
      size: 1,
      ...(path.includes("tracked/") && !path.includes("untracked/") ? {} : { sha256: "a" }),
      ...wish,
    },
  ]);
  return { files: new Map(entries), refs: new Map(refs.map((ref) => [ref.name, ref])), worktrees };
}

const nothingKnown: CommittedFacts = { changes: () => undefined, sum: () => undefined };

function changesOf(before: Moment, after: Moment, facts: Partial<CommittedFacts> = {}): string[] {
  return diffFiles(before, after, { ...nothingKnown, ...facts }).map(({ worktree, path, change, what }) =>
    [change, worktree === "" ? path : `${worktree}:${path}`, ...what].join(" "),
  );
}

test("files that came, went, or have other bytes, another mode, another kind; a new time alone is nothing", () => {
  const before = moment({ "untracked/a": {}, "untracked/b": {}, "untracked/c": {}, "untracked/d": {}, "untracked/e": {} });
  const after = moment({
    "untracked/a": { mtime: "2" },
    "untracked/b": { sha256: "b" },
    "untracked/c": { mode: 0o755 },
    "untracked/d": { kind: "symlink", target: "x" },
    "untracked/f": {},
    "folder/x": { kind: "folder" },
    "git/HEAD": {},
  });
  expect(changesOf(before, after)).toEqual([
    "changed b content",
    "changed c mode 644 became 755",
    "changed d a file became a symlink",
    "removed e",
    "added f",
  ]);
  expect(changesOf(before, before)).toEqual([]);
});

test("a hard link has the bytes of its other name; a symlink is another when it leads elsewhere", () => {
  const before = moment({
    "untracked/a": {},
    "untracked/b": { kind: "hardlink", target: "untracked/a" },
    "untracked/l": { kind: "symlink", target: "a" },
  });
  const after = moment({ "untracked/a": {}, "untracked/b": {}, "untracked/l": { kind: "symlink", target: "b" } });
  expect(changesOf(before, after)).toEqual(["changed l content"]);
});

test("tracked files are compared by their commits, and by their bytes where one side has some of its own", () => {
  const before = moment({
    "tracked/same": {},
    "tracked/new": {},
    "modified/done": { sha256: "b" },
    "modified/undone": { sha256: "b" },
    "untracked/taken": {},
  });
  const after = moment({ "tracked/same": {}, "tracked/new": {}, "tracked/done": {}, "tracked/undone": {}, "tracked/taken": {} });
  const changes = new Map([["new", "changed" as const]]);
  const sum: CommittedFacts["sum"] = (side, _, path) => (side === "after" ? { done: "b", undone: "c", taken: "a" }[path] : undefined);
  expect(
    halfCommitted(before, after)
      .map(({ side, path }) => `${side} ${path}`)
      .sort(),
  ).toEqual(["after done", "after taken", "after undone"]);
  expect(changesOf(before, after, { changes: () => changes, sum })).toEqual([
    "changed new content",
    "changed taken tracked now",
    "changed undone content",
  ]);
});

test("what is in linked worktrees is told apart", () => {
  const linked = { ...main, name: "side", path: "/s", branch: null };
  const before = moment({ "worktrees/side/untracked/a": {} }, [], [main, linked]);
  expect(changesOf(before, moment({ "untracked/a": {} }))).toEqual(["added a", "removed side:a"]);
});

test("refs and HEADs that moved, came and went", () => {
  const ref = (name: string, oid: string): RefEntry => ({ name: `refs/heads/${name}`, oid });
  const before = moment({}, [ref("main", "1"), ref("old", "2"), ref("same", "3")]);
  const after = moment({}, [ref("main", "4"), ref("new", "5"), ref("same", "3")], [{ ...main, branch: null, oid: "6".repeat(40) }]);
  expect(diffRefs(before, after)).toEqual([
    { name: "refs/heads/main", before: "1", after: "4" },
    { name: "refs/heads/new", before: null, after: "5" },
    { name: "refs/heads/old", before: "2", after: null },
    { name: "HEAD", before: "refs/heads/main", after: "6".repeat(40) },
  ]);
});
