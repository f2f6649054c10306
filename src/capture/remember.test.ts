/** A model test: whatever comes and goes, every point's chain gives back what was there when it was made. */
import { createReadStream, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/repo.ts";
import { readArtifact } from "../archive/artifact-file.ts";
import { type ContentsRecord, foldContents, parseContents, type RefEntry } from "../core/contents.ts";
import { chainSteps, maxChain } from "../core/ladder.ts";
import type { Artifact, Manifest } from "../core/manifest.ts";
import { Unpacker } from "../restore/unpack.ts";
import type { Captured } from "./capture.ts";
import { captureFiles } from "./capture-files.ts";
import { writeContents } from "./contents-file.ts";
import { type KnownPoint, KnownState } from "./known.ts";
import type { ObservedFile } from "./observed.ts";
import { planFiles, planFooting, planRefs } from "./plan.ts";
import { rememberPoint, rememberRepeat } from "./remember.ts";

const start = Date.parse("2026-11-21T00:00:00Z");
const idOf = (index: number) => `20261121T000000Z-${index.toString(16).padStart(6, "0")}`;

interface World {
  /** Entry path to content; null: it is seen, but cannot be read. */
  readonly files: Map<string, string | null>;
  readonly refs: Map<string, string>;
}

/** Makes one point after another in a folder, without a repository: virtual files, and some that vanish under our hands. */
class Maker {
  readonly spool: string;
  readonly state: KnownState;
  readonly records: ContentsRecord[][] = [];
  readonly tarballs: (Artifact | undefined)[] = [];
  readonly bases: (number | undefined)[] = [];
  known: KnownPoint | undefined;

  constructor(folder: string) {
    this.spool = join(folder, "spool");
    this.state = new KnownState(join(folder, "state"));
    mkdirSync(this.spool);
  }

  async make(world: World): Promise<void> {
    const index = this.records.length;
    const id = idOf(index);
    const { known, state, spool } = this;
    const now = new Date(start + index * 1000);
    const footing = planFooting({ known, now, repository: "r", commonDir: "/r", isFullAsked: false, recipients: [] });
    const observed = [...world.files].map(([path, content]): ObservedFile => virtual(path, content));
    const refs: RefEntry[] = [...world.refs].map(([name, value]) => ({ name, oid: value.repeat(40) }));
    const plan = planFiles(observed, known, footing);
    const refPlan = planRefs(refs, known, footing);
    const files = await captureFiles({ plan, footing, known, state, id, spool, startedAt: now });
    const counts = { files: 0, bytes: 0, changed: 0, refs: 0, left: 0, problems: 0 };
    const observation = { refs, worktrees: [], left: [] } as unknown as Captured["observation"];
    const repository = { objectFormat: "sha1" } as const;
    const artifact = await writeContents({
      repository,
      name: "r",
      id,
      spool,
      footing,
      observation,
      filePlan: plan,
      refPlan,
      files,
      problems: [],
      note: undefined,
    });
    const manifest = { id, full: known?.full ?? id, repository: "r", createdAt: now.toISOString() } as Manifest;
    const captured: Captured = { artifacts: [], observation, filePlan: plan, refPlan, files, facts: "", problems: [], counts };
    this.known = rememberPoint({
      manifest,
      manifestSha256: "",
      size: 1,
      captured,
      footing,
      known,
      commonDir: "/r",
      policyDigest: "",
      recipients: [],
    });
    this.records.push(parseContents((await readPlain(spool, artifact)).toString("utf8"), artifact.name));
    this.tarballs.push(files.artifacts[0]);
    this.bases.push(footing.kind === "full" ? undefined : Number.parseInt(footing.base.id.slice(-6), 16));
    expect(this.known.step).toBe(index);
    expect(chain(this.bases, index)).toEqual(chainSteps(index));
  }
}

function virtual(path: string, content: string | null): ObservedFile {
  const stat = {
    mode: 0o100600n,
    size: 4n,
    mtimeNs: 0n,
    ctimeNs: 0n,
    ino: 1n,
    dev: 1n,
    nlink: 1n,
    blocks: 8n,
    isFile: () => true,
    isDirectory: () => false,
    isSymbolicLink: () => false,
  };
  return { path, file: "/nowhere/at/all", kind: "file", stat, ...(content === null ? {} : { content: Buffer.from(content) }) };
}

function chain(bases: readonly (number | undefined)[], index: number): number[] {
  const found = [index];
  for (let at = bases[index]; at !== undefined; at = bases[at]) found.unshift(at);
  return found;
}

async function readPlain(folder: string, artifact: Artifact): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of readArtifact(artifact, createReadStream(join(folder, artifact.name)))) pieces.push(piece);
  return Buffer.concat(pieces);
}

const readable = (world: World): Map<string, string> => new Map([...world.files].filter((each): each is [string, string] => each[1] !== null));

