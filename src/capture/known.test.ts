import { mkdirSync, readdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { serialize } from "node:v8";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import { type KnownFile, type KnownPoint, KnownState, knownVersion } from "./known.ts";

let dir: TempDir;
let folder = "";
let state: KnownState;
beforeEach(() => {
  dir = tempDir();
  folder = join(dir.path, "state");
  state = new KnownState(folder);
});
afterEach(() => dir[Symbol.dispose]());

const sum = "0123456789abcdef".repeat(4);

function point(change: Partial<KnownPoint> = {}): KnownPoint {
  return {
    version: knownVersion, repository: "r", commonDir: "/r/.git", policy: "p", id: "p3", manifestSha256: sum, recipients: ["age1a"], full: "p0",
    fullAt: "f", fullSize: 100, sinceFull: 10, step: 3, rungs: [{ step: 0, id: "p0", createdAt: "f" }, { step: 3, id: "p3", createdAt: "n" }],
    refs: new Map([["refs/heads/main", { oid: "a", step: 1 }], ["refs/remotes/o/HEAD", { oid: "a", symref: "refs/x", step: 0 }]]),
    goneRefs: new Map([["refs/heads/old", 2]]), files: new Map(), goneFiles: new Map([["untracked/\udcff", 1]]), versions: new Map(),
    facts: "", worktrees: [{ name: "", path: "/r", isBare: false, branch: null, oid: null }],
    problems: [{ code: "vanished", path: "x", message: "m" }], isDamaged: false, counts: { files: 1, bytes: 2, changed: 3, refs: 4, left: 5, problems: 6 }, ...change,
  }; // biome-ignore format: a record
}

const int64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
const file: fc.Arbitrary<KnownFile> = fc.record({
  kind: fc.constantFrom("file", "symlink", "hardlink", "folder"),
  mode: fc.nat(0o7777),
  mtimeNs: int64,
  ctimeNs: int64,
  ino: int64,
  size: fc.nat(Number.MAX_SAFE_INTEGER),
  sha256: fc.option(fc.string({ unit: fc.constantFrom(..."123456789abcdef"), minLength: 64, maxLength: 64 }), { nil: undefined }),
  target: fc.option(fc.constantFrom("", "x", "../\udce9", "untracked/😀\n"), { nil: undefined }),
  isSparse: fc.boolean(),
  step: fc.nat(),
});
const path = fc
  .oneof(fc.string({ unit: "binary", minLength: 1 }), fc.constantFrom("untracked/\udcff\udc80", "git/a\nb", "__proto__", "untracked/ "))
  .filter((text) => !text.includes("\0"));

/** A file's facts, whatever holds them. */
const plain = ({ kind, mode, mtimeNs, ctimeNs, ino, size, sha256, target, isSparse, step }: KnownFile): KnownFile => ({
  kind,
  mode,
  mtimeNs,
  ctimeNs,
  ino,
  size,
  sha256,
  target,
  isSparse,
  step,
});
const plainFiles = (known: KnownPoint | undefined) => [...(known?.files ?? [])].map(([name, each]) => [name, plain(each)]);

describe("what is known", () => {
  test("property: is what was saved, of any file with any name, also when saved again", () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.tuple(path, file), { selector: ([name]) => name, maxLength: 6 }), (files) => {
        const known = point({ files: new Map(files) });
        save(state, known);
        const loaded = state.load();
        expect({ ...loaded, files: undefined }).toEqual({ ...known, files: undefined });
        expect(plainFiles(loaded)).toEqual(files);
        if (loaded === undefined) return;
        // Some files as they were loaded, some anew: as the next point does it.
        const mixed = new Map([...loaded.files].reverse().map(([name, each], index) => [name, index % 2 === 0 ? each : plain(each)]));
        save(state, { ...loaded, files: mixed });
        expect(plainFiles(state.load())).toEqual([...files].reverse());
      }),
      { numRuns: 60 },
    );
  });

  test("is nothing before the first point, after it was forgotten, and of another version", () => {
    expect(state.load()).toBeUndefined();
    save(state, point());
    expect(state.load()).toBeDefined();
    state.forget();
    expect(state.load()).toBeUndefined();
    save(state, point({ version: knownVersion + 1 }));
    expect(state.load()).toBeUndefined();
  });

  test("is nothing when the file is damaged: cut anywhere, empty, or something else", () => {
    save(
      state,
      point({
        files: new Map([
          [
            "untracked/a",
            { kind: "file", mode: 1, mtimeNs: 1n, ctimeNs: 1n, ino: 1n, size: 1, sha256: sum, target: undefined, isSparse: false, step: 0 },
          ],
        ]),
      }),
    );
    const size = readFileSync(join(folder, "known")).length;
    for (let end = size - 1; end >= 0; end = end - 1 - (end >> 3)) {
      truncateSync(join(folder, "known"), end);
      expect(state.load()).toBeUndefined();
    }
    for (const junk of [Buffer.from("{}"), serialize(null), serialize({}), serialize({ version: knownVersion }), serialize([1])]) {
      writeFileSync(join(folder, "known"), junk);
      expect(state.load()).toBeUndefined();
    }
  });

  test("leaves no other file behind", () => {
    save(state, point());
    save(state, point());
    expect(readdirSync(folder)).toEqual(["known"]);
  });
});

