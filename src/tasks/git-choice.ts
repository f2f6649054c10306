/** Whether a restore works with the git program or without one. */
import { type App, openApp } from "../app.ts";
import { BackupError } from "../core/errors.ts";
import { git } from "../git/run.ts";
import type { RestoreGit } from "../restore/git-port.ts";

export interface GitChoice {
  readonly git: RestoreGit;
  /** Nobody asked to go without git: there is none. */
  readonly isMissing: boolean;
}

export async function chooseGit(isUnwanted: boolean): Promise<GitChoice> {
  const isMissing = !isUnwanted && !(await isGitHere());
  if (!isUnwanted && !isMissing) return { git: (await import("../restore/with-git.ts")).gitProgram, isMissing };
  return { git: (await import("../restore/without-git.ts")).withoutGit(), isMissing };
}

/** Opens the repository around `cwd` to restore from its stores. Throws as `openApp`. */
export function openToRestore(cwd: string, { git: chosen }: GitChoice, environment: NodeJS.ProcessEnv): Promise<App> {
  return chosen.isProgram ? openApp(cwd, environment) : openByFiles(cwd, environment);
}

/** Opens it to look into its stores, with git or, where there is none, without. Throws as `openApp`. */
export async function openToRead(cwd: string, environment: NodeJS.ProcessEnv): Promise<App> {
  try {
    return await openApp(cwd, environment);
  } catch (error) {
    if (error instanceof BackupError && error.code === "git_missing") return openByFiles(cwd, environment);
    throw error;
  }
}

async function openByFiles(cwd: string, environment: NodeJS.ProcessEnv): Promise<App> {
  const { openRepositoryFiles } = await import("../git/repository-files.ts");
  return openApp(cwd, environment, openRepositoryFiles);
}

async function isGitHere(): Promise<boolean> {
  try {
    await git(["--version"]);
    return true;
  } catch (error) {
    if (error instanceof BackupError && error.code === "git_missing") return false;
    throw error;
  }
}
