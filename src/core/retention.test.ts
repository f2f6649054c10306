import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { dayMs } from "./calendar.ts";
import { newPointId, type PointId } from "./ids.ts";
import { defaultRetention, expiryOf, planRetention, type RetentionPoint, type RetentionPolicy } from "./retention.ts";

const nothing: RetentionPolicy = { ...defaultRetention, withinMs: 0, daily: 0, weekly: 0, monthly: 0 };
const now = new Date("2026-11-21T12:00:00.000Z");

let suffix = 0;
function point(createdAt: string, wish: Partial<RetentionPoint> = {}): RetentionPoint {
  const at = new Date(createdAt);
  suffix += 1;
  return { id: newPointId(at, suffix), createdAt: at.toISOString(), base: null, retention: "policy", ...wish };
}

/** `days` ago at noon, UTC. */
function ago(days: number, wish: Partial<RetentionPoint> = {}): RetentionPoint {
  return point(new Date(now.getTime() - days * dayMs).toISOString(), wish);
}

function keptOf(points: readonly RetentionPoint[], policy: Partial<RetentionPolicy>, at = now): Set<PointId> {
  return new Set(planRetention(points, { ...nothing, ...policy }, at).flatMap(({ id, isKept }) => (isKept ? [id] : [])));
}

function reasonsOf(points: readonly RetentionPoint[], policy: Partial<RetentionPolicy>, of: RetentionPoint, at = now): readonly string[] {
  return planRetention(points, { ...nothing, ...policy }, at).find(({ id }) => id === of.id)?.reasons ?? [];
}

describe("the calendar", () => {
  test("each rule keeps the newest of each period, and a point may stay by several", () => {
    const points = [ago(0), ago(1), ago(7), ago(31)];
    const plan = planRetention(points, { ...nothing, daily: 2, weekly: 2, monthly: 2, yearly: 1 }, now);
    expect(plan.map(({ reasons }) => reasons)).toEqual([
      ["daily 2026-11-21", "weekly 2026-W47", "monthly 2026-11", "yearly 2026", "newest"],
      ["daily 2026-11-20"],
      ["weekly 2026-W46"],
      ["monthly 2026-10"],
    ]);
  });

  test("three on one day: the newest stays, and the oldest while rules want more", () => {
    const points = [point("2026-11-20T08:00:00Z"), point("2026-11-20T09:00:00Z"), point("2026-11-20T10:00:00Z")];
    expect(keptOf(points, { daily: 1 })).toEqual(new Set([points[2]?.id]));
    expect(keptOf(points, { daily: 2 })).toEqual(new Set([points[0]?.id, points[2]?.id]));
    expect(reasonsOf(points, { daily: 2 }, points[0] as RetentionPoint)).toEqual(["oldest for daily"]);
  });

  test("a gap of 40 days costs nothing: only days that hold a point count", () => {
    const before = Array.from({ length: 14 }, (_, day) => ago(41 + day));
    const fresh = ago(0);
    expect(keptOf([...before, fresh], { daily: 7 })).toEqual(new Set([fresh.id, ...before.slice(0, 6).map(({ id }) => id)]));
    expect(keptOf([...before, fresh], { daily: 7, withinMs: 2 * dayMs }).size).toBe(7);
  });

  test("the days around New Year are one week of the year that has their Thursday", () => {
    const days = ["2026-12-27", "2026-12-28", "2026-12-31", "2027-01-01", "2027-01-03", "2027-01-04"].map((day) => point(`${day}T12:00:00Z`));
    const at = new Date("2027-02-01T00:00:00Z");
    const plan = planRetention(days, { ...nothing, weekly: 3 }, at);
    expect(plan.filter(({ isKept }) => isKept).map(({ reasons }) => reasons[0])).toEqual(["weekly 2027-W01", "weekly 2026-W53", "weekly 2026-W52"]);
  });

  test("a month and a week of one name take no place from each other", () => {
    const points = Array.from({ length: 40 }, (_, day) => point(new Date(Date.UTC(2026, 0, 8) - day * dayMs).toISOString()));
    const plan = planRetention(points, { ...nothing, weekly: 4, monthly: 12 }, new Date("2026-01-09T00:00:00Z"));
    const reasons = plan.flatMap((verdict) => verdict.reasons);
    expect(reasons.filter((reason) => reason.startsWith("weekly"))).toEqual([
      "weekly 2026-W02",
      "weekly 2026-W01",
      "weekly 2025-W52",
      "weekly 2025-W51",
    ]);
    expect(plan.find(({ reasons: [first] }) => first === "weekly 2026-W01")?.id.slice(0, 8)).toBe("20260104");
  });

  test("days begin where the time zone says, in the nights of the clock too", () => {
    // 00:30 and 23:30 of the day of 25 hours in Zurich, then 00:30 of the next.
    const points = ["2026-10-24T22:30:00Z", "2026-10-25T22:30:00Z", "2026-10-25T23:30:00Z"].map((time) => point(time));
    expect(keptOf(points, { daily: 3, timeZone: "Europe/Zurich" })).toEqual(new Set([points[0]?.id, points[1]?.id, points[2]?.id]));
    expect(reasonsOf(points, { daily: 3, timeZone: "Europe/Zurich" }, points[0] as RetentionPoint)).toEqual(["oldest for daily"]);
    expect(reasonsOf(points, { daily: 3 }, points[0] as RetentionPoint)).toEqual(["daily 2026-10-24"]);
  });

  test("keep_within counts from the newest point, not from now, and its end is outside", () => {
    const points = [ago(30), ago(31), point(new Date(now.getTime() - 32 * dayMs + 1).toISOString()), ago(32)];
    expect(keptOf(points, { withinMs: 2 * dayMs })).toEqual(new Set(points.slice(0, 3).map(({ id }) => id)));
  });

  test("0 turns a rule off, unlimited keeps every period", () => {
    const points = Array.from({ length: 60 }, (_, at) => ago(at / 2));
    expect(keptOf(points, { daily: "unlimited" }).size).toBe(31);
    expect(keptOf(points, { last: "unlimited" }).size).toBe(60);
    expect(keptOf(points, { last: 3 }).size).toBe(3);
  });

  test("a policy that keeps nothing is refused", () => {
    expect(() => planRetention([ago(0)], nothing, now)).toThrow(expect.objectContaining({ code: "config_invalid" }));
  });
});

