/**
 * Writes a point's bundle: a header of our own over a pack. `git bundle create` drops refs that did not move, forgets
 * deletions and refuses an empty pack; this header lists every ref as it is. Stock git reads it with
 * `git bundle unbundle` (gitformat-bundle(5)). A full bundle's pack holds every object of the repository, reachable
 * or not; an incremental's is thin and holds what came since the base.
 */
import { createHash } from "node:crypto";
import { createReadStream, readdirSync } from "node:fs";
import { mkdir, rm, symlink } from "node:fs/promises";
import { join } from "node:path";
import { ArtifactWriter } from "../archive/artifact-file.ts";
import { type Problem, partialClone, type RefEntry } from "../core/contents.ts";
import { BackupError, describeError } from "../core/errors.ts";
import type { Artifact } from "../core/manifest.ts";
import { listIndexed } from "../git/pack-index.ts";
import { findObjects } from "../git/refs.ts";
import type { Repository } from "../git/repository.ts";
import { git, gitStream, gitText } from "../git/run.ts";
import { statOf } from "./observed.ts";

export interface BundleRequest {
  readonly repository: Repository;
  readonly folder: string;
  readonly id: string;
  readonly refs: readonly RefEntry[];
  readonly head: string | null;
  readonly tips: ReadonlySet<string>;
  /** What the base had; or, of a full bundle, the pack that `packEverything` is writing. */
  readonly base: BundleBase | { readonly pack: Promise<FullPack> };
  /** False when the refs are as in the base: then a bundle without objects is not worth having. */
  readonly refsChanged: boolean;
  readonly signal?: AbortSignal | undefined;
}

export interface BundleBase {
  /** What it named. */
  readonly tips: readonly string[];
  readonly since: Date;
  /** The pack index of the full point below it; it may not be there. */
  readonly fullIndex: string | undefined;
}

export interface BundleResult {
  /** The bundle, and of a full one its pack's index; empty when there is nothing to say. */
  readonly artifacts: readonly Artifact[];
  readonly problems: readonly Problem[];
  /** Tips whose object the repository does not have. */
  readonly missing: readonly string[];
}

export async function writeBundle(request: BundleRequest): Promise<BundleResult> {
  return "pack" in request.base ? writeFull(request, await request.base.pack) : writeIncremental(request, request.base);
}

async function writeFull(request: BundleRequest, first: FullPack): Promise<BundleResult> {
  const { repository, folder, id } = request;
  const { pack, missing } = await packWithTips(request, first);
  const { name } = pack;
  const problems = [...pack.problems, ...danglingRefs(request.refs, new Set(missing))];
  const artifacts: Artifact[] = [];
  if (name !== undefined || request.refs.length > 0) {
    const writer = await ArtifactWriter.create(join(folder, `${id}.bundle`), "none");
    await writer.write(header(request, [], missing));
    if (name === undefined) await writer.write(emptyPack(repository.objectFormat));
    else await copyPack(join(packingFolder(repository), `${name}.pack`), repository.objectFormat, writer);
    artifacts.push(await writer.finish(`${id}.bundle`));
  }
  if (name === undefined) return { artifacts, problems, missing };
  const writer = await ArtifactWriter.create(join(folder, `${id}.idx`), "none");
  for await (const chunk of createReadStream(join(packingFolder(repository), `${name}.idx`))) await writer.write(chunk as Buffer);
  artifacts.push(await writer.finish(`${id}.idx`));
  await rm(packingFolder(repository), { recursive: true, force: true });
  return { artifacts, problems, missing };
}

/** The pack was begun before the refs were read: where one of them moved meanwhile it is made anew, and then it holds them. */
async function packWithTips(request: BundleRequest, first: FullPack): Promise<{ pack: FullPack; missing: readonly string[] }> {
  const absent = await absentFrom(request, first);
  if (absent.length === 0) return { pack: first, missing: [] };
  const found = await findObjects(request.repository.commonDir, absent);
  if (found.size === 0) return { pack: first, missing: absent };
  const second = await packEverything(request);
  return { pack: second, missing: await absentFrom(request, second) };
}

/** Tips that the pack does not hold. */
async function absentFrom({ repository, tips }: BundleRequest, { name }: FullPack): Promise<string[]> {
  if (name === undefined) return [...tips];
  const held = await findObjects(repository.commonDir, [...tips], { GIT_OBJECT_DIRECTORY: packingFolder(repository) });
  return [...tips].filter((oid) => !held.has(oid));
}

