/** The user's own folder for keys: one for all repositories of the user. */
import { homedir } from "node:os";
import { join, resolve } from "node:path";

/**
 * Where Holdfast keeps what belongs to the user and not to a repository: so the process's own environment counts, and no
 * `.env`, which may have come with a clone. (XDG Base Directory Specification)
 */
export function configHome(environment: Readonly<Record<string, string | undefined>>): string {
  const chosen = environment["HOLDFAST_CONFIG_DIR"];
  if (chosen !== undefined && chosen !== "") return resolve(chosen);
  const xdg = environment["XDG_CONFIG_HOME"];
  if (xdg?.startsWith("/") === true) return join(xdg, "holdfast");
  if (process.platform === "darwin") return join(homedir(), "Library/Application Support/holdfast");
  return process.platform === "win32" ? join(environment["APPDATA"] ?? homedir(), "holdfast") : join(homedir(), ".config/holdfast");
}
