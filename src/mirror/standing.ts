/** Whether each mirror has every tip that is here now, by what was last read back from it. Asks no remote. */
import type { MirrorConfig } from "../core/config.ts";
import { readRefs } from "../git/refs.ts";
import type { Repository } from "../git/repository.ts";
import { withoutCredentials } from "../git/run.ts";
import { layoutOf, tipsThere } from "./layout.ts";
import { digestOf, readStates } from "./queue.ts";

export interface MirrorStanding {
  /** Without credentials. */
  readonly remote: string;
  readonly isCurrent: boolean;
  /** What stood in the way the last time. */
  readonly message: string | null;
}

export interface StandingRequest {
  readonly repository: Repository;
  readonly mirrors: readonly MirrorConfig[];
  readonly stateDir: string;
}

/** In the order of the mirrors. Of a remote with several push URLs all must have every tip. */
export async function readStandings({ repository, mirrors, stateDir }: StandingRequest): Promise<MirrorStanding[]> {
  if (mirrors.length === 0) return [];
  const [states, { refs }] = await Promise.all([readStates(stateDir), readRefs(repository.commonDir)]);
  const here = new Map(refs.map(({ name, oid }) => [name, oid]));
  return mirrors.map(({ remote: address, mode }) => {
    const remote = withoutCredentials(address);
    const known = states.filter(({ outcome }) => outcome?.remote === remote);
    const isCurrent = known.every(({ whole, machine }) => machine !== null && whole === digestOf(tipsThere(layoutOf(mode, machine), here)));
    const messages = known.flatMap(({ outcome }) => outcome?.message ?? []);
    return { remote, isCurrent: known.length > 0 && isCurrent, message: messages[0] ?? null };
  });
}
