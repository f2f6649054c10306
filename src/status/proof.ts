/** What was proven lately: restores from copies, and bytes that were looked at. Facts in, judgement out. Pure. */
import { shellWord } from "../core/words.ts";
import type { Remark } from "./assess.ts";

export interface DrillFacts {
  readonly at: Date;
  readonly store: string;
  readonly isOffsite: boolean;
  readonly isProven: boolean;
  /** How long a restore took; null where none came to its end. */
  readonly recoveryMs: number | null;
  /** The first thing that was wrong; null where nothing was. */
  readonly failure: string | null;
}

export interface VerifyFacts {
  readonly at: Date;
  readonly store: string;
  readonly level: "structure" | "bytes" | "content";
  readonly points: number;
  readonly read: number;
  readonly left: number;
  readonly damaged: number;
  /** Damage that only a look inside finds again. */
  readonly needsDecode: boolean;
}

export interface ProofFacts {
  /** Of stores that are still in the settings, oldest first. */
  readonly drills: readonly DrillFacts[];
  /** The last one of each such store, oldest first. */
  readonly verifications: readonly VerifyFacts[];
}

/** Of each store the last drill and the last verification count: a good one of another store says nothing about it. */
export function proofFindings({ drills, verifications }: ProofFacts): Remark[] {
  const lastOfEach = [...new Map(drills.map((drill) => [drill.store, drill])).values()];
  return [
    ...lastOfEach
      .filter(({ isProven }) => !isProven)
      .map(({ store, failure }) => ({
        what: `the last drill from ${store} failed${failure === null ? "" : `: ${failure}`}`,
        hint: `holdfast drill --store ${shellWord(store)}`,
      })),
    ...verifications
      .filter(({ damaged }) => damaged > 0)
      .map(({ store, damaged, needsDecode }) => ({
        what: `the last verify of ${store} found ${damaged === 1 ? "damage" : `damage in ${damaged} places`}`,
        hint: `holdfast verify --store ${shellWord(store)}${needsDecode ? " --decode" : ""} --repair`,
      })),
  ];
}

const dayMs = 24 * 3_600_000;
const longestWithoutDrillMs = 30 * dayMs;

/** A copy that nobody ever restored from is a hope. `copies`: those that hold points. */
export function drillNotices({ drills }: ProofFacts, copies: readonly string[], now: Date): Remark[] {
  if (copies.length === 0) return [];
  const last = drills.findLast(({ store }) => copies.includes(store));
  if (last === undefined) return [{ what: "no drill has restored from a copy yet", hint: "holdfast drill" }];
  const agoMs = now.getTime() - last.at.getTime();
  if (agoMs <= longestWithoutDrillMs) return [];
  return [{ what: `no drill has restored from a copy for ${Math.floor(agoMs / dayMs)} days`, hint: "holdfast drill" }];
}

/** How long the last proven restores from the store of the last drill took, newest first. */
export function recoveryTimes({ drills }: ProofFacts, atMost = 4): number[] {
  const store = drills.at(-1)?.store;
  return drills
    .flatMap((drill) => (drill.store === store && drill.isProven && drill.recoveryMs !== null ? [drill.recoveryMs] : []))
    .reverse()
    .slice(0, atMost);
}
