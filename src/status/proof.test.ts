import { describe, expect, test } from "vitest";
import { type DrillFacts, drillNotices, type ProofFacts, proofFindings, recoveryTimes } from "./proof.ts";

const now = new Date("2026-11-21T15:00:00Z");
const daysAgo = (days: number): Date => new Date(now.getTime() - days * 86_400_000);
const drill = (days: number, change: Partial<DrillFacts> = {}): DrillFacts => ({
  at: daysAgo(days),
  store: "hub",
  isOffsite: true,
  isProven: true,
  recoveryMs: 4000,
  failure: null,
  ...change,
});
const of = (drills: readonly DrillFacts[]): ProofFacts => ({ drills, verifications: [] });

describe("a finding", () => {
  const failed = drill(2, { isProven: false, recoveryMs: null, failure: "a.md is missing" });

  test("is a last drill that failed, also when another store's went well since", () => {
    const found = [{ what: "the last drill from hub failed: a.md is missing", hint: "holdfast drill --store hub" }];
    expect(proofFindings(of([drill(3), failed, drill(1, { store: "disk" })]))).toEqual(found);
  });

  test("is gone when that store's next one went well", () => {
    expect(proofFindings(of([failed, drill(1)]))).toEqual([]);
  });

  test("is damage that the last verification left", () => {
    const verified = { at: now, store: "my disk", level: "bytes", points: 3, read: 9, left: 0, damaged: 2, needsDecode: false } as const;
    const found = [{ what: "the last verify of my disk found damage in 2 places", hint: "holdfast verify --store 'my disk' --repair" }];
    expect(proofFindings({ drills: [], verifications: [verified] })).toEqual(found);
    expect(proofFindings({ drills: [], verifications: [{ ...verified, needsDecode: true }] })).toMatchObject([
      { hint: "holdfast verify --store 'my disk' --decode --repair" },
    ]);
    expect(proofFindings({ drills: [], verifications: [{ ...verified, damaged: 0 }] })).toEqual([]);
  });
});

test.each<[string, readonly DrillFacts[], readonly string[], string | undefined]>([
  ["nothing without a copy", [], [], undefined],
  ["that no drill was ever", [], ["hub"], "no drill has restored from a copy yet"],
  ["that the primary alone was drilled", [drill(1, { store: "local" })], ["hub"], "no drill has restored from a copy yet"],
  ["nothing within thirty days", [drill(30)], ["hub"], undefined],
  ["how long ago it was", [drill(45)], ["hub"], "no drill has restored from a copy for 45 days"],
])("a notice tells %s", (_, drills, copies, what) => {
  expect(drillNotices(of(drills), copies, now).map((notice) => notice.what)).toEqual(what === undefined ? [] : [what]);
});

test("recovery times are those of the last drill's store, newest first, without drills that failed", () => {
  const drills = [
    drill(9, { recoveryMs: 3000 }),
    drill(8, { store: "disk", recoveryMs: 1 }),
    drill(7, { isProven: false, recoveryMs: null }),
    drill(6, { recoveryMs: 4200 }),
  ];
  expect(recoveryTimes(of(drills))).toEqual([4200, 3000]);
  expect(recoveryTimes(of([]))).toEqual([]);
});
