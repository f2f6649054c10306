import { describe, expect, test } from "vitest";
import type { Manifest } from "../core/manifest.ts";
import { assess, type CopyFacts, type MirrorFacts, type StatusFacts } from "./assess.ts";

const now = new Date("2026-11-21T15:00:00Z");
const point = { id: "20261121T143005Z-a1b2c3", createdAt: "2026-11-21T14:30:05.000Z", consistent: true } as Manifest;
const old = { ...point, createdAt: "2026-11-21T12:00:00.000Z" } as Manifest;
const copy: CopyFacts = {
  name: "hub",
  url: "branch:origin/b",
  kind: "branch",
  isOffsite: true,
  medium: "git host",
  missing: 0,
  missingBytes: 0,
  missingSince: null,
  beyond: null,
  withheld: null,
  lastOkAt: now,
  awaySince: null,
  sendingSince: null,
  error: null,
  hint: null,
};
const disk: CopyFacts = { ...copy, name: "disk", url: "/mnt/disk", kind: "folder", isOffsite: false, medium: "disk 2" };
const ago = (hours: number): Date => new Date(now.getTime() - hours * 3_600_000);
const mirror: MirrorFacts = { remote: "origin", status: "ok", at: now, message: null };
const well: StatusFacts = {
  now,
  points: [point],
  damaged: [],
  lastFailure: null,
  unsaved: { files: 0, refs: 0 },
  isConfigMissing: false,
  hooks: "firing",
  silentWorktrees: [],
  primary: { medium: "disk 1", isOffsite: false },
  copies: [copy, disk],
  mirrors: [mirror],
  rewrites: [],
  drills: ["hub", "disk"].map((store) => ({ at: now, store, isOffsite: true, isProven: true, recoveryMs: 4200, failure: null })),
  verifications: [],
  refusals: [],
  key: null,
};
const rewrite = { ref: "refs/remotes/origin/main", old: "a", new: "b", lost: 14, point: "p1", seenAt: "2026-11-21T14:00:00.000Z", isOurs: false };

const judged = (change: Partial<StatusFacts>) => assess({ ...well, ...change });

test("a key that is not here, or that others can read, is told; where it may be elsewhere nothing is at risk by it", () => {
  const key = { path: "/k/identity.txt", state: "here", isOpenToOthers: false } as const;
  expect(judged({ key }).notices).toEqual([]);
  expect(judged({ key: { ...key, state: "protected", isOpenToOthers: true } }).notices).toEqual([]);
  expect(judged({ key: { ...key, state: "missing" } })).toMatchObject({
    protection: "protected",
    notices: [{ what: expect.stringContaining("/k/identity.txt is missing"), hint: expect.stringContaining("holdfast drill --identity FILE") }],
  });
  expect(judged({ key: { ...key, isOpenToOthers: true } }).notices).toMatchObject([{ hint: "chmod 600 /k/identity.txt" }]);
});

describe("all is well", () => {
  test("where a point is new, whole, copied elsewhere, and the hooks fire", () => {
    const threeTwoOne = { copies: 3, media: 3, offsite: 1, isMet: true };
    expect(assess(well)).toEqual({ protection: "protected", findings: [], notices: [], threeTwoOne });
  });

  test.each<[string, Partial<StatusFacts>]>([
    ["changes of less than an hour", { unsaved: { files: 5, refs: 2 } }],
    ["an old point of what never changed", { points: [old] }],
    ["changes that are not known", { points: [old], unsaved: undefined }],
    ["no mirrors", { mirrors: [] }],
    ["older points that do not fit into a copy's budget", { copies: [{ ...copy, beyond: { points: 9, maxBytes: 1, hasNewest: true } }] }],
    ["a copy in a folder alone", { copies: [disk] }],
    ["points of the last hour that are on their way", { copies: [{ ...copy, missing: 3, missingSince: ago(0.5) }] }],
    [
      "a disk that is away for some days, with points waiting",
      { copies: [{ ...disk, awaySince: ago(70), lastOkAt: ago(72), missing: 9, missingSince: ago(60) }] },
    ],
    ["older points that are not encrypted beside newer ones that are", { copies: [{ ...copy, withheld: { points: 9, hasNewest: true } }] }],
    ["an older point that was partial", { points: [{ ...old, consistent: false } as Manifest, point] }],
  ])("with %s, too", (_, change) => {
    expect(judged(change)).toMatchObject({ protection: "protected", findings: [] });
  });
});