async function writeIncremental(request: BundleRequest, base: BundleBase): Promise<BundleResult> {
  const { repository, folder, id } = request;
  const before = new Set(base.tips);
  const unnamed = [...listNewLoose(repository.commonDir, base.since), ...(await listNewCruft(repository.commonDir, base.since))];
  const loose = await withoutStored(
    unnamed.filter((oid) => !before.has(oid)),
    base.fullIndex,
    repository.commonDir,
  );
  const fresh = [...request.tips].filter((oid) => !before.has(oid));
  const lasting = partialProblem(repository);
  if (fresh.length === 0 && loose.length === 0 && !request.refsChanged) return { artifacts: [], problems: lasting, missing: [] };
  const found = await findObjects(repository.commonDir, [...new Set([...fresh, ...loose, ...before])]);
  const missing = [...request.tips].filter((oid) => !found.has(oid));
  const problems = [...lasting, ...danglingRefs(request.refs, new Set(missing))];
  const wanted = fresh.filter((oid) => found.has(oid));
  if (wanted.length === 0 && loose.length === 0 && !request.refsChanged) return { artifacts: [], problems, missing };
  const bottom = [...before].filter((oid) => found.has(oid));
  const prerequisites = await boundary(
    repository.commonDir,
    wanted.filter((oid) => isCommitish(found.get(oid))),
    bottom.filter((oid) => isCommitish(found.get(oid))),
  );
  const file = join(folder, `${id}.bundle`);
  const write = async (tips: readonly string[]): Promise<Artifact> => {
    await rm(file, { force: true });
    const writer = await ArtifactWriter.create(file, "none");
    try {
      await writer.write(header(request, prerequisites, missing));
      if (tips.length === 0) await writer.write(emptyPack(repository.objectFormat));
      else await packThin(request, tips, bottom, (chunk) => writer.write(chunk));
      return await writer.finish(`${id}.bundle`);
    } catch (error) {
      await writer.abandon().catch(() => undefined); // the first error is the one that tells
      throw error;
    }
  };
  const all = [...new Set([...wanted, ...loose.filter((oid) => found.has(oid))])];
  try {
    return { artifacts: [await write(all)], problems, missing };
  } catch (error) {
    if (!(error instanceof BackupError) || error.code !== "git_failed") throw error;
    // A loose tree or commit that nothing names may lack what it names; it was never whole.
    const artifact = await write(wanted).catch((second: unknown) => {
      throw new BackupError("git_failed", `objects of the repository cannot be packed: ${describeError(second)}`, {
        cause: second,
        hint: "git fsck --full",
      });
    });
    return { artifacts: [artifact], problems, missing };
  }
}

/**
 * Where git writes a full pack: on the volume of the repository, since git first writes into the user's objects/pack
 * and renames, which no other volume takes; the store may be on one.
 */
function packingFolder({ commonDir }: Repository): string {
  return join(commonDir, "holdfast/packing");
}

/** A pack of every object of the repository, and its index, in the packing folder. */
export interface FullPack {
  /** Its path in that folder without the ending; undefined when the repository has no object at all. */
  readonly name: string | undefined;
  readonly problems: readonly Problem[];
}

/** Needs nothing but the repository, so it may run while the rest is still being observed. */
export async function packEverything({ repository, signal }: Pick<BundleRequest, "repository" | "signal">): Promise<FullPack> {
  const problems = partialProblem(repository);
  const everything = ["--all", "--reflog", "--indexed-objects", "--keep-unreachable", "--pack-loose-unreachable", "--revs"];
  const lenient = repository.isPartial ? ["--missing=allow-promisor"] : [];
  // As git lays out an object folder, so that git can be asked what is in it.
  const folder = packingFolder(repository);
  const run = async (args: readonly string[], input: string): Promise<string | undefined> => {
    await rm(folder, { recursive: true, force: true });
    const options = { env: { GIT_OBJECT_DIRECTORY: await borrowObjects(repository.commonDir, folder) }, signal };
    const output = await gitText(
      ["--git-dir", repository.commonDir, "pack-objects", "-q", "--delta-base-offset", ...args, join(folder, "pack/pack")],
      {
        input,
        ...options,
      },
    );
    const sum = output.trim();
    return /^[0-9a-f]+$/.test(sum) ? `pack/pack-${sum}` : undefined;
  };
  try {
    return { name: await run([...everything, ...lenient], ""), problems };
  } catch (error) {
    if (!(error instanceof BackupError) || error.code !== "git_failed") throw error;
    // A gc may have replaced the packs since they were listed: once more, before anything is called damaged.
    const second = await run([...everything, ...lenient], "").catch(() => null);
    if (second !== null) return { name: second, problems };
    problems.push({
      code: "missing_objects",
      path: ".git/objects",
      message: `objects are missing or damaged; all that can be read is kept (${error.message})`,
    });
    return { name: await packReadable(repository.commonDir, (oids) => run([], `${oids.join("\n")}\n`), problems), problems };
  }
}