function expectState(maker: Maker, index: number, world: World): void {
  const steps = chain(maker.bases, index);
  expect(steps.length).toBeLessThanOrEqual(maxChain);
  const { files, refs } = foldContents(steps.map((step) => maker.records[step] as ContentsRecord[]));
  expect([...files.keys()].sort()).toEqual([...readable(world).keys()].sort());
  expect(new Map([...refs.values()].map(({ name, oid }) => [name, oid[0]]))).toEqual(world.refs);
}

async function expectFiles(maker: Maker, index: number, world: World, target: string): Promise<void> {
  const steps = chain(maker.bases, index);
  const { files } = foldContents(steps.map((step) => maker.records[step] as ContentsRecord[]));
  mkdirSync(target);
  const unpacker = new Unpacker({ layout: { root: target, gitDir: join(target, ".git"), worktrees: new Map() }, files, replaces: true });
  for (const step of steps) {
    const tarball = maker.tarballs[step];
    if (tarball !== undefined) await unpacker.unpack(tarball.name, readArtifact(tarball, createReadStream(join(maker.spool, tarball.name))));
  }
  for (const [path, content] of readable(world))
    expect([path, readFileSync(join(target, path.slice("untracked/".length)), "utf8")]).toEqual([path, content]);
  rmSync(target, { recursive: true });
}

/** Small numbers that look random and are the same on every machine. */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * sides);
  };
}

test("over a hundred points and three merges, every chain gives the files and refs of its moment", async () => {
  using dir = tempDir();
  const maker = new Maker(dir.path);
  const roll = dice(7);
  const count = 124; // past the merges at 8, 36 and 120
  const worlds: World[] = [];
  const world: World = { files: new Map(), refs: new Map() };
  for (let index = 0; index < count; index += 1) {
    for (let change = roll(4); change > 0; change -= 1) {
      const path = `untracked/f${roll(25)}`;
      const kind = roll(8);
      if (kind < 4) world.files.set(path, `content ${roll(3)}`);
      else if (kind < 7) world.files.delete(path);
      else world.files.set(path, null);
      const ref = `refs/heads/b${roll(6)}`;
      if (roll(3) === 0) world.refs.delete(ref);
      else world.refs.set(ref, "abc"[roll(3)] ?? "a");
    }
    await maker.make(world);
    worlds.push({ files: new Map(world.files), refs: new Map(world.refs) });
    if (index % 20 === 19) {
      save(maker.state, maker.known as KnownPoint);
      maker.known = maker.state.load();
    }
  }
  worlds.forEach((each, index) => void expectState(maker, index, each));
  for (let index = 7; index < count; index += 29) await expectFiles(maker, index, worlds[index] as World, join(dir.path, "target"));
});

test("property: a file that came, went and came again is in the points that saw it", async () => {
  const content = fc.constantFrom("x", "y", undefined, null);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.tuple(content, content), { minLength: 1, maxLength: 14 }), async (history) => {
      using dir = tempDir();
      const maker = new Maker(dir.path);
      for (const [first, second] of history) {
        const files = new Map<string, string | null>();
        if (first !== undefined) files.set("untracked/a", first);
        if (second !== undefined) files.set("untracked/b", second);
        await maker.make({ files, refs: new Map() });
        expectState(maker, maker.records.length - 1, { files, refs: new Map() });
      }
    }),
    { numRuns: 5 },
  );
});

test("a deletion is told again by a point that builds on an older one, and forgotten by a full one", async () => {
  using dir = tempDir();
  const maker = new Maker(dir.path);
  const both = new Map([
    ["untracked/a", "x"],
    ["untracked/b", "y"],
  ]);
  await maker.make({ files: both, refs: new Map([["refs/heads/a", "a"]]) });
  for (let index = 1; index < 8; index += 1) await maker.make({ files: index < 3 ? both : new Map([["untracked/a", "x"]]), refs: new Map() });
  expect(maker.known?.goneFiles).toEqual(new Map([["untracked/b", 3]]));
  await maker.make({ files: new Map([["untracked/a", "x"]]), refs: new Map() });
  expect(maker.bases[8]).toBe(0);
  expect(maker.records[8]?.filter(({ t }) => t === "gone" || t === "ref-gone")).toEqual([
    { t: "ref-gone", name: "refs/heads/a" },
    { t: "gone", path: "untracked/b" },
  ]);
  expect(maker.known).toMatchObject({ goneFiles: new Map([["untracked/b", 8]]), goneRefs: new Map([["refs/heads/a", 8]]) });
});

test("a repeat takes no place in the ladder", async () => {
  using dir = tempDir();
  const maker = new Maker(dir.path);
  await maker.make({ files: new Map(), refs: new Map() });
  const before = maker.known as KnownPoint;
  const after = rememberRepeat(before, { id: "another" } as Manifest, "sum");
  expect(after).toEqual({ ...before, id: "another", manifestSha256: "sum" });
});

function save(state: KnownState, known: KnownPoint): void {
  state.stage(known);
  state.promote();
}
