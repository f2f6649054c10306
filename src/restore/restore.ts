/** Carries out a restore plan into a new folder, then reads it back and compares. */
import { constants, lstatSync, mkdirSync, openSync, readdirSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Contents, type FileEntry, partialClone, placeOf } from "../core/contents.ts";
import { BackupError, systemCode } from "../core/errors.ts";
import { findArtifact } from "../core/manifest.ts";
import { encodePath, printablePath, splitPaths } from "../core/paths.ts";
import { type IndexEntry, readIndex } from "../git/index-entries.ts";
import { readText } from "../git/refs.ts";
import { git } from "../git/run.ts";
import { isOwnHook } from "../hooks/block.ts";
import { openArtifact, readContents } from "../points/catalogue.ts";
import type { Store } from "../stores/store.ts";
import { checkoutCommit, checkoutRaw, smudgeLfs } from "./checkout.ts";
import { type Comparison, compareFiles, compareRefs } from "./compare.ts";
import { applyConfig, applyNestedConfig } from "./config.ts";
import { fetchObjects, initRepository, writeHead, writeRefs } from "./objects.ts";
import { destinationOf, inertFolder, type TargetLayout } from "./place.ts";
import type { RestorePlan } from "./plan.ts";
import { SafeFolder, settle, touchLink } from "./safe-folder.ts";
import { listTree } from "./tree.ts";
import { Unpacker } from "./unpack.ts";

export interface RestoreRequest {
  readonly plan: RestorePlan;
  readonly store: Store;
  /** Absent or empty. */
  readonly target: string;
  readonly onProgress?: (step: string) => void;
  readonly signal?: AbortSignal;
}

export interface RestoreResult {
  readonly target: string;
  readonly gitDir: string;
  /** Restored linked worktrees. */
  readonly worktrees: readonly string[];
  readonly comparison: Comparison;
  /** Untracked files of the point whose path is a tracked file of the commit. */
  readonly skipped: readonly string[];
  /** Settings of the captured configuration that were not put to work. */
  readonly settings: readonly string[];
  /** Captured hooks that were not put to work. */
  readonly hooks: readonly string[];
  /** What the point itself could not hold. */
  readonly problems: Contents["problems"];
}

/** Throws a BackupError, also for what the file system refuses: names, links and sizes come from the store. */
export async function restore(request: RestoreRequest): Promise<RestoreResult> {
  try {
    return await restoreInto(request);
  } catch (error) {
    throw fromFileSystem(error, request.target);
  }
}

function fromFileSystem(error: unknown, target: string): unknown {
  const code = systemCode(error);
  if (error instanceof BackupError || code === undefined || !(error instanceof Error)) return error;
  const where = "path" in error && typeof error.path === "string" ? error.path : target;
  if (cannotBeNames.has(code)) return new BackupError("damaged", `the point holds what cannot be written here: ${where} (${code})`, { cause: error });
  return /^E[A-Z0-9]+$/.test(code) ? new BackupError("io_failed", `cannot restore: ${where} (${code})`, { cause: error }) : error;
}

/** Said of names that are too long or taken by another kind, of links that go round, of NUL. */
const cannotBeNames = new Set(["ENAMETOOLONG", "EEXIST", "EISDIR", "ENOTDIR", "ENOTEMPTY", "EINVAL", "EILSEQ", "ELOOP", "ERR_INVALID_ARG_VALUE"]);

async function restoreInto(request: RestoreRequest): Promise<RestoreResult> {
  const { plan, store } = request;
  const target = prepareTarget(request.target);
  const contents = await readContents(store, plan.chain, request);
  const layout = makeLayout(target, contents, plan);
  await initRepository(target, layout.gitDir === target, contents.header.objectFormat);
  request.onProgress?.("history");
  await fetchObjects(layout.gitDir, store, plan.objects, request);
  const result = plan.result === "moment" ? await restoreMoment(request, contents, layout) : await restoreCommit(request, contents, layout);
  if (plan.paths.length > 0) {
    rmSync(layout.gitDir, { recursive: true, force: true });
    if (listTree(target).next().done === true)
      throw new BackupError("no_match", `nothing in point ${plan.point.id} matches ${plan.paths.join(", ")}`);
  }
  return { target, gitDir: layout.gitDir, worktrees: [...layout.worktrees.values()], problems: contents.problems, ...result };
}

type Outcome = Omit<RestoreResult, "target" | "gitDir" | "worktrees" | "problems">;