/**
 * An object folder of ours in which everything is the user's: git writes its temporary pack into the object folder that
 * it is given, and a killed run must not leave one in the user's. Links for the fan-out folders, `info` and each pack:
 * git counts them as its own, unreachable objects included, which alternates would not do.
 */
async function borrowObjects(commonDir: string, folder: string): Promise<string> {
  const [theirs, ours] = [join(commonDir, "objects"), join(folder, "objects")];
  await mkdir(join(folder, "pack"), { recursive: true });
  await mkdir(join(ours, "pack"), { recursive: true });
  for (const name of foldersOf(theirs)) if (name !== "pack") await symlink(join(theirs, name), join(ours, name));
  for (const name of foldersOf(join(theirs, "pack")))
    if (!name.startsWith("tmp_")) await symlink(join(theirs, "pack", name), join(ours, "pack", name));
  return ours;
}

/** Packs all that can be read. Slow; only for a repository that is damaged already. */
async function packReadable(
  commonDir: string,
  pack: (oids: readonly string[]) => Promise<string | undefined>,
  problems: Problem[],
): Promise<string | undefined> {
  let { readable, damaged } = await listReadable(commonDir);
  try {
    while (readable.length > 0) {
      try {
        return await pack(readable);
      } catch (error) {
        if (!(error instanceof BackupError) || error.code !== "git_failed") throw error;
        // What the check has missed, packing names one by one.
        const named = new Set(error.message.match(/(?<![0-9a-f-])(?:[0-9a-f]{64}|[0-9a-f]{40})(?![0-9a-f])/g));
        const rest = readable.filter((oid) => !named.has(oid));
        if (rest.length === readable.length) throw error;
        damaged = [...damaged, ...readable.filter((oid) => named.has(oid))];
        readable = rest;
      }
    }
    return undefined;
  } finally {
    for (const oid of damaged) problems.push({ code: "corrupt_objects", path: `.git/objects/${oid}`, message: "the object is damaged" });
  }
}

/** Objects that are there, and those of them that git's full check finds damaged. */
async function listReadable(commonDir: string): Promise<{ readable: string[]; damaged: string[] }> {
  const all = await gitText(["--git-dir", commonDir, "cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)"], {
    okCodes: [0, 128],
  });
  const { stdout, stderr } = await git(["--git-dir", commonDir, "fsck", "--full", "--no-dangling", "--no-progress"], {
    okCodes: Array.from({ length: 256 }, (_, code) => code),
  });
  const damaged = new Set(
    [
      ...`${stdout.toString("utf8")}\n${stderr}`.matchAll(
        /^(?:error|fatal)?:? ?.*?(?<![0-9a-f-])([0-9a-f]{64}|[0-9a-f]{40})(?![0-9a-f]).*(?:corrupt|mismatch|inflate|unpack|broken|cannot be read|unable to parse).*$/gim,
      ),
    ].map((match) => match[1]),
  );
  const oids = all.split("\n").flatMap((line) => line.split(" ", 1).filter((oid) => oid !== ""));
  return { readable: oids.filter((oid) => !damaged.has(oid)), damaged: oids.filter((oid) => damaged.has(oid)) };
}

async function packThin(
  request: BundleRequest,
  tips: readonly string[],
  bottom: readonly string[],
  onChunk: (chunk: Buffer) => Promise<void>,
): Promise<void> {
  const { repository, signal } = request;
  const input = `${tips.join("\n")}\n--not\n${bottom.join("\n")}\n`;
  const lenient = repository.isPartial ? ["--missing=allow-promisor"] : [];
  await gitStream(
    ["--git-dir", repository.commonDir, "pack-objects", "-q", "--revs", "--thin", "--delta-base-offset", "--stdout", ...lenient],
    onChunk,
    {
      input,
      signal,
    },
  );
}

/** The commits of the base that the new ones stand on. */
async function boundary(commonDir: string, tips: readonly string[], bottom: readonly string[]): Promise<string[]> {
  if (tips.length === 0) return [];
  // `--not` on stdin is an error before git 2.42.
  const output = await gitText(["--git-dir", commonDir, "rev-list", "--boundary", "--stdin"], {
    input: [...tips, ...bottom.map((oid) => `^${oid}`), ""].join("\n"),
  }).catch(() => "");
  return output
    .split("\n")
    .filter((line) => line.startsWith("-"))
    .map((line) => line.slice(1));
}

