/** A volume that takes the beginning of a file and no more. */
import { spawnSync } from "node:child_process";

/** What node says of this module's text, which may write a few KiB into a file. Empty: it went through. */
export function runWithFileLimit(script: string): string {
  // Of what is over the limit the system takes the part that fits, and tells by the number; only the next write fails.
  const { stderr, status } = spawnSync("sh", ["-c", 'ulimit -f 8 && exec "$0" --input-type=module -e "$1"', process.execPath, script], {
    encoding: "utf8",
  });
  return status === 0 ? "" : stderr || `ended with ${status}`;
}