async function restoreMoment(request: RestoreRequest, contents: Contents, layout: TargetLayout): Promise<Outcome> {
  const { plan, onProgress } = request;
  const chosen = chooseFiles(contents, plan.selects);
  const { files } = chosen;
  onProgress?.("files");
  // Refs before reflogs: git appends to a reflog that is there, whatever it is told.
  const { broken } = await writeRefs(layout.gitDir, contents, request);
  const main = contents.worktrees.find((worktree) => worktree.name === "");
  if (main !== undefined) await writeHead(layout.gitDir, main);
  const unpacker = await unpack(request, layout, chosen, true);
  const { leftOut } = await applyConfig(layout.gitDir, layout.worktrees.keys());
  const nested = await settleNested(layout, files);
  linkWorktrees(layout);
  onProgress?.("checkout");
  const indexes = new Map<string, readonly IndexEntry[]>();
  for (const { name, isBare } of contents.worktrees) {
    const root = name === "" ? layout.root : layout.worktrees.get(name);
    if (isBare || root === undefined) continue;
    const place = { root, gitDir: name === "" ? layout.gitDir : join(layout.gitDir, "worktrees", name) };
    const index = await readIndexOf(place);
    indexes.set(name, index);
    const clean = index
      .filter((entry) => entry.stage === 0 && entry.mode !== "160000" && files.has(trackedEntry(name, entry.path)))
      .map((entry) => entry.path);
    await checkoutRaw(place, layout.gitDir, clean, request);
  }
  if (contents.problems.some(({ message }) => message === partialClone)) markPromised(layout.gitDir);
  settleTimes(layout, files);
  onProgress?.("compare");
  const comparison = compareFiles({ layout, files, skipped: unpacker.skipped, indexes, objectFormat: contents.header.objectFormat });
  const refs = await compareRefs(layout.gitDir, contents, new Set(broken));
  return {
    comparison: { ...comparison, refs: contents.refs.size, differences: [...comparison.differences, ...refs] },
    skipped: [...unpacker.skipped].filter((path) => contents.files.get(path)?.kind === "symlink").map((path) => placeOf(path).path),
    settings: [...leftOut, ...nested],
    hooks: listHooks(layout.gitDir),
  };
}

async function restoreCommit(request: RestoreRequest, contents: Contents, layout: TargetLayout): Promise<Outcome> {
  const { plan, onProgress } = request;
  if (plan.result !== "commit") throw new BackupError("internal", "not a commit");
  const objectContents = plan.objects.at(-1) === plan.chain.at(-1) ? contents : await readContents(request.store, plan.objects, request);
  await writeRefs(layout.gitDir, objectContents, request);
  const isWanted = (entry: string): boolean => {
    const { worktree, area } = placeOf(entry);
    return worktree === "" && isBesideCommit(entry) && (area === "git" || (plan.withFiles && plan.selects(entry)));
  };
  await unpack(
    request,
    layout,
    chooseFiles(contents, (entry) => placeOf(entry).area === "git" && isWanted(entry)),
    true,
  );
  const { leftOut } = await applyConfig(layout.gitDir);
  onProgress?.("checkout");
  await checkoutCommit({ gitDir: layout.gitDir, root: layout.root }, plan.oid, plan.branch, request);
  const index = await readIndexOf({ gitDir: layout.gitDir, root: layout.root });
  const smudged = smudgeLfs(
    layout.gitDir,
    layout.root,
    index.filter((entry) => entry.mode.startsWith("100")).map((entry) => entry.path),
  );
  if (plan.paths.length > 0) removeUnselected(layout.root, index, plan.selects);
  onProgress?.("files");
  const tracked = new Set(index.map((entry) => entry.path));
  const isTaken = (path: string): boolean => tracked.has(path) || ancestors(path).some((folder) => tracked.has(folder));
  const skipped: string[] = [];
  const chosen = chooseFiles(contents, (entry) => {
    const { area, path } = placeOf(entry);
    return area !== "git" && isWanted(entry) && !isTaken(path);
  });
  for (const entry of contents.files.keys()) {
    const { area, path } = placeOf(entry);
    if (area === "untracked" && isWanted(entry) && isTaken(path)) skipped.push(path);
  }
  const untracked = chosen.files;
  const beside = await unpack(request, layout, chosen, false);
  const nested = await settleNested(layout, untracked);
  settleTimes(layout, untracked, new Set(index.flatMap((entry) => ancestors(entry.path))));
  onProgress?.("compare");
  const comparison = compareFiles({
    layout,
    files: new Map([...untracked].filter(([path]) => placeOf(path).area === "untracked")),
    skipped: beside.skipped,
    indexes: new Map(),
    objectFormat: contents.header.objectFormat,
  });
  const others = plan.paths.length > 0 ? [] : await differencesFromCommit(layout, plan.oid, new Set(smudged));
  return {
    comparison: { ...comparison, files: comparison.files + index.length, differences: [...comparison.differences, ...others] },
    skipped: [...skipped, ...[...beside.skipped].map((path) => placeOf(path).path)],
    settings: [...leftOut, ...nested],
    hooks: listHooks(layout.gitDir),
  };
}

