import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { baseStep } from "../core/ladder.ts";
import type { KnownFile, KnownPoint } from "./known.ts";
import type { ObservedFile } from "./observed.ts";
import {
  type Footing,
  type FootingFacts,
  floorOf,
  fullEveryMs,
  isIndexFile,
  isSameEntry,
  nextRungs,
  planFiles,
  planFooting,
  planRefs,
  stepOf,
} from "./plan.ts";

const fullAt = "2026-11-20T00:00:00.000Z";
const now = new Date("2026-11-21T00:00:00Z");
const rung = (step: number) => ({ step, id: `p${step}`, createdAt: fullAt });
const oid = (letter: string) => letter.repeat(40);

const knownFile: KnownFile = {
  kind: "file",
  mode: 0o644,
  mtimeNs: 5n,
  ctimeNs: 6n,
  ino: 7n,
  size: 8,
  sha256: oid("a"),
  target: undefined,
  isSparse: false,
  step: 0,
};

function known(change: Partial<KnownPoint> = {}): KnownPoint {
  return {
    version: 1, repository: "r", commonDir: "/r/.git", policy: "", id: "p3", manifestSha256: "", recipients: [], full: "p0", fullAt, fullSize: 100, sinceFull: 10,
    step: 3, rungs: [0, 1, 2, 3].map(rung), refs: new Map(), goneRefs: new Map(), files: new Map(), goneFiles: new Map(), versions: new Map(),
    facts: "", worktrees: [], problems: [], isDamaged: false, counts: { files: 0, bytes: 0, changed: 0, refs: 0, left: 0, problems: 0 }, ...change,
  }; // biome-ignore format: a record
}

function observed(
  path: string,
  change: Partial<Record<"mtimeNs" | "ctimeNs" | "ino" | "size" | "mode", bigint>> = {},
  more: Partial<ObservedFile> = {},
): ObservedFile {
  const stat = { mtimeNs: 5n, ctimeNs: 6n, ino: 7n, size: 8n, mode: 0o100644n, nlink: 1n, ...change };
  return { path, file: `/w/${path}`, kind: "file", stat: stat as unknown as ObservedFile["stat"], ...more };
}

const incremental = (base: number, step = base + 1): Footing => ({ kind: "incremental", step, base: rung(base) });

describe("a point builds on nothing", () => {
  const facts: FootingFacts = { known: known(), now, repository: "r", commonDir: "/r/.git", isFullAsked: false, recipients: [] };

  test.each<[string, Partial<FootingFacts>]>([
    ["when nothing is remembered", { known: undefined }],
    ["when that is asked for", { isFullAsked: true }],
    ["when the store is another's", { repository: "other" }],
    ["when the repository was moved or copied", { commonDir: "/copy/.git" }],
    ["after a week", { now: new Date(Date.parse(fullAt) + fullEveryMs) }],
    ["when the clock stands before the last full one", { now: new Date(Date.parse(fullAt) - 1) }],
    ["when the incrementals outgrew half of a large full one", { known: known({ fullSize: 10 << 20, sinceFull: (5 << 20) + 1 }) }],
    ["when the incrementals outgrew a small one and a MiB", { known: known({ sinceFull: (1 << 20) + 1 }) }],
    ["when it is for other keys", { recipients: ["age1a"] }],
    ["when it is for a key more", { known: known({ recipients: ["age1a"] }), recipients: ["age1a", "age1b"] }],
    ["when it is for nobody any more", { known: known({ recipients: ["age1a"] }) }],
    ["when the rung that the ladder wants is not there", { known: known({ rungs: [rung(0)] }) }],
  ])("%s", (_, change) => {
    expect(planFooting({ ...facts, ...change })).toEqual({ kind: "full" });
  });

  test.each<[string, Partial<typeof facts>]>([
    ["a moment before a week is over", { now: new Date(Date.parse(fullAt) + fullEveryMs - 1) }],
    ["at the moment of the full one", { now: new Date(fullAt) }],
    ["with incrementals of just half of a large full one", { known: known({ fullSize: 10 << 20, sinceFull: 5 << 20 }) }],
    ["with a MiB of incrementals on a small one", { known: known({ sinceFull: 1 << 20 }) }],
  ])("else on a rung of the ladder: %s", (_, change) => {
    expect(planFooting({ ...facts, ...change })).toEqual({ kind: "incremental", step: 4, base: rung(3) });
  });

  test("and the ladder says on which", () => {
    const full = known({ step: 7, rungs: [0, 1, 2, 3, 4, 5, 6, 7].map(rung) });
    expect(planFooting({ ...facts, known: full })).toEqual({ kind: "incremental", step: 8, base: rung(0) });
  });

  test("the rungs that a next point may need are kept, over a thousand points", () => {
    let state: KnownPoint | undefined;
    for (let made = 0; made < 1000; made += 1) {
      const footing = planFooting({ ...facts, known: state });
      if (made > 0) expect(footing).toMatchObject({ kind: "incremental", step: made, base: { step: baseStep(made) } });
      state = known({ step: stepOf(footing), rungs: nextRungs(state, footing, rung(stepOf(footing))) });
      expect(state.rungs.length).toBeLessThanOrEqual(8);
      expect(state.rungs.map(({ step }) => step)).toEqual(state.rungs.map(({ step }) => step).sort((a, b) => a - b));
    }
  });
});

