/**
 * The six hooks that Holdfast listens to. They only say when to look: what changed is found by comparing,
 * so nothing depends on one of them having fired. Each of the six runs after the fact or, as pre-push, beside it.
 */
import type { PointKind } from "../core/manifest.ts";

export const hookNames = ["post-commit", "post-merge", "post-rewrite", "post-checkout", "post-applypatch", "pre-push"] as const;
export type HookName = (typeof hookNames)[number];

/** The kind of the one point that answers all these marks. Names that we do not know count as commits. */
export function pointKindOf(events: readonly string[]): Extract<PointKind, "commit" | "push"> {
  return events.includes("pre-push" satisfies HookName) ? "push" : "commit";
}