describe("it is no risk, and said:", () => {
  test("points that are dated in the future", () => {
    const ahead = { ...point, createdAt: "2026-11-22T15:00:00.000Z" } as Manifest;
    const { protection, notices } = judged({ points: [point, ahead] });
    expect(protection).toBe("protected");
    expect(notices).toMatchObject([{ what: "1 of the points is dated in the future, up to 2026-11-22T15:00:00.000Z: is the clock right?" }]);
    expect(judged({ points: [{ ...point, createdAt: "2026-11-21T15:05:00.000Z" } as Manifest] }).notices).toEqual([]);
  });

  test("a store that takes no deletions", () => {
    const { protection, notices } = judged({ refusals: [{ store: "vault", message: "access denied" }] });
    expect(protection).toBe("protected");
    expect(notices).toMatchObject([
      { what: "the store vault takes no deletions, and keeps everything: access denied", hint: expect.stringMatching(/holdfast prune$/) },
    ]);
  });
});

describe("it is named, with what to do:", () => {
  test.each<[string, Partial<StatusFacts>, string, RegExp, string | RegExp]>([
    ["a partial point", { points: [{ ...point, consistent: false } as Manifest] }, "at_risk", /partial/, `holdfast show ${point.id}`],
    ["a point that is damaged", { damaged: ["p1"] }, "at_risk", /^point p1 is damaged$/, "holdfast points"],
    ["points that are damaged", { damaged: ["p1", "p2", "p3"] }, "at_risk", /^point p1 and 2 more are damaged$/, "holdfast points"],
    ["a store that cannot be read, for no known reason", { points: undefined }, "unprotected", /cannot be read/, /--from STORE/],
    [
      "changes that cannot be told",
      { unsaved: undefined, unsavedError: { message: "git: index file corrupt", hint: "holdfast doctor" } },
      "at_risk",
      /^what changed since the last point cannot be told: git: index file corrupt$/,
      "holdfast doctor",
    ],
    ["settings that are gone", { isConfigMissing: true }, "at_risk", /backup.yaml is gone/, /holdfast doctor/],
    ["a point that could not be made", { lastFailure: "no space left" }, "at_risk", /could not be made: no space left/, "holdfast backup"],
    ["no hooks", { hooks: "missing" }, "at_risk", /no hooks/, "holdfast hooks install"],
    ["some hooks", { hooks: "partly" }, "at_risk", /some hooks/, "holdfast hooks install"],
    ["a worktree without", { silentWorktrees: ["/w/a b", "/w/c"] }, "at_risk", /worktree \/w\/a b and 1 more/, "holdfast -C '/w/a b' hooks install"],
    ["files of more than an hour", { points: [old], unsaved: { files: 1, refs: 0 } }, "at_risk", /more than an hour/, "holdfast backup"],
    ["refs of more than an hour", { points: [old], unsaved: { files: 0, refs: 1 } }, "at_risk", /more than an hour/, "holdfast backup"],
    [
      "a copy that lacks points",
      { copies: [copy, { ...copy, name: "b", missing: 3, missingSince: ago(2) }] },
      "at_risk",
      /copy b lacks 3 points/,
      "holdfast sync --wait",
    ],
    [
      "a copy that is away for more than a week",
      { copies: [copy, { ...disk, awaySince: ago(24 * 7), lastOkAt: ago(24 * 9), missing: 12, missingSince: ago(24 * 8) }] },
      "at_risk",
      /copy disk is away and was last whole 9 days ago; 12 points waiting/,
      /mounted.*holdfast sync/,
    ],
    [
      "points that are not encrypted and stay here",
      { copies: [disk, { ...copy, name: "b", withheld: { points: 2, hasNewest: false } }] },
      "at_risk",
      /copy b: 2 points are not encrypted, and not sent there/,
      /holdfast key new .*encrypt: false at b/,
    ],
    ["a copy that fails", { copies: [copy, { ...copy, name: "b", error: "no route" }] }, "at_risk", /copy b: no route/, "holdfast sync --wait"],
    [
      "a copy with no room",
      { copies: [copy, { ...copy, name: "b", beyond: { points: 1, maxBytes: 1, hasNewest: false } }] },
      "at_risk",
      /copy b: the newest point/,
      /max_bytes/,
    ],
    ["a copy's own hint", { copies: [copy, { ...copy, name: "b", error: "x", hint: "mount it" }] }, "at_risk", /copy b/, "mount it"],
    ["a mirror that was never pushed", { mirrors: [{ ...mirror, status: "never" }] }, "at_risk", /never pushed/, "holdfast mirror"],
    [
      "a mirror that refuses",
      { mirrors: [{ ...mirror, status: "rejected", message: "protected" }] },
      "at_risk",
      /origin: rejected \(protected\)/,
      "holdfast mirror",
    ],
    ["one copy only", { copies: [] }, "at_risk", /one copy only/, /^holdfast store add/],
    ["a copy never seen whole", { copies: [{ ...copy, lastOkAt: null }] }, "at_risk", /one copy only/, /^holdfast store add/],
    ["no point yet", { points: [] }, "unprotected", /no point yet/, "holdfast backup"],
    [
      "a store that cannot be read",
      { points: undefined, storeError: { message: "no such folder", hint: "mount it" }, lastFailure: "said by the store already" },
      "unprotected",
      /no such folder/,
      "mount it",
    ],
  ])("%s", (_, change, protection, what, hint) => {
    const { protection: judgement, findings } = judged(change);
    expect(judgement).toBe(protection);
    expect(findings).toHaveLength(1);
    expect(findings[0]?.what).toMatch(what);
    if (typeof hint === "string") expect(findings[0]?.hint).toBe(hint);
    else expect(findings[0]?.hint).toMatch(hint);
  });
});

