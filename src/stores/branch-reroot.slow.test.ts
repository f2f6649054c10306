/** A branch that begins anew: what remains is all there, and no machine loses what it or another added. */
import { randomBytes } from "node:crypto";
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type BranchPlace, branchPlace, branchRef, keysOf, save } from "../../test/support/branch.ts";
import type { BranchStore } from "./branch.ts";
import { readAll } from "./store.ts";

let place: BranchPlace;
beforeEach(() => {
  place = branchPlace();
});
afterEach(() => place[Symbol.dispose]());

const kept = randomBytes(2500);
const keptKey = "20261121/20261121T143005Z-a1b2c3.bundle";
const goneKey = "20261121/20261121T153005Z-d4e5f6.bundle";

/** A point as far as a branch looks at it: an artifact, and a manifest that tells its size. */
function pointOf(key: string, bytes: Uint8Array): Record<string, string | Uint8Array> {
  const name = key.slice("20261121/".length);
  return { [key]: bytes, [manifestOf(key)]: JSON.stringify({ artifacts: [{ name, size: bytes.length }] }) };
}

const manifestOf = (key: string): string => key.replace(/bundle$/, "json");
const keptKeys = [keptKey, manifestOf(keptKey)];
const goneKeys = [goneKey, manifestOf(goneKey)];
const reroot = { garbageBytes: 4000 };
const identity = ["-c", "user.name=x", "-c", "user.email=x@y"];

/** A machine whose branch is mostly garbage after its next flush. */
async function fullStore(): Promise<BranchStore> {
  const store = place.open("a", { reroot });
  await save(store, { ...pointOf(keptKey, kept), ...pointOf(goneKey, randomBytes(5000)), note: "n" });
  return store;
}

async function deleteGone(store: BranchStore): Promise<void> {
  for (const key of [...goneKeys.toReversed(), "note"]) await store.delete(key);
  await store.flush();
}

/** What a stranger sees, parts joined. */
const shown = (): string[] => [...new Set(place.shown().map((path) => path.replace(/\.part\d+$/, "")))];

/** Runs in the remote after each push to a ref beside the branch. */
function afterTrial(script: string): void {
  const hook = join(place.remote, "hooks", "post-receive");
  writeFileSync(
    hook,
    `#!/bin/sh\nread -r old new ref\ncase "$ref" in *-rerooted-*) ;; *) exit 0 ;; esac\n[ "$new" = ${"0".repeat(40)} ] && exit 0\n${script}\n`,
  );
  chmodSync(hook, 0o755);
}

const commits = (): string => place.git("rev-list", "--count", branchRef);
const refs = (): string => place.git("for-each-ref", "--format=%(refname)");

test("after deletions the branch is one commit that holds what remains, and the host can free the rest", async () => {
  const store = await fullStore();
  expect(commits()).toBe("1");
  const old = place.git("rev-parse", branchRef);
  await deleteGone(store);
  expect([commits(), refs(), shown()]).toEqual(["1", branchRef, keptKeys]);
  expect(place.git("log", "-1", "--format=%B", branchRef)).toMatch(/^holdfast: re-rooted\n\nHoldfast-Replaces: [0-9a-f]{40}$/);
  place.git("reflog", "expire", "--expire=now", "--all");
  place.git("gc", "-q", "--prune=now");
  expect(() => place.git("cat-file", "-e", old)).toThrow();
  expect(place.git("fsck", "--strict", "--no-dangling")).toBe("");
  for (const opened of [store, place.open("a"), place.open("b")]) expect((await readAll(opened, keptKey))?.equals(kept)).toBe(true);
  await save(store, { more: "more" });
  expect(commits()).toBe("2");
});

test("little garbage, or less than what lives, changes nothing", async () => {
  const store = place.open("a", { reroot });
  await save(store, { ...pointOf(keptKey, randomBytes(9000)), ...pointOf(goneKey, randomBytes(5000)), note: "n" });
  await deleteGone(store);
  expect(commits()).toBe("2");
});

