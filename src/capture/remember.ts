/** What the machine remembers after a point was published. Pure. */
import { lacksObjects } from "../core/contents.ts";
import type { Manifest } from "../core/manifest.ts";
import type { Captured } from "./capture.ts";
import { type KnownPoint, type KnownRef, knownVersion } from "./known.ts";
import { type Footing, floorOf, nextRungs, stepOf } from "./plan.ts";

export interface RememberFacts {
  readonly manifest: Manifest;
  readonly manifestSha256: string;
  /** Stored bytes of the point. */
  readonly size: number;
  readonly captured: Captured;
  readonly footing: Footing;
  readonly known: KnownPoint | undefined;
  readonly commonDir: string;
  readonly policyDigest: string;
  /** Whom the point is encrypted for. */
  readonly recipients: readonly string[];
}

export function rememberPoint(facts: RememberFacts): KnownPoint {
  const { manifest, manifestSha256, size, captured, footing, known, commonDir, policyDigest, recipients } = facts;
  const isFull = footing.kind === "full";
  const step = stepOf(footing);
  const { observation, filePlan, refPlan, files } = captured;
  const refNames = new Set(observation.refs.map((ref) => ref.name));
  return {
    version: knownVersion,
    repository: manifest.repository,
    commonDir,
    policy: policyDigest,
    id: manifest.id,
    manifestSha256,
    recipients,
    full: manifest.full,
    fullAt: isFull || known === undefined ? manifest.createdAt : known.fullAt,
    fullSize: isFull || known === undefined ? size : known.fullSize,
    sinceFull: isFull || known === undefined ? 0 : known.sinceFull + size,
    step,
    rungs: nextRungs(known, footing, { step, id: manifest.id, createdAt: manifest.createdAt }),
    refs: refsAfter(captured, known, footing),
    goneRefs: goneAfter(
      known?.goneRefs,
      refPlan.gone.filter((name) => known?.refs.has(name) === true),
      refNames,
      footing,
    ),
    files: files.files,
    goneFiles: goneAfter(known?.goneFiles, [...filePlan.newlyGone, ...files.lost], files.files, footing),
    versions: files.versions,
    facts: captured.facts,
    worktrees: observation.worktrees,
    problems: captured.problems,
    isDamaged: (!isFull && known?.isDamaged === true) || captured.problems.some(lacksObjects),
    counts: captured.counts,
  };
}

/** After a point that repeats the last one: only the newest id is another. */
export function rememberRepeat(known: KnownPoint, manifest: Manifest, manifestSha256: string): KnownPoint {
  return { ...known, id: manifest.id, manifestSha256 };
}

function refsAfter({ observation, refPlan }: Captured, known: KnownPoint | undefined, footing: Footing): Map<string, KnownRef> {
  const stored = new Set(refPlan.changed.map((ref) => ref.name));
  return new Map(
    observation.refs.map(({ name, oid, symref }): [string, KnownRef] => {
      const before = known?.refs.get(name);
      const step = stored.has(name) || before === undefined ? stepOf(footing) : before.step;
      return [name, { oid, step, ...(symref === undefined ? {} : { symref }) }];
    }),
  );
}

/** Deletions that a later incremental on an older base must repeat. */
function goneAfter(
  before: ReadonlyMap<string, number> | undefined,
  gone: readonly string[],
  present: { has(name: string): boolean },
  footing: Footing,
): Map<string, number> {
  const after = new Map<string, number>();
  if (footing.kind === "full") return after;
  for (const [name, step] of before ?? []) if (!present.has(name)) after.set(name, step > floorOf(footing) ? stepOf(footing) : step);
  for (const name of gone) if (!present.has(name)) after.set(name, stepOf(footing));
  return after;
}
