/** Reads the tips of each remote and compares. Changes nothing anywhere, and waits for no backoff. */
import { withoutCredentials } from "../git/run.ts";
import { readAncestry } from "./ancestry.ts";
import { isMirrored, nameHere, parseKept, tipsThere } from "./layout.ts";
import type { Failure } from "./outcome.ts";
import { planMirror, type RefStep } from "./plan.ts";
import { readBack } from "./push.ts";
import { readState, stateFile } from "./queue.ts";
import { all, type Context, destinationOf, failureOf, type MirrorOptions, observe, type Target, unknownRemote } from "./targets.ts";

export type CheckState =
  | "same"
  /** The next run brings it up to date. */
  | "behind"
  | "missing"
  /** Not here: the next run keeps and deletes it. */
  | "extra"
  | "ahead"
  /** Holds commits that are not here; whether on top of ours is not known without fetching them. */
  | "foreign";

export interface MirrorCheck {
  readonly remote: string;
  readonly url: string;
  /** `differs` when any ref is not the same. */
  readonly status: "same" | "differs" | Failure["status"];
  /** By their names in this repository. */
  readonly refs: readonly { readonly ref: string; readonly state: CheckState; readonly local: string | null; readonly remote: string | null }[];
  /** How many old tips stand there, kept. */
  readonly kept: number;
  readonly message?: string;
  readonly hint?: string;
  readonly at: Date;
}

/** In the order of the mirrors. Throws only `interrupted`, and when the repository itself cannot be read. */
export async function checkMirrors(options: MirrorOptions): Promise<MirrorCheck[]> {
  const context = await observe(options);
  return all(context.targets.map((target) => checkOne(target, context, options)));
}

async function checkOne({ mirror, remote, url }: Target, context: Context, options: MirrorOptions): Promise<MirrorCheck> {
  const base = { remote, url: withoutCredentials(url ?? ""), refs: [], kept: 0, at: options.now() };
  if (url === null) return { ...base, ...unknownRemote(remote) };
  try {
    const { ours, machine } = await readState(stateFile(options.stateDir, remote, url));
    const destination = destinationOf(mirror, url, machine ?? options.machine, context, options);
    const { layout } = destination;
    const local = tipsThere(layout, context.here);
    const tips = await readBack(destination);
    const differing = [...tips].filter(([ref, oid]) => isMirrored(layout, ref) && local.has(ref) && local.get(ref) !== oid);
    const ancestry = await readAncestry(differing, local, destination);
    const plan = planMirror({ layout, local, remote: tips, ours, now: base.at, isReliable: () => true, ...ancestry });
    const refs = plan.map((step) => ({ ref: nameHere(layout, step.ref), state: states[step.action], local: step.local, remote: step.remote }));
    const kept = [...tips.keys()].filter((name) => parseKept(layout, name) !== undefined).length;
    return { ...base, status: refs.every(({ state }) => state === "same") ? "same" : "differs", refs, kept };
  } catch (error) {
    if (options.signal?.aborted === true) throw error;
    return { ...base, ...failureOf(error) };
  }
}

const states = {
  create: "missing",
  fast_forward: "behind",
  rewrite: "behind",
  delete: "extra",
  spared: "extra",
  unchanged: "same",
  ahead: "ahead",
  foreign: "foreign",
} as const satisfies Record<RefStep["action"], CheckState>;