test("a full point stores everything, an incremental what is newer than its base", () => {
  expect([floorOf({ kind: "full" }), stepOf({ kind: "full" })]).toEqual([-1, 0]);
  expect([floorOf(incremental(2, 9)), stepOf(incremental(2, 9))]).toEqual([2, 9]);
});

describe("planFiles", () => {
  const files = new Map([["untracked/a", knownFile]]);
  const statusOf = (file: ObservedFile, last: KnownFile | undefined, footing: Footing = incremental(3)) =>
    planFiles([file], known({ files: last === undefined ? new Map() : new Map([[file.path, last]]) }), footing).files[0]?.status;

  test("takes a file whose stat is what it was for the same", () => {
    expect(statusOf(observed("untracked/a"), knownFile)).toBe("same");
  });

  test.each<[string, Parameters<typeof observed>[1]]>([
    ["time", { mtimeNs: 4n }],
    ["change time, though mtime was set back", { ctimeNs: 9n }],
    ["inode", { ino: 1n }],
    ["size", { size: 9n }],
    ["mode", { mode: 0o100755n }],
  ])("reads a file again whose %s is another", (_, change) => {
    expect(statusOf(observed("untracked/a", change), knownFile)).toBe("changed");
  });

  test("reads what it does not know, and all of it when nothing is known", () => {
    expect(statusOf(observed("untracked/a"), undefined)).toBe("changed");
    expect(planFiles([observed("untracked/a")], undefined, { kind: "full" }).files[0]?.status).toBe("changed");
  });

  test("reads a file that became another kind", () => {
    expect(statusOf(observed("untracked/a", {}, { kind: "symlink" }), knownFile)).toBe("changed");
    expect(statusOf(observed("untracked/a", {}, { kind: "folder" }), knownFile)).toBe("changed");
    expect(statusOf(observed("untracked/a"), { ...knownFile, kind: "symlink" })).toBe("changed");
  });

  test("keeps a hard link whose other name is there, and reads it when that is gone", () => {
    const link: KnownFile = { ...knownFile, kind: "hardlink", target: "untracked/a" };
    const state = known({ files: new Map([...files, ["untracked/b", link]]) });
    const both = planFiles([observed("untracked/a"), observed("untracked/b")], state, incremental(3));
    expect(both.files.map(({ status }) => status)).toEqual(["same", "same"]);
    expect(planFiles([observed("untracked/b")], state, incremental(3)).files.map(({ status }) => status)).toEqual(["changed"]);
  });

  test("looks at a folder's mode and time only: its inode and size say nothing", () => {
    const folder: KnownFile = { ...knownFile, kind: "folder" };
    const seen = (change: Parameters<typeof observed>[1]) => observed("folder/a", { mode: 0o40644n, ...change }, { kind: "folder" });
    expect(statusOf(seen({ ino: 1n, size: 1n, ctimeNs: 1n }), folder)).toBe("same");
    expect(statusOf(seen({ mtimeNs: 1n }), folder)).toBe("changed");
    expect(statusOf(seen({ mode: 0o40700n }), folder)).toBe("changed");
  });

  test("compares a virtual file by its bytes", () => {
    const content = Buffer.from("text");
    const sha256 = "982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1";
    expect(statusOf(observed("git/holdfast-x", { ino: 99n }, { content }), { ...knownFile, sha256 })).toBe("same");
    expect(statusOf(observed("git/holdfast-x", {}, { content }), knownFile)).toBe("changed");
  });

  test("stores again what is newer than the base, and everything in a full one", () => {
    expect(statusOf(observed("untracked/a"), { ...knownFile, step: 2 }, incremental(1, 4))).toBe("again");
    expect(statusOf(observed("untracked/a"), { ...knownFile, step: 1 }, incremental(1, 4))).toBe("same");
    expect(statusOf(observed("untracked/a"), knownFile, { kind: "full" })).toBe("again");
  });

  test("names what is gone, now and since the base", () => {
    const state = known({
      files: new Map([...files, ["untracked/b", knownFile]]),
      goneFiles: new Map([
        ["untracked/c", 3],
        ["untracked/d", 1],
        ["untracked/a", 3],
      ]),
    });
    const plan = planFiles([observed("untracked/a")], state, incremental(1, 4));
    expect(plan.newlyGone).toEqual(["untracked/b"]);
    expect([...plan.gone].sort()).toEqual(["untracked/b", "untracked/c"]);
    expect(planFiles([observed("untracked/a")], state, { kind: "full" }).gone).toEqual([]);
  });

  test("sees one file gone and another come", () => {
    const plan = planFiles([observed("untracked/z")], known({ files }), incremental(3));
    expect(plan.newlyGone).toEqual(["untracked/a"]);
  });
});

