/** Puts the objects and refs of a chain into a new git directory. */
import { createWriteStream } from "node:fs";
import { open, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { withoutHeader } from "../archive/bundle-header.ts";
import type { Contents } from "../core/contents.ts";
import { BackupError } from "../core/errors.ts";
import { findArtifact, type Manifest } from "../core/manifest.ts";
import { readText } from "../git/refs.ts";
import { openArtifact } from "../points/catalogue.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import type { RestoreGit } from "./git-port.ts";

/**
 * The packs of the chain, base first. A full bundle's pack is put in place with its stored index when there is one.
 * Gives the packs' names (`pack-SUM`), in the same order, of those points that have a bundle.
 */
export async function fetchObjects(
  git: RestoreGit,
  gitDir: string,
  store: Store,
  chain: readonly Manifest[],
  options: CallOptions = {},
): Promise<string[]> {
  const packs: string[] = [];
  for (const manifest of chain) {
    const bundle = findArtifact(manifest, "bundle");
    if (bundle === undefined) continue;
    const pack = withoutHeader(await openArtifact(store, manifest, bundle, options), bundle.name);
    const index = findArtifact(manifest, "idx");
    if (index === undefined) packs.push(await git.indexPack(gitDir, pack, manifest.base !== null, options));
    else packs.push(await placePack(gitDir, pack, await openArtifact(store, manifest, index, options)));
  }
  return packs;
}

export interface RefOutcome {
  /** Refs whose object is not in the point: they were broken when it was made. */
  readonly broken: readonly string[];
}

/** The refs of the contents, as they were; no reflog is written. */
export async function writeRefs(git: RestoreGit, gitDir: string, contents: Contents, options: CallOptions = {}): Promise<RefOutcome> {
  const refs = [...contents.refs.values()];
  for (const { name, symref } of refs) {
    if (!isRefName(name)) throw new BackupError("hostile", `the point has a ref named ${JSON.stringify(name)}`);
    if (symref !== undefined && !isRefName(symref)) throw new BackupError("hostile", `the point has a ref that points to ${JSON.stringify(symref)}`);
  }
  const direct = refs.filter((ref) => ref.symref === undefined);
  const found = await git.findObjects(
    gitDir,
    direct.map((ref) => ref.oid),
  );
  await git.writeRefs(
    gitDir,
    refs.filter((ref) => ref.symref !== undefined || found.has(ref.oid)),
    options,
  );
  return { broken: direct.filter((ref) => !found.has(ref.oid)).map((ref) => ref.name) };
}

export async function writeHead(gitDir: string, head: { readonly branch: string | null; readonly oid: string | null }): Promise<void> {
  if (head.branch !== null && !isRefName(head.branch)) throw new BackupError("hostile", `the point's HEAD is on ${JSON.stringify(head.branch)}`);
  const text = head.branch === null ? head.oid : `ref: ${head.branch}`;
  if (text !== null) await writeFile(join(gitDir, "HEAD"), `${text}\n`);
}

/** Without processes; git itself checks the finer rules when it writes the ref. */
function isRefName(name: string): boolean {
  return (
    /^refs\/[^\s~^:?*[\\\p{Cc}]+$/u.test(name) &&
    !name.includes("..") &&
    !name.split("/").some((part) => part === "" || part.startsWith(".") || part.endsWith(".lock"))
  );
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

/** A pack's own sum, its last bytes, which is also its name. The repository's configuration is still the one that we made. */
async function trailer(path: string, gitDir: string): Promise<string> {
  const size = /objectformat\s*=\s*sha256/i.test(readText(join(gitDir, "config"))) ? 32 : 20;
  const handle = await open(path);
  try {
    const buffer = Buffer.alloc(size);
    await handle.read(buffer, 0, size, (await handle.stat()).size - size);
    return buffer.toString("hex");
  } finally {
    await handle.close();
  }
}