describe("another machine", () => {
  test("that was behind takes the deletions over, and what it added meanwhile goes on top", async () => {
    const store = await fullStore();
    const other = place.open("b");
    await other.open();
    await save(store, { "after b looked": "x" });
    await deleteGone(store);
    expect(commits()).toBe("1");
    await save(other, { "from b": "b" });
    expect(shown()).toEqual([...keptKeys, "after b looked", "from b"]);
    expect(await keysOf(other)).toEqual([...keptKeys, "after b looked", "from b"]);
    await store.refresh();
    expect(await keysOf(store)).toEqual([...keptKeys, "after b looked", "from b"]);
    expect(place.git("fsck", "--strict", "--no-dangling")).toBe("");
  });

  test("that was away for two re-roots follows both", async () => {
    const store = await fullStore();
    const other = place.open("b");
    await other.open();
    await deleteGone(store);
    await save(store, { ...pointOf(goneKey, randomBytes(5000)), note: "n" });
    await deleteGone(store);
    expect(commits()).toBe("1");
    await other.refresh();
    expect(await keysOf(other)).toEqual(keptKeys);
  });

  test("whose host no longer has the replaced commits gives back what it has: a deleted key may come again, none is lost", async () => {
    const store = await fullStore();
    const other = place.open("b");
    await other.open();
    await deleteGone(store);
    place.git("reflog", "expire", "--expire=now", "--all");
    place.git("gc", "-q", "--prune=now");
    await save(other, { "from b": "b" });
    expect(await keysOf(place.open("c"))).toEqual([...keptKeys, "from b", "note"]);
  });

  test("that pushes while the new root is being made keeps what it pushed: the branch is not moved", async () => {
    const store = await fullStore();
    const before = place.git("rev-parse", branchRef);
    for (const key of [...goneKeys, "note"]) await store.delete(key);
    const other = place.open("b");
    // b's commit is made on the tip that a will have: by a hook, between the trial and the move.
    afterTrial(
      `git update-ref ${branchRef} "$(git ${identity.join(" ")} commit-tree "${before}^{tree}" -p "$(git rev-parse ${branchRef})" -m meanwhile)"`,
    );
    await store.flush();
    expect(place.git("log", "-1", "--format=%s", branchRef)).toBe("meanwhile");
    expect(refs()).toBe(branchRef);
    rmSync(join(place.remote, "hooks", "post-receive"));
    await save(store, { "from a": "a" });
    await other.refresh();
    expect(await keysOf(other)).toEqual([...keptKeys, ...goneKeys, "from a", "note"]);
    expect(await keysOf(store)).toEqual([...keptKeys, ...goneKeys, "from a", "note"]);
  });
});

describe("what only looks like a re-root", () => {
  test.each([
    ["says that it replaces the tip, and has less", (tip: string) => tip],
    ["names a commit that nobody has", () => "1".repeat(40)],
  ])("one that %s deletes nothing", async (_, claimed) => {
    const store = place.open("a");
    await save(store, { x: "x", y: "y" });
    const tip = place.git("rev-parse", branchRef);
    const tree = place.git("mktree", "--missing") || place.git("hash-object", "-t", "tree", "-w", "/dev/null");
    const message = `holdfast: re-rooted\n\nHoldfast-Replaces: ${claimed(tip)}\n`;
    place.git("update-ref", branchRef, place.git(...identity, "commit-tree", tree, "-m", message));
    await save(store, { z: "z" });
    expect(place.shown()).toEqual(["x", "y", "z"]);
  });
});

describe("a host that does not play along", () => {
  test("one that forbids to replace a branch keeps its history; it is no error, and not tried again before the garbage doubles", async () => {
    const store = await fullStore();
    place.git("config", "receive.denyNonFastForwards", "true");
    afterTrial(`echo x >> ${join(place.path, "trials")}`);
    const trials = (): number => readFileSync(join(place.path, "trials"), "utf8").trim().split("\n").length;
    await deleteGone(store);
    expect([commits(), refs(), trials()]).toEqual(["2", branchRef, 1]);
    await save(store, { more: "more" });
    expect(trials()).toBe(1);
    await save(store, { ...pointOf(goneKey, randomBytes(6000)), note: "n" });
    await deleteGone(store);
    expect(trials()).toBe(2);
    expect(await keysOf(place.open("b"))).toEqual([...keptKeys, "more"]);
  });

  test("one that lost a blob is found out before the branch moves", async () => {
    const store = await fullStore();
    const oid = place.git("rev-parse", `${branchRef}:${keptKey}.part002`);
    afterTrial(`rm -f "objects/${oid.slice(0, 2)}/${oid.slice(2)}"`);
    await deleteGone(store);
    expect([commits(), refs()]).toEqual(["2", branchRef]);
  });

  test("what a run that was killed left beside the branch goes with the next", async () => {
    const store = await fullStore();
    place.git("update-ref", `${branchRef}-rerooted-0a1b2c3d`, branchRef);
    await deleteGone(store);
    expect([commits(), refs()]).toEqual(["1", branchRef]);
  });
});