describe("planRefs", () => {
  const refs = new Map([
    ["refs/heads/a", { oid: oid("a"), step: 1 }],
    ["refs/heads/b", { oid: oid("b"), step: 3 }],
  ]);

  test("names refs that are new, moved, or newer than the base", () => {
    const plan = planRefs(
      [
        { name: "refs/heads/a", oid: oid("a") },
        { name: "refs/heads/b", oid: oid("b") },
        { name: "refs/heads/c", oid: oid("c") },
      ],
      known({ refs }),
      incremental(1, 4),
    );
    expect(plan).toEqual({
      changed: [
        { name: "refs/heads/b", oid: oid("b") },
        { name: "refs/heads/c", oid: oid("c") },
      ],
      gone: [],
    });
  });

  test("sees that a symbolic ref points elsewhere, though to the same commit", () => {
    const state = known({ refs: new Map([["refs/remotes/o/HEAD", { oid: oid("a"), symref: "refs/remotes/o/main", step: 0 }]]) });
    const moved = { name: "refs/remotes/o/HEAD", oid: oid("a"), symref: "refs/remotes/o/dev" };
    expect(planRefs([moved], state, incremental(3)).changed).toEqual([moved]);
  });

  test("names what is gone, now and since the base, once", () => {
    const state = known({
      refs,
      goneRefs: new Map([
        ["refs/heads/c", 3],
        ["refs/heads/d", 1],
        ["refs/heads/a", 3],
      ]),
    });
    expect([...planRefs([], state, incremental(1, 4)).gone].sort()).toEqual(["refs/heads/a", "refs/heads/b", "refs/heads/c"]);
  });

  test("gives all of them to a full one", () => {
    const all = [{ name: "refs/heads/a", oid: oid("a") }];
    expect(planRefs(all, known({ refs }), { kind: "full" })).toEqual({ changed: all, gone: [] });
  });
});

test("isIndexFile knows git's indexes, of linked worktrees and shared ones too", () => {
  expect(["git/index", "git/worktrees/side/index", "git/sharedindex.ab12", "git/worktrees/s/sharedindex.1"].every(isIndexFile)).toBe(true);
  expect(["git/index.bak", "git/logs/index", "untracked/index", "git/modules/a/index", "worktrees/s/git/index"].some(isIndexFile)).toBe(false);
});

test("property: an entry is the same as the file that remembers it, and no other", () => {
  const values = {
    mode: fc.constantFrom(0o644, 0o755),
    mtime: fc.constantFrom("1", "2"),
    sha256: fc.constantFrom(oid("a"), oid("b")),
    kind: fc.constantFrom("file" as const, "hardlink" as const),
  };
  fc.assert(
    fc.property(fc.record(values), fc.record(values), (a, b) => {
      const before: KnownFile = { ...knownFile, ...b, mtimeNs: BigInt(b.mtime) };
      expect(isSameEntry({ path: "untracked/a", ...a }, before)).toBe(JSON.stringify(a) === JSON.stringify(b));
    }),
  );
  expect(isSameEntry({ path: "x", kind: "file", mode: 0, mtime: "0" }, undefined)).toBe(false);
});
