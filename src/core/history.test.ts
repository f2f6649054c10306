import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { checkHistory, expectedSums, type History, type RemovedPoint, type StoredManifest, unsignedAfterSigned } from "./history.ts";
import { newPointId } from "./ids.ts";
import { type Manifest, writeManifest } from "./manifest.ts";

const sumOf = (manifest: Manifest): string => createHash("sha256").update(writeManifest(manifest)).digest("hex");
const stored = (manifest: Manifest): StoredManifest => ({ manifest, sha256: sumOf(manifest) });

/** Points made one after another, by the machines named, each with a history of its own. */
function makeChain(machines: readonly string[]): Manifest[] {
  const last = new Map<string, Manifest>();
  let id: string | undefined;
  return machines.map((machine, index) => {
    id = newPointId(new Date(Date.UTC(2026, 10, 21, 12, index)), index * 7, id);
    const previous = last.get(machine);
    const manifest: Manifest = {
      format: 1,
      id,
      kind: "commit",
      createdAt: new Date(Date.UTC(2026, 10, 21, 12, index)).toISOString(),
      repository: "6b0f3c9a-5f0e-4c1e-9d2a-0a4f3a1b2c3d",
      machine,
      base: null,
      full: id,
      step: 0,
      level: 0,
      previous: previous?.id ?? null,
      previousSha256: previous === undefined ? null : sumOf(previous),
      tool: "holdfast test",
      artifacts: [],
      counts: { files: index, bytes: 0, changed: 0, refs: 1, left: 0, problems: 0 },
      consistent: true,
      screened: false,
      expires: null,
      retention: "policy",
      signature: null,
    };
    last.set(machine, manifest);
    return manifest;
  });
}

const history = (manifests: readonly Manifest[], rest: Partial<History> = {}): History => ({
  points: manifests.map(stored),
  unreadable: new Set(),
  remembered: [],
  removed: new Map(),
  ...rest,
});
const remember = (manifest: Manifest | undefined): History["remembered"] =>
  manifest === undefined ? [] : [{ id: manifest.id, sha256: sumOf(manifest) }];

const chains = fc.array(fc.constantFrom("desk", "lamp"), { minLength: 1, maxLength: 12 }).map(makeChain);
const chainAndPlace = chains.chain((chain) => fc.tuple(fc.constant(chain), fc.nat(chain.length - 1)));
const newestOfAll = (chain: readonly Manifest[]): History["remembered"] =>
  ["desk", "lamp"].flatMap((machine) => remember(chain.findLast((manifest) => manifest.machine === machine)));

const removal = ({ id, previous }: Manifest, record: RemovedPoint["record"]): History["removed"] => new Map([[id, { previous, record }]]);

