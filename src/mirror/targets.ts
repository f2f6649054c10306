/** The remotes of a run, with all that is read once for all of them. */
import type { MirrorConfig } from "../core/config.ts";
import { BackupError, describeError } from "../core/errors.ts";
import { listRemotes, pushUrls, type RemoteCall, readLocalTips } from "../git/porcelain.ts";
import type { Repository } from "../git/repository.ts";
import { withoutCredentials } from "../git/run.ts";
import { layoutOf, prefixesHere, type Tips } from "./layout.ts";
import { openObjects } from "./objects.ts";
import type { Failure, MirrorOutcome } from "./outcome.ts";
import { type Destination, MirrorFailure } from "./push.ts";

export interface MirrorOptions {
  readonly repository: Repository;
  /** A remote with several push URLs gives several outcomes. Of two for one remote the first counts. */
  readonly mirrors: readonly MirrorConfig[];
  /** One component of a ref, for namespaced mirrors; see core/machine-name.ts. */
  readonly machine: string;
  /** Full names of branches that hold recovery points, on any remote: an exact mirror leaves them alone. */
  readonly reserved: readonly string[];
  /** Holdfast's own folder; `mirror.git` and `mirrors/` are made in it. */
  readonly stateDir: string;
  readonly now: () => Date;
  /** In [0, 1). */
  readonly random: () => number;
  /** Try remotes again whose time has not come yet. */
  readonly force?: boolean;
  /** The end of each remote's run. Without it, a minute of silence from git ends it. */
  readonly timeoutMs?: number;
  readonly silenceMs?: number;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: (event: MirrorEvent) => void;
}

export interface Target {
  readonly mirror: MirrorConfig;
  /** `mirror.remote` without credentials. */
  readonly remote: string;
  /** Null when `remote` names nothing. */
  readonly url: string | null;
}

export interface Context {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** By their names here. */
  readonly here: Tips;
  readonly targets: readonly Target[];
}

export type MirrorEvent =
  | { readonly kind: "mirror_started"; readonly remote: string; readonly url: string }
  | { readonly kind: "mirror_done"; readonly outcome: MirrorOutcome };

/** Throws when the repository itself cannot be read. */
export async function observe({ repository, stateDir, mirrors }: MirrorOptions): Promise<Context> {
  const cwd = repository.worktrees[0]?.root ?? repository.commonDir;
  const prefixes = prefixesHere(mirrors.map(({ mode }) => mode));
  const [env, here, configured] = await Promise.all([openObjects(repository, stateDir), readLocalTips(cwd, prefixes), listRemotes(cwd)]);
  const targets: Target[] = [];
  for (const mirror of mirrors) {
    const { remote } = mirror;
    if (targets.some((target) => target.mirror.remote === remote)) continue;
    const urls = configured.includes(remote) ? await pushUrls(cwd, remote) : isAddress(remote) ? [remote] : [null];
    for (const url of new Set(urls)) targets.push({ mirror, remote: withoutCredentials(remote), url });
  }
  return { cwd, env, here, targets };
}

/** `machine` is the name that our refs stand under there. */
export function destinationOf(mirror: MirrorConfig, url: string, machine: string, context: Context, options: MirrorOptions): Destination {
  const { timeoutMs, silenceMs, signal } = options;
  const call: RemoteCall = {
    cwd: context.cwd,
    env: context.env,
    ...(timeoutMs === undefined ? {} : { deadline: AbortSignal.timeout(timeoutMs) }),
    ...(silenceMs === undefined ? {} : { silenceMs }),
    signal,
  };
  return { url, call, layout: layoutOf(mirror.mode, machine, options.reserved) };
}

/** Waits for every one before it throws, so that nothing goes on behind the caller's back. */
export async function all<T>(running: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(running);
  return Promise.all(running);
}

export function failureOf(error: unknown): Failure {
  if (error instanceof MirrorFailure) return error.failure;
  if (error instanceof BackupError) return { status: "unreachable", message: error.message, hint: error.hint };
  return { status: "unreachable", message: describeError(error), hint: "holdfast doctor" };
}

export function unknownRemote(remote: string): Failure {
  return { status: "unreachable", message: `there is no remote ${remote}`, hint: "git remote -v" };
}

/** Something that git takes as a URL or a path, and not for an option. */
function isAddress(remote: string): boolean {
  return /[/\\:]/.test(remote) && !remote.startsWith("-");
}
