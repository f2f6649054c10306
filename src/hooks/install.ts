/**
 * Puts Holdfast into a repository's hooks, and takes it out again byte for byte. Nothing of git's configuration
 * is changed. A committed block (husky) does nothing on machines where this was not run: the trigger is missing there.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { BackupError, describeError, systemCode } from "../core/errors.ts";
import { splitPaths } from "../core/paths.ts";
import type { Repository } from "../git/repository.ts";
import { git } from "../git/run.ts";
import { stateDirOf, stateLayout } from "../state/layout.ts";
import { forgetBefore, type HooksBefore, readHooksBefore, rememberBefore } from "./before.ts";
import { type HookName, hookNames } from "./events.ts";
import { applyHook, type HookPlan, planHook, readHookFile, restoreHook } from "./hook-file.ts";
import { defaultFolder, type HooksPlace, readHooksPlace } from "./place.ts";
import { bakeTrigger, type Runtime } from "./trigger.ts";

export interface InstallOptions {
  readonly repository: Repository;
  /** Absolute paths of the runtime and of the script that knows `worker <common git dir>`. */
  readonly runtime: Runtime;
  /** The text of hooks/trigger. */
  readonly triggerTemplate: string;
}

export interface InstallResult {
  readonly place: HooksPlace;
  readonly hooks: readonly { readonly name: HookName; readonly path: string; readonly change: HookPlan["change"] }[];
}

/**
 * Installs all six hooks; a second time changes nothing. Throws `usage` when git looks for hooks outside of the
 * repository, or where the user has to decide, in both cases before anything is changed; `io_failed` otherwise.
 */
export async function installHooks({ repository, runtime, triggerTemplate }: InstallOptions): Promise<InstallResult> {
  const state = stateLayout(stateDirOf(repository.commonDir));
  const place = await readHooksPlace(repository);
  if (!place.isInside) throw outside(place, repository);
  const trigger = bakeTrigger(triggerTemplate, runtime);
  return translated(() => {
    const planned = hookNames.map((name) => {
      const file = readHookFile(join(place.folder, name));
      return { name, file, plan: planHook(file, place.manager) };
    });
    const known = readHooksBefore(state.hooksBefore).files;
    const fresh = planned.filter(({ file, plan }) => plan.change !== "none" && known[file.path] === undefined);
    mkdirSync(state.root, { recursive: true });
    rememberBefore(state.hooksBefore, {
      files: Object.fromEntries(fresh.map(({ file, plan }) => [file.path, recordOf[plan.change]])),
      folders: missingFolders(place.folder),
    });
    mkdirSync(place.folder, { recursive: true });
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
  const committed = await listTracked(place.folder);
  return translated(() => {
    const before = readHooksBefore(state.hooksBefore);
    const folders = place.isInside ? [place.folder, defaultFolder(repository)] : [defaultFolder(repository)];
    const paths = new Set([...Object.keys(before.files), ...folders.flatMap((folder) => hookNames.map((name) => join(folder, name)))]);
    const changed = [...paths].filter((path) => {
      const was = before.files[path];
      // A team's committed hooks (.husky/) carry the block for everyone; it does nothing where no trigger is.
      if (was === undefined && committed.has(path)) return false;
      return restoreHook(readHookFile(path), was === undefined ? undefined : was === "made");
    });
    for (const folder of before.folders.toReversed()) removeIfEmpty(folder);
    if (existsSync(state.hook)) changed.push(state.hook);
    rmSync(state.hook, { force: true });
    forgetBefore(state.hooksBefore);
    removeIfEmpty(state.root);
    return changed;
  });
}

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

function outside(place: HooksPlace, repository: Repository): BackupError {
  return new BackupError("usage", `git looks for hooks in ${place.gitFolder} (core.hooksPath), outside of this repository`, {
    hint: `to give this repository hooks of its own: git config core.hooksPath '${defaultFolder(repository)}', then run it again; a schedule works without hooks`,
    details: { folder: place.gitFolder },
  });
}

function translated<T>(action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof BackupError) throw error;
    throw new BackupError("io_failed", `the hooks could not be changed: ${describeError(error)}`, { cause: error });
  }
}
