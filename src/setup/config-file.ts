/** Reads and writes backup.yaml, and keeps it out of git without touching .gitignore. */
import { appendFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { parseEnv } from "node:util";
import { type Config, configName, emptyConfig, parseConfig } from "../core/config.ts";
import { writeConfig } from "../core/config-text.ts";
import { BackupError, systemCode } from "../core/errors.ts";
import type { Repository } from "../git/repository.ts";
import { stateDirOf } from "../state/layout.ts";
import { replaceFile } from "../state/remembered.ts";

export interface ConfigFile {
  readonly path: string;
  readonly exists: boolean;
  readonly config: Config;
  /** The file is gone (a `git clean -fdx` takes it), and these are the settings of the last point. */
  readonly isRemembered: boolean;
}

/** The folder whose backup.yaml counts: the main worktree's, or the git directory of a bare repository. */
export function configFolder(repository: Repository): string {
  return repository.worktrees[0]?.root ?? repository.commonDir;
}

/** Environment over `.env` over the file. Throws `config_invalid` with every problem and its line. */
export function readConfigFile(repository: Repository, environment: NodeJS.ProcessEnv): ConfigFile {
  const folder = configFolder(repository);
  const path = settings(folder, environment)["HOLDFAST_CONFIG"] ?? join(folder, configName);
  const text = readOptional(path);
  if (text !== undefined) return { path, exists: true, config: parseConfig(text, path), isRemembered: false };
  const remembered = readOptional(rememberedFile(repository));
  return {
    path,
    exists: false,
    config: remembered === undefined ? emptyConfig : parseConfig(remembered, path),
    isRemembered: remembered !== undefined,
  };
}

/** Keeps the settings with the machine's state: without them a repository that lost the file would look unprotected. */
export function rememberConfig(repository: Repository, config: Config): void {
  const file = rememberedFile(repository);
  const text = writeConfig(config);
  if (readOptional(file) === text) return;
  replaceFile(file, text);
}

function rememberedFile(repository: Repository): string {
  return join(stateDirOf(repository.commonDir), configName);
}

/** HOLDFAST_* variables, those of the process before those of the repository's .env. */
export function settings(folder: string, environment: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  const own = Object.entries({ ...parseEnv(readOptional(join(folder, ".env")) ?? ""), ...environment });
  return Object.fromEntries(own.filter((entry): entry is [string, string] => entry[0].startsWith("HOLDFAST_") && entry[1] !== undefined));
}

/** Writes the file whole or not at all, and lists it in `info/exclude` unless git ignores or tracks it already. */
export function writeConfigFile(repository: Repository, path: string, config: Config): void {
  replaceFile(path, writeConfig(config));
  if (path !== join(configFolder(repository), configName)) return;
  const exclude = join(repository.commonDir, "info/exclude");
  const lines = (readOptional(exclude) ?? "").split("\n");
  if (lines.includes(`/${configName}`)) return;
  mkdirSync(join(repository.commonDir, "info"), { recursive: true });
  const needsBreak = lines.length > 0 && lines.at(-1) !== "";
  appendFileSync(exclude, `${needsBreak ? "\n" : ""}/${configName}\n`);
}

function readOptional(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if (systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR") return undefined;
    throw new BackupError("io_failed", `cannot read ${path}: ${systemCode(error)}`, { cause: error });
  }
}
