import fc from "fast-check";
import { expect, test } from "vitest";
import { keptName, layoutOf, parseKept } from "./layout.ts";
import { type MirrorFacts, planMirror } from "./plan.ts";

const main = "refs/heads/main";
const layout = layoutOf("branches-and-tags", "box");
const now = new Date("2026-11-21T14:30:05.700Z");
const kept = "refs/holdfast/kept/20261121T143005Z/heads/main";

function plan(facts: Partial<MirrorFacts>) {
  const none = new Map<string, string>();
  return planMirror({ layout, isReliable, local: none, remote: none, ours: none, isAncestor: () => false, wasTip: () => false, now, ...facts });
}
const isReliable = () => true;
const at = (oid: string, ref = main) => new Map([[ref, oid]]);

test("a branch that is not there is created", () => {
  expect(plan({ local: at("a") })).toEqual([{ ref: main, action: "create", local: "a", remote: null, keep: null }]);
});

test("a tip that ours contains is moved forward, and needs no keeping", () => {
  expect(plan({ local: at("b"), remote: at("a"), isAncestor: (x, y) => x === "a" && y === "b" })).toMatchObject([
    { action: "fast_forward", keep: null },
  ]);
});

test("a tip that we pushed may be rewritten, and is kept first", () => {
  const facts = { local: at("b"), remote: at("a"), ours: at("a") };
  expect(plan(facts)).toMatchObject([{ action: "rewrite", remote: "a", keep: { ref: kept, isThere: false } }]);
});

test("a tip that the branch once had here may be rewritten", () => {
  expect(plan({ local: at("b"), remote: at("a"), wasTip: (ref, oid) => ref === main && oid === "a" })).toMatchObject([{ action: "rewrite" }]);
});

test("a tip that is kept already is not kept twice", () => {
  const earlier = keptName(layout, main, new Date(0));
  const facts = { local: at("b"), remote: new Map([...at("a"), [earlier, "a"]]), ours: at("a") };
  expect(plan(facts)).toMatchObject([{ action: "rewrite", keep: { ref: earlier, isThere: true } }]);
});

test("a kept tip that may go soon, or be somebody else's to delete, is not relied on; its name stays its own", () => {
  const facts = { local: at("b"), remote: new Map([...at("a"), [kept, "a"]]), ours: at("a"), isReliable: () => false };
  expect(plan(facts)).toMatchObject([{ keep: { ref: "refs/holdfast/kept/20261121T143006Z/heads/main", isThere: false } }]);
});

test("a tip of unknown origin is never touched, known here or not", () => {
  expect(plan({ local: at("b"), remote: at("x") })).toMatchObject([{ action: "foreign", keep: null }]);
  expect(plan({ local: at("b"), remote: at("x"), isAncestor: () => undefined })).toMatchObject([{ action: "foreign" }]);
});

test("a remote that has more on top of ours is ahead", () => {
  expect(plan({ local: at("a"), remote: at("b"), isAncestor: (x, y) => x === "a" && y === "b" })).toMatchObject([{ action: "ahead" }]);
});

test("a branch is deleted only where it stands as we pushed it", () => {
  expect(plan({ remote: at("a"), ours: at("a") })).toMatchObject([{ action: "delete", local: null, keep: { ref: kept } }]);
  expect(plan({ remote: at("b"), ours: at("a") })).toMatchObject([{ action: "foreign", local: null }]);
  expect(plan({ remote: at("b") })).toEqual([]);
  expect(plan({ ours: at("a") })).toEqual([]);
});

test("a moved tag is a rewrite even when it moved forward: the old tag object would be lost", () => {
  const tag = "refs/tags/v1";
  const facts = { local: at("b", tag), remote: at("a", tag), isAncestor: () => true };
  expect(plan(facts)).toMatchObject([{ action: "foreign" }]);
  expect(plan({ ...facts, ours: at("a", tag) })).toMatchObject([{ action: "rewrite", keep: { ref: "refs/holdfast/kept/20261121T143005Z/tags/v1" } }]);
});

const exact = layoutOf("exact", "box");
const store = "refs/heads/holdfast/backup";

test("on a remote that is ours alone any other tip is replaced or deleted, and kept first", () => {
  const facts = { layout: exact, local: at("b"), remote: new Map([...at("x"), ["refs/heads/theirs", "y"]]) };
  expect(plan(facts)).toMatchObject([
    { ref: main, action: "rewrite", keep: { ref: kept, isThere: false } },
    { ref: "refs/heads/theirs", action: "delete", remote: "y", keep: { ref: "refs/holdfast/kept/20261121T143005Z/heads/theirs" } },
  ]);
  expect(plan({ ...facts, isAncestor: (x, y) => x === "b" && y === "x" })[0]).toMatchObject({ action: "rewrite" });
});

