/**
 * The backup branch on its remote: its tip, fetching it, pushing to it under a lease. Translates git's words into
 * `remote_failed`, the only code that comes from here beside `interrupted`.
 */
import { join } from "node:path";
import { BackupError } from "../core/errors.ts";
import { parsePushed, type RemoteAnswer, type RemoteCall, readRemoteTips, talk } from "../git/porcelain.ts";
import { gitFind, withoutCredentials } from "../git/run.ts";
import type { CallOptions } from "./store.ts";

export interface BranchRemoteOptions {
  readonly url: string;
  readonly branch: string;
  /** The bare repository that objects come from and go to. */
  readonly gitDir: string;
  /** A git directory whose connection settings (ssh command, credentials, proxies) are used. */
  readonly configFrom?: string;
  readonly silenceMs?: number;
}

export interface Refusal {
  readonly error: BackupError;
  /** Another push was being written at that moment. */
  readonly isPassing: boolean;
}

export class BranchRemote {
  readonly #options: BranchRemoteOptions;
  readonly #ref: string;

  constructor(options: BranchRemoteOptions) {
    this.#options = options;
    this.#ref = `refs/heads/${options.branch}`;
  }

  /** Null when the remote has no such branch. */
  async tip(options: CallOptions): Promise<string | null> {
    const { answer, tips } = await readRemoteTips(this.#options.url, [this.#ref], await this.#call(options));
    if (answer.code !== 0) throw this.#unreachable(answer);
    return tips.get(this.#ref) ?? null;
  }

  /** Brings the branch into `intoRef` of the bare repository. */
  async fetch(intoRef: string, options: CallOptions): Promise<void> {
    const flags = ["--quiet", "--progress", "--no-tags", "--no-write-fetch-head"];
    const answer = await talk(["fetch", ...flags, "--", this.#options.url, `+${this.#ref}:${intoRef}`], await this.#call(options));
    if (answer.code !== 0) throw this.#unreachable(answer);
  }

  /** Undefined when it is there now. The remote may have moved from `expected` (null: no branch), or refuse. */
  async push(tip: string, expected: string | null, options: CallOptions): Promise<Refusal | undefined> {
    const lease = `--force-with-lease=${this.#ref}:${expected ?? ""}`;
    const answer = await talk([...pushCommand, lease, "--", this.#options.url, `${tip}:${this.#ref}`], await this.#call(options));
    const pushed = parsePushed(answer.stdout).get(this.#ref);
    if (pushed === undefined) throw this.#unreachable(answer);
    if (pushed.isOk) return undefined;
    return { error: this.#refused(pushed.reason, answer), isPassing: /cannot lock|failed to update ref|incorrect old value/.test(pushed.reason) };
  }

  /** For messages: without credentials. */
  toString(): string {
    return `${this.#options.branch} on ${withoutCredentials(this.#options.url)}`;
  }

  async #call({ signal }: CallOptions): Promise<RemoteCall> {
    const { gitDir, configFrom, silenceMs } = this.#options;
    return {
      cwd: gitDir,
      ...(configFrom === undefined ? {} : { env: await connectionSettings(configFrom) }),
      ...(silenceMs === undefined ? {} : { silenceMs }),
      ...(signal === undefined ? {} : { signal }),
    };
  }

  #unreachable(answer: RemoteAnswer): BackupError {
    const words = answer.isTimedOut ? "did not answer in time" : lastWords(answer.stderr) || `git ended with exit ${answer.code}`;
    return new BackupError("remote_failed", `${this}: ${words}`, {
      hint: `git ls-remote ${withoutCredentials(this.#options.url)}   (what is here stays, and goes there with the next: holdfast sync --wait)`,
    });
  }

  #refused(reason: string, answer: RemoteAnswer): BackupError {
    const words = [...new Set([reason, lastWords(answer.stderr)])].filter((text) => text !== "").join("; ");
    return new BackupError("remote_failed", `${this} refused the push: ${withoutCredentials(words)}`, {
      hint: `allow pushes to ${this.#options.branch} there; what is here stays, and goes there with the next: holdfast sync --wait`,
    });
  }
}

const pushCommand = [
  ...["-c", "push.useForceIfIncludes=false", "push", "--porcelain", "--progress"],
  ...["--no-verify", "--no-follow-tags", "--no-signed", "--recurse-submodules=no"],
];

/** Connection settings of another repository, as variables: a header or a helper may carry a secret, which no argument list should. */
async function connectionSettings(gitDir: string): Promise<Record<string, string>> {
  const pattern = String.raw`^(core\.sshcommand|core\.gitproxy|ssh\.variant|credential\.|http\.|https\.|url\.)`;
  const text = (await gitFind(["config", "--file", join(gitDir, "config"), "-z", "--get-regexp", pattern])) ?? "";
  const env: Record<string, string> = {};
  const items = text.split("\0").filter((item) => item !== "");
  for (const [index, item] of items.entries()) {
    const line = item.indexOf("\n");
    env[`GIT_CONFIG_KEY_${index}`] = line === -1 ? item : item.slice(0, line);
    env[`GIT_CONFIG_VALUE_${index}`] = line === -1 ? "true" : item.slice(line + 1);
  }
  return items.length === 0 ? {} : { ...env, GIT_CONFIG_COUNT: String(items.length) };
}

function lastWords(stderr: string): string {
  const lines = stderr.split(/[\r\n]+/).filter((line) => /^(fatal|error|remote|ssh): ./.test(line));
  return withoutCredentials(lines.slice(0, 3).join("; "));
}
