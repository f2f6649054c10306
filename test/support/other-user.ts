/** Tests as another user than root, whom no mode forbids anything. */
import { execFileSync } from "node:child_process";
import { chmodSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** The user of that name on every Linux. */
export const nobody = 65534;

/** Opens the way to `path`, for passing through alone. */
export function letOthersReach(path: string): void {
  for (let folder = dirname(path); folder !== dirname(folder); folder = dirname(folder)) {
    const { mode } = statSync(folder);
    // Our group may still be theirs.
    if ((mode & 0o011) !== 0o011) chmodSync(folder, (mode & 0o7777) | 0o011);
  }
}

/** As another user, whom all of `folder` belongs to from then on; as oneself where one is not root. */
export async function asOtherUser(folder: string, action: () => unknown): Promise<void> {
  if (process.geteuid?.() !== 0) return void (await action());
  letOthersReach(folder);
  execFileSync("chown", ["-R", `${nobody}:${nobody}`, folder]);
  process.seteuid?.(nobody);
  try {
    await action();
  } finally {
    process.seteuid?.(0);
  }
}
