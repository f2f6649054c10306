/**
 * The mirror: all branches and tags of a repository on several git remotes, after every commit.
 *
 * Words: a *mirror* is a git remote that gets refs; *ours* is what we pushed to it last; a *kept* tip is an old one
 * that stands under a dated ref; an *outcome* is what became of one remote. Remotes run side by side, one never waits
 * for another, and each gives an outcome, never an exception. Nothing of the user's repository is written.
 */
import { BackupError, describeError } from "../core/errors.ts";
import { listRemotes, pushUrls, type RemoteCall, readLocalTips } from "../git/porcelain.ts";
import type { Repository } from "../git/repository.ts";
import { withoutCredentials } from "../git/run.ts";
import { fetchTips, formerTips, isAncestor, knownObjects, openObjects } from "./objects.ts";
import type { KeptTip, MirrorOutcome, MirrorStatus, RefOutcome } from "./outcome.ts";
import { planMirror, type RefStep } from "./plan.ts";
import { executePlan, MirrorFailure, readBack } from "./push.ts";
import { type MirrorState, readState, retryDelayMs, stateFile, writeState } from "./queue.ts";
import { isTag, mirrored, type Tips } from "./refs.ts";

export type MirrorEvent =
  | { readonly kind: "mirror_started"; readonly remote: string; readonly url: string }
  | { readonly kind: "mirror_done"; readonly outcome: MirrorOutcome };

export interface MirrorOptions {
  readonly repository: Repository;
  /** Names of remotes, URLs or paths. A remote with several push URLs gives several outcomes. */
  readonly remotes: readonly string[];
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
  readonly signal?: AbortSignal;
  readonly onEvent?: (event: MirrorEvent) => void;
}

/** Outcomes in the order of `remotes`. Throws only `interrupted`, and when the repository itself cannot be read. */
export async function mirrorAll(options: MirrorOptions): Promise<MirrorOutcome[]> {
  const context = await observe(options);
  return all(context.targets.map((target) => mirrorOne(target, context, options)));
}

export type CheckState =
  | "same"
  /** The next run brings it up to date. */
  | "behind"
  | "missing"
  | "ahead"
  /** Holds commits that are not here; whether on top of ours is not known without fetching them. */
  | "foreign";

export interface MirrorCheck {
  readonly remote: string;
  readonly url: string;
  /** `differs` when any ref is not the same. */
  readonly status: "same" | "differs" | "unreachable";
  readonly refs: readonly { readonly ref: string; readonly state: CheckState; readonly local: string | null; readonly remote: string | null }[];
  readonly message?: string;
  readonly hint?: string;
  readonly at: Date;
}

/** Reads the tips of each remote and compares; changes nothing anywhere, and waits for no backoff. */
export async function checkMirrors(options: MirrorOptions): Promise<MirrorCheck[]> {
  const context = await observe(options);
  return all(context.targets.map((target) => checkOne(target, context, options)));
}

/** Waits for every one before it throws, so that nothing goes on behind the caller's back. */
async function all<T>(running: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(running);
  return Promise.all(running);
}

interface Target {
  readonly remote: string;
  /** Null when `remote` names nothing. */
  readonly url: string | null;
}

interface Context {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly local: Tips;
  readonly targets: readonly Target[];
}

async function observe(options: MirrorOptions): Promise<Context> {
  const { repository, stateDir } = options;
  const cwd = repository.worktrees[0]?.root ?? repository.commonDir;
  const [env, local, configured] = await Promise.all([openObjects(repository, stateDir), readLocalTips(cwd, mirrored), listRemotes(cwd)]);
  const targets: Target[] = [];
  for (const remote of new Set(options.remotes)) {
    const urls = configured.includes(remote) ? await pushUrls(cwd, remote) : isAddress(remote) ? [remote] : [null];
    for (const url of new Set(urls)) targets.push({ remote: withoutCredentials(remote), url });
  }
  return { cwd, env, local, targets };
}

/** Something that git takes as a URL or a path, and not for an option. */
function isAddress(remote: string): boolean {
  return /[/\\:]/.test(remote) && !remote.startsWith("-");
}

