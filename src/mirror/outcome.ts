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
  /** It does not let us in, or we cannot be sure that it is the right one: credentials or a host key are missing. */
  | "unauthorized"
  /** No answer, or nothing there. */
  | "unreachable";

export interface RefOutcome {
  /** Its name in this repository. */
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
  /** Kept tips of earlier runs whose days were over: deleted. */
  readonly expired: readonly KeptTip[];
  /** What is not as it should be although every ref is: LFS objects that are not there, old tips that cannot be deleted. */
  readonly notes: readonly string[];
  readonly message?: string;
  /** A command to paste. */
  readonly hint?: string;
  readonly at: Date;
  /** Of a remote that is unreachable or does not let us in: until then `mirrorAll` gives this outcome again without asking it. */
  readonly nextAttemptAt?: Date;
}

export interface Failure {
  readonly status: "unauthorized" | "unreachable";
  readonly message: string;
  readonly hint: string;
}

/** Why a call to the remote as a whole failed. */
export function explainFailure(answer: RemoteAnswer, url: string): Failure {
  const shown = withoutCredentials(url);
  const look = `git ls-remote ${shown}`;
  if (answer.isTimedOut) return { status: "unreachable", message: `${shown} did not answer in time`, hint: look };
  for (const { pattern, status, says, hint } of failures) {
    if (pattern.test(answer.stderr)) return { status, message: `${shown}: ${says}`, hint: hint(shown) };
  }
  const words = lastWords(answer.stderr);
  return { status: "unreachable", message: `${shown}: ${words === "" ? `git ended with exit ${answer.code}` : words}`, hint: look };
}

/** Why the remote refused `ref`, a name there, and what to do. `stderr` carries the words of its hooks. */
export function explainRejection(ref: string, pushed: PushedRef | undefined, stderr: string): { note: string; hint: string } {
  const reason = pushed === undefined || pushed.isOk ? "the remote took it, but does not show it" : pushed.reason;
  const said = remoteWords(stderr);
  const note = withoutCredentials(said === "" || reason.includes(said) ? reason : `${reason}: ${said}`);
  const found = rejections.find(({ pattern }) => pattern.test(`${reason} ${said}`));
  return { note, hint: found?.hint(ref) ?? "ask the remote's owner what its hook wants; nothing there was changed" };
}

/** What git, ssh and the hosts say, the more telling first. */
const failures: readonly { pattern: RegExp; status: Failure["status"]; says: string; hint: (url: string) => string }[] = [
  { pattern: /could not resolve host|name or service not known|nodename nor servname|temporary failure in name resolution/i, status: "unreachable", says: "the host was not found", hint: () => "is this machine online? it is tried again by itself" },
  { pattern: /remote host identification has changed|offending \S+ key in/i, status: "unauthorized", says: "the host shows another key than before: it may not be the same host", hint: (url) => `if the host's owner confirms the new key: ssh-keygen -R ${hostOf(url)} && git ls-remote ${url}` },
  { pattern: /host key verification failed|no \S+ host key is known/i, status: "unauthorized", says: "the host's key is not known here", hint: (url) => `git ls-remote ${url}   (once, by hand: compares and accepts the key into known_hosts)` },
  { pattern: /marked as read.only|write access to repository not granted|returned error: 403|permission to \S+ denied/i, status: "unauthorized", says: "let in, but not to write", hint: () => "give this key or account the right to push there" },
  { pattern: /permission denied \(/i, status: "unauthorized", says: "not let in: no ssh key of this machine is accepted", hint: (url) => `ssh-add -l; ssh-add ~/.ssh/KEY, or a key without a passphrase (IdentityFile in ~/.ssh/config); then git ls-remote ${url}` },
  { pattern: /authentication failed|could not read (username|password)|invalid username or|http basic: access denied|returned error: 401|terminal prompts disabled/i, status: "unauthorized", says: "not let in: no user name and password (or token) that works", hint: (url) => `git config credential.helper store && git ls-remote ${url}   (once, by hand; another helper: gitcredentials(7))` },
  { pattern: /connection (timed out|refused|reset|closed)|operation timed out|network is unreachable|no route to host|failed to connect|couldn't connect to server|early eof|hung up unexpectedly/i, status: "unreachable", says: "the connection failed", hint: () => "is this machine online? it is tried again by itself" },
  { pattern: /does not appear to be a git repository|repository .*not found|not a git repository|no such file or directory|does not exist/i, status: "unreachable", says: "there is no repository", hint: (url) => `git init --bare ${url}   (or mend the address: git remote -v)` },
]; // biome-ignore format: a table

const rejections: readonly { pattern: RegExp; hint: (ref: string) => string }[] = [
  { pattern: /current branch/i, hint: (ref) => `make another branch the remote's default: ${ref} is its HEAD (there: git symbolic-ref HEAD refs/heads/NAME)` },
  { pattern: /hidden ref|funny refname|outside .*refs\/heads/i, hint: () => "this host takes branches and tags only: in backup.yaml, mode: branches-and-tags" },
  { pattern: /protected branch|GH006|GH013|not allowed to (force|push)|non-fast-forward|deletion|delete/i, hint: (ref) => `allow force-pushes and deletions of ${ref} on the remote, or leave it out of the mirror` },
]; // biome-ignore format: a table

/** `git@host:path`, `ssh://git@host:22/path`: as known_hosts writes it. */
function hostOf(url: string): string {
  const match = /^(?:[a-z][a-z0-9+.-]*:\/\/)?(?:[^@/]+@)?(\[[^\]]+\]|[^:/]+)(?::(\d+)(?=\/))?/i.exec(url);
  const host = match?.[1] ?? url;
  return match?.[2] === undefined || match[2] === "22" ? host : `"[${host}]:${match[2]}"`;
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
