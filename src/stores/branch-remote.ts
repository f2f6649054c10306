/**
 * The backup branch on its remote: its tip, fetching it, pushing to it under a lease. Translates git's words into
 * `remote_failed`, the only code that comes from here beside `interrupted`.
 *
 * A fetch brings commits, folders and small files. Larger blobs stay where they are and are fetched when they are read,
 * if the host can leave them out (protocol v2's `filter`); a host that cannot sends all, and everything else is the same.
 */
import { join } from "node:path";
import { BackupError } from "../core/errors.ts";
import { parseSettings } from "../git/config-syntax.ts";
import { parsePushed, type RemoteAnswer, type RemoteCall, readRemoteTips, talk } from "../git/porcelain.ts";
import { gitFind, withoutCredentials } from "../git/run.ts";
import type { CallOptions } from "./store.ts";

export interface BranchRemoteOptions {
  readonly url: string;
  /** The whole name. */
  readonly ref: string;
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

export interface FetchWish extends CallOptions {
  /** A ref of the remote, or a commit. Default: the branch. */
  readonly from?: string;
  /** Blobs above this many bytes are left out. */
  readonly blobLimit: number;
  /** An empty repository to fetch into, without history; objects go where `objects` says. */
  readonly scratch?: { readonly gitDir: string; readonly objects?: string };
}

export class BranchRemote {
  readonly #options: BranchRemoteOptions;

  constructor(options: BranchRemoteOptions) {
    this.#options = options;
  }

