/**
 * What git says about remotes, and to them.
 * Questions about the repository go through simple-git. Whatever reaches over the network (ls-remote, fetch, push) is
 * started here: simple-git ends only git itself, and the ssh or helper that git had started would hang on alone.
 */
import { type ChildProcess, spawn } from "node:child_process";
import type { SimpleGit } from "simple-git";
import { BackupError, describeError, systemCode } from "../core/errors.ts";
import { gitEnvironment } from "./environment.ts";
import { gitFind, withoutCredentials } from "./run.ts";

/** Names of configured remotes. */
export async function listRemotes(cwd: string): Promise<string[]> {
  const remotes = await ask(cwd, (simple) => simple.getRemotes());
  return remotes.map((remote) => remote.name);
}

/** All URLs that a push to `remote` goes to, `insteadOf` rules applied, in the order of the configuration. */
export async function pushUrls(cwd: string, remote: string): Promise<string[]> {
  const text = await ask(cwd, (simple) => simple.remote(["get-url", "--push", "--all", remote]));
  return (text ?? "").split("\n").filter((url) => url !== "");
}

/** Full ref name to oid, of the refs below the given prefixes (`refs/heads`). */
export async function readLocalTips(cwd: string, prefixes: readonly string[]): Promise<Map<string, string>> {
  return parseTips(await ask(cwd, (simple) => simple.raw(["for-each-ref", "--format=%(objectname)\t%(refname)", ...prefixes])));
}

export interface RemoteCall {
  /** Its configuration is used: credential helpers, proxies, `core.sshCommand`. */
  readonly cwd: string;
  /** Added to the scrubbed environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** For git's standard input; else it is empty. */
  readonly input?: string;
  /** The caller's. When it aborts the call throws `interrupted`. */
  readonly signal?: AbortSignal | undefined;
  /** The end of this call, whatever it is doing. */
  readonly deadline?: AbortSignal;
  /** The longest time without a word from git; its progress counts. */
  readonly silenceMs?: number;
}

export interface RemoteAnswer {
  readonly code: number;
  readonly stdout: string;
  /** The end of it, progress included. */
  readonly stderr: string;
  readonly isTimedOut: boolean;
}

const defaultSilenceMs = 60_000;

/**
 * Runs a git command that talks to a remote. Never prompts. A refusal of the remote is an answer, not an exception.
 * When time or the caller ends it, everything that git had started is ended too.
 * Throws `interrupted` and `git_missing`.
 */
export async function talk(args: readonly string[], call: RemoteCall): Promise<RemoteAnswer> {
  throwIfInterrupted(call.signal);
  const env = gitEnvironment(process.env, { ...(await sshEnvironment(call)), ...call.env });
  // A group of its own, so that all of it can be ended; it has no terminal then, where ssh would look for a password.
  const child = spawn("git", [...quiet, ...args], { cwd: call.cwd, env, stdio: ["pipe", "pipe", "pipe"], detached: hasGroups, windowsHide: true });
  // git may end without having read it all: its exit code tells, not EPIPE.
  child.stdin.on("error", () => undefined);
  child.stdin.end(call.input);
  const ending = new Ending(child, call);
  const output = read(child, () => ending.heard());
  try {
    const code = await exitOf(child, ending);
    throwIfInterrupted(call.signal);
    return { code, stdout: output.stdout(), stderr: output.stderr(), isTimedOut: ending.isTimedOut };
  } finally {
    ending.dispose();
  }
}

export interface Tips {
  readonly answer: RemoteAnswer;
  /** Empty unless `answer.code` is 0. */
  readonly tips: Map<string, string>;
}

/** The tips that `url` shows now, for refs that match the patterns (`refs/heads/*`). */
export async function readRemoteTips(url: string, patterns: readonly string[], call: RemoteCall): Promise<Tips> {
  const answer = await talk(["ls-remote", "--refs", "--", url, ...patterns], call);
  return { answer, tips: answer.code === 0 ? parseTips(answer.stdout) : new Map() };
}

/** Lines of `OID TAB REF`, as `ls-remote` and our `for-each-ref` print them. */
export function parseTips(text: string): Map<string, string> {
  const tips = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [oid, ref] = line.split("\t");
    if (oid !== undefined && ref !== undefined) tips.set(ref, oid);
  }
  return tips;
}

export interface PushedRef {
  readonly isOk: boolean;
  /** Why not, in git's or the remote's words: `stale info`, `pre-receive hook declined`. */
  readonly reason: string;
}

/** `git push --porcelain`: the ref on the remote to what became of it (git-push(1), OUTPUT). */
export function parsePushed(text: string): Map<string, PushedRef> {
  const pushed = new Map<string, PushedRef>();
  for (const line of text.split("\n")) {
    const [flag = "", refs, summary = ""] = line.split("\t");
    if (refs === undefined || flag.length !== 1) continue;
    const ref = refs.slice(refs.indexOf(":") + 1);
    pushed.set(ref, { isOk: flag !== "!", reason: /\(([^()]*(?:\([^()]*\)[^()]*)*)\)\s*$/.exec(summary)?.[1] ?? summary });
  }
  return pushed;
}

const quiet = [
  "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0", "-c", "maintenance.auto=false",
  "-c", "protocol.ext.allow=never", "-c", "core.quotePath=false",
  // Never a question: not on a terminal (there is none), not in a window that a helper opens. (git-config(1), credential.interactive)
  "-c", "credential.interactive=false",
]; // biome-ignore format: pairs

