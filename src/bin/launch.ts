/**
 * What runs before the program. It is built for old runtimes too, so that those are told what is wrong instead of
 * failing on syntax: nothing newer than top-level await here, and the program itself is imported only after the check.
 */
import { existsSync, mkdirSync } from "node:fs";
import * as nodeModule from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";

const oldest = [22, 16] as const;

/** Runs the program with the command line's arguments, behind `prefix`. */
export async function launch(...prefix: readonly string[]): Promise<void> {
  if (!isRecentEnough(process.versions.node)) {
    const minimum = oldest.join(".");
    process.stderr.write(`error: holdfast needs Node ${minimum} or newer, this is ${process.versions.node} (${process.execPath})\n`);
    process.stderr.write(`hint: install Node ${minimum} or newer and put it first on PATH\n`);
    process.exitCode = 1;
    return;
  }
  if (process.env["NODE_COMPILE_CACHE"] === undefined) keepCompiledCode();
  const { main } = await import("../main.ts");
  await main([...prefix, ...process.argv.slice(2)]);
}

function isRecentEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1]);
}

/** In the user's own folder: compiled code that somebody else could plant, as in the shared /tmp, would run as ours. */
function keepCompiledCode(): void {
  try {
    const chosen = process.platform === "win32" ? process.env["LOCALAPPDATA"] : process.env["XDG_CACHE_HOME"];
    const caches = chosen || join(homedir(), process.platform === "darwin" ? "Library/Caches" : ".cache");
    const folder = join(caches, "holdfast");
    // Made here, a level at a time: where a folder cannot be made (under /proc), Node 24.21's own attempt never ends.
    for (const path of [caches, folder]) if (!existsSync(path)) mkdirSync(path, { mode: 0o700 });
    nodeModule.enableCompileCache(join(folder, "compiled"));
  } catch {
    // No home, or none to write in: each start is some milliseconds slower, nothing else.
  }
}