function partialProblem({ isPartial }: Repository): Problem[] {
  return isPartial ? [{ code: "missing_objects", path: ".git/objects", message: partialClone }] : [];
}

function danglingRefs(refs: readonly RefEntry[], missing: ReadonlySet<string>): Problem[] {
  return refs
    .filter((ref) => missing.has(ref.oid))
    .map((ref) => ({ code: "missing_objects", path: ref.name, message: `its object ${ref.oid} is missing` }));
}

/** Refs whose object is missing are not in it: git would refuse the bundle. */
function header({ repository, refs, head }: BundleRequest, prerequisites: readonly string[], missing: readonly string[]): Buffer {
  const absent = new Set(missing);
  const version = repository.objectFormat === "sha256" ? "# v3 git bundle\n@object-format=sha256\n" : "# v2 git bundle\n";
  const lines = [
    ...prerequisites.map((oid) => `-${oid} base\n`),
    ...refs.filter(({ oid }) => !absent.has(oid)).map((ref) => `${ref.oid} ${ref.name}\n`),
    ...(head === null || absent.has(head) ? [] : [`${head} HEAD\n`]),
  ];
  return Buffer.from(`${version}${lines.join("")}\n`);
}

function emptyPack(objectFormat: "sha1" | "sha256"): Buffer {
  const start = Buffer.from([0x50, 0x41, 0x43, 0x4b, 0, 0, 0, 2, 0, 0, 0, 0]);
  return Buffer.concat([start, createHash(objectFormat).update(start).digest()]);
}

/** Copies the pack and checks its own sum on the way: what git wrote is what we store. */
async function copyPack(path: string, objectFormat: "sha1" | "sha256", writer: ArtifactWriter): Promise<void> {
  const hash = createHash(objectFormat);
  const trailerSize = objectFormat === "sha1" ? 20 : 32;
  let tail = Buffer.alloc(0);
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) {
    await writer.write(chunk as Buffer);
    const buffer = tail.length === 0 ? (chunk as Buffer) : Buffer.concat([tail, chunk as Buffer]);
    const end = Math.max(0, buffer.length - trailerSize);
    hash.update(buffer.subarray(0, end));
    tail = Buffer.from(buffer.subarray(end));
  }
  if (!hash.digest().equals(tail)) throw new BackupError("io_failed", `the pack that git wrote to ${path} was not read back as written`);
}

/** Loose objects written since `since`: what was created and dropped again between two points is named by nothing else. */
function listNewLoose(commonDir: string, since: Date): string[] {
  const floor = BigInt(since.getTime() - 5000) * 1_000_000n;
  const oids: string[] = [];
  for (const fan of foldersOf(join(commonDir, "objects"))) {
    if (!/^[0-9a-f]{2}$/.test(fan)) continue;
    for (const rest of foldersOf(join(commonDir, "objects", fan))) {
      if (!/^[0-9a-f]{38}(?:[0-9a-f]{24})?$/.test(rest)) continue;
      const stat = statOf(join(commonDir, "objects", fan, rest));
      if (stat !== undefined && stat.mtimeNs >= floor) oids.push(fan + rest);
    }
  }
  return oids;
}

/** git touches an object that it would write again: of many that seem new most are in the full point. */
async function withoutStored(oids: readonly string[], fullIndex: string | undefined, commonDir: string): Promise<string[]> {
  if (oids.length < worthAsking || fullIndex === undefined || statOf(fullIndex) === undefined) return [...oids];
  const stored = await listStored(fullIndex, commonDir);
  return oids.filter((oid) => !stored.has(oid));
}

const worthAsking = 50;

/** None where it cannot be read. */
function listStored(index: string, commonDir: string): Promise<ReadonlySet<string>> {
  return listIndexed(commonDir, index).catch(() => new Set());
}

/** Objects of cruft packs written since `since`: a repack put there what was loose and reachable from nothing. (gitformat-pack(5)) */
async function listNewCruft(commonDir: string, since: Date): Promise<string[]> {
  const floor = BigInt(since.getTime() - 5000) * 1_000_000n;
  const folder = join(commonDir, "objects/pack");
  const oids: string[] = [];
  for (const name of foldersOf(folder)) {
    if (!name.endsWith(".mtimes")) continue;
    const index = join(folder, name.replace(/mtimes$/, "idx"));
    const stat = statOf(index);
    if (stat === undefined || stat.mtimeNs < floor) continue;
    oids.push(...(await listStored(index, commonDir)));
  }
  return oids;
}

function foldersOf(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return []; // gone since it was listed (gc): its objects are in a pack now
  }
}

function isCommitish(type: string | undefined): boolean {
  return type === "commit" || type === "tag";
}
