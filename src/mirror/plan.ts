/**
 * Decides what a mirror run does to each ref of one remote. Pure.
 *
 * Two rules come before all others: a commit that is not ours is never overwritten, and a tip that we replace or
 * delete is kept under a dated ref first.
 */
import { isMirrored, isTag, keptName, keptOf, type Tips } from "./refs.ts";

export type RefAction =
  | "create"
  | "fast_forward"
  | "rewrite"
  | "delete"
  /** Stands there as it does here. */
  | "unchanged"
  /** The remote has all that we have, and more. */
  | "ahead"
  /** Someone else's commits stand there. */
  | "foreign";

export interface RefStep {
  readonly ref: string;
  readonly action: RefAction;
  /** Null when the ref is not here. */
  readonly local: string | null;
  /** Null when the ref is not there; else what the remote must still show when the step is done. */
  readonly remote: string | null;
  /** For rewrite and delete: where the old tip stands, or must stand before the step. Else null. */
  readonly keep: { readonly ref: string; readonly isThere: boolean } | null;
}

export interface MirrorFacts {
  readonly local: Tips;
  /** All that the remote shows, kept tips included. */
  readonly remote: Tips;
  /** What we pushed last, to this remote. */
  readonly ours: Tips;
  /** Undefined when one of them is not known here. */
  readonly isAncestor: (ancestor: string, descendant: string) => boolean | undefined;
  /** Was `oid` once the tip of the local ref (its reflog says so)? */
  readonly wasTip: (ref: string, oid: string) => boolean;
  readonly now: Date;
}

/** One step for each ref that is here, or that we once pushed and that is still there. Other refs of the remote are not ours to look at. */
export function planMirror(facts: MirrorFacts): RefStep[] {
  const keptTips = new Map<string, string>();
  for (const [kept, oid] of facts.remote) {
    const ref = keptOf(kept);
    if (ref !== undefined) keptTips.set(`${ref} ${oid}`, kept);
  }
  const refs = new Set([...facts.local.keys(), ...facts.ours.keys()].filter(isMirrored));
  const steps: RefStep[] = [];
  for (const ref of [...refs].sort()) {
    const local = facts.local.get(ref) ?? null;
    const remote = facts.remote.get(ref) ?? null;
    const action = decide(ref, local, remote, facts);
    if (action === undefined) continue;
    const isReplaced = remote !== null && (action === "rewrite" || action === "delete");
    const kept = isReplaced ? keptTips.get(`${ref} ${remote}`) : undefined;
    const keep = isReplaced ? { ref: kept ?? keptName(ref, facts.now), isThere: kept !== undefined } : null;
    steps.push({ ref, action, local, remote, keep });
  }
  return steps;
}

function decide(ref: string, local: string | null, remote: string | null, facts: MirrorFacts): RefAction | undefined {
  if (local === null) return remote === null ? undefined : facts.ours.get(ref) === remote ? "delete" : "foreign";
  if (remote === null) return "create";
  if (remote === local) return "unchanged";
  // A tag never moves forward: an annotated one is an object of its own, and would be lost although its commit is not.
  if (!isTag(ref)) {
    if (facts.isAncestor(remote, local) === true) return "fast_forward";
    if (facts.isAncestor(local, remote) === true) return "ahead";
  }
  return facts.ours.get(ref) === remote || facts.wasTip(ref, remote) ? "rewrite" : "foreign";
}