async function mirrorOne({ remote, url }: Target, context: Context, options: MirrorOptions): Promise<MirrorOutcome> {
  if (url === null) return unknownRemote(remote, options.now());
  const file = stateFile(options.stateDir, remote, url);
  const state = await readState(file);
  if (options.force !== true && state.nextAttemptAt !== null && options.now() < state.nextAttemptAt && state.outcome !== null) return state.outcome;
  const base = { remote, url: withoutCredentials(url) };
  options.onEvent?.({ kind: "mirror_started", ...base });
  const attempted = await attempt(base, url, state.ours, context, options);
  const next = nextState(state, attempted.outcome, attempted.ours, options);
  const outcome = await remember(file, next);
  options.onEvent?.({ kind: "mirror_done", outcome });
  return outcome;
}

/** What was pushed is pushed, also where it cannot be written down; the outcome says so, and the other remotes go on. */
async function remember(file: string, state: MirrorState & { readonly outcome: MirrorOutcome }): Promise<MirrorOutcome> {
  const { outcome } = state;
  try {
    await writeState(file, state);
    return outcome;
  } catch (error) {
    const message = `${outcome.message === undefined ? "" : `${outcome.message}; `}cannot remember it in ${file}: ${describeError(error)}`;
    return { ...outcome, message };
  }
}

interface Attempt {
  readonly outcome: MirrorOutcome;
  readonly ours: Tips;
}

/** Two rounds at most: when the remote moved under the first, the second plans anew. */
async function attempt(
  base: { remote: string; url: string },
  url: string,
  oursBefore: Tips,
  context: Context,
  options: MirrorOptions,
): Promise<Attempt> {
  const call = callFor(context, options);
  const kept: KeptTip[] = [];
  let ours = oursBefore;
  let earlier: readonly RefOutcome[] = [];
  try {
    for (let round = 1; ; round += 1) {
      const plan = await makePlan(url, ours, context.local, call, options.now());
      const report = await executePlan(plan, url, call);
      kept.push(...report.kept);
      ours = nowOurs(ours, report.refs);
      const refs = withEarlier(report.refs, earlier);
      if (!report.isStale || round === 2)
        return { outcome: { ...base, ...summarize(refs, base.remote, report.hint), refs, kept, at: options.now() }, ours };
      earlier = report.refs;
    }
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    return { outcome: { ...base, ...failureOf(error), refs: earlier, kept, at: options.now() }, ours };
  }
}

/** What the first round did is unchanged in the second, and yet was done now. */
function withEarlier(refs: readonly RefOutcome[], earlier: readonly RefOutcome[]): RefOutcome[] {
  const done = new Map(earlier.filter((outcome) => outcome.status === "ok").map((outcome) => [outcome.ref, outcome]));
  return refs.map((outcome) => (outcome.action === "unchanged" ? (done.get(outcome.ref) ?? outcome) : outcome));
}

async function makePlan(url: string, ours: Tips, local: Tips, call: RemoteCall, now: Date): Promise<RefStep[]> {
  const remote = await readBack(url, call);
  const differing = [...remote].filter(([ref, oid]) => (local.has(ref) || ours.has(ref)) && local.get(ref) !== oid);
  const known = await knownObjects(
    differing.map(([, oid]) => oid),
    call,
  );
  await fetchTips(
    differing.filter(([, oid]) => !known.has(oid)).map(([ref]) => ref),
    url,
    call,
  );
  return planMirror({ local, remote, ours, now, ...(await readAncestry(differing, local, call)) });
}

/** Answers beforehand what the plan may ask: it is pure. */
async function readAncestry(
  differing: readonly [string, string][],
  local: Tips,
  call: RemoteCall,
): Promise<{
  isAncestor: (ancestor: string, descendant: string) => boolean | undefined;
  wasTip: (ref: string, oid: string) => boolean;
}> {
  const ancestry = new Map<string, boolean | undefined>();
  const former = new Map<string, Set<string>>();
  for (const [ref, theirs] of differing) {
    const mine = local.get(ref);
    if (mine === undefined || isTag(ref)) continue;
    const isForward = await isAncestor(theirs, mine, call);
    ancestry.set(`${theirs} ${mine}`, isForward);
    if (isForward === true) continue;
    ancestry.set(`${mine} ${theirs}`, await isAncestor(mine, theirs, call));
    former.set(ref, await formerTips(ref, call));
  }
  return {
    isAncestor: (ancestor, descendant) => ancestry.get(`${ancestor} ${descendant}`),
    wasTip: (ref, oid) => former.get(ref)?.has(oid) === true,
  };
}

