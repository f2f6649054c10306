/**
 * Puts Holdfast into a repository's hooks, and takes it out again byte for byte. Nothing of git's configuration
 * is changed. A committed block (husky) does nothing on machines where this was not run: the trigger is missing there.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { BackupError, describeError, systemCode } from "../core/errors.ts";
import { splitPaths } from "../core/paths.ts";
import type { Repository } from "../git/repository.ts";
import { git } from "../git/run.ts";
import { stateDirOf, stateLayout } from "../state/layout.ts";
import { forgetBefore, type HooksBefore, readHooksBefore, rememberBefore } from "./before.ts";
import { hasBlock } from "./block.ts";
import { type HookName, hookNames, refHook } from "./events.ts";
import { applyHook, type HookPlan, planHook, readHookFile, restoreHook, restoreMoved } from "./hook-file.ts";
import { defaultFolder, type HooksPlace, hookPlace, readHooksPlace } from "./place.ts";
import { addSharer, removeSharer } from "./sharers.ts";
import { bakeTrigger, type Runtime } from "./trigger.ts";

export interface InstallOptions {
  readonly repository: Repository;
  /** Absolute paths of the runtime and of the script that knows `worker <common git dir>`. */
  readonly runtime: Runtime;
  /** The text of hooks/trigger. */
  readonly triggerTemplate: string;
  /** Whether reference-transaction is among the hooks; undefined leaves it as it is. */
  readonly everyRef?: boolean | undefined;
}

export interface InstallResult {
  readonly place: HooksPlace;
  readonly hooks: readonly { readonly name: HookName; readonly path: string; readonly change: HookPlan["change"] }[];
}

/**
 * Installs the hooks; a second time changes nothing. Throws `usage` where the user has to decide, before anything is
 * changed; `io_failed` otherwise.
 */
export async function installHooks({ repository, runtime, triggerTemplate, everyRef }: InstallOptions): Promise<InstallResult> {
  const state = stateLayout(stateDirOf(repository.commonDir));
  const place = await readHooksPlace(repository);
  const trigger = bakeTrigger(triggerTemplate, runtime);
  return translated(() => {
    const known = readHooksBefore(state.hooksBefore).files;
    const planned = hooksWanted(place, everyRef, known).map((name) => {
      const { path, runner } = hookPlace(place, name);
      const file = readHookFile(path);
      return { name, file, plan: planHook(file, runner) };
    });
    const fresh = planned.filter(({ file, plan }) => plan.change !== "none" && known[file.path] === undefined);
    mkdirSync(state.root, { recursive: true });
    rememberBefore(state.hooksBefore, {
      files: Object.fromEntries(fresh.map(({ file, plan }) => [file.path, recordOf[plan.change]])),
      folders: missingFolders(place.folder),
    });
    mkdirSync(place.folder, { recursive: true });
    if (place.isShared) addSharer(place.folder, repository.commonDir);
    if (place.isUnlisted) writeFileSync(join(place.folder, ".gitignore"), ignoreText);
    if (everyRef === false) for (const path of refHookPlaces(place, known)) restoreHook(readHookFile(path), known[path] === "made");
    if (textOf(state.hook) !== trigger) writeFileSync(state.hook, trigger);
    for (const { file, plan } of planned) applyHook(file.path, plan);
    return { place, hooks: planned.map(({ name, file, plan }) => ({ name, path: file.path, change: plan.change })) };
  });
}

/**
 * Takes the block out of every hook where an installation put it, as recorded, and of those where git looks now;
 * also when the record is gone. Gives the paths that changed; none means that nothing was installed.
 */
export async function uninstallHooks(repository: Repository): Promise<string[]> {
  const state = stateLayout(stateDirOf(repository.commonDir));
  const place = await readHooksPlace(repository);
  // A team's committed hooks (.husky/) carry the block for everyone; it does nothing where no trigger is.
  const committed = place.isShared ? new Set<string>() : await listTracked(place.folder);
  return translated(() => {
    const before = readHooksBefore(state.hooksBefore);
    const isNeeded = place.isShared && existsSync(place.folder) && removeSharer(place.folder, repository.commonDir);
    const names: HookName[] = [...hookNames, refHook];
    const here = names.map((name) => hookPlace(place, name).path);
    const usual = names.map((name) => join(defaultFolder(repository), name));
    const paths = new Set([...Object.keys(before.files), ...here, ...usual].filter((path) => !(isNeeded && here.includes(path))));
    const changed = [...paths].filter((path) => {
      const was = before.files[path];
      const hasMoved = restoreMoved(path);
      if (was === undefined && committed.has(path)) return hasMoved;
      return restoreHook(readHookFile(path), was === undefined ? undefined : was === "made") || hasMoved;
    });
    const ignore = join(place.folder, ".gitignore");
    if (textOf(ignore) === ignoreText) rmSync(ignore);
    for (const folder of before.folders.toReversed()) removeIfEmpty(folder);
    if (existsSync(state.hook)) changed.push(state.hook);
    rmSync(state.hook, { force: true });
    forgetBefore(state.hooksBefore);
    removeIfEmpty(state.root);
    return changed;
  });
}

/** Those six, and reference-transaction where it is asked for, or was before; also where git no longer looks. */
function hooksWanted(place: HooksPlace, everyRef: boolean | undefined, known: HooksBefore["files"]): HookName[] {
  const hasRefHook = (): boolean =>
    refHookPlaces(place, known).some((path) => {
      const text = readHookFile(path).found?.text;
      return typeof text === "string" && hasBlock(text);
    });
  return (everyRef ?? hasRefHook()) ? [...hookNames, refHook] : [...hookNames];
}

function refHookPlaces(place: HooksPlace, known: HooksBefore["files"]): string[] {
  return [...new Set([hookPlace(place, refHook).path, ...Object.keys(known).filter((path) => basename(path) === refHook)])];
}

/** Of a folder of hooks that nobody keeps track of. */
const ignoreText = "# Holdfast's hooks in this worktree stay out of git.\n*\n";

/** Files of the folder that git tracks, absolute. */
async function listTracked(folder: string): Promise<Set<string>> {
  if (!existsSync(folder)) return new Set();
  const { stdout: top, code } = await git(["rev-parse", "--show-toplevel"], { cwd: folder, okCodes: [0, 128] });
  if (code !== 0) return new Set(); // in the git directory: nothing there is tracked
  const { stdout } = await git(["ls-files", "-z", "--full-name", "--", "."], { cwd: folder });
  return new Set(splitPaths(stdout).map((path) => join(top.toString("utf8").replace(/\n$/, ""), path)));
}

const recordOf = { none: "edited", create: "made", edit: "edited", wrap: "aside" } as const satisfies Record<
  HookPlan["change"],
  HooksBefore["files"][string]
>;

/** The folders that have to be made for `folder`, the outermost first. */
function missingFolders(folder: string): string[] {
  return existsSync(folder) ? [] : [...missingFolders(dirname(folder)), folder];
}

function removeIfEmpty(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    // Gone already, or the user has put something into it since: it stays.
    if (!["ENOENT", "ENOTEMPTY", "EEXIST", "ENOTDIR"].includes(systemCode(error) ?? "")) throw error;
  }
}

function textOf(path: string): string | undefined {
  return existsSync(path) ? readFileSync(path, "utf8") : undefined;
}

function translated<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof BackupError) throw error;
    throw new BackupError("io_failed", `the hooks could not be changed: ${describeError(error)}`, {
      hint: "where core.hooksPath names a folder that is not yours to change, a hooks folder of the repository's own helps: git config core.hooksPath .githooks",
      cause: error,
    });
  }
}