  /** Null when the remote has no such ref. */
  async tip(options: CallOptions): Promise<string | null> {
    return (await this.tips("", options)).get(this.#options.ref) ?? null;
  }

  /** The branch and the refs beside it whose names go on with `suffix`, a pattern. */
  async tips(suffix: string, options: CallOptions): Promise<Map<string, string>> {
    const { url, ref } = this.#options;
    const { answer, tips } = await readRemoteTips(url, suffix === "" ? [ref] : [ref, `${ref}${suffix}`], await this.#call(options));
    if (answer.code !== 0) throw this.#unreachable(answer);
    return tips;
  }

  /** Brings a commit of the remote, its folders and its small files into `intoRef`. False when the host does not give a commit by its id. */
  async fetch(intoRef: string, { from = this.#options.ref, blobLimit, scratch, ...options }: FetchWish): Promise<boolean> {
    const filter = `blob:limit=${blobLimit}`;
    const { url, gitDir } = this.#options;
    // Named by variables of this one call: git then asks for a filter, and takes blobs that it lacks as left out, not lost.
    const promisor = { url, promisor: "true", partialclonefilter: filter };
    const settings = Object.entries(promisor).map(([key, value]): [string, string] => [`remote.${remoteName}.${key}`, value]);
    const call = await this.#call(options, settings);
    const objects = scratch?.objects === undefined ? {} : { GIT_OBJECT_DIRECTORY: scratch.objects };
    const env = { ...call.env, ...objects, GIT_NO_LAZY_FETCH: "0" };
    const depth = scratch === undefined ? [] : ["--depth=1"];
    const fetch = (flags: readonly string[]): Promise<RemoteAnswer> =>
      talk([...fetchCommand, ...depth, ...flags, `--filter=${filter}`, remoteName, `+${from}:${intoRef}`], {
        ...call,
        cwd: scratch?.gitDir ?? gitDir,
        env,
      });
    const answer = await fetch([]);
    if (answer.code === 0 || !lacksObjects.test(answer.stderr)) return this.#isGiven(answer);
    // Objects that a branch set back needs, and that are not here any more: everything anew. git has learnt that in 2.36.
    const anew = await fetch(["--refetch"]);
    return this.#isGiven(anew.code === 0 ? anew : answer);
  }

  /**
   * Brings these blobs into a scratch repository, or into the bare one: whole, whatever their size. False when the host does not have one
   * of them (any more), or gives none by its id.
   */
  async fetchBlobs(oids: readonly string[], { into, ...options }: CallOptions & { readonly into?: string }): Promise<boolean> {
    const { url, gitDir } = this.#options;
    // Without a word of what we have: the host would take a blob for ours that is in a commit of ours.
    const command = ["-c", "fetch.negotiationAlgorithm=noop", ...fetchCommand, "--", url, ...oids];
    return this.#isGiven(await talk(command, { ...(await this.#call(options)), cwd: into ?? gitDir }));
  }

  /** Brings the branch's last commit with all that it holds. */
  async fetchWhole(into: string, options: CallOptions): Promise<void> {
    const { url, ref } = this.#options;
    const answer = await talk([...fetchCommand, "--depth=1", "--", url, `+${ref}:refs/heads/whole`], { ...(await this.#call(options)), cwd: into });
    if (answer.code !== 0) throw this.#unreachable(answer);
  }

  /** Undefined when it is there now. The remote may have moved from `expected` (null: no such ref), or refuse. */
  async push(
    tip: string,
    expected: string | null,
    { suffix = "", ...options }: CallOptions & { readonly suffix?: string },
  ): Promise<Refusal | undefined> {
    const ref = this.refWith(suffix);
    const lease = `--force-with-lease=${ref}:${expected ?? ""}`;
    const answer = await talk([...pushCommand, lease, "--", this.#options.url, `${tip}:${ref}`], await this.#call(options));
    const pushed = parsePushed(answer.stdout).get(ref);
    if (pushed === undefined) throw this.#unreachable(answer);
    if (pushed.isOk) return undefined;
    return { error: this.#refused(pushed.reason, answer), isPassing: /cannot lock|failed to update ref|incorrect old value/.test(pushed.reason) };
  }

  /** Deletes a ref beside the branch. One that stays is no harm: it holds nothing that the branch does not. */
  async deleteBeside(suffix: string, options: CallOptions): Promise<void> {
    await talk([...pushCommand, "--", this.#options.url, `:${this.#options.ref}${suffix}`], await this.#call(options));
  }

  /** The whole name of a ref beside the branch. */
  refWith(suffix: string): string {
    return `${this.#options.ref}${suffix}`;
  }

  /** For messages: without credentials. */
  toString(): string {
    return `${this.#options.ref.replace(/^refs\/heads\//, "")} on ${withoutCredentials(this.#options.url)}`;
  }

  async #call({ signal }: CallOptions, settings: readonly [string, string][] = []): Promise<RemoteCall> {
    const { gitDir, configFrom, silenceMs } = this.#options;
    const all = [...(configFrom === undefined ? [] : await connectionSettings(configFrom)), ...settings];
    return {
      cwd: gitDir,
      ...(all.length === 0 ? {} : { env: configEnvironment(all) }),
      ...(silenceMs === undefined ? {} : { silenceMs }),
      signal,
    };
  }

  #isGiven(answer: RemoteAnswer): boolean {
    if (answer.code !== 0 && !/not our ref|unadvertised object/i.test(answer.stderr)) throw this.#unreachable(answer);
    return answer.code === 0;
  }

  #unreachable(answer: RemoteAnswer): BackupError {
    const words = answer.isTimedOut ? "did not answer in time" : lastWords(answer.stderr) || `git ended with exit ${answer.code}`;
    return new BackupError("remote_failed", `${this}: ${words}`, {
      hint: `git ls-remote ${withoutCredentials(this.#options.url)}   (what is here stays, and goes there with the next: holdfast sync --wait)`,
    });
  }

  #refused(reason: string, answer: RemoteAnswer): BackupError {
    const words = [...new Set([reason, lastWords(answer.stderr)])].filter((text) => text !== "").join("; ");
    const { ref } = this.#options;
    return new BackupError("remote_failed", `${this} refused the push: ${withoutCredentials(words)}`, {
      hint: `allow pushes to ${ref.replace(/^refs\/heads\//, "")} there; what is here stays, and goes there with the next: holdfast sync --wait`,
    });
  }
}

/** For the time of one call; unlikely to be a remote of the user's. */
const remoteName = "holdfast-branch";

const lacksObjects = /did not send all necessary objects|missing (?:blob|tree|commit)|bad object|could not (?:read|fetch)/i;

/** Packs stay packs, and large blobs in them are not held in memory. */
const fetchCommand = [
  ...["-c", "fetch.unpackLimit=1", "-c", "core.bigFileThreshold=512k", "fetch", "--quiet", "--progress"],
  ...["--no-tags", "--no-write-fetch-head", "--recurse-submodules=no"],
];

/** Blobs that moved to another path are known to be there only when whole trees are compared (pack.useSparse). */
const pushCommand = [
  ...["-c", "pack.useSparse=false", "-c", "push.useForceIfIncludes=false", "push", "--porcelain", "--progress"],
  ...["--no-verify", "--no-follow-tags", "--no-signed", "--recurse-submodules=no"],
];

/** Connection settings of another repository. */
async function connectionSettings(gitDir: string): Promise<[string, string][]> {
  const pattern = String.raw`^(core\.sshcommand|core\.gitproxy|ssh\.variant|credential\.|http\.|https\.|url\.)`;
  const text = (await gitFind(["config", "--file", join(gitDir, "config"), "-z", "--get-regexp", pattern])) ?? "";
  return parseSettings(text).map(({ key, value }) => [key, value ?? "true"]);
}

/** As variables: a header, a helper or a URL may carry a secret, which no argument list should. */
function configEnvironment(settings: readonly [string, string][]): Record<string, string> {
  const numbered = settings.flatMap(([key, value], index) => [
    [`GIT_CONFIG_KEY_${index}`, key],
    [`GIT_CONFIG_VALUE_${index}`, value],
  ]);
  return { ...Object.fromEntries(numbered), GIT_CONFIG_COUNT: String(settings.length) } as Record<string, string>;
}

function lastWords(stderr: string): string {
  const lines = stderr.split(/[\r\n]+/).filter((line) => /^(fatal|error|remote|ssh): ./.test(line));
  return withoutCredentials(lines.slice(0, 3).join("; "));
}
