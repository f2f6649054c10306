/** The one place that starts git. Arguments in, bytes out; never a shell, never a prompt, never a hook. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Writable } from "node:stream";
import { BackupError, systemCode } from "../core/errors.ts";
import { activeVariable, gitEnvironment } from "./environment.ts";

export interface GitOptions {
  readonly cwd?: string;
  /** Added to the scrubbed environment. */
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string | Buffer | AsyncIterable<Uint8Array>;
  readonly signal?: AbortSignal | undefined;
  /** Exit codes that are answers, not failures. Default: only 0. */
  readonly okCodes?: readonly number[];
  readonly timeoutMs?: number;
}

export interface GitResult {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Configuration for every call of ours: no hooks, no daemons, no housekeeping in the user's repository, and logs without additions or gaps. */
const quiet = [
  "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
  "-c", "core.quotePath=false", "-c", "advice.detachedHead=false", "-c", "protocol.ext.allow=never",
  "-c", "log.showSignature=false", "-c", "log.showRoot=true", "-c", "log.diffMerges=separate",
]; // biome-ignore format: pairs

/** These calls stay on the machine. Old gits know no GIT_NO_LAZY_FETCH: a partial clone would go to its remote for what it lacks. */
const local = { GIT_ALLOW_PROTOCOL: "none" };

const stderrLimit = 64 * 1024;

/** Runs git and gives its whole output. Throws `git_failed` with git's own words on any other exit code. */
export async function git(args: readonly string[], options: GitOptions = {}): Promise<GitResult> {
  const chunks: Buffer[] = [];
  const result = await gitStream(args, (chunk) => void chunks.push(chunk), options);
  return { ...result, stdout: Buffer.concat(chunks) };
}

export async function gitText(args: readonly string[], options: GitOptions = {}): Promise<string> {
  return (await git(args, options)).stdout.toString("utf8");
}

/** The output without its line end, or undefined when git answers with exit 1 (its way to say "no"). */
export async function gitFind(args: readonly string[], options: GitOptions = {}): Promise<string | undefined> {
  const { code, stdout } = await git(args, { ...options, okCodes: [0, 1] });
  return code === 0 ? stdout.toString("utf8").replace(/\n$/, "") : undefined;
}

/** Runs git and hands each chunk of its output to `onChunk`, which may return a promise to slow it down. */
export async function gitStream(
  args: readonly string[],
  onChunk: (chunk: Buffer) => void | Promise<void>,
  options: GitOptions = {},
): Promise<Omit<GitResult, "stdout">> {
  const child = start(args, options);
  const exit = exitOf(child);
  // An abort rejects it while the output is still being read; it is awaited after that.
  exit.catch(() => undefined);
  const stderr = collect(child);
  const feeding = feed(child, options.input);
  // Thrown where it is awaited, after git has ended: it must not count as unobserved until then.
  feeding.catch(() => child.kill());
  try {
    for await (const chunk of child.stdout ?? []) await onChunk(chunk as Buffer);
  } catch (error) {
    child.kill();
    await exit.catch(() => undefined);
    throw options.signal?.aborted === true ? interrupted(options.signal) : error;
  }
  const code = await exit.catch((error: unknown) => {
    throw translate(error, options);
  });
  await feeding;
  if (!(options.okCodes ?? [0]).includes(code)) throw failure(args, code, stderr(), options);
  return { code, stderr: stderr() };
}

/** As the user's own programs run it: with hooks, and with whatever monitors and housekeeping are configured. */
export async function gitWithHooks(args: readonly string[], { cwd, env }: Required<Pick<GitOptions, "cwd" | "env">>): Promise<void> {
  const { [activeVariable]: _, GIT_OPTIONAL_LOCKS: __, ...environment } = gitEnvironment(process.env, env);
  const child = spawn("git", args, { cwd, env: environment, stdio: ["ignore", "ignore", "pipe"], windowsHide: true });
  const stderr = collect(child);
  const code = await exitOf(child).catch((error: unknown) => {
    throw translate(error, {});
  });
  if (code !== 0) throw failure(args, code, stderr(), {});
}

/** Starts git for a conversation on its pipes. The caller ends stdin and awaits `exited`. */
export function gitConversation(args: readonly string[], options: GitOptions = {}): { child: ChildProcess; exited: Promise<void> } {
  const child = start(args, options);
  const stderr = collect(child);
  const exited = exitOf(child).then(
    (code) => {
      if (!(options.okCodes ?? [0]).includes(code)) throw failure(args, code, stderr(), options);
    },
    (error: unknown) => {
      throw translate(error, options);
    },
  );
  return { child, exited };
}

function start(args: readonly string[], options: GitOptions): ChildProcess {
  const signals = [options.signal, options.timeoutMs === undefined ? undefined : AbortSignal.timeout(options.timeoutMs)];
  const present = signals.filter((signal) => signal !== undefined);
  return spawn("git", [...quiet, ...args], {
    cwd: options.cwd,
    env: gitEnvironment(process.env, { ...local, ...options.env }),
    stdio: [options.input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    windowsHide: true,
    ...(present.length === 0 ? {} : { signal: AbortSignal.any(present) }),
  });
}

function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => (code === null ? reject(new Error(`git was ended by ${signal}`)) : resolve(code)));
  });
}

