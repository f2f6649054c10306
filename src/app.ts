/** The wiring: what every use case starts from. Stores are wired in app-stores.ts. Use cases know nothing of either. */
import { createHash, randomBytes, randomInt } from "node:crypto";
import { homedir } from "node:os";
import { basename, join, resolve as resolvePath } from "node:path";
import type { Config } from "./core/config.ts";
import { openRepository, type Repository } from "./git/repository.ts";
import type { RecoveryTexts } from "./points/recovery-files.ts";
import { type ConfigFile, configFolder, readConfigFile } from "./setup/config-file.ts";
import { readPackageFile } from "./setup/package-files.ts";
import { type StateLayout, stateDirOf, stateLayout } from "./state/layout.ts";
import { openRunLog, type RunLog } from "./state/run-log.ts";

declare const __VERSION__: string;
export const version = typeof __VERSION__ === "string" ? __VERSION__ : "0.0.0-dev";

export interface App {
  readonly repository: Repository;
  /** The protected folder's name, for people. */
  readonly name: string;
  readonly configFile: ConfigFile;
  readonly config: Config;
  readonly state: StateLayout;
  readonly log: RunLog;
  readonly environment: NodeJS.ProcessEnv;
}

export const now = (): Date => new Date();
export const random = (): number => randomInt(2 ** 32) / 2 ** 32;
export const randomSuffix = (): number => randomInt(2 ** 24);

/** Opens the repository around `cwd` with its settings. `open`: how, where there is no git. Throws `not_a_repository`, `config_invalid`. */
export async function openApp(cwd: string, environment: NodeJS.ProcessEnv = process.env, open = openRepository): Promise<App> {
  const repository = await open(resolvePath(cwd));
  const configFile = readConfigFile(repository, environment);
  const root = configFolder(repository);
  const name = basename(root.replace(/\/\.git$/, "")) || "repository";
  const run = randomBytes(4).toString("hex");
  const state = stateLayout(stateDirOf(repository.commonDir));
  return { repository, name, configFile, config: configFile.config, state, log: openRunLog(state.root, run, now), environment };
}

/** Where stores of this machine lie when nobody says otherwise. (XDG Base Directory Specification) */
export function dataFolder(environment: NodeJS.ProcessEnv): string {
  const chosen = environment["HOLDFAST_DATA_DIR"];
  if (chosen !== undefined && chosen !== "") return resolvePath(chosen);
  const xdg = environment["XDG_DATA_HOME"];
  if (xdg?.startsWith("/") === true) return join(xdg, "holdfast");
  if (process.platform === "darwin") return join(homedir(), "Library/Application Support/holdfast");
  return process.platform === "win32" ? join(environment["LOCALAPPDATA"] ?? homedir(), "holdfast") : join(homedir(), ".local/share/holdfast");
}

export function recoveryTexts(): RecoveryTexts {
  return { restoreSh: readPackageFile("src/recovery/restore.sh"), recoveryMd: readPackageFile("src/recovery/recovery.md") };
}

/** The folder that `init` proposes for a repository that has none: its name, and enough to tell it from a namesake. */
export function proposedStore(app: App): string {
  const place = createHash("sha256").update(app.repository.commonDir).digest("hex").slice(0, 8);
  return join(dataFolder(app.environment), "stores", `${app.name.replaceAll(/[^A-Za-z0-9._-]+/g, "-")}-${place}`);
}
