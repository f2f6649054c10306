/**
 * The ladder: which earlier incremental the next one builds on.
 *
 * Incrementals since a full are numbered 1, 2, 3, …; the full is 0. A restore reads the full and then a
 * chain of incrementals, so the chain must stay short; but every merge of steps stores changes again.
 * This schedule is the one that is optimal for both: with `depth` places above the full, the first
 * C(depth + r, r) - 1 incrementals store each change at most r times. It grows without a limit set
 * beforehand: the schedule for r + 1 begins with the one for r.
 * (The merge schedule is "bounded-depth merge compaction", Mathieu et al., https://arxiv.org/abs/1407.3008.)
 */

/** Artifacts of one kind that a restore reads at most: the full and the incrementals above it. */
export const maxChain = 8;

const depth = maxChain - 1;

/** The number of the incremental (or 0, the full) that incremental `step` (>= 1) builds on. */
export function baseStep(step: number): number {
  let rounds = 1;
  while (capacity(depth, rounds) < step) rounds += 1;
  return baseWithin(step, depth, rounds, 0);
}

/** The steps that a restore of `step` reads, from the full (0) up to and including `step`. */
export function chainSteps(step: number): number[] {
  const chain = [step];
  let at = step;
  while (at > 0) {
    at = baseStep(at);
    chain.unshift(at);
  }
  return chain;
}

/** How many incrementals fit above one floor, with `places` places and each change stored at most `rounds` times. */
function capacity(places: number, rounds: number): number {
  let ways = 1;
  for (let i = 1; i <= rounds; i += 1) ways = (ways * (places + i)) / i;
  return ways - 1;
}

/** Steps 1..capacity above `floor`: first a schedule of fewer rounds, then one merge of it all, then one place less above that merge. */
function baseWithin(step: number, places: number, rounds: number, floor: number): number {
  if (rounds === 1) return floor + step - 1;
  const before = capacity(places, rounds - 1);
  if (step <= before) return baseWithin(step, places, rounds - 1, floor);
  const merge = before + 1;
  if (step === merge) return floor;
  const above = baseWithin(step - merge, places - 1, rounds, 0);
  return floor + merge + above;
}
