import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { baseStep, chainSteps, maxChain } from "./ladder.ts";

const steps = 20_000;
const bases = Array.from({ length: steps + 1 }, (_, step) => (step === 0 ? 0 : baseStep(step)));

describe("the ladder", () => {
  test("begins with a chain, then merges", () => {
    expect(bases.slice(1, 9)).toEqual([0, 1, 2, 3, 4, 5, 6, 0]);
    expect(chainSteps(0)).toEqual([0]);
    expect(chainSteps(3)).toEqual([0, 1, 2, 3]);
    expect(chainSteps(8)).toEqual([0, 8]);
  });

  test("builds each step on an earlier one", () => {
    for (let step = 1; step <= steps; step += 1) {
      const base = bases[step] as number;
      if (!(Number.isInteger(base) && base >= 0 && base < step)) expect.fail(`step ${step} builds on ${base}`);
    }
  });

  test("never makes a chain longer than eight", () => {
    const lengths = [1];
    for (let step = 1; step <= steps; step += 1) lengths[step] = (lengths[bases[step] as number] as number) + 1;
    expect(Math.max(...lengths)).toBe(maxChain);
    expect(maxChain).toBe(8);
  });

  test("builds each step on one that still stands when the ones above it are forgotten", () => {
    let standing = [0];
    for (let step = 1; step <= steps; step += 1) {
      const base = bases[step] as number;
      if (!standing.includes(base)) expect.fail(`step ${step} builds on ${base}, which no longer stands`);
      standing = [...standing.filter((rung) => rung <= base), step];
      if (standing.length > maxChain) expect.fail(`${standing.length} rungs at step ${step}`);
    }
  });

  test("stores a change at most r times in the first C(7 + r, r) - 1 steps", () => {
    for (const rounds of [1, 2, 3, 4]) {
      const last = choose(7 + rounds, rounds) - 1;
      const times = new Array<number>(last + 1).fill(0);
      // Step s stores every change after its base, up to s.
      for (let step = 1; step <= last; step += 1)
        for (let change = (bases[step] as number) + 1; change <= step; change += 1) times[change] = (times[change] ?? 0) + 1;
      expect(Math.max(...times)).toBe(rounds);
    }
    expect([1, 2, 3, 4].map((rounds) => choose(7 + rounds, rounds) - 1)).toEqual([7, 35, 119, 329]);
  });

  test("property: gives a step the chain of its base and itself, however far it has come", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5_000_000 }), (step) => {
        const chain = chainSteps(step);
        expect(chain).toEqual([...chainSteps(baseStep(step)), step]);
        expect(chain[0]).toBe(0);
        expect(chain.length).toBeLessThanOrEqual(maxChain);
      }),
    );
  });

  test("merges everything when a round begins, and only then", () => {
    // The first step of a new round merges all before it; those before it are what they were.
    expect([8, 36, 120, 330, 792].map((step) => chainSteps(step))).toEqual([
      [0, 8],
      [0, 36],
      [0, 120],
      [0, 330],
      [0, 792],
    ]);
    expect([7, 35].map((step) => chainSteps(step))).toEqual([
      [0, 1, 2, 3, 4, 5, 6, 7],
      [0, 8, 15, 21, 26, 30, 33, 35],
    ]);
  });
});

function choose(n: number, k: number): number {
  let ways = 1;
  for (let index = 1; index <= k; index += 1) ways = (ways * (n - k + index)) / index;
  return Math.round(ways);
}
