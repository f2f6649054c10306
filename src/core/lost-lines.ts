/** Lost commits as lines of history: what stands on what. Pure. */

export interface CommitFacts {
  readonly oid: string;
  readonly parents: readonly string[];
  /** ISO 8601, UTC. */
  readonly authoredAt: string;
  /** As it was written: not safe for a terminal. */
  readonly subject: string;
}

export interface Line {
  /** Nothing among the lost stands on it, stashes apart. */
  readonly tip: CommitFacts;
  /** Lost commits that it reaches, itself included. Two lines may share some. Of a stash 1. */
  readonly commits: number;
  readonly isStash: boolean;
}

/**
 * The newest tip first. `lost`: all commits that no ref reaches. A stash is a line of its own and hides no branch that it
 * was made on; what it keeps of the index and of untracked files, its other parents, goes with it.
 */
export function drawLines(lost: readonly CommitFacts[], isStash: (commit: CommitFacts) => boolean): Line[] {
  const byOid = new Map(lost.map((commit) => [commit.oid, commit]));
  const stashes = lost.filter(isStash);
  const parts = new Set(stashes.flatMap(({ parents }) => parents.slice(1)));
  const apart = new Set([...parts, ...stashes.map(({ oid }) => oid)]);
  const below = new Set([...parts, ...lost.flatMap(({ oid, parents }) => (apart.has(oid) ? [] : parents))]);
  return lost
    .filter(({ oid }) => !below.has(oid))
    .map((tip) => (isStash(tip) ? { tip, commits: 1, isStash: true } : { tip, commits: countReached(tip.oid, byOid), isStash: false }))
    .sort((a, b) => (a.tip.authoredAt < b.tip.authoredAt ? 1 : a.tip.authoredAt > b.tip.authoredAt ? -1 : 0));
}

/** As `git stash` writes it: on the commit, with the index beside. */
export function looksLikeStash({ parents, subject }: CommitFacts): boolean {
  return parents.length > 1 && /^(?:WIP on|On) .+: /.test(subject);
}

function countReached(tip: string, byOid: ReadonlyMap<string, CommitFacts>): number {
  const seen = new Set<string>();
  const open = [tip];
  for (let oid = open.pop(); oid !== undefined; oid = open.pop()) {
    const commit = byOid.get(oid);
    if (commit === undefined || seen.has(oid)) continue;
    seen.add(oid);
    open.push(...commit.parents);
  }
  return seen.size;
}
