import { accessSync, constants } from "node:fs";

/** True for a file that git would run. On Windows every hook is. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, process.platform === "win32" ? constants.F_OK : constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