test("there too a branch of recovery points stays, and a repository without a ref deletes nothing", () => {
  expect(plan({ layout: exact, local: at("a"), remote: new Map([...at("a"), [store, "s"]]) })).toMatchObject([{ ref: main, action: "unchanged" }]);
  expect(plan({ layout: exact, local: at("b", store), remote: at("s", store) })).toMatchObject([{ action: "foreign" }]);
  expect(plan({ layout: exact, remote: at("a"), ours: at("a") })).toMatchObject([{ action: "spared", keep: null }]);
});

test("a kept name gives its ref back", () => {
  expect(parseKept(layout, keptName(layout, "refs/heads/a/b", now))).toEqual({ name: "refs/heads/a/b", at: new Date("2026-11-21T14:30:05Z") });
  expect(parseKept(layout, "refs/heads/a")).toBeUndefined();
  expect(parseKept(layout, "refs/holdfast/kept/nonsense")).toBeUndefined();
  expect(parseKept(layout, "refs/holdfast/kept/20261341T993005Z/heads/a")).toBeUndefined();
});

const oids: fc.Arbitrary<string> = fc.constantFrom("1", "2", "3", "4", "5");
const names: fc.Arbitrary<string> = fc.constantFrom("refs/heads/a", "refs/heads/b", "refs/heads/c/d", "refs/tags/a", "refs/notes/x");
const tips = fc.array(fc.tuple(names, oids)).map((entries) => new Map(entries));
const someFacts = fc.record({ local: tips, remote: tips, ours: tips, former: tips });
// Smaller numbers are ancestors of greater ones of the same parity: two lines of history.
const isAncestor = (x: string, y: string) => Number(x) <= Number(y) && (Number(x) - Number(y)) % 2 === 0;

test("property: what is replaced or deleted is kept or contained, and was ours", () => {
  fc.assert(
    fc.property(someFacts, ({ local, remote, ours, former }) => {
      const wasTip = (ref: string, oid: string) => former.get(ref) === oid;
      for (const step of planMirror({ layout, local, remote, ours, isAncestor, wasTip, isReliable, now })) {
        expect(step.local).toBe(local.get(step.ref) ?? null);
        expect(step.remote).toBe(remote.get(step.ref) ?? null);
        const touches = ["create", "fast_forward", "rewrite", "delete"].includes(step.action);
        if (!touches || step.remote === null) continue;
        const isContained = step.local !== null && isAncestor(step.remote, step.local) && step.ref.startsWith("refs/heads/");
        expect(isContained || step.keep !== null).toBe(true);
        if (!isContained) expect(ours.get(step.ref) === step.remote || wasTip(step.ref, step.remote)).toBe(true);
      }
    }),
  );
});

test("property: on a remote that is ours alone, too, what goes is kept or contained; afterwards it is as here", () => {
  fc.assert(
    fc.property(someFacts, ({ local, remote, ours }) => {
      const steps = planMirror({ layout: exact, local, remote, ours, isAncestor, wasTip: () => false, isReliable, now });
      const after = new Map(remote);
      for (const step of steps) {
        const isContained = step.action === "fast_forward" && isAncestor(step.remote ?? "", step.local ?? "");
        if (step.remote !== null && !["unchanged", "spared"].includes(step.action)) expect(isContained || step.keep !== null).toBe(true);
        if (step.action === "delete") after.delete(step.ref);
        else if (step.local !== null) after.set(step.ref, step.local);
      }
      expect(after).toEqual(local.size === 0 ? remote : new Map([...after.keys()].map((ref) => [ref, local.get(ref)])));
    }),
  );
});

test("property: a plan carried out leaves nothing to do, and no ref that only the remote knows is planned", () => {
  fc.assert(
    fc.property(someFacts, ({ local, remote, ours }) => {
      const facts = { layout, local, ours, isAncestor, wasTip: () => false, isReliable, now };
      const first = planMirror({ ...facts, remote });
      const after = new Map(remote);
      for (const step of first) {
        expect(local.has(step.ref) || ours.has(step.ref)).toBe(true);
        if (step.action === "delete") after.delete(step.ref);
        else if (["create", "fast_forward", "rewrite"].includes(step.action)) after.set(step.ref, step.local ?? "");
      }
      const second = planMirror({ ...facts, remote: after });
      expect(second.filter((step) => !["unchanged", "ahead", "foreign"].includes(step.action))).toEqual([]);
    }),
  );
});