describe("what the policy has no say about", () => {
  test("a point of the future stays, takes no place, and is not the newest", () => {
    const future = ago(-1);
    const points = [future, ago(0), ago(1), ago(2)];
    expect(reasonsOf(points, { daily: 2 }, future)).toEqual(["dated in the future"]);
    expect(keptOf(points, { daily: 2 })).toEqual(new Set([future.id, points[1]?.id, points[2]?.id]));
    // The clock was set back by three days: what it made before waits until it is no longer ahead.
    expect(keptOf(points, { daily: 1 }, new Date(now.getTime() - 1.5 * dayMs)).size).toBe(4);
  });

  test("a pinned point, a permanent one and one of another machine stay and take no place", () => {
    const points = [ago(0), ago(1, { isPinned: true }), ago(2, { retention: "permanent" }), ago(3, { aside: "of machine other" }), ago(4), ago(5)];
    const plan = planRetention(points, { ...nothing, daily: 2 }, now);
    expect(plan.map(({ reasons }) => reasons[0])).toEqual([
      "daily 2026-11-21",
      "pinned",
      "permanent",
      "of machine other",
      "daily 2026-11-17",
      "no rule keeps it",
    ]);
  });

  test("a pre-change point stays until it is verified, then it is a point like others", () => {
    const waiting = ago(90, { retention: "until_verified" });
    const verified = ago(91, { retention: "until_verified", isVerified: true });
    const later = ago(1, { isVerified: true });
    expect(reasonsOf([ago(0), later, waiting, verified], { daily: 2 }, waiting)).toEqual(["until it is verified"]);
    expect(reasonsOf([ago(0), later, waiting, verified], { daily: 2 }, verified)).toEqual(["no rule keeps it"]);
  });

  test("days_N stays for its days, and goes after them even where it would have a place", () => {
    const points = [ago(0), ago(4, { retention: "days_5" }), ago(5, { retention: "days_5" })];
    expect(reasonsOf(points, { daily: 7 }, points[1] as RetentionPoint)).toEqual(["for 5 days, until 2026-11-22"]);
    expect(planRetention(points, { ...nothing, daily: 7 }, now).at(-1)).toMatchObject({ isKept: false, reasons: ["its 5 days are over"] });
  });

  test("a rule that a later version made keeps its point", () => {
    expect(keptOf([ago(0), ago(99, { retention: "phase_of_moon" })], { daily: 1 }).size).toBe(2);
  });
});

