/**
 * Decides what a mirror run does to each ref of one remote. Pure. Refs go by their names there.
 *
 * Two rules come before all others: a commit that is not ours is never overwritten, unless the whole remote is ours
 * alone; and a tip that we replace or delete is kept under a dated ref first, always.
 */
import { isMirrored, isOursAlone, isTag, keptName, type Layout, parseKept, type Tips } from "./layout.ts";

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
  | "foreign"
  /** Not here, where no ref is at all: a repository that lost everything must not empty its exact mirror. */
  | "spared";

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
  readonly layout: Layout;
  readonly local: Tips;
  /** What the remote shows of the mirror's refs, kept tips included. */
  readonly remote: Tips;
  /** Will this kept ref stand for long enough, or must the tip be kept anew? */
  readonly isReliable: (kept: string) => boolean;
  /** What we pushed last, to this remote. */
  readonly ours: Tips;
  /** Undefined when one of them is not known here. */
  readonly isAncestor: (ancestor: string, descendant: string) => boolean | undefined;
  /** Was `oid` once the tip of the local ref (its reflog says so)? */
  readonly wasTip: (ref: string, oid: string) => boolean;
  readonly now: Date;
}

/**
 * One step for each ref that is here, or that we once pushed and that is still there; of a remote that is ours alone,
 * for every other ref too. Other refs of other remotes are not ours to look at.
 */
export function planMirror(facts: MirrorFacts): RefStep[] {
  const { layout, local: here, remote: there, ours } = facts;
  const keptTips = new Map<string, string>();
  for (const [kept, oid] of there) {
    const parsed = parseKept(layout, kept);
    if (parsed !== undefined && facts.isReliable(kept)) keptTips.set(`${parsed.name} ${oid}`, kept);
  }
  const alone = [...there.keys()].filter((ref) => isOursAlone(layout, ref));
  const refs = new Set([...here.keys(), ...ours.keys(), ...alone].filter((ref) => isMirrored(layout, ref)));
  const steps: RefStep[] = [];
  for (const ref of [...refs].sort()) {
    const local = here.get(ref) ?? null;
    const remote = there.get(ref) ?? null;
    const action = decide(ref, local, remote, facts);
    if (action === undefined) continue;
    const isReplaced = remote !== null && (action === "rewrite" || action === "delete");
    const kept = isReplaced ? keptTips.get(`${ref} ${remote}`) : undefined;
    const keep = isReplaced ? { ref: kept ?? freeKeptName(ref, facts), isThere: kept !== undefined } : null;
    steps.push({ ref, action, local, remote, keep });
  }
  return steps;
}

/** Of two tips that are replaced within a second, each has a name of its own. */
function freeKeptName(ref: string, { layout, remote, now }: MirrorFacts): string {
  for (let at = now; ; at = new Date(at.getTime() + 1000)) {
    const name = keptName(layout, ref, at);
    if (!remote.has(name)) return name;
  }
}

function decide(ref: string, local: string | null, remote: string | null, facts: MirrorFacts): RefAction | undefined {
  const isAlone = isOursAlone(facts.layout, ref);
  if (local === null) {
    if (remote === null) return undefined;
    if (isAlone) return facts.local.size === 0 ? "spared" : "delete";
    return facts.ours.get(ref) === remote ? "delete" : "foreign";
  }
  if (remote === null) return "create";
  if (remote === local) return "unchanged";
  // A tag never moves forward: an annotated one is an object of its own, and would be lost although its commit is not.
  if (!isTag(facts.layout, ref)) {
    if (facts.isAncestor(remote, local) === true) return "fast_forward";
    if (!isAlone && facts.isAncestor(local, remote) === true) return "ahead";
  }
  return isAlone || facts.ours.get(ref) === remote || facts.wasTip(ref, remote) ? "rewrite" : "foreign";
}