async function unpack(
  { plan, store, signal }: RestoreRequest,
  layout: TargetLayout,
  { files, holders }: ChosenFiles,
  replaces: boolean,
): Promise<Unpacker> {
  const unpacker = new Unpacker({ layout, files, holders, replaces });
  makeFolders(layout, files);
  if (files.size === 0) return unpacker;
  for (const manifest of plan.chain) {
    const tarball = findArtifact(manifest, "tar.zst");
    if (tarball === undefined) continue;
    await unpacker.unpack(tarball.name, await openArtifact(store, manifest, tarball, signal === undefined ? {} : { signal }));
  }
  return unpacker;
}

/** The folder that takes the restore: made, or empty already. Throws `target_not_empty`. */
function prepareTarget(target: string): string {
  try {
    mkdirSync(target, { recursive: true });
    const found = readdirSync(target);
    if (found.length > 0) throw new BackupError("target_not_empty", `${target} is not empty`);
    return realpathSync(target);
  } catch (error) {
    if (error instanceof BackupError) throw error;
    const code = systemCode(error);
    if (code === "ENOTDIR" || code === "EEXIST") throw new BackupError("target_not_empty", `${target} is not a folder`, { cause: error });
    throw new BackupError("io_failed", `cannot make the folder ${target}: ${code}`, { cause: error });
  }
}

function makeLayout(target: string, contents: Contents, plan: RestorePlan): TargetLayout {
  const main = contents.worktrees.find((worktree) => worktree.name === "");
  const isBare = main?.isBare === true && plan.result === "moment";
  const linked =
    plan.result === "moment" && plan.paths.length === 0 ? contents.worktrees.filter(({ name, isBare: bare }) => name !== "" && !bare) : [];
  const beside = `${target}.worktrees`;
  if (linked.length > 0) prepareTarget(beside);
  const worktrees = new Map<string, string>();
  for (const { name } of linked) {
    const root = join(beside, name);
    if (dirname(root) !== beside) throw new BackupError("hostile", `the point has a worktree named ${JSON.stringify(name)}`);
    mkdirSync(root);
    worktrees.set(name, root);
  }
  return { root: target, gitDir: isBare ? target : join(target, ".git"), worktrees };
}

interface ChosenFiles {
  readonly files: Map<string, FileEntry>;
  /** A name that is not chosen and holds the bytes of one that is: to that one. */
  readonly holders: ReadonlyMap<string, string>;
}

/** Of hard links whose first name is not chosen, another takes its place. */
function chooseFiles(contents: Contents, selects: (entry: string) => boolean): ChosenFiles {
  const files = new Map<string, FileEntry>();
  const holders = new Map<string, string>();
  for (const [path, entry] of contents.files) {
    if (!selects(path)) continue;
    const { target, ...rest } = entry;
    if (entry.kind !== "hardlink" || target === undefined || selects(target)) files.set(path, entry);
    else if (holders.has(target)) files.set(path, { ...entry, target: holders.get(target) as string });
    else {
      holders.set(target, path);
      files.set(path, { ...rest, kind: "file" });
    }
  }
  return { files, holders };
}

/** What goes with a clean checkout: untracked files and the state that belongs to the repository, not to the moment. */
function isBesideCommit(entry: string): boolean {
  const { area, path } = placeOf(entry);
  if (area === "untracked" || area === "folder") return true;
  return area === "git" && /^(?:info\/|lfs\/|modules\/|config$|hooks\/|shallow$)/.test(path);
}

function makeFolders(layout: TargetLayout, files: ReadonlyMap<string, FileEntry>): void {
  for (const entry of files.values()) {
    const { worktree, area, path } = placeOf(entry.path);
    const root = worktree === "" ? layout.root : layout.worktrees.get(worktree);
    if (area === "folder" && root !== undefined) new SafeFolder(root).folder(path);
  }
}

/** Modes and times of tracked files and of folders, folders last and the deepest first. */
function settleTimes(layout: TargetLayout, files: ReadonlyMap<string, FileEntry>, keep: ReadonlySet<string> = new Set()): void {
  const roots = new Map([["", new SafeFolder(layout.root)], ...[...layout.worktrees].map(([name, root]) => [name, new SafeFolder(root)] as const)]);
  const folders: { full: string | Buffer; path: string; entry: FileEntry }[] = [];
  for (const entry of files.values()) {
    const { worktree, area, path } = placeOf(entry.path);
    if (area !== "tracked" && area !== "folder") continue;
    // Never through a symlink: what it leads to is not ours. What is not there, the comparison names.
    const full = roots.get(worktree)?.find(path);
    if (full === undefined) continue;
    if (area === "tracked") settlePath(full, entry);
    else if (!keep.has(path)) folders.push({ full, path: entry.path, entry });
  }
  folders.sort((a, b) => (a.path < b.path ? 1 : -1));
  for (const { full, entry } of folders) settlePath(full, entry);
}