function summarize(refs: readonly RefOutcome[], remote: string, hint: string | undefined): { status: MirrorStatus; message?: string; hint?: string } {
  const rejected = refs.filter((ref) => ref.status === "rejected");
  const behind = refs.filter((ref) => ref.status === "behind");
  const [first] = [...rejected, ...behind];
  if (first === undefined) return { status: "ok" };
  const others = rejected.length + behind.length - 1;
  const message = `${first.ref}: ${first.note ?? first.status}${others === 0 ? "" : ` (and ${others} more)`}`;
  if (rejected.length > 0) return { status: "rejected", message, ...(hint === undefined ? {} : { hint }) };
  const branch = first.ref.replace(/^refs\/heads\//, "");
  return { status: "behind", message, hint: `git fetch ${remote} && git merge ${remote}/${branch}` };
}

/** What we put there and saw there. What merely happens to be equal is not ours to delete later. */
function nowOurs(ours: Tips, refs: readonly RefOutcome[]): Tips {
  const next = new Map(ours);
  for (const { ref, action, status, local, remote } of refs) {
    if (status !== "ok") continue;
    if (action === "delete" || (action === "foreign" && local === null)) next.delete(ref);
    else if (remote !== null && (action === "create" || action === "fast_forward" || action === "rewrite")) next.set(ref, remote);
  }
  return next;
}

function nextState(state: MirrorState, last: MirrorOutcome, ours: Tips, options: MirrorOptions): MirrorState & { readonly outcome: MirrorOutcome } {
  const lastOkAt = last.status === "ok" ? last.at : state.lastOkAt;
  if (last.status !== "unreachable") return { outcome: last, ours, failures: 0, nextAttemptAt: null, lastOkAt };
  const failures = state.failures + 1;
  const nextAttemptAt = new Date(last.at.getTime() + retryDelayMs(failures, options.random()));
  return { outcome: { ...last, nextAttemptAt }, ours, failures, nextAttemptAt, lastOkAt };
}

async function checkOne({ remote, url }: Target, context: Context, options: MirrorOptions): Promise<MirrorCheck> {
  const at = options.now();
  if (url === null) return { ...unknownRemote(remote, at), status: "unreachable", refs: [] };
  const base = { remote, url: withoutCredentials(url), at };
  const call = callFor(context, options);
  try {
    const { ours } = await readState(stateFile(options.stateDir, remote, url));
    const tips = await readBack(url, call);
    const differing = [...tips].filter(([ref, oid]) => context.local.has(ref) && context.local.get(ref) !== oid);
    const plan = planMirror({ local: context.local, remote: tips, ours, now: at, ...(await readAncestry(differing, context.local, call)) });
    const refs = plan.map((step) => ({ ref: step.ref, state: checkStates[step.action], local: step.local, remote: step.remote }));
    return { ...base, status: refs.every((ref) => ref.state === "same") ? "same" : "differs", refs };
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    return { ...base, ...failureOf(error), status: "unreachable", refs: [] };
  }
}

const checkStates = {
  create: "missing",
  fast_forward: "behind",
  rewrite: "behind",
  /** Deleted here, not yet there. */
  delete: "ahead",
  unchanged: "same",
  ahead: "ahead",
  foreign: "foreign",
} as const satisfies Record<RefStep["action"], CheckState>;

function callFor(context: Context, { timeoutMs, silenceMs, signal }: MirrorOptions): RemoteCall {
  return {
    cwd: context.cwd,
    env: context.env,
    ...(timeoutMs === undefined ? {} : { deadline: AbortSignal.timeout(timeoutMs) }),
    ...(silenceMs === undefined ? {} : { silenceMs }),
    ...(signal === undefined ? {} : { signal }),
  };
}

function failureOf(error: unknown): { status: "rejected" | "unreachable"; message: string; hint: string } {
  if (error instanceof MirrorFailure) return error.failure;
  if (error instanceof BackupError) return { status: "unreachable", message: error.message, hint: error.hint };
  return { status: "unreachable", message: describeError(error), hint: "holdfast doctor" };
}

function unknownRemote(remote: string, at: Date): MirrorOutcome {
  return { remote, url: "", status: "unreachable", refs: [], kept: [], message: `there is no remote ${remote}`, hint: "git remote -v", at };
}