describe("tips and chunks", () => {
  const chunks = { bits: 12, lengths: [1, 2], sums: ["a", "b"] };

  test("are what was written, and unknown where nothing was", () => {
    state.writeTips("p0", new Set(["a", "b"]));
    state.writeTips("p1", []);
    state.writeChunks(sum, chunks);
    expect([state.readTips("p0"), state.readTips("p1"), state.readTips("p2")]).toEqual([["a", "b"], [], undefined]);
    expect([state.readChunks(sum), state.readChunks("none")]).toEqual([chunks, undefined]);
  });

  test("that cannot be written are not remembered, and that is all", () => {
    mkdirSync(join(folder, "chunks", `${sum}.new`), { recursive: true });
    state.writeChunks(sum, chunks);
    expect(state.readChunks(sum)).toBeUndefined();
  });

  test("are unknown when their file is damaged", () => {
    mkdirSync(join(folder, "chunks"), { recursive: true });
    writeFileSync(join(folder, "chunks", sum), "junk");
    expect(state.readChunks(sum)).toBeUndefined();
  });

  test("go with the rungs and versions that need them, and only then", () => {
    for (const id of ["p0", "p1", "p3"]) state.writeTips(id, [id]);
    for (const name of ["kept", "gone"]) state.writeChunks(name, chunks);
    const versions = new Map([["untracked/a", [{ step: 0, sha256: "kept" }]]]);
    save(state, point({ versions }));
    expect(readdirSync(join(folder, "tips")).sort()).toEqual(["p0", "p3"]);
    expect(readdirSync(join(folder, "chunks"))).toEqual(["kept"]);
    save(state, point({ rungs: [] }));
    expect([readdirSync(join(folder, "tips")), readdirSync(join(folder, "chunks"))]).toEqual([[], []]);
  });
});

describe("a point that was staged", () => {
  test("is not read again by the run that staged it", () => {
    for (const id of ["p0", "p1", "p3"]) state.writeTips(id, [id]);
    state.stage(point());
    truncateSync(join(folder, "known.next"), 0);
    state.promote();
    expect(readdirSync(join(folder, "tips")).sort()).toEqual(["p0", "p3"]);
  });

  test("is promoted by the run after one that was killed", () => {
    for (const id of ["p0", "p1", "p3"]) state.writeTips(id, [id]);
    state.stage(point());
    const next = new KnownState(folder);
    expect(next.findStaged()).toBe("p3");
    next.promote();
    expect(next.load()).toMatchObject({ id: "p3" });
    expect(readdirSync(join(folder, "tips")).sort()).toEqual(["p0", "p3"]);
  });
});

function save(state: KnownState, known: KnownPoint): void {
  state.stage(known);
  state.promote();
}
