/** What the plan asks about tips that differ, answered beforehand: the plan is pure. */
import { isTag, nameHere, type Tips } from "./layout.ts";
import { formerTips, isAncestor } from "./objects.ts";
import type { MirrorFacts } from "./plan.ts";
import type { Destination } from "./push.ts";

/** `differing`: name there and oid of each tip that stands there and is not the one of `local`. */
export async function readAncestry(
  differing: readonly [string, string][],
  local: Tips,
  { call, layout }: Destination,
): Promise<Pick<MirrorFacts, "isAncestor" | "wasTip">> {
  const ancestry = new Map<string, boolean | undefined>();
  const former = new Map<string, Set<string>>();
  for (const [ref, theirs] of differing) {
    const mine = local.get(ref);
    if (mine === undefined || isTag(layout, ref)) continue;
    const isForward = await isAncestor(theirs, mine, call);
    ancestry.set(`${theirs} ${mine}`, isForward);
    if (isForward === true) continue;
    ancestry.set(`${mine} ${theirs}`, await isAncestor(mine, theirs, call));
    former.set(ref, await formerTips(nameHere(layout, ref), call));
  }
  return {
    isAncestor: (ancestor, descendant) => ancestry.get(`${ancestor} ${descendant}`),
    wasTip: (ref, oid) => former.get(ref)?.has(oid) === true,
  };
}
