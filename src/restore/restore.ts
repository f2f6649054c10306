/** Carries out a restore plan into a new folder, then reads it back and compares. */
import { mkdirSync, readdirSync, realpathSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { type Contents, entryPath, partialClone, placeOf } from "../core/contents.ts";
import { BackupError, systemCode } from "../core/errors.ts";
import { findArtifact } from "../core/manifest.ts";
import { encodePath, printablePath } from "../core/paths.ts";
import type { IndexEntry } from "../git/index-entries.ts";
import { openArtifact, readContents } from "../points/catalogue.ts";
import type { Store } from "../stores/store.ts";
import { checkoutCommit, checkoutRaw, smudgeLfs } from "./checkout.ts";
import { ancestors, type ChosenFiles, chooseFiles, isBesideCommit, makeFolders, settleTimes } from "./chosen-files.ts";
import { type Comparison, compareFiles, compareRefs } from "./compare.ts";
import { applyConfig } from "./config.ts";
import { linkWorktrees, listFolder, listHooks, markPromised, settleGitLinks, settleNested } from "./git-dir.ts";
import type { Place, RestoreGit } from "./git-port.ts";
import { type Limits, limitsWithoutGit, noLimits } from "./limits.ts";
import { fetchObjects, writeHead, writeRefs } from "./objects.ts";
import type { TargetLayout } from "./place.ts";
import type { RestorePlan } from "./plan.ts";
import { listTree } from "./tree.ts";
import { Unpacker } from "./unpack.ts";
import { gitProgram } from "./with-git.ts";

export interface RestoreRequest {
  readonly plan: RestorePlan;
  readonly store: Store;
  /** Absent or empty. */
  readonly target: string;
  /** The git program when absent. */
  readonly git?: RestoreGit;
  /** What cannot be done without git: told once, before anything is written. */
  readonly onLimits?: (limits: Limits) => void;
  readonly onProgress?: (step: string) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface RestoreResult {
  readonly target: string;
  readonly gitDir: string;
  /** Restored linked worktrees. */
  readonly worktrees: readonly string[];
  readonly comparison: Comparison;
  /** Untracked files of the point whose path is a tracked file of the commit. */
  readonly skipped: readonly string[];
  /** Symlinks of the git directory that led out of it: they are not restored, since git writes through them. */
  readonly links: readonly string[];
  /** Nested `.git`s that are files or links and lead to no repository of a submodule: they wait beside, under another name. */
  readonly gitLinks: readonly string[];
  /** Settings of the captured configuration that were not put to work. */
  readonly settings: readonly string[];
  /** Captured hooks that were not put to work. */
  readonly hooks: readonly string[];
  /** Tracked files that were not written: they are in the history, which could not be read without git. */
  readonly withheld: readonly string[];
  /** What the point itself could not hold. */
  readonly problems: Contents["problems"];
  readonly lacksObjects: Contents["lacksObjects"];
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

async function restoreInto(asked: RestoreRequest): Promise<RestoreResult> {
  const { plan, store } = asked;
  const request = { ...asked, git: asked.git ?? gitProgram };
  refuseFull(asked.target);
  const contents = await readContents(store, plan.chain, request);
  const limits = request.git.isProgram ? noLimits : limitsWithoutGit(plan, contents.header.objectFormat, process.availableMemory());
  request.onLimits?.(limits);
  if (limits.history !== undefined && plan.result === "commit") {
    throw new BackupError("git_missing", `the commit cannot be restored: ${limits.history}`, {
      hint: "install git 2.31 or newer, or restore a point: what lay outside of history needs no git",
    });
  }
  const target = prepareTarget(asked.target);
  const layout = makeLayout(target, contents, plan);
  const result = limits.history === undefined ? await restoreWhole(request, contents, layout) : await restoreFiles(request, contents, layout);
  if (plan.paths.length > 0) {
    rmSync(layout.gitDir, { recursive: true, force: true });
    if (listTree(target).next().done === true && result.withheld.length === 0)
      throw new BackupError("no_match", `nothing in point ${plan.point.id} matches ${plan.paths.join(", ")}`);
  }
  const { problems, lacksObjects } = contents;
  return { target, gitDir: layout.gitDir, worktrees: [...layout.worktrees.values()], problems, lacksObjects, ...result };
}

type Request = RestoreRequest & { readonly git: RestoreGit };
type Outcome = Omit<RestoreResult, "target" | "gitDir" | "worktrees" | "problems" | "lacksObjects">;

async function restoreWhole(request: Request, contents: Contents, layout: TargetLayout): Promise<Outcome> {
  const { plan, store, git, onProgress } = request;
  await git.initRepository(layout.root, layout.gitDir === layout.root, contents.header.objectFormat);
  onProgress?.("history");
  await fetchObjects(git, layout.gitDir, store, plan.objects, request);
  return plan.result === "moment" ? restoreMoment(request, contents, layout) : restoreCommit(request, contents, layout);
}

/** What lay outside of history. The git directory gets its small files and no HEAD of a repository: nothing takes it for a whole one. */
async function restoreFiles(request: Request, contents: Contents, layout: TargetLayout): Promise<Outcome> {
  const { plan, git, onProgress } = request;
  mkdirSync(layout.gitDir, { recursive: true });
  onProgress?.("files");
  const chosen = chooseFiles(contents, plan.selects);
  const unpacker = await unpack(request, layout, chosen, true);
  const settings = await settleNested(git, layout, chosen.files);
  const gitLinks = settleGitLinks(layout, chosen.files);
  settleTimes(layout, chosen.files);
  onProgress?.("compare");
  const isTracked = (entry: string): boolean => placeOf(entry).area === "tracked";
  const files = new Map([...chosen.files].filter(([entry]) => !isTracked(entry)));
  return {
    comparison: compareFiles({ layout, files, skipped: unpacker.skipped, indexes: new Map(), objectFormat: contents.header.objectFormat }),
    skipped: [],
    links: linksOf(unpacker),
    gitLinks,
    settings,
    hooks: listHooks(layout.gitDir),
    withheld: [...chosen.files.keys()].filter(isTracked).map((entry) => placeOf(entry).path),
  };
}

async function restoreMoment(request: Request, contents: Contents, layout: TargetLayout): Promise<Outcome> {
  const { plan, git, onProgress } = request;
  const chosen = chooseFiles(contents, plan.selects);
  const { files } = chosen;
  onProgress?.("files");
  // Refs before reflogs: git appends to a reflog that is there, whatever it is told.
  const { broken } = await writeRefs(git, layout.gitDir, contents, request);
  const main = contents.worktrees.find((worktree) => worktree.name === "");
  if (main !== undefined) await writeHead(layout.gitDir, main);
  const unpacker = await unpack(request, layout, chosen, true);
  const { leftOut } = await applyConfig(git, layout.gitDir, layout.worktrees.keys());
  const nested = await settleNested(git, layout, files);
  linkWorktrees(layout);
  onProgress?.("checkout");
  const indexes = new Map<string, readonly IndexEntry[]>();
  for (const { name, isBare } of contents.worktrees) {
    const root = name === "" ? layout.root : layout.worktrees.get(name);
    if (isBare || root === undefined) continue;
    const place = { root, gitDir: name === "" ? layout.gitDir : join(layout.gitDir, "worktrees", name) };
    const index = await git.readIndex(place);
    indexes.set(name, index);
    const clean = index
      .filter((entry) => entry.stage === 0 && entry.mode !== "160000" && files.has(entryPath(name, "tracked", entry.path)))
      .map((entry) => entry.path);
    await checkoutRaw(git, place, layout.gitDir, clean, request);
  }
  if (contents.problems.some(({ message }) => message === partialClone)) markPromised(layout.gitDir);
  const gitLinks = settleGitLinks(layout, files);
  settleTimes(layout, files);
  onProgress?.("compare");
  const comparison = compareFiles({ layout, files, skipped: unpacker.skipped, indexes, objectFormat: contents.header.objectFormat });
  const refs = await compareRefs(git, layout.gitDir, contents, new Set(broken));
  return {
    comparison: { ...comparison, refs: contents.refs.size, differences: [...comparison.differences, ...refs] },
    skipped: [],
    links: linksOf(unpacker),
    gitLinks,
    settings: [...leftOut, ...nested],
    hooks: listHooks(layout.gitDir),
    withheld: [],
  };
}

async function restoreCommit(request: Request, contents: Contents, layout: TargetLayout): Promise<Outcome> {
  const { plan, git, onProgress } = request;
  if (plan.result !== "commit") throw new BackupError("internal", "not a commit");
  const objectContents = plan.objects.at(-1) === plan.chain.at(-1) ? contents : await readContents(request.store, plan.objects, request);
  await writeRefs(git, layout.gitDir, objectContents, request);
  const isWanted = (entry: string): boolean => {
    const { worktree, area } = placeOf(entry);
    return worktree === "" && isBesideCommit(entry) && (area === "git" || (plan.withFiles && plan.selects(entry)));
  };
  const repository = await unpack(
    request,
    layout,
    chooseFiles(contents, (entry) => placeOf(entry).area === "git" && isWanted(entry)),
    true,
  );
  const { leftOut } = await applyConfig(git, layout.gitDir);
  onProgress?.("checkout");
  const place = { gitDir: layout.gitDir, root: layout.root };
  await checkoutCommit(git, place, plan.oid, plan.branch, request);
  const index = await git.readIndex(place);
  const isChosen = (path: string): boolean => plan.selects(entryPath("", "tracked", path));
  const checkedOut = index.filter(({ path }) => isChosen(path));
  const smudged = smudgeLfs(
    layout.gitDir,
    layout.root,
    checkedOut.filter((entry) => entry.mode.startsWith("100")).map((entry) => entry.path),
  );
  removeUnselected(layout.root, index, isChosen);
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
  const nested = await settleNested(git, layout, untracked);
  const gitLinks = settleGitLinks(layout, untracked);
  settleTimes(layout, untracked, new Set(index.flatMap((entry) => ancestors(entry.path))));
  onProgress?.("compare");
  const comparison = compareFiles({
    layout,
    files: new Map([...untracked].filter(([path]) => placeOf(path).area === "untracked")),
    skipped: beside.skipped,
    indexes: new Map(),
    objectFormat: contents.header.objectFormat,
  });
  // Where LFS content stands, it was checked against the sha256 in the commit.
  const smudgedPaths = new Set(smudged);
  const others = await differencesFromCommit(git, place, plan.oid, (path) => isChosen(path) && !smudgedPaths.has(path));
  return {
    comparison: { ...comparison, files: comparison.files + checkedOut.length, differences: [...comparison.differences, ...others] },
    skipped: [...skipped, ...[...beside.skipped].map((path) => placeOf(path).path)],
    links: linksOf(repository),
    gitLinks,
    settings: [...leftOut, ...nested],
    hooks: listHooks(layout.gitDir),
    withheld: [],
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
    await unpacker.unpack(tarball.name, await openArtifact(store, manifest, tarball, { signal }));
  }
  return unpacker;
}

/** The folder that takes the restore: made, or empty already. Throws `target_not_empty`. */
function prepareTarget(target: string): string {
  refuseFull(target);
  try {
    mkdirSync(target, { recursive: true });
    return realpathSync(target);
  } catch (error) {
    throw unusable(target, error);
  }
}

/** Absent is fine. Throws `target_not_empty`. */
function refuseFull(target: string): void {
  let found: string[];
  try {
    found = readdirSync(target);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return;
    throw unusable(target, error);
  }
  if (found.length > 0) throw new BackupError("target_not_empty", `${target} is not empty`);
}

function unusable(target: string, error: unknown): BackupError {
  const code = systemCode(error);
  if (code === "ENOTDIR" || code === "EEXIST") return new BackupError("target_not_empty", `${target} is not a folder`, { cause: error });
  return new BackupError("io_failed", `cannot make the folder ${target}: ${code}`, { cause: error });
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

async function differencesFromCommit(
  git: RestoreGit,
  place: Place,
  oid: string,
  isCompared: (path: string) => boolean,
): Promise<{ path: string; what: string }[]> {
  const changed = (await git.listChanged(place, oid)).filter(isCompared);
  return changed.map((path) => ({ path: printablePath(path), what: "differs from the commit" }));
}

function linksOf({ links }: Unpacker): string[] {
  return [...links].map((entry) => placeOf(entry).path);
}

function removeUnselected(root: string, index: readonly IndexEntry[], isChosen: (path: string) => boolean): void {
  const emptied = new Set<string>();
  for (const { path } of index) {
    if (isChosen(path)) continue;
    rmSync(encodePath(`${root}/${path}`), { recursive: true, force: true }); // of a submodule there is a folder
    for (const folder of ancestors(path)) emptied.add(folder);
  }
  for (const folder of [...emptied].sort().reverse())
    if (listFolder(`${root}/${folder}`).length === 0) rmSync(encodePath(`${root}/${folder}`), { recursive: true, force: true });
}