describe("never removed", () => {
  test("the newest point, the newest whole one and the newest verified one", () => {
    const points = [
      ago(0, { isWhole: false, retention: "days_1" }),
      ago(1, { isWhole: false }),
      ago(2),
      ago(3),
      ago(4, { isVerified: true }),
      ago(5, { isVerified: true }),
    ];
    const late = new Date(now.getTime() + 30 * dayMs);
    const plan = planRetention(points, { ...nothing, last: 1 }, late);
    expect(plan.map(({ reasons, isKept }) => (isKept ? reasons.join("; ") : ""))).toEqual([
      "newest",
      "last",
      "newest that is whole",
      "",
      "newest that is verified",
      "",
    ]);
  });

  test("what a kept point builds on, down to the full one, with the reason", () => {
    const full = ago(20);
    const middle = ago(19, { base: full.id });
    const other = ago(18, { base: middle.id });
    const top = ago(0, { base: middle.id });
    const plan = planRetention([full, middle, other, top], { ...nothing, last: 1 }, now);
    expect(plan.map(({ id, reasons }) => [id, ...reasons])).toEqual([
      [top.id, "last", "newest"],
      [other.id, "no rule keeps it"],
      [middle.id, `base of ${top.id}`],
      [full.id, `base of ${middle.id}`],
    ]);
    expect(reasonsOf([full, middle, other, top], { last: 2 }, middle)).toEqual([`base of ${top.id} and 1 more`]);
  });

  test("what the next point builds on", () => {
    const points = [ago(0), ago(9, { needed: "the next point builds on it" })];
    expect(keptOf(points, { last: 1 }).size).toBe(2);
  });

  test("the last point there is", () => {
    expect(keptOf([ago(4000)], { daily: 1 }).size).toBe(1);
    expect(keptOf([ago(40, { retention: "days_1" })], { daily: 1 }).size).toBe(1);
    expect(keptOf([ago(40, { gone: "pruned elsewhere" })], { daily: 1 }).size).toBe(1);
    expect(planRetention([], defaultRetention, now)).toEqual([]);
  });
});

describe("expiryOf", () => {
  const made = { createdAt: "2026-11-01T10:00:00.000Z", retention: "policy" };
  test("is known for a rule of days, and for a policy of days alone", () => {
    expect(expiryOf({ ...made, retention: "days_3" }, defaultRetention)?.toISOString()).toBe("2026-11-04T10:00:00.000Z");
    expect(expiryOf(made, { ...nothing, withinMs: 30 * dayMs })?.toISOString()).toBe("2026-12-01T10:00:00.000Z");
    expect(expiryOf(made, defaultRetention)).toBeNull();
    expect(expiryOf({ ...made, retention: "permanent" }, { ...nothing, withinMs: dayMs })).toBeNull();
  });
});

