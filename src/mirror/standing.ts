/** Whether each mirror has every tip that is here now, by what was last read back from it: asks no remote. */
import type { MirrorConfig } from "../core/config.ts";
import { readLocalTips } from "../git/porcelain.ts";
import type { Repository } from "../git/repository.ts";
import { readStates } from "./queue.ts";
import { mirrored } from "./refs.ts";

export interface MirrorStanding {
  readonly remote: string;
  readonly isCurrent: boolean;
  /** What stood in the way the last time. */
  readonly message: string | null;
}

export async function readStandings(request: {
  readonly repository: Repository;
  readonly mirrors: readonly MirrorConfig[];
  readonly stateDir: string;
}): Promise<MirrorStanding[]> {
  if (request.mirrors.length === 0) return [];
  const [states, here] = await Promise.all([readStates(request.stateDir), readLocalTips(request.repository.commonDir, mirrored)]);
  return request.mirrors.map(({ remote }) => {
    const known = states.filter(({ outcome }) => outcome?.remote === remote);
    const isCurrent =
      known.length > 0 && known.every(({ ours, outcome }) => outcome?.status === "ok" && [...here].every(([ref, oid]) => ours.get(ref) === oid));
    return { remote, isCurrent, message: known.map(({ outcome }) => outcome?.message).find((message) => message !== undefined) ?? null };
  });
}