test("what others forced away is told, and puts nothing at risk: a point has it", () => {
  const hint = expect.stringMatching(/^restore-from-git --lost .*--acknowledge$/);
  const what = "origin/main was force-pushed: 14 commits are in no ref any more, point p1 has them";
  expect(judged({ rewrites: [rewrite] })).toMatchObject({ protection: "protected", findings: [], notices: [{ what, hint }] });
  const two = judged({ rewrites: [{ ...rewrite, new: null, lost: 1 }, rewrite] });
  expect(two.notices).toMatchObject([{ what: expect.stringMatching(/^origin\/main was deleted: 1 .* \(and 1 more\)$/) }]);
});

test("the worst comes first, and nothing hides another", () => {
  const { protection, findings, threeTwoOne } = judged({
    points: [],
    hooks: "missing",
    copies: [{ ...copy, error: "gone", missing: 4 }],
    mirrors: [{ ...mirror, status: "unreachable" }],
  });
  expect(protection).toBe("unprotected");
  expect(findings.map(({ what }) => what.slice(0, 8))).toEqual(["there is", "no hooks", "copy hub", "mirror o"]);
  expect(threeTwoOne).toEqual({ copies: 0, media: 0, offsite: 0, isMet: false });
});

describe("3-2-1", () => {
  const counted = (change: Partial<StatusFacts>): number[] => {
    const { copies, media, offsite } = judged(change).threeTwoOne;
    return [copies, media, offsite];
  };

  test.each<[string, Partial<CopyFacts>]>([
    ["never seen whole", { lastOkAt: null }],
    ["that failed at the last attempt", { error: "no route" }],
    ["that lacks points of more than an hour", { missing: 1, missingSince: ago(2) }],
    ["that lost old points", { missing: 1 }],
    ["without the newest point, for its budget", { beyond: { points: 1, maxBytes: 1, hasNewest: false } }],
    ["without the newest point, since it is not encrypted", { withheld: { points: 1, hasNewest: false } }],
    ["away for more than a week", { awaySince: ago(1), lastOkAt: ago(24 * 8) }],
  ])("does not count a copy %s, whatever the settings say", (_, change) => {
    expect(counted({ copies: [disk, { ...copy, ...change }] })).toEqual([2, 2, 0]);
  });

  test("counts the primary only while it can be read and has a point", () => {
    expect(counted({ points: undefined })).toEqual([2, 2, 1]);
    expect(counted({ points: [] })).toEqual([2, 2, 1]);
    expect(counted({ primary: null })).toEqual([2, 2, 1]);
  });

  test("counts a folder on the primary's own disk as a copy on the same medium, and what is not known likewise", () => {
    expect(
      counted({
        copies: [
          { ...disk, medium: "disk 1" },
          { ...disk, medium: null },
        ],
      }),
    ).toEqual([3, 1, 0]);
    expect(counted({ copies: [copy, { ...copy, name: "b" }] })).toEqual([3, 2, 2]);
  });

  test("says what is missing to it, with the command that adds it", () => {
    expect(judged({ copies: [disk] }).notices).toEqual([
      { what: "not yet 3-2-1: 2 of 3 copies, 2 media, none elsewhere", hint: "holdfast store add NAME branch:REMOTE/holdfast/backup" },
    ]);
    expect(judged({ copies: [copy] }).notices).toEqual([
      { what: "not yet 3-2-1: 2 of 3 copies, 2 media, 1 elsewhere", hint: "holdfast store add NAME /FOLDER/ON/ANOTHER/DISK" },
    ]);
    expect(judged({ copies: [{ ...disk, medium: "disk 1" }] }).notices[0]?.what).toBe("not yet 3-2-1: 2 of 3 copies, 1 of 2 media, none elsewhere");
    expect(judged({ copies: [] }).notices).toEqual([]);
  });
});

test("older points that are not encrypted are only a notice where the newest is there", () => {
  const { findings, notices } = judged({ copies: [disk, { ...copy, withheld: { points: 12, hasNewest: true } }] });
  expect([findings, notices]).toEqual([
    [],
    [{ what: expect.stringMatching(/^copy hub: 12 older points are not encrypted/), hint: expect.any(String) }],
  ]);
});