function settlePath(full: string | Buffer, entry: FileEntry): void {
  if (entry.kind === "symlink") {
    if (lstatSync(full).isSymbolicLink()) touchLink(full, entry.mtime);
    return;
  }
  let descriptor: number;
  try {
    descriptor = openSync(
      full,
      constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | (entry.kind === "folder" ? constants.O_DIRECTORY : 0),
    );
  } catch {
    return; // of another kind than captured: the comparison says so
  }
  settle(descriptor, full, entry.mode, entry.mtime);
}

/** Configurations of nested repositories and submodules, which were unpacked inert. */
async function settleNested(layout: TargetLayout, files: ReadonlyMap<string, FileEntry>): Promise<string[]> {
  const leftOut: string[] = [];
  for (const entry of files.keys()) {
    if (!entry.endsWith("/config")) continue;
    const { area, path } = placeOf(entry);
    const isNested = area === "git" ? path.startsWith("modules/") : path.endsWith("/.git/config");
    const place = isNested ? destinationOf(entry, layout) : undefined;
    if (place === undefined || !place.path.includes(`${inertFolder}/`)) continue;
    const [captured, live] = [`${place.root}/${place.path}`, `${place.root}/${place.path.replace(`${inertFolder}/`, "")}`];
    for (const key of await applyNestedConfig(captured, live)) leftOut.push(`${path}: ${key}`);
  }
  return leftOut;
}

function linkWorktrees(layout: TargetLayout): void {
  for (const [name, root] of layout.worktrees) {
    const gitDir = join(layout.gitDir, "worktrees", name);
    mkdirSync(gitDir, { recursive: true });
    writeFileSync(join(gitDir, "gitdir"), `${join(root, ".git")}\n`);
    writeFileSync(join(gitDir, "commondir"), "../..\n");
    writeFileSync(join(root, ".git"), `gitdir: ${gitDir}\n`);
  }
  // What git knew of worktrees that the point does not hold would point to folders of the living repository.
  const folder = join(layout.gitDir, "worktrees");
  for (const name of listFolder(folder)) if (!layout.worktrees.has(name)) rmSync(join(folder, name), { recursive: true, force: true });
}

/** Of a partial clone: what packs name and do not hold is at the remote, and git believes so where they are marked. (gitformat-pack(5)) */
function markPromised(gitDir: string): void {
  const folder = join(gitDir, "objects/pack");
  for (const name of listFolder(folder)) if (name.endsWith(".pack")) writeFileSync(join(folder, name.replace(/pack$/, "promisor")), "");
}

async function readIndexOf({ gitDir, root }: { gitDir: string; root: string }): Promise<IndexEntry[]> {
  return readIndex(root, ["--git-dir", gitDir, "--work-tree", root]);
}

/** `smudged`: their real content stands there, checked against the sha256 in the commit. */
async function differencesFromCommit(layout: TargetLayout, oid: string, smudged: ReadonlySet<string>): Promise<{ path: string; what: string }[]> {
  const { stdout } = await git(
    ["--git-dir", layout.gitDir, "--work-tree", layout.root, "diff-index", "--ignore-submodules=all", "--name-only", "-z", oid],
    { cwd: layout.root },
  );
  return splitPaths(stdout)
    .filter((path) => !smudged.has(path))
    .map((path) => ({ path: printablePath(path), what: "differs from the commit" }));
}

function removeUnselected(root: string, index: readonly IndexEntry[], selects: (entry: string) => boolean): void {
  const emptied = new Set<string>();
  for (const { path } of index) {
    if (selects(trackedEntry("", path))) continue;
    rmSync(encodePath(`${root}/${path}`), { force: true });
    for (const folder of ancestors(path)) emptied.add(folder);
  }
  for (const folder of [...emptied].sort().reverse())
    if (listFolder(`${root}/${folder}`).length === 0) rmSync(encodePath(`${root}/${folder}`), { recursive: true, force: true });
}

function ancestors(path: string): string[] {
  const parts = path.split("/").slice(0, -1);
  return parts.map((_, index) => parts.slice(0, index + 1).join("/"));
}

function trackedEntry(worktree: string, path: string): string {
  return worktree === "" ? `tracked/${path}` : `worktrees/${worktree}/tracked/${path}`;
}

function listHooks(gitDir: string): string[] {
  // Our own are put back by `hooks install`; they are nobody's loss.
  const folder = join(gitDir, inertFolder, "hooks");
  return listFolder(folder).filter((name) => !isOwnHook(readText(join(folder, name))));
}

function listFolder(path: string): string[] {
  try {
    return readdirSync(encodePath(path)) as string[];
  } catch {
    return []; // absent: nothing in it
  }
}
