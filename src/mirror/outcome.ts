/**
 * What became of one remote, and the translation of git's words into it. Nobody above reads stderr.
 */
import type { PushedRef, RemoteAnswer } from "../git/porcelain.ts";
import { withoutCredentials } from "../git/run.ts";
import type { RefAction } from "./plan.ts";

export type MirrorStatus =
  /** All that is here is there. */
  | "ok"
  /** Commits of others stand on a branch: theirs stay, ours are not there yet. */
  | "behind"
  /** The remote answered, and refused. */
  | "rejected"
  /** No answer, or no entry. */
  | "unreachable";

export interface RefOutcome {
  readonly ref: string;
  readonly action: RefAction;
  readonly status: "ok" | "behind" | "rejected";
  readonly local: string | null;
  /** As read back afterwards; null when the ref is not there. */
  readonly remote: string | null;
  readonly note?: string;
}

export interface KeptTip {
  readonly ref: string;
  readonly oid: string;
  /** The name that it stands under on the remote. */
  readonly keptAs: string;
}

export interface MirrorOutcome {
  /** As it was asked for: a remote's name, a URL or a path. */
  readonly remote: string;
  /** Without credentials. */
  readonly url: string;
  readonly status: MirrorStatus;
  readonly refs: readonly RefOutcome[];
  readonly kept: readonly KeptTip[];
  readonly message?: string;
  /** A command to paste. */
  readonly hint?: string;
  readonly at: Date;
  /** Of an unreachable remote: until then `mirrorAll` gives this outcome again without asking it. */
  readonly nextAttemptAt?: Date;
}

export interface Failure {
  readonly status: "rejected" | "unreachable";
  readonly message: string;
  readonly hint: string;
}

/** Why a call to the remote as a whole failed. */
export function explainFailure(answer: RemoteAnswer, url: string): Failure {
  const shown = withoutCredentials(url);
  if (answer.isTimedOut) return unreachable(`${shown} did not answer in time`, `git ls-remote ${shown}`);
  for (const { pattern, says, hint } of failures) {
    if (pattern.test(answer.stderr)) return unreachable(`${shown}: ${says}`, hint(shown));
  }
  const words = lastWords(answer.stderr);
  return unreachable(`${shown}: ${words === "" ? `git ended with exit ${answer.code}` : words}`, `git ls-remote ${shown}`);
}

/** Why the remote refused one ref, and what to do. `stderr` carries the words of its hooks. */
export function explainRejection(ref: string, pushed: PushedRef | undefined, stderr: string): { note: string; hint: string } {
  const reason = pushed === undefined || pushed.isOk ? "the remote took it, but does not show it" : pushed.reason;
  const said = remoteWords(stderr);
  const note = withoutCredentials(said === "" || reason.includes(said) ? reason : `${reason}: ${said}`);
  const isProtected = /protected branch|GH006|GH013|not allowed to (force|push)|non-fast-forward|deletion|delete/i.test(`${reason} ${stderr}`);
  const hint = isProtected
    ? `allow force-pushes and deletions of ${ref} on the remote, or leave it out of the mirror`
    : "ask the remote's owner what its hook wants; nothing there was changed";
  return { note, hint };
}

const failures: readonly { pattern: RegExp; says: string; hint: (url: string) => string }[] = [
  { pattern: /could not resolve host|name or service not known|nodename nor servname|temporary failure in name resolution/i, says: "the host was not found", hint: () => "is this machine online? it is tried again by itself" },
  { pattern: /host key verification failed/i, says: "the host's key is not known here", hint: (url) => `git ls-remote ${url}   (once, by hand, to accept the key)` },
  { pattern: /permission denied \(|authentication failed|could not read (username|password)|invalid username or|http basic: access denied|returned error: 40[13]|terminal prompts disabled/i, says: "not let in", hint: (url) => `git ls-remote ${url}   (as this user, without a password prompt)` },
  { pattern: /connection (timed out|refused|reset|closed)|operation timed out|network is unreachable|no route to host|failed to connect|early eof|hung up unexpectedly/i, says: "the connection failed", hint: () => "is this machine online? it is tried again by itself" },
  { pattern: /does not appear to be a git repository|repository .*not found|not a git repository|no such file or directory|does not exist/i, says: "there is no repository", hint: (url) => `git init --bare ${url}   (or mend the address: git remote -v)` },
]; // biome-ignore format: a table

function unreachable(message: string, hint: string): Failure {
  return { status: "unreachable", message, hint };
}

/** Lines of the remote's own hooks come with `remote: ` before them. */
function remoteWords(stderr: string): string {
  const lines = stderr.split(/[\r\n]+/).filter((line) => line.startsWith("remote: "));
  const words = lines
    .map((line) => line.slice(8).trim())
    .filter((line) => line !== "" && !/^(Resolving|Counting|Compressing|Total|Enumerating|Unpacking)/.test(line));
  return words.slice(0, 3).join("; ");
}

function lastWords(stderr: string): string {
  const lines = stderr.split(/[\r\n]+/).filter((line) => /^(fatal|error|remote): /.test(line));
  return withoutCredentials(lines.slice(0, 3).join("; "));
}
