/** Where git looks for this worktree's hooks, and which files our block goes into. */
import { existsSync, realpathSync } from "node:fs";
import { basename, dirname, join, resolve, sep } from "node:path";
import type { Repository } from "../git/repository.ts";
import { git } from "../git/run.ts";
import { type HookName, refHook } from "./events.ts";
import type { HookRunner } from "./hook-file.ts";

export interface HooksPlace {
  /** husky keeps git's folder (`.husky/_`) for itself and runs the files above it by `sh -e`. */
  readonly manager: "git" | "husky";
  /** Absolute. Files of the hooks' names in it carry our block. */
  readonly folder: string;
  /** Absolute. The folder in which git itself looks: another one only under husky. */
  readonly gitFolder: string;
  /** True when the folder serves other repositories too, as with a global core.hooksPath. */
  readonly isShared: boolean;
  /** Nobody keeps track of this folder, and it is not to show in `git status`: it needs a .gitignore of its own. */
  readonly isUnlisted: boolean;
}

/** Reads core.hooksPath as the user's git does in this worktree: our own runner switches hooks off. */
export async function readHooksPlace(repository: Repository): Promise<HooksPlace> {
  const base = repository.here.root ?? repository.here.gitDir;
  const { stdout } = await git(["config", "--show-scope", "-z", "--type=path", "--get-all", "core.hooksPath"], { cwd: base, okCodes: [0, 1] });
  const configured = lastOfUser(stdout.toString("utf8"));
  const gitFolder = configured === undefined ? defaultFolder(repository) : resolve(base, configured);
  const isHuskys = configured !== undefined && basename(gitFolder) === "_" && basename(dirname(gitFolder)).startsWith(".husky");
  // In a new worktree husky's part is missing until its own installation has run there: git then finds no hook at all.
  const isHusky = configured !== undefined && basename(gitFolder) === "_" && existsSync(join(gitFolder, "h"));
  const folder = isHusky ? dirname(gitFolder) : gitFolder;
  return {
    manager: isHusky ? "husky" : "git",
    folder,
    gitFolder,
    isShared: !isInside(folder, repository),
    isUnlisted: isHuskys && !isHusky,
  };
}

/** The file of a hook, and who runs it. husky knows no reference-transaction: that one stands where git looks. */
export function hookPlace(place: HooksPlace, name: HookName): { readonly path: string; readonly runner: HookRunner } {
  if (place.manager === "husky" && name !== refHook) return { path: join(place.folder, name), runner: "husky" };
  return { path: join(place.gitFolder, name), runner: "git" };
}

/** Where hooks lie as long as core.hooksPath is not set. */
export function defaultFolder(repository: Repository): string {
  return join(repository.commonDir, "hooks");
}

/** The output is pairs of scope and value, NUL after each; scope `command` is our own `-c core.hooksPath=/dev/null`. */
function lastOfUser(output: string): string | undefined {
  const words = output.split("\0");
  let value: string | undefined;
  for (let i = 0; i + 1 < words.length; i += 2) {
    if (words[i] !== "command") value = words[i + 1];
  }
  return value;
}

function isInside(folder: string, repository: Repository): boolean {
  const roots = [repository.commonDir, ...repository.worktrees.map((worktree) => worktree.root)].filter((root) => root !== null && existsSync(root));
  const real = realAncestor(folder);
  return roots.some((root) => `${real}${sep}`.startsWith(`${realpathSync(root as string)}${sep}`));
}

/** The folder's real path; what does not exist yet is added to that of what does. */
function realAncestor(folder: string): string {
  if (existsSync(folder)) return realpathSync(folder);
  const parent = dirname(folder);
  return parent === folder ? folder : join(realAncestor(parent), basename(folder));
}
