/**
 * The hooks that Holdfast listens to. They only say when to look: what changed is found by comparing, so nothing
 * depends on one of them having fired. The first six run after the fact or, as pre-push, beside it.
 */
import type { PointKind } from "../core/manifest.ts";

export const hookNames = ["post-commit", "post-merge", "post-rewrite", "post-checkout", "post-applypatch", "pre-push"] as const;

/** Runs at every change of a ref, several times for each: only where it is asked for. */
export const refHook = "reference-transaction";

export type HookName = (typeof hookNames)[number] | typeof refHook;

/**
 * The kind of the one point that answers all these marks. Names that we do not know count as commits; a hook that
 * another program has moved aside and calls goes by its new name (`pre-push.legacy`).
 */
export function pointKindOf(events: readonly string[]): Extract<PointKind, "commit" | "push"> {
  return events.some((event) => /^pre-push(\.|$)/.test(event)) ? "push" : "commit";
}
