/** Runs the restore.sh of a store as on a machine that has stock tools and no Node. */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { tempDir } from "./repo.ts";

const tools = [
  "git",
  "tar",
  "zstd",
  "sha256sum",
  "sed",
  "awk",
  "sort",
  "head",
  "tail",
  "xargs",
  "touch",
  "chmod",
  "find",
  "mktemp",
  "tr",
  "cut",
  "grep",
  "cat",
  "cp",
  "mv",
  "rm",
  "rmdir",
  "mkdir",
  "ls",
  "wc",
  "dirname",
  "sh",
];
export const recoveryTexts = {
  restoreSh: readFileSync(new URL("../../src/recovery/restore.sh", import.meta.url), "utf8"),
  recoveryMd: readFileSync(new URL("../../src/recovery/recovery.md", import.meta.url), "utf8"),
};

/** Those of this machine. */
export const shells = ["dash", "bash", "busybox"].filter((shell) => spawnSync("sh", ["-c", `command -v ${shell}`]).status === 0);

export interface ScriptOptions {
  readonly shell?: string;
  /** A program that this machine shall not have. */
  readonly without?: string;
  /** Programs that it has besides. */
  readonly with?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export function runScript(
  store: string,
  args: readonly string[],
  { shell = "sh", without, with: more = [], env = {} }: ScriptOptions = {},
): { status: number | null; stdout: string; stderr: string } {
  using dir = tempDir();
  const bin = join(dir.path, "bin");
  mkdirSync(bin);
  for (const tool of new Set([...tools, ...shells, ...more]))
    if (tool !== without) symlinkSync(execFileSync("sh", ["-c", `command -v ${tool}`], { encoding: "utf8" }).trim(), join(bin, tool));
  const [program = "sh", ...rest] = shell === "busybox" ? ["busybox", "sh"] : [shell];
  const environment = { PATH: bin, HOME: dir.path, TMPDIR: dir.path, GIT_CONFIG_GLOBAL: "/dev/null", GIT_CONFIG_NOSYSTEM: "1", ...env };
  const { status, stdout, stderr } = spawnSync(join(bin, program), [...rest, join(store, "restore.sh"), ...args], {
    cwd: dir.path,
    env: environment,
    encoding: "utf8",
  });
  return { status, stdout, stderr };
}
