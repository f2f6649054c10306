/** The user's own folder of settings: keys lie there, for all repositories of the user. */
import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** HOLDFAST_CONFIG_DIR, else `holdfast` below XDG_CONFIG_HOME, else `~/.config/holdfast` (Windows: below APPDATA). It need not exist. */
export function userConfigFolder(environment: NodeJS.ProcessEnv): string {
  const chosen = environment["HOLDFAST_CONFIG_DIR"];
  if (chosen !== undefined && chosen !== "") return resolve(chosen);
  const xdg = environment["XDG_CONFIG_HOME"];
  if (xdg?.startsWith("/") === true) return join(xdg, "holdfast");
  const roaming = process.platform === "win32" ? environment["APPDATA"] : undefined;
  return roaming === undefined ? join(homedir(), ".config/holdfast") : join(roaming, "holdfast");
}
