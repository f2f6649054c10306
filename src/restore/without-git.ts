/**
 * What a restore asks of git, answered without the program: objects by isomorphic-git, the rest by readers of our own.
 * Loaded only when it is asked for. limits.ts says what it cannot do.
 */
import { type BigIntStats, closeSync, existsSync, fchmodSync, lstatSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseDateWords } from "../core/date-words.ts";
import { BackupError } from "../core/errors.ts";
import { decodePath, encodePath, isContained, isGitName } from "../core/paths.ts";
import { isPlainConfig, parseConfigText } from "../git/config-syntax.ts";
import { type NewIndexEntry, readIndexFile, writeIndexFile } from "../git/index-file.ts";
import { ObjectReader } from "../git/object-reader.ts";
import { readHeadFile, readRefFiles, writeRefFiles } from "../git/ref-files.ts";
import { findRevision, readCommitTime } from "../git/revision.ts";
import { listCommit } from "../git/tree.ts";
import { readPackIds } from "../git/whole-pack.ts";
import { blobOid } from "./compare.ts";
import type { Place, RestoreGit, Settings } from "./git-port.ts";
import { SafeFolder, writeAll } from "./safe-folder.ts";

export function withoutGit(): RestoreGit {
  const readerOf = oneReader();
  return {
    isProgram: false,
    initRepository,
    indexPack: (gitDir, pack, isThin) => readerOf(gitDir).addPack(pack, isThin),
    listPack: async (gitDir, pack) => new Set(readPackIds(join(gitDir, `objects/pack/${pack}.idx`))),
    async findObjects(gitDir, oids) {
      const found = new Set<string>();
      for (const oid of oids) if (!found.has(oid) && (await readerOf(gitDir).find(oid)) !== undefined) found.add(oid);
      return found;
    },
    writeRefs: async (gitDir, refs) => writeRefFiles(gitDir, refs),
    readRefs: async (gitDir) => readRefFiles(gitDir),
    readHead: async (gitDir) => readHeadFile(gitDir),
    readSettings: async (file) => readSettings(readFileSync(encodePath(file), "latin1")),
    readIndex: async ({ gitDir }) => (existsSync(join(gitDir, "index")) ? readIndexFile(join(gitDir, "index")) : []),
    writeIndexed: (place, commonDir, paths, { signal }) => writeIndexed(readerOf(commonDir), place, paths, signal),
    writeCommit: (place, oid, { signal }) => writeCommit(readerOf(place.gitDir), place, oid, signal),
    listChanged: (place, oid) => listChanged(readerOf(place.gitDir), place, oid),
    findCommit: (gitDir, what) => findRevision(gitDir, readerOf(gitDir), what),
    readCommitTime: (gitDir, oid) => readCommitTime(readerOf(gitDir), oid),
    parseDate: async (text) => parseDateWords(text, new Date()),
  };
}

function readSettings(text: string): Settings | undefined {
  const list = parseConfigText(text);
  return list === undefined ? undefined : { list, isExact: isPlainConfig(text) };
}

/** A reader keeps the packs in memory: never those of two repositories. */
function oneReader(): (gitDir: string) => ObjectReader {
  let last: { readonly gitDir: string; readonly reader: ObjectReader } | undefined;
  return (gitDir) => {
    if (last?.gitDir !== gitDir) last = { gitDir, reader: new ObjectReader(gitDir) };
    return last.reader;
  };
}

async function initRepository(root: string, isBare: boolean, objectFormat: "sha1" | "sha256"): Promise<void> {
  if (objectFormat !== "sha1") throw new BackupError("internal", "a repository of sha256 without git");
  const gitDir = isBare ? root : join(root, ".git");
  for (const folder of ["objects/info", "objects/pack", "refs/heads", "refs/tags"]) mkdirSync(join(gitDir, folder), { recursive: true });
  writeFileSync(join(gitDir, "config"), `[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = ${isBare}\n`);
  writeFileSync(join(gitDir, "HEAD"), "ref: refs/heads/main\n");
}

async function writeIndexed(
  objects: ObjectReader,
  { gitDir, root }: Place,
  paths: readonly string[],
  signal: AbortSignal | undefined,
): Promise<void> {
  const wanted = new Set(paths);
  const folder = new SafeFolder(root, 0o777);
  for (const { path, mode, oid, stage } of readIndexFile(join(gitDir, "index"))) {
    signal?.throwIfAborted();
    if (stage !== 0 || !wanted.has(path)) continue;
    // One that the point could not hold stays absent, and the comparison names it.
    const blob = await objects.find(oid);
    if (blob !== undefined) writeTracked(folder, path, mode, blob.bytes);
  }
}

async function writeCommit(objects: ObjectReader, { gitDir, root }: Place, oid: string, signal: AbortSignal | undefined): Promise<void> {
  const folder = new SafeFolder(root, 0o777);
  const entries: NewIndexEntry[] = [];
  for await (const file of listCommit(objects, oid)) {
    signal?.throwIfAborted();
    const { path, mode } = file;
    if (!isContained(path) || path.split("/").some(isGitName)) throw new BackupError("hostile", `commit ${oid} names ${JSON.stringify(path)}`);
    if (mode === "160000") folder.folder(path);
    else writeTracked(folder, path, mode, (await objects.read(file.oid, "blob")).bytes);
    entries.push({ ...file, stat: lstatSync(encodePath(`${root}/${path}`), { bigint: true }) });
  }
  rmSync(join(gitDir, "index"), { force: true });
  writeFileSync(join(gitDir, "index"), writeIndexFile(entries));
}

function writeTracked(folder: SafeFolder, path: string, mode: string, bytes: Uint8Array): void {
  const content = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (mode === "120000") {
    folder.symlink(path, decodePath(content));
    return;
  }
  const descriptor = folder.create(path);
  try {
    writeAll(descriptor, content, 0, false);
    fchmodSync(descriptor, (mode === "100755" ? 0o777 : 0o666) & ~process.umask());
  } finally {
    closeSync(descriptor);
  }
}

async function listChanged(objects: ObjectReader, { root }: Place, oid: string): Promise<string[]> {
  const changed: string[] = [];
  for await (const { path, mode, oid: wanted } of listCommit(objects, oid)) {
    const full = `${root}/${path}`;
    const stat = lstatSync(encodePath(full), { bigint: true, throwIfNoEntry: false });
    if (mode === "160000" || (stat !== undefined && modeOf(stat) === mode && blobOid(full, stat, "sha1") === wanted)) continue;
    changed.push(path);
  }
  return changed;
}

/** As a tree would say it. */
function modeOf(stat: BigIntStats): string {
  if (stat.isSymbolicLink()) return "120000";
  return stat.isFile() ? ((Number(stat.mode) & 0o100) === 0 ? "100644" : "100755") : "none";
}