const hasGroups = process.platform !== "win32";
const outputTail = 64 * 1024;
const graceMs = 1000;

/** Loaded when first asked: it costs 50 ms, which no hook should pay. */
async function ask<T>(cwd: string, question: (simple: SimpleGit) => PromiseLike<T>): Promise<T> {
  const { simpleGit } = await import("simple-git");
  // Its guard refuses variables that name programs. None of these questions starts one.
  const { GIT_ASKPASS, SSH_ASKPASS, GIT_SSH, GIT_SSH_COMMAND, GIT_SSH_VARIANT, GIT_PROXY_COMMAND, ...env } = gitEnvironment(process.env);
  const unsafe = { allowUnsafeConfigPaths: true };
  try {
    const simple = simpleGit({ baseDir: cwd, allowEnvironment: Object.keys(env), unsafe, completion: { onExit: false } });
    return await question(simple.env(env));
  } catch (error) {
    throw new BackupError("git_failed", withoutCredentials(describeError(error).trim().split("\n").at(-1) ?? ""), { cause: error });
  }
}

/** ssh must not ask and must not wait for ever. A command that is not plainly ssh is left as the user made it. */
async function sshEnvironment({ cwd, env = {} }: RemoteCall): Promise<Record<string, string>> {
  const { GIT_SSH_COMMAND, GIT_SSH } = process.env;
  const command = GIT_SSH_COMMAND ?? (await gitFind(["config", "core.sshCommand"], { cwd, env })) ?? (GIT_SSH === undefined ? "ssh" : `"${GIT_SSH}"`);
  return isSsh(command) ? { GIT_SSH_COMMAND: `${command} -oBatchMode=yes -oConnectTimeout=10` } : {};
}

/** `ssh -i key`, `/usr/bin/ssh`, `"C:/…/ssh.exe" -v`: the options of OpenSSH will be understood. */
export function isSsh(command: string): boolean {
  const program = /^\s*(?:"([^"]+)"|'([^']+)'|(\S+))/.exec(command);
  return /(^|[/\\])ssh(\.exe)?$/i.test(program?.[1] ?? program?.[2] ?? program?.[3] ?? "");
}

/** Ends the child and all that it started, when the caller, the deadline or silence asks for it. */
class Ending {
  isTimedOut = false;
  readonly #child: ChildProcess;
  readonly #silence: NodeJS.Timeout;
  readonly #signals: AbortSignal[];
  readonly #deadline: AbortSignal | undefined;
  #kill: NodeJS.Timeout | undefined;
  readonly #abort = (): void => this.#end(false);
  readonly #expire = (): void => this.#end(true);

  constructor(child: ChildProcess, call: RemoteCall) {
    this.#child = child;
    this.#deadline = call.deadline;
    this.#signals = call.signal === undefined ? [] : [call.signal];
    this.#silence = setTimeout(this.#expire, call.silenceMs ?? defaultSilenceMs);
    for (const signal of this.#signals) signal.addEventListener("abort", this.#abort, { once: true });
    this.#deadline?.addEventListener("abort", this.#expire, { once: true });
    if (this.#deadline?.aborted === true) this.#expire();
  }

  heard(): void {
    this.#silence.refresh();
  }

  dispose(): void {
    clearTimeout(this.#silence);
    for (const signal of this.#signals) signal.removeEventListener("abort", this.#abort);
    this.#deadline?.removeEventListener("abort", this.#expire);
    clearTimeout(this.#kill);
    // git may be gone while something that it started still holds on.
    if (this.#kill !== undefined) signalGroup(this.#child, "SIGKILL");
  }

  #end(isTimedOut: boolean): void {
    if (this.#kill !== undefined) return;
    this.isTimedOut = isTimedOut;
    signalGroup(this.#child, "SIGTERM");
    this.#kill = setTimeout(() => signalGroup(this.#child, "SIGKILL"), graceMs);
  }
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    if (hasGroups) process.kill(-child.pid, signal);
    else child.kill(signal);
  } catch (error) {
    // Already gone is what was wanted.
    if (systemCode(error) !== "ESRCH") throw error;
  }
}

/** The exit code once the pipes are closed; 128 for a child that a signal ended. */
function exitOf(child: ChildProcess, ending: Ending): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", (error) => {
      const code = systemCode(error) === "ENOENT" ? "git_missing" : "git_failed";
      reject(new BackupError(code, `git could not be started: ${describeError(error)}`, { cause: error }));
    });
    child.once("close", (code) => resolve(ending.isTimedOut ? 128 : (code ?? 128)));
    // A process that git left behind on purpose (a shared ssh connection) may hold the pipes open: git has said all by then.
    child.once("exit", () => {
      setTimeout(() => [child.stdout, child.stderr].map((stream) => stream?.destroy()), graceMs).unref();
    });
  });
}

function read(child: ChildProcess, heard: () => void): { stdout(): string; stderr(): string } {
  const stdout: Buffer[] = [];
  let stderr = "";
  child.stdout?.on("data", (chunk: Buffer) => {
    heard();
    stdout.push(chunk);
  });
  child.stderr?.on("data", (chunk: Buffer) => {
    heard();
    stderr = (stderr + chunk.toString("utf8")).slice(-outputTail);
  });
  return { stdout: () => Buffer.concat(stdout).toString("utf8"), stderr: () => stderr };
}

function throwIfInterrupted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw signal.reason instanceof BackupError ? signal.reason : new BackupError("interrupted", "interrupted", { cause: signal.reason });
}
