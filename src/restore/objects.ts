/** Puts the objects and refs of a chain into a new git directory. */
import { createReadStream, createWriteStream } from "node:fs";
import { open, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { parseBundleHeader } from "../archive/bundle-header.ts";
import type { Contents } from "../core/contents.ts";
import { BackupError } from "../core/errors.ts";
import { findArtifact, type Manifest } from "../core/manifest.ts";
import { findObjects } from "../git/refs.ts";
import { git, gitText } from "../git/run.ts";
import { openArtifact } from "../points/catalogue.ts";
import type { CallOptions, Store } from "../stores/store.ts";

/** A new repository without hooks, templates or branches. `gitDir` is DIR/.git, or DIR itself for a bare one. */
export async function initRepository(root: string, isBare: boolean, objectFormat: "sha1" | "sha256"): Promise<void> {
  const bare = isBare ? ["--bare"] : [];
  await git(["-c", "init.defaultBranch=main", "init", "-q", ...bare, "--template=", `--object-format=${objectFormat}`, root]);
}

/**
 * The packs of the chain, base first. A full bundle's pack is put in place with its stored index when there is one.
 * Gives the packs' names (`pack-SUM`), in the same order, of those points that have a bundle.
 */
export async function fetchObjects(gitDir: string, store: Store, chain: readonly Manifest[], options: CallOptions = {}): Promise<string[]> {
  const packs: string[] = [];
  for (const manifest of chain) {
    const bundle = findArtifact(manifest, "bundle");
    if (bundle === undefined) continue;
    const pack = withoutHeader(await openArtifact(store, manifest, bundle, options), bundle.name);
    const index = findArtifact(manifest, "idx");
    if (index === undefined) packs.push(await indexPack(gitDir, pack, options));
    else packs.push(await placePack(gitDir, pack, await openArtifact(store, manifest, index, options)));
  }
  return packs;
}

/** The ids of a pack's objects. `pack`: as `fetchObjects` names it. */
export async function listPack(gitDir: string, pack: string): Promise<Set<string>> {
  const listing = await gitText(["--git-dir", gitDir, "show-index"], { input: createReadStream(join(gitDir, `objects/pack/${pack}.idx`)) });
  return new Set([...listing.matchAll(/^\d+ ([0-9a-f]+)/gm)].map(([, oid = ""]) => oid));
}

export interface RefOutcome {
  /** Refs whose object is not in the point: they were broken when it was made. */
  readonly broken: readonly string[];
}

/** The refs of the contents, as they were; no reflog is written. */
export async function writeRefs(gitDir: string, contents: Contents, options: CallOptions = {}): Promise<RefOutcome> {
  const refs = [...contents.refs.values()];
  for (const { name } of refs) if (!isRefName(name)) throw new BackupError("hostile", `the point has a ref named ${JSON.stringify(name)}`);
  const direct = refs.filter((ref) => ref.symref === undefined);
  const found = await findObjects(
    gitDir,
    direct.map((ref) => ref.oid),
  );
  const input = direct.filter((ref) => found.has(ref.oid)).map((ref) => `create ${ref.name}\0${ref.oid}\0`);
  if (input.length > 0) {
    const args = ["--git-dir", gitDir, "-c", "core.logAllRefUpdates=false", "update-ref", "-z", "--stdin"];
    await git(args, { input: input.join(""), ...options });
  }
  for (const { name, symref } of refs) {
    if (symref === undefined) continue;
    if (!isRefName(symref)) throw new BackupError("hostile", `the point has a ref that points to ${JSON.stringify(symref)}`);
    await git(["--git-dir", gitDir, "-c", "core.logAllRefUpdates=false", "symbolic-ref", name, symref], options);
  }
  return { broken: direct.filter((ref) => !found.has(ref.oid)).map((ref) => ref.name) };
}

export async function writeHead(gitDir: string, head: { readonly branch: string | null; readonly oid: string | null }): Promise<void> {
  if (head.branch !== null && !isRefName(head.branch)) throw new BackupError("hostile", `the point's HEAD is on ${JSON.stringify(head.branch)}`);
  const text = head.branch === null ? head.oid : `ref: ${head.branch}`;
  if (text !== null) await writeFile(join(gitDir, "HEAD"), `${text}\n`);
}

/** Without processes; git itself checks the finer rules when the ref is written. */
function isRefName(name: string): boolean {
  return (
    /^refs\/[^\s~^:?*[\\\p{Cc}]+$/u.test(name) &&
    !name.includes("..") &&
    !name.split("/").some((part) => part === "" || part.startsWith(".") || part.endsWith(".lock"))
  );
}

async function indexPack(gitDir: string, pack: AsyncIterable<Buffer>, options: CallOptions): Promise<string> {
  const answer = await gitText(["--git-dir", gitDir, "index-pack", "--stdin", "--fix-thin"], { input: pack, ...options }).catch((error: unknown) => {
    if (error instanceof BackupError && error.code === "git_failed")
      throw new BackupError("damaged", `git cannot read a pack of the point: ${error.message}`, { cause: error });
    throw error;
  });
  return `pack-${answer.trim().replace(/^(?:pack|keep)\s+/, "")}`;
}

async function placePack(gitDir: string, pack: AsyncIterable<Buffer>, index: AsyncIterable<Buffer>): Promise<string> {
  const folder = join(gitDir, "objects/pack");
  const temporary = join(folder, "tmp_pack_holdfast");
  await writeStream(temporary, pack);
  const sum = await trailer(temporary, gitDir);
  await writeStream(join(folder, `pack-${sum}.idx`), index);
  await rename(temporary, join(folder, `pack-${sum}.pack`)).catch(async (error: unknown) => {
    await rm(temporary, { force: true });
    throw error;
  });
  return `pack-${sum}`;
}

async function writeStream(path: string, pieces: AsyncIterable<Buffer>): Promise<void> {
  await pipeline(pieces, createWriteStream(path, { mode: 0o444 }));
}

/** A pack's own sum, its last bytes, which is also its name. */
async function trailer(path: string, gitDir: string): Promise<string> {
  const format = (await gitText(["--git-dir", gitDir, "rev-parse", "--show-object-format"])).trim();
  const size = format === "sha256" ? 32 : 20;
  const handle = await open(path);
  try {
    const buffer = Buffer.alloc(size);
    await handle.read(buffer, 0, size, (await handle.stat()).size - size);
    return buffer.toString("hex");
  } finally {
    await handle.close();
  }
}

async function* withoutHeader(pieces: AsyncIterable<Buffer>, name: string): AsyncGenerator<Buffer> {
  let start: Buffer | undefined = Buffer.alloc(0);
  for await (const piece of pieces) {
    if (start === undefined) {
      yield piece;
      continue;
    }
    start = Buffer.concat([start, piece]);
    const header = parseBundleHeader(start, name);
    if (header === undefined) continue;
    yield start.subarray(header.packOffset);
    start = undefined;
  }
  if (start !== undefined) throw new BackupError("damaged", `${name} has no end of its header`);
}
