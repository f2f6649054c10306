/**
 * The mirror: the refs of a repository on several git remotes, after every commit.
 *
 * Words: a *mirror* is a git remote that gets refs; *ours* is what we pushed to it last; a *kept* tip is an old one
 * that stands under a dated ref; an *outcome* is what became of one remote. Remotes run side by side, one never waits
 * for another, and each gives an outcome, never an exception. Nothing of the user's repository is written.
 */
import { mustWait, retryDelayMs } from "../core/backoff.ts";
import type { MirrorConfig } from "../core/config.ts";
import { describeError } from "../core/errors.ts";
import { withoutCredentials } from "../git/run.ts";
import { readAncestry } from "./ancestry.ts";
import { isMirrored, isOursAlone, nameHere, type Tips, tipsThere } from "./layout.ts";
import { type LfsState, pushLfs } from "./lfs.ts";
import { fetchTips, knownObjects, mirrorGitDir } from "./objects.ts";
import type { KeptTip, MirrorOutcome, MirrorStatus, RefOutcome } from "./outcome.ts";
import { planMirror, type RefStep } from "./plan.ts";
import { type Destination, deleteKept, executePlan, MirrorFailure, readBack } from "./push.ts";
import { digestOf, type MirrorState, readState, stateFile, writeState } from "./queue.ts";
import { isReliable, pass, planExpiry, type Retention, remember } from "./retention.ts";
import { all, type Context, destinationOf, failureOf, type MirrorOptions, observe, type Target, unknownRemote } from "./targets.ts";

/** Outcomes in the order of the mirrors. Throws only `interrupted`, and when the repository itself cannot be read. */
export async function mirrorAll(options: MirrorOptions): Promise<MirrorOutcome[]> {
  const context = await observe(options);
  return all(context.targets.map((target) => mirrorOne(target, context, options)));
}

async function mirrorOne({ mirror, remote, url }: Target, context: Context, options: MirrorOptions): Promise<MirrorOutcome> {
  const base = { remote, url: withoutCredentials(url ?? "") };
  if (url === null) return { ...base, ...unknownRemote(remote), refs: [], kept: [], expired: [], notes: [], at: options.now() };
  const file = stateFile(options.stateDir, remote, url);
  const before = await readState(file);
  if (options.force !== true && mustWait(before.nextAttemptAt, options.now()) && before.outcome !== null) {
    return before.outcome;
  }
  options.onEvent?.({ kind: "mirror_started", ...base });
  const machine = before.machine ?? options.machine;
  const retention = pass(before.retention, options.now(), mirror.keepDays);
  const destination = destinationOf(mirror, url, machine, context, options);
  const attempted = await attempt({ ...before, machine, retention }, mirror, destination, context, options);
  const outcome: MirrorOutcome = { ...base, ...attempted.result, at: options.now() };
  const whole = outcome.status === "ok" ? digestOf(tipsThere(destination.layout, context.here)) : null;
  const told = await save(file, withOutcome({ ...attempted.state, whole }, outcome, options));
  options.onEvent?.({ kind: "mirror_done", outcome: told });
  return told;
}

/** What was pushed is pushed, also where it cannot be written down; the outcome says so, and the other remotes go on. */
async function save(file: string, state: MirrorState & { readonly outcome: MirrorOutcome }): Promise<MirrorOutcome> {
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
  readonly result: Omit<MirrorOutcome, "remote" | "url" | "at">;
  readonly state: MirrorState;
}

/** Two rounds at most: when the remote moved under the first, the second plans anew. */
async function attempt(
  before: MirrorState,
  mirror: MirrorConfig,
  destination: Destination,
  context: Context,
  options: MirrorOptions,
): Promise<Attempt> {
  const { layout } = destination;
  const local = tipsThere(layout, context.here);
  const kept: KeptTip[] = [];
  let { ours, lfs, retention } = before;
  let earlier: readonly RefOutcome[] = [];
  const here = <T extends { readonly ref: string }>(items: readonly T[]): T[] => items.map((item) => ({ ...item, ref: nameHere(layout, item.ref) }));
  try {
    for (let round = 1; ; round += 1) {
      const remote = await readBack(destination);
      const plan = await makePlan(remote, local, { ...before, ours, retention }, mirror, destination, options.now());
      if (round === 1) lfs = await sendLfs(lfs, local, destination, options);
      const report = await executePlan(plan, destination);
      kept.push(...report.kept);
      ours = nowOurs(ours, report.refs);
      const tips = report.tips ?? remote;
      retention = remember(retention, layout, tips, report.kept);
      const refs = withEarlier(report.refs, earlier);
      earlier = report.refs;
      if (report.isStale && round === 1) continue;
      const summary = summarize(refs, mirror, destination, report.hint);
      const { expired, note } = summary.status === "ok" ? await expire(retention, tips, mirror, destination, options) : nothingExpired;
      const notes = [lfs.note, note].filter((text) => text !== null);
      return {
        result: { ...summary, refs: here(refs), kept: here(kept), expired: here(expired), notes },
        state: { ...before, ours, lfs, retention },
      };
    }
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    const notes = lfs.note === null ? [] : [lfs.note];
    return {
      result: { ...failureOf(error), refs: here(earlier), kept: here(kept), expired: [], notes },
      state: { ...before, ours, lfs, retention },
    };
  }
}

