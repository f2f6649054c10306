/** What another user than the tests' own may reach: their folders are closed to others. */
import { chmodSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** The user of that name on every Linux. */
export const nobody = 65534;

/** Opens the way to `path`, for passing through alone. */
export function letOthersReach(path: string): void {
  for (let folder = dirname(path); folder !== dirname(folder); folder = dirname(folder)) {
    const { mode } = statSync(folder);
    if ((mode & 0o011) !== 0o011) chmodSync(folder, (mode & 0o7777) | 0o011);
  }
}
