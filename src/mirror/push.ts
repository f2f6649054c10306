/**
 * Carries out the plan for one remote: keeps old tips, pushes, and reads the tips back.
 *
 * Pushes go to a URL, never to a remote's name, so that no remote-tracking ref moves; every ref carries a lease on
 * what the plan saw, so that nothing is replaced that was not looked at.
 */
import { BackupError } from "../core/errors.ts";
import { type PushedRef, parsePushed, type RemoteAnswer, type RemoteCall, readRemoteTips, talk } from "../git/porcelain.ts";
import { isMirrored, type Layout, parseKept, patternsThere, type Tips } from "./layout.ts";
import { explainFailure, explainRejection, type Failure, type KeptTip, type RefOutcome } from "./outcome.ts";
import type { RefStep } from "./plan.ts";

/** One remote, as a run sees it. */
export interface Destination {
  readonly url: string;
  readonly call: RemoteCall;
  readonly layout: Layout;
}

export interface PushReport {
  readonly refs: readonly RefOutcome[];
  readonly kept: readonly KeptTip[];
  /** What the remote showed at the end; undefined when nothing was pushed. */
  readonly tips: Tips | undefined;
  /** Steps that did not run because the remote moved meanwhile: plan again. */
  readonly isStale: boolean;
  readonly hint?: string;
}

interface Update {
  readonly ref: string;
  /** Null deletes. */
  readonly oid: string | null;
  /** What the remote must show now; null: nothing. */
  readonly expected: string | null;
}

/** Refs in one command line: well below what any system takes. */
const batchSize = 400;

/** Throws `MirrorFailure` when the remote stops answering; refs that were pushed by then stay pushed. */
export async function executePlan(plan: readonly RefStep[], destination: Destination): Promise<PushReport> {
  const kept = await keepTips(plan, destination);
  const ready = plan.filter((step) => step.keep === null || kept.done.has(step.keep.ref));
  // Deletions first: `a` must be gone before `a/b` can be.
  const deleted = await push(ready.filter((step) => step.action === "delete").map(updateOf), destination);
  const written = await push(ready.filter(isWrite).map(updateOf), destination);
  const pushed = new Map([...kept.pushed, ...deleted.refs, ...written.refs]);
  const words = kept.stderr + deleted.stderr + written.stderr;
  const isQuiet = kept.pushed.size + deleted.refs.size + written.refs.size === 0;
  const tips = isQuiet ? undefined : await readBack(destination);
  const results = plan.map((step) => judge(step, tips, pushed, words));
  const hint = results.find((result) => result.hint !== undefined)?.hint;
  return {
    refs: results.map((result) => result.outcome),
    kept: kept.tips,
    tips,
    isStale: results.some((result) => result.isStale === true),
    ...(hint === undefined ? {} : { hint }),
  };
}

/** The remote as a whole could not be used. Stays inside this room: it becomes an outcome. */
export class MirrorFailure extends Error {
  readonly failure: Failure;

  constructor(answer: RemoteAnswer, url: string) {
    const failure = explainFailure(answer, url);
    super(failure.message);
    this.failure = failure;
  }
}

/** Deletes kept tips, each only while it shows what we think. Gives those that are gone, and why others are not. Throws `MirrorFailure`. */
export async function deleteKept(tips: readonly KeptTip[], destination: Destination): Promise<{ deleted: KeptTip[]; refusal: string | undefined }> {
  const updates = tips.map(({ keptAs, oid }) => ({ ref: keptAs, oid: null, expected: oid }));
  const { refs, stderr } = await push(updates, destination);
  const refused = tips.find(({ keptAs }) => refs.get(keptAs)?.isOk !== true);
  return {
    deleted: tips.filter(({ keptAs }) => refs.get(keptAs)?.isOk === true),
    refusal: refused === undefined ? undefined : explainRejection(refused.keptAs, refs.get(refused.keptAs), stderr).note,
  };
}

/** What the remote shows of the mirror's refs, kept tips included, or a thrown `MirrorFailure`. */
export async function readBack({ url, call, layout }: Destination): Promise<Tips> {
  const { answer, tips } = await readRemoteTips(url, patternsThere(layout), call);
  if (answer.code !== 0) throw new MirrorFailure(answer, url);
  return new Map([...tips].filter(([name]) => isMirrored(layout, name) || parseKept(layout, name) !== undefined));
}

interface Kept {
  /** Kept refs that stand on the remote for certain. */
  readonly done: ReadonlySet<string>;
  readonly tips: readonly KeptTip[];
  readonly pushed: ReadonlyMap<string, PushedRef>;
  readonly stderr: string;
}

