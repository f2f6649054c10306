/** Runs the built program as a user would. */
import { spawn } from "node:child_process";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";

export interface CliOptions {
  readonly cwd?: string;
  /** Added to this process's environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly input?: string | Uint8Array;
}

export interface CliResult {
  /** 128 + the signal's number when a signal ended it, as a shell says it. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** The built files, for a test that starts them itself. */
export const programs = {
  holdfast: fileURLToPath(new URL("../../dist/bin/holdfast.js", import.meta.url)),
  "restore-from-git": fileURLToPath(new URL("../../dist/bin/restore-from-git.js", import.meta.url)),
};

/** `holdfast ARGS`. Never throws for an exit code. stdin is empty unless `input` is given. */
export function runCli(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return run("holdfast", args, options);
}

/** `restore-from-git ARGS`. */
export function runRestore(args: readonly string[], options: CliOptions = {}): Promise<CliResult> {
  return run("restore-from-git", args, options);
}

function run(program: keyof typeof programs, args: readonly string[], { cwd, env, input }: CliOptions): Promise<CliResult> {
  const child = spawn(process.execPath, [programs[program], ...args], { cwd, env: { ...process.env, ...env }, stdio: "pipe" });
  child.stdin.on("error", () => undefined); // it may end without reading: its exit code tells
  child.stdin.end(input);
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) =>
      resolve({ code: code ?? 128 + (signal ? constants.signals[signal] : 0), stdout: stdout(), stderr: stderr() }),
    );
  });
}

function collect(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  return () => Buffer.concat(chunks).toString("utf8");
}