describe("properties", () => {
  const count = fc.oneof(fc.integer({ min: 0, max: 6 }), fc.constant("unlimited" as const));
  const policies: fc.Arbitrary<RetentionPolicy> = fc
    .record({
      last: fc.integer({ min: 0, max: 4 }),
      withinMs: fc.constantFrom(0, dayMs, 2 * dayMs, 9 * dayMs),
      daily: count,
      weekly: count,
      monthly: count,
      yearly: fc.integer({ min: 0, max: 2 }),
      timeZone: fc.constantFrom("UTC", "Europe/Zurich", "Pacific/Auckland"),
      trashDays: fc.constant(7),
    })
    .filter((policy) => [policy.last, policy.withinMs, policy.daily, policy.weekly, policy.monthly, policy.yearly].some((wanted) => wanted !== 0));
  const plain = fc.record({ hours: fc.integer({ min: -30, max: 24 * 500 }), suffix: fc.integer({ min: 0, max: 0xffffff }) });
  const decorated = fc.record({
    hours: plain.map(({ hours }) => hours),
    suffix: fc.integer({ min: 0, max: 0xffffff }),
    baseAt: fc.option(fc.nat(30), { nil: undefined }),
    retention: fc.constantFrom("policy", "policy", "policy", "permanent", "until_verified", "days_10"),
    isVerified: fc.boolean(),
    isPinned: fc.integer({ min: 0, max: 9 }).map((value) => value === 0),
    isWhole: fc.boolean(),
  });
  const lists = fc.array(decorated, { maxLength: 40 }).map((items) => {
    const points = items.map(({ hours, suffix: at, ...wish }) => {
      const time = new Date(now.getTime() - hours * 3_600_000);
      return { ...wish, id: newPointId(time, at), createdAt: time.toISOString() };
    });
    // Of equal ids one is one. A base is any other point, circles included: a hostile store may say so.
    return points.map(({ baseAt, ...wish }): RetentionPoint => ({ ...wish, base: baseAt === undefined ? null : (points[baseAt]?.id ?? null) }));
  });
  const keptIds = (points: readonly RetentionPoint[], policy: RetentionPolicy, at = now): Set<PointId> =>
    new Set(planRetention(points, policy, at).flatMap(({ id, isKept }) => (isKept ? [id] : [])));
  const uniqueOf = (points: readonly RetentionPoint[]): RetentionPoint[] => [...new Map(points.map((each) => [each.id, each])).values()];
  const check = <Values>(property: fc.IProperty<Values>): void => fc.assert(property, { numRuns: 400 });

  test("each point has one verdict with a reason, whatever the order that they come in", () => {
    check(
      fc.property(lists, policies, fc.nat(), (points, policy, seed) => {
        const unique = uniqueOf(points);
        const plan = planRetention(unique, policy, now);
        expect(new Set(plan.map(({ id }) => id))).toEqual(new Set(unique.map(({ id }) => id)));
        expect(plan).toHaveLength(unique.length);
        expect(plan.every(({ reasons }) => reasons.length > 0)).toBe(true);
        const shuffled = unique.toSorted((a, b) => hashOf(a.id, seed) - hashOf(b.id, seed));
        const sets = (given: readonly RetentionPoint[]): Map<PointId, string[]> =>
          new Map(planRetention(given, policy, now).map(({ id, reasons }) => [id, reasons.toSorted()]));
        expect(sets(shuffled)).toEqual(sets(unique));
      }),
    );
  });

  test("never removes everything, and keeps the chain of what it keeps", () => {
    check(
      fc.property(lists, policies, (points, policy) => {
        const unique = uniqueOf(points);
        const kept = keptIds(unique, policy);
        expect(kept.size > 0).toBe(unique.length > 0);
        const ids = new Set(unique.map(({ id }) => id));
        for (const { id, base } of unique) if (kept.has(id) && base !== null && ids.has(base)) expect(kept.has(base)).toBe(true);
      }),
    );
  });

  test("pruning what is pruned removes nothing more", () => {
    check(
      fc.property(lists, policies, (points, policy) => {
        const unique = uniqueOf(points);
        const kept = keptIds(unique, policy);
        expect(
          keptIds(
            unique.filter(({ id }) => kept.has(id)),
            policy,
          ),
        ).toEqual(kept);
      }),
    );
  });

  test("a rule that wants one more keeps no less", () => {
    const rules = ["last", "daily", "weekly", "monthly", "yearly"] as const;
    check(
      fc.property(lists, policies, fc.constantFrom(...rules), (points, policy, rule) => {
        const wanted = policy[rule];
        const more = { ...policy, [rule]: wanted === "unlimited" ? wanted : wanted + 1 };
        const [less, kept] = [keptIds(points, policy), keptIds(points, more)];
        for (const id of less) expect(kept.has(id)).toBe(true);
      }),
    );
  });

  test("pruning each day keeps in the end what pruning once would", () => {
    const days = fc.array(fc.integer({ min: 0, max: 24 * 150 }), { minLength: 1, maxLength: 60 });
    check(
      fc.property(days, policies, (hours, policy) => {
        const all = [...new Set(hours)].map((hour) => ago(200 - hour / 24)).sort((a, b) => (a.createdAt < b.createdAt ? -1 : 1));
        let standing: RetentionPoint[] = [];
        for (const made of all) {
          standing.push(made);
          const kept = keptIds(standing, policy, new Date(made.createdAt));
          standing = standing.filter(({ id }) => kept.has(id));
        }
        expect(new Set(standing.map(({ id }) => id))).toEqual(keptIds(all, policy));
      }),
    );
  });
});

function hashOf(text: string, seed: number): number {
  let value = seed;
  for (const character of text) value = (Math.imul(value, 31) + character.charCodeAt(0)) | 0;
  return value;
}