async function keepTips(plan: readonly RefStep[], destination: Destination): Promise<Kept> {
  const wanted = plan.flatMap(({ ref, remote, keep }) =>
    keep === null || remote === null ? [] : [{ ref, oid: remote, keptAs: keep.ref, isThere: keep.isThere }],
  );
  const missing = wanted.filter((tip) => !tip.isThere);
  const { refs: pushed, stderr } = await push(
    missing.map((tip) => ({ ref: tip.keptAs, oid: tip.oid, expected: null })),
    destination,
  );
  // Only what the remote itself shows counts as kept: the next push destroys the old tip.
  const shown = missing.length === 0 ? new Map() : await readBack(destination);
  const standing = wanted.filter((tip) => tip.isThere || shown.get(tip.keptAs) === tip.oid);
  return {
    done: new Set(standing.map((tip) => tip.keptAs)),
    tips: standing.map(({ ref, oid, keptAs }) => ({ ref, oid, keptAs })),
    pushed,
    stderr,
  };
}

function isWrite(step: RefStep): boolean {
  return step.action === "create" || step.action === "fast_forward" || step.action === "rewrite";
}

function updateOf(step: RefStep): Update {
  return { ref: step.ref, oid: step.local, expected: step.remote };
}

async function push(updates: readonly Update[], { url, call }: Destination): Promise<{ refs: Map<string, PushedRef>; stderr: string }> {
  const refs = new Map<string, PushedRef>();
  let stderr = "";
  for (let from = 0; from < updates.length; from += batchSize) {
    const batch = updates.slice(from, from + batchSize);
    const leases = batch.map((update) => `--force-with-lease=${update.ref}:${update.expected ?? ""}`);
    const specs = batch.map((update) => `${update.oid ?? ""}:${update.ref}`);
    const answer = await talk([...pushCommand, ...leases, "--", url, ...specs], call);
    const pushed = parsePushed(answer.stdout);
    // git ends with 1 when the remote refused some refs and said which; anything else is no answer.
    if (answer.code !== 0 && (pushed.size === 0 || answer.isTimedOut)) throw new MirrorFailure(answer, url);
    for (const [ref, result] of pushed) refs.set(ref, result);
    stderr += answer.stderr;
  }
  return { refs, stderr };
}

/** Set whatever the user's `push.*` configuration says. */
const pushCommand = [
  "-c", "push.useForceIfIncludes=false", "push", "--porcelain", "--progress", "--no-verify", "--no-follow-tags", "--no-signed",
  "--recurse-submodules=no", "--no-atomic",
]; // biome-ignore format: pairs

interface Judgement {
  readonly outcome: RefOutcome;
  readonly hint?: string;
  readonly isStale?: boolean;
}

/** `tips` is what the remote shows now, undefined when nothing was pushed. */
function judge(step: RefStep, tips: Tips | undefined, pushed: ReadonlyMap<string, PushedRef>, stderr: string): Judgement {
  const { ref, action, local } = step;
  const remote = tips === undefined ? step.remote : (tips.get(ref) ?? null);
  const outcome = { ref, action, local, remote };
  switch (action) {
    case "unchanged":
      return { outcome: { ...outcome, status: "ok" } };
    case "ahead":
      return { outcome: { ...outcome, status: "ok", note: "the remote has newer commits on top of ours" } };
    case "foreign":
      if (local === null) return { outcome: { ...outcome, status: "ok", note: "deleted here, but others have moved it there since: left alone" } };
      return { outcome: { ...outcome, status: "behind", note: "commits of others stand there: left alone" } };
    case "spared":
      return { outcome: { ...outcome, status: "behind", note: "this repository has no ref at all, so nothing is deleted there" } };
    case "create":
    case "fast_forward":
    case "rewrite":
    case "delete": {
      if (remote === local) return { outcome: { ...outcome, status: "ok" } };
      if (remote !== step.remote)
        return { isStale: true, outcome: { ...outcome, status: "behind", note: "the remote was moved by someone else meanwhile" } };
      const isKeepRefused = step.keep !== null && !pushed.has(ref);
      const result = pushed.get(isKeepRefused && step.keep !== null ? step.keep.ref : ref);
      const { note, hint } = explainRejection(ref, result, stderr);
      const told = isKeepRefused ? `its old tip could not be kept, so it was left alone: ${note}` : note;
      return { outcome: { ...outcome, status: "rejected", note: told }, hint };
    }
    default:
      throw new BackupError("internal", `no such action: ${action satisfies never}`);
  }
}