function collect(child: ChildProcess): () => string {
  let text = "";
  child.stderr?.setEncoding("utf8");
  child.stderr?.on("data", (chunk: string) => {
    if (text.length < stderrLimit) text += chunk;
  });
  return () => text;
}

async function feed(child: ChildProcess, input: GitOptions["input"]): Promise<void> {
  const stdin = child.stdin;
  if (stdin === null || input === undefined) return;
  // git may close its end early (an error, enough read): its exit code tells, not EPIPE.
  stdin.on("error", () => undefined);
  if (typeof input === "string" || Buffer.isBuffer(input)) {
    stdin.end(input);
    return;
  }
  for await (const chunk of input) {
    if (stdin.destroyed) return;
    if (!stdin.write(chunk)) await roomIn(stdin);
  }
  stdin.end();
}

/** Until more can be written, or nothing ever. */
function roomIn(stdin: Writable): Promise<void> {
  return new Promise((resolve) => {
    const go = (): void => {
      stdin.off("drain", go).off("close", go);
      resolve();
    };
    stdin.on("drain", go).on("close", go);
  });
}

function translate(error: unknown, options: GitOptions): BackupError {
  if (options.signal?.aborted === true) return interrupted(options.signal);
  if (systemCode(error) === "ENOENT") return new BackupError("git_missing", "git could not be started", { cause: error });
  if (systemCode(error) === "ABORT_ERR") return new BackupError("git_failed", "git took too long and was ended", { cause: error });
  return new BackupError("git_failed", `git could not be run: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
}

function interrupted(signal: AbortSignal): BackupError {
  return signal.reason instanceof BackupError ? signal.reason : new BackupError("interrupted", "interrupted", { cause: signal.reason });
}

function failure(args: readonly string[], code: number, stderr: string, options: GitOptions): BackupError {
  if (options.signal?.aborted === true) return interrupted(options.signal);
  const words = withoutCredentials(stderr.trim().split("\n").slice(-4).join("; "));
  return new BackupError("git_failed", `git ${subcommand(args)} failed (exit ${code}): ${words}`, {
    details: { args: args.map(withoutCredentials), code },
  });
}

function subcommand(args: readonly string[]): string {
  return args.find((arg, at) => !arg.startsWith("-") && !["-C", "-c", "--git-dir", "--work-tree"].includes(args[at - 1] ?? "")) ?? "";
}

/** A URL may carry a password; no message of ours does. */
export function withoutCredentials(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]*:\/\/)[^/@\s]+@/gi, "$1");
}