describe("checkHistory", () => {
  test("property: a whole history has no finding, in whatever order it is listed", () => {
    fc.assert(
      fc.property(chains, fc.infiniteStream(fc.nat()), (chain, random) => {
        const shuffled = chain.map((manifest) => ({ manifest, at: random.next().value as number })).sort((a, b) => a.at - b.at);
        expect(
          checkHistory(
            history(
              shuffled.map(({ manifest }) => manifest),
              { remembered: newestOfAll(chain) },
            ),
          ),
        ).toEqual([]);
      }),
    );
  });

  test("property: any points that are taken out are named, each that has a successor or is remembered", () => {
    fc.assert(
      fc.property(chains, fc.infiniteStream(fc.boolean()), (chain, coin) => {
        const kept = chain.filter(() => coin.next().value as boolean);
        const findings = checkHistory(history(kept, { remembered: newestOfAll(chain) }));
        const gone = chain.filter((manifest) => !kept.includes(manifest));
        // Of neighbours that went together the last one is named: what was before it, nobody in the store knows.
        const told = gone.filter(({ id }) => kept.some(({ previous }) => previous === id) || newestOfAll(chain).some((known) => known.id === id));
        expect(findings.map(({ point }) => point).sort()).toEqual(told.map(({ id }) => id).sort());
        expect(findings.every(({ kind }) => kind === "missing" || kind === "rolled_back")).toBe(true);
        expect(findings.length > 0).toBe(gone.length > 0);
      }),
    );
  });

  test("property: any change of any manifest is found", () => {
    fc.assert(
      fc.property(chainAndPlace, fc.integer({ min: 1, max: 9 }), ([chain, at], by) => {
        const changed = chain.map((manifest, index) => (index === at ? { ...manifest, step: manifest.step + by } : manifest));
        const point = chain[at]?.id;
        expect(checkHistory(history(changed, { remembered: newestOfAll(chain) }))).toContainEqual(
          expect.objectContaining({ kind: "exchanged", point }),
        );
      }),
    );
  });

  test("property: two points that were exchanged are found, whatever names they were given", () => {
    fc.assert(
      fc.property(chainAndPlace, fc.nat(), ([chain, at], other) => {
        const to = other % chain.length;
        fc.pre(at !== to);
        const [one, two] = [chain[at] as Manifest, chain[to] as Manifest];
        const swapped = chain.map((manifest, index) => (index === at ? { ...two, id: one.id } : index === to ? { ...one, id: two.id } : manifest));
        expect(checkHistory(history(swapped, { remembered: newestOfAll(chain) })).length).toBeGreaterThan(0);
      }),
    );
  });

  test("property: a store that was put back to an older state is found by what the machine remembers", () => {
    fc.assert(
      fc.property(chainAndPlace, ([chain, at]) => {
        fc.pre(at < chain.length - 1);
        const findings = checkHistory(history(chain.slice(0, at + 1), { remembered: remember(chain.at(-1)) }));
        expect(findings).toContainEqual({ kind: "rolled_back", point: chain.at(-1)?.id });
      }),
    );
  });

  test("property: a hole that pruning left is none", () => {
    fc.assert(
      fc.property(chainAndPlace, ([chain, at]) => {
        const pruned = chain[at]?.id;
        const kept = chain.filter(({ id }) => id !== pruned);
        const removed = removal(chain[at] as Manifest, "trusted");
        expect(checkHistory(history(kept, { remembered: newestOfAll(chain), removed }))).toEqual([]);
      }),
    );
  });

  test("a record that no trusted key signed explains a hole only where the machine signs nothing at all", () => {
    const [first, second, third] = makeChain(["desk", "desk", "desk"]) as [Manifest, Manifest, Manifest];
    const signed = { ...third, signature: "s" };
    const found = [{ kind: "unproven", point: second.id, by: third.id }];
    expect(checkHistory(history([first, third], { removed: removal(second, "unsigned") }))).toEqual([]);
    expect(checkHistory(history([first, signed], { removed: removal(second, "unsigned") }))).toEqual(found);
    expect(checkHistory(history([first, third], { removed: removal(second, "doubtful") }))).toEqual(found);
    // What this machine remembers as the newest is never pruned.
    expect(checkHistory(history([first], { remembered: remember(second), removed: removal(second, "unsigned") }))).toEqual([
      { kind: "rolled_back", point: second.id },
    ]);
  });

  test("a point that was taken away beside a pruned one is missed by the record of that one", () => {
    const [first, second, third, fourth] = makeChain(["desk", "desk", "desk", "desk"]) as [Manifest, Manifest, Manifest, Manifest];
    const removed = removal(third, "trusted");
    expect(checkHistory(history([first, second, fourth], { removed }))).toEqual([]);
    expect(checkHistory(history([first, fourth], { removed }))).toEqual([{ kind: "missing", point: second.id, by: third.id }]);
  });

  test("names the successor that says so, a point made before its own past, and nothing twice", () => {
    const [first, second, third] = makeChain(["desk", "desk", "desk"]) as [Manifest, Manifest, Manifest];
    expect(checkHistory(history([first, third]))).toEqual([{ kind: "missing", point: second.id, by: third.id }]);
    expect(checkHistory(history([first, third], { unreadable: new Set([second.id]) }))).toEqual([]);
    const late = { ...first, previous: third.id, previousSha256: sumOf(third) };
    expect(checkHistory(history([late, third], { unreadable: new Set([second.id]) }))).toEqual([
      { kind: "disordered", point: first.id, by: third.id },
    ]);
    expect(checkHistory(history([first], { remembered: [{ id: first.id, sha256: "0" }] }))).toEqual([
      { kind: "exchanged", point: first.id, by: null },
    ]);
  });
});

test("expectedSums tells what a missing manifest must sum to", () => {
  const [first, second] = makeChain(["desk", "desk"]) as [Manifest, Manifest];
  const expected = expectedSums({ points: [stored(second)], remembered: remember(second) });
  expect([...expected]).toEqual([
    [first.id, sumOf(first)],
    [second.id, sumOf(second)],
  ]);
});

test("unsignedAfterSigned names the points of a machine that used to sign", () => {
  const chain = makeChain(["desk", "desk", "lamp", "desk", "lamp"]).map((manifest, index) => ({ ...manifest, signature: index === 1 ? "s" : null }));
  expect(unsignedAfterSigned(chain.toReversed())).toEqual([chain[3]?.id]);
});