/** What the first round did is unchanged in the second, and yet was done now. */
function withEarlier(refs: readonly RefOutcome[], earlier: readonly RefOutcome[]): RefOutcome[] {
  const done = new Map(earlier.filter((outcome) => outcome.status === "ok").map((outcome) => [outcome.ref, outcome]));
  return refs.map((outcome) => (outcome.action === "unchanged" ? (done.get(outcome.ref) ?? outcome) : outcome));
}

/** Brings unknown tips that may be replaced here first, so that they can be kept. */
async function makePlan(
  remote: Tips,
  local: Tips,
  { ours, retention }: MirrorState,
  { keepDays }: MirrorConfig,
  destination: Destination,
  now: Date,
): Promise<RefStep[]> {
  const { url, call, layout } = destination;
  const concerns = (ref: string): boolean => local.has(ref) || ours.has(ref) || isOursAlone(layout, ref);
  const differing = [...remote].filter(([ref, oid]) => isMirrored(layout, ref) && concerns(ref) && local.get(ref) !== oid);
  const known = await knownObjects(
    differing.map(([, oid]) => oid),
    call,
  );
  await fetchTips(
    differing.filter(([, oid]) => !known.has(oid)).map(([ref]) => ref),
    url,
    call,
  );
  return planMirror({
    layout,
    local,
    remote,
    ours,
    now,
    isReliable: (kept) => isReliable(retention, kept, keepDays),
    ...(await readAncestry(differing, local, destination)),
  });
}

async function sendLfs(before: LfsState, local: Tips, { url, call, layout }: Destination, options: MirrorOptions): Promise<LfsState> {
  return pushLfs(before, {
    repository: options.repository,
    gitDir: mirrorGitDir(options.stateDir),
    tips: new Map([...local].map(([ref, oid]) => [nameHere(layout, ref), oid])),
    url,
    call,
    now: options.now(),
    isForced: options.force === true,
    delayMs: (failures) => retryDelayMs(failures, options.random()),
  });
}

function summarize(
  refs: readonly RefOutcome[],
  { remote, mode }: MirrorConfig,
  { url, layout }: Destination,
  hint: string | undefined,
): { status: MirrorStatus; message?: string; hint?: string } {
  const rejected = refs.filter((ref) => ref.status === "rejected");
  const behind = refs.filter((ref) => ref.status === "behind");
  const [first] = [...rejected, ...behind];
  if (first === undefined) return { status: "ok" };
  const others = rejected.length + behind.length - 1;
  const message = `${first.ref}: ${first.note ?? first.status}${others === 0 ? "" : ` (and ${others} more)`}`;
  if (rejected.length > 0) return { status: "rejected", message, ...(hint === undefined ? {} : { hint }) };
  const shown = withoutCredentials(remote);
  if (first.action === "spared") return { status: "behind", message, hint: `git fetch ${shown} "refs/heads/*:refs/heads/*"` };
  if (mode === "namespaced")
    return { status: "behind", message, hint: `git fetch ${withoutCredentials(url)} ${first.ref}   (does another machine of this name push there?)` };
  const branch = nameHere(layout, first.ref).replace(/^refs\/heads\//, "");
  return { status: "behind", message, hint: `git fetch ${shown} && git merge ${shown}/${branch}` };
}

const nothingExpired = { expired: [], note: null };

/** A remote that does not let its old tips go is whole all the same. */
async function expire(
  retention: Retention,
  tips: Tips,
  { keepDays }: MirrorConfig,
  destination: Destination,
  options: MirrorOptions,
): Promise<{ expired: readonly KeptTip[]; note: string | null }> {
  const due = planExpiry(retention, destination.layout, tips, keepDays, options.now());
  try {
    const { deleted, refusal } = await deleteKept(due, destination);
    return { expired: deleted, note: refusal === undefined ? null : `old kept tips could not be deleted: ${refusal}` };
  } catch (error) {
    if (!(error instanceof MirrorFailure)) throw error;
    return { expired: [], note: `old kept tips could not be deleted: ${error.message}` };
  }
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

function withOutcome(state: MirrorState, last: MirrorOutcome, options: MirrorOptions): MirrorState & { readonly outcome: MirrorOutcome } {
  const lastOkAt = last.status === "ok" ? last.at : state.lastOkAt;
  // One that does not let us in is not asked at every commit either: hosts lock out who tries too often.
  const isAnswered = last.status !== "unreachable" && last.status !== "unauthorized";
  if (isAnswered) return { ...state, outcome: last, failures: 0, nextAttemptAt: null, lastOkAt };
  const failures = state.failures + 1;
  const nextAttemptAt = new Date(last.at.getTime() + retryDelayMs(failures, options.random()));
  return { ...state, outcome: { ...last, nextAttemptAt }, failures, nextAttemptAt, lastOkAt };
}
