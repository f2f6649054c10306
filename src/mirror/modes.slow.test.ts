import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Bare, type Mirrored, mirrored } from "../../test/support/mirrored.ts";
import type { MirrorConfig } from "../core/config.ts";
import { readStates } from "./queue.ts";

const stamp = "20261121T143005Z";
const day = 86_400_000;

/** A commit on top of `onto`, or one without a parent, pushed to `ref` by somebody else. */
function foreign(m: Mirrored, bare: Bare, ref: string, onto?: string): string {
  const tree = bare.git("hash-object", "-t", "tree", "-w", "/dev/null");
  const oid = bare.git(
    "-c",
    "user.name=C",
    "-c",
    "user.email=c@example.org",
    "commit-tree",
    "-m",
    `theirs ${ref}`,
    ...(onto === undefined ? [] : ["-p", onto]),
    tree,
  );
  bare.git("update-ref", ref, oid);
  expect(() => m.user.git("cat-file", "-e", oid)).toThrow();
  return oid;
}

describe("namespaced", () => {
  const mode = { remote: "a", mode: "namespaced" } as const;

  test("refs go below the machine's name, deletions and rewrites are followed there, and nothing else is touched", async () => {
    using m = mirrored();
    const a = m.bare("a");
    m.user.git("branch", "topic");
    m.user.git("tag", "v1");
    m.user.git("update-ref", "refs/notes/commits", "HEAD");
    const tip = m.user.git("rev-parse", "HEAD");
    const others = {
      "refs/heads/main": foreign(m, a, "refs/heads/main"),
      "refs/heads/topic": foreign(m, a, "refs/heads/topic"),
      "refs/holdfast/kept/20200101T000000Z/heads/x": foreign(m, a, "refs/holdfast/kept/20200101T000000Z/heads/x"),
      "refs/holdfast/other/heads/main": foreign(m, a, "refs/holdfast/other/heads/main"),
      "refs/holdfast/other/kept/20200101T000000Z/heads/x": foreign(m, a, "refs/holdfast/other/kept/20200101T000000Z/heads/x"),
    };
    const first = await m.run(mode);
    expect(first).toMatchObject({
      status: "ok",
      refs: [{ ref: "refs/heads/main", action: "create" }, { ref: "refs/heads/topic" }, { ref: "refs/tags/v1" }],
    });
    const ours = { "refs/holdfast/box/heads/main": tip, "refs/holdfast/box/heads/topic": tip, "refs/holdfast/box/tags/v1": tip };
    expect(a.tips()).toEqual({ ...others, ...ours });
    expect(await m.check(mode)).toMatchObject({ status: "same", kept: 0 });

    const old = m.amend();
    m.user.git("branch", "-D", "topic");
    expect((await m.check(mode)).refs).toMatchObject([
      { ref: "refs/heads/main", state: "behind" },
      { ref: "refs/heads/topic", state: "extra" },
      { ref: "refs/tags/v1", state: "same" },
    ]);
    const keptAs = `refs/holdfast/box/kept/${stamp}/heads/main`;
    expect(await m.run(mode)).toMatchObject({ status: "ok", kept: [{ ref: "refs/heads/main", oid: old, keptAs }, { ref: "refs/heads/topic" }] });
    expect(a.tips()).toEqual({
      ...others,
      "refs/holdfast/box/heads/main": m.user.git("rev-parse", "main"),
      "refs/holdfast/box/tags/v1": tip,
      [keptAs]: old,
      [`refs/holdfast/box/kept/${stamp}/heads/topic`]: tip,
    });
    expect(await m.check(mode)).toMatchObject({ status: "same", kept: 2 });
  });

  test("another machine of the same name is not overwritten", async () => {
    using m = mirrored();
    const a = m.bare("a");
    const theirs = foreign(m, a, "refs/holdfast/box/heads/main");
    const outcome = await m.run(mode);
    expect(outcome).toMatchObject({ status: "behind", refs: [{ ref: "refs/heads/main", action: "foreign" }] });
    expect(outcome.hint).toContain("refs/holdfast/box/heads/main");
    expect(a.tips()).toEqual({ "refs/holdfast/box/heads/main": theirs });
  });

  test("a host that was renamed goes on where it was", async () => {
    using m = mirrored();
    const a = m.bare("a");
    await m.run(mode);
    m.user.commit();
    await m.run(mode, { machine: "renamed" });
    expect(a.tips()).toEqual({ "refs/holdfast/box/heads/main": m.user.git("rev-parse", "main") });
    expect(await m.check(mode, { machine: "renamed" })).toMatchObject({ status: "same" });
  });

  test("what was pushed in one mode is not ours in another", async () => {
    using m = mirrored();
    const a = m.bare("a");
    await m.run(mode);
    const tip = m.user.git("rev-parse", "main");
    a.git("update-ref", "refs/heads/main", tip);
    m.amend();
    m.user.git("reflog", "expire", "--expire=now", "--all");
    expect(await m.run("a")).toMatchObject({ status: "behind" });
    expect(a.tips()["refs/heads/main"]).toBe(tip);
  });
});

describe("exact", () => {
  const mode = { remote: "a", mode: "exact" } as const;

  test("the remote gets the same refs as here: what is not here is kept, then deleted", async () => {
    using m = mirrored();
    const a = m.bare("a");
    const tip = m.user.git("rev-parse", "HEAD");
    m.user.git("notes", "add", "-m", "a note");
    m.user.git("tag", "-a", "v1", "-m", "v1");
    for (const ref of ["refs/custom/x", "refs/remotes/origin/main", "refs/holdfast/private", "refs/bisect/bad", "refs/pull/1/head"])
      m.user.git("update-ref", ref, tip);
    m.user.write("one", "changed");
    m.user.git("stash");
    const theirs = foreign(m, a, "refs/heads/colleague");
    const ahead = foreign(m, a, "refs/heads/main");
    const left = {
      "refs/pull/7/head": foreign(m, a, "refs/pull/7/head"),
      "refs/holdfast/other/heads/main": foreign(m, a, "refs/holdfast/other/heads/main"),
      "refs/heads/holdfast/backup": foreign(m, a, "refs/heads/holdfast/backup"),
      "refs/heads/points": foreign(m, a, "refs/heads/points"),
    };
    const outcome = await m.run(mode, { reserved: ["refs/heads/points"] });
    expect(outcome).toMatchObject({
      status: "ok",
      kept: [
        { ref: "refs/heads/colleague", oid: theirs },
        { ref: "refs/heads/main", oid: ahead },
      ],
    });
    const here = m.tips();
    const mirroredRefs = ["refs/custom/x", "refs/heads/main", "refs/notes/commits", "refs/tags/v1"];
    expect(a.tips()).toEqual({
      ...left,
      ...Object.fromEntries(mirroredRefs.map((ref) => [ref, here[ref]])),
      [`refs/holdfast/kept/${stamp}/heads/colleague`]: theirs,
      [`refs/holdfast/kept/${stamp}/heads/main`]: ahead,
    });
    expect(await m.check(mode, { reserved: ["refs/heads/points"] })).toMatchObject({ status: "same", kept: 2 });
    expect((await m.run(mode, { reserved: ["refs/heads/points"] })).refs.every(({ action }) => action === "unchanged")).toBe(true);
  });

  test("what others push while a run is at work is kept too, each tip under a name of its own", async () => {
    using m = mirrored();
    const a = m.bare("a");
    await m.run(mode);
    const old = m.amend();
    const theirs = foreign(m, a, "refs/racing/tip", old);
    a.git("update-ref", "-d", "refs/racing/tip");
    const hook = join(a.path, "hooks", "pre-receive");
    // Their push lands between our look and our push, once: the remote's own hook plays it.
    const script = `[ -e moved ] && exit 0\ntouch moved\nunset GIT_QUARANTINE_PATH\ngit update-ref refs/heads/main ${theirs}`;
    writeFileSync(hook, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    expect(await m.run(mode)).toMatchObject({ status: "ok", kept: [{ oid: old }, { oid: theirs }] });
    expect(a.tips()).toEqual({
      "refs/heads/main": m.user.git("rev-parse", "main"),
      [`refs/holdfast/kept/${stamp}/heads/main`]: old,
      "refs/holdfast/kept/20261121T143006Z/heads/main": theirs,
    });
  });

  test("a branch that was set back is set back there, and what stood on top is kept", async () => {
    using m = mirrored();
    const a = m.bare("a");
    const first = m.user.git("rev-parse", "main");
    const second = m.user.commit();
    await m.run(mode);
    m.user.git("reset", "--hard", "--quiet", first);
    expect(await m.run(mode)).toMatchObject({ status: "ok", kept: [{ oid: second }] });
    expect(a.tips()["refs/heads/main"]).toBe(first);
  });

  test("where the old tip cannot be kept, nothing is replaced or deleted", async () => {
    using m = mirrored();
    const a = m.bare("a");
    const theirs = { "refs/heads/colleague": foreign(m, a, "refs/heads/colleague"), "refs/heads/main": foreign(m, a, "refs/heads/main") };
    a.git("config", "receive.hideRefs", "refs/holdfast");
    expect(await m.run(mode)).toMatchObject({
      status: "rejected",
      message: expect.stringContaining("could not be kept"),
      hint: expect.stringContaining("branches-and-tags"),
    });
    expect(a.tips()).toEqual(theirs);
  });

  test("a repository that lost every ref does not empty its mirror", async () => {
    using m = mirrored();
    const a = m.bare("a");
    m.user.git("branch", "topic");
    await m.run(mode);
    const before = a.tips();
    for (const ref of ["refs/heads/main", "refs/heads/topic"]) m.user.git("update-ref", "-d", ref);
    expect(await m.run(mode)).toMatchObject({
      status: "behind",
      message: expect.stringContaining("no ref at all"),
      hint: expect.stringContaining("git fetch a"),
    });
    expect(a.tips()).toEqual(before);
    expect(await m.check(mode)).toMatchObject({ status: "differs", refs: [{ state: "extra" }, { state: "extra" }] });
  });

  test("the remote's default branch, which it will not delete, is told with what to do", async () => {
    using m = mirrored();
    const a = m.bare("a");
    await m.run(mode);
    m.user.git("branch", "-m", "main", "trunk");
    expect(await m.run(mode)).toMatchObject({ status: "rejected", hint: expect.stringContaining("symbolic-ref HEAD") });
    expect(a.tips()["refs/heads/trunk"]).toBe(m.user.git("rev-parse", "trunk"));
  });

  test("a replace ref makes no ancestor: the old tip is kept", async () => {
    using m = mirrored();
    m.bare("a");
    await m.run(mode);
    const old = m.amend();
    m.user.git("replace", "--graft", "main", old);
    expect(await m.run(mode)).toMatchObject({ status: "ok", kept: [{ ref: "refs/heads/main", oid: old }] });
  });
});

describe("days of kept tips", () => {
  /** A run a day, as a machine in use makes them. */
  async function days(m: Mirrored, count: number, mirror: Partial<MirrorConfig>): Promise<string[]> {
    const expired: string[] = [];
    for (let i = 0; i < count; i += 1) {
      m.clock = new Date(m.clock.getTime() + day);
      expired.push(...(await m.run(mirror)).expired.map(({ keptAs }) => keptAs));
    }
    return expired;
  }

  test.each(["branches-and-tags", "namespaced", "exact"] as const)(
    "%s: those of ours go when their days are over, not before; nothing else goes",
    async (mode) => {
      using m = mirrored();
      const a = m.bare("a");
      const mirror = { remote: "a", mode, keepDays: 5 };
      const theirs = foreign(m, a, "refs/holdfast/kept/20190101T000000Z/heads/theirs");
      await m.run(mirror);
      m.amend();
      const [{ keptAs } = { keptAs: "" }] = (await m.run(mirror)).kept;
      expect(await days(m, 4, mirror)).toEqual([]);
      m.amend();
      expect(await days(m, 1, mirror)).toEqual(mode === "exact" ? ["refs/holdfast/kept/20190101T000000Z/heads/theirs", keptAs] : [keptAs]);
      const kept = Object.keys(a.tips()).filter((name) => name.includes("/kept/"));
      expect(kept).toHaveLength(mode === "exact" ? 1 : 2);
      expect(a.tips()["refs/holdfast/kept/20190101T000000Z/heads/theirs"]).toBe(mode === "exact" ? undefined : theirs);
    },
  );

  test("for ever is for ever", async () => {
    using m = mirrored();
    const a = m.bare("a");
    const mirror = { remote: "a", keepDays: null };
    await m.run(mirror);
    m.amend();
    await m.run(mirror);
    expect(await days(m, 3, mirror)).toEqual([]);
    m.clock = new Date("2099-01-01T00:00:00Z");
    expect(await m.run(mirror)).toMatchObject({ expired: [] });
    expect(Object.keys(a.tips())).toHaveLength(2);
  });

  test("a clock that jumps far ahead, or was far behind, deletes nothing young", async () => {
    using m = mirrored();
    m.bare("a");
    const mirror = { remote: "a", keepDays: 2 };
    m.clock = new Date("1970-01-01T00:00:10Z");
    await m.run(mirror);
    m.amend();
    expect((await m.run(mirror)).kept).toHaveLength(1);
    m.clock = new Date("2026-11-21T14:30:05Z");
    expect((await m.run(mirror)).expired).toEqual([]);
    m.clock = new Date("2051-01-01T00:00:00Z");
    expect((await m.run(mirror)).expired).toEqual([]);
    m.clock = new Date("2026-11-21T15:00:00Z");
    expect((await m.run(mirror)).expired).toEqual([]);
  });

  test("a run that did not succeed deletes none", async () => {
    using m = mirrored();
    const a = m.bare("a");
    const mirror = { remote: "a", keepDays: 1 };
    await m.run(mirror);
    m.amend();
    await m.run(mirror);
    a.git("config", "receive.denyNonFastForwards", "true");
    m.amend();
    expect(await days(m, 6, mirror)).toEqual([]);
    a.git("config", "receive.denyNonFastForwards", "false");
    expect(await days(m, 1, mirror)).toHaveLength(1);
  });

  test("a kept tip that was changed there meanwhile stays, and one that may not be deleted is a note", async () => {
    using m = mirrored();
    const a = m.bare("a");
    const mirror = { remote: "a", keepDays: 1 };
    m.user.git("branch", "topic");
    await m.run(mirror);
    m.amend();
    m.user.git("branch", "-D", "topic");
    const [main] = (await m.run(mirror)).kept;
    a.git("update-ref", main?.keptAs ?? "", m.user.git("rev-parse", "main"));
    const hook = join(a.path, "hooks", "pre-receive");
    writeFileSync(hook, "#!/bin/sh\necho 'nothing is deleted here' >&2; exit 1\n");
    chmodSync(hook, 0o755);
    expect(await days(m, 4, mirror)).toEqual([]);
    expect(await m.run(mirror)).toMatchObject({ status: "ok", expired: [], notes: [expect.stringContaining("nothing is deleted here")] });
    rmSync(hook);
    expect(await days(m, 1, mirror)).toEqual([`refs/holdfast/kept/${stamp}/heads/topic`]);
    expect(a.tips()[main?.keptAs ?? ""]).toBe(m.user.git("rev-parse", "main"));
  });

  test("without a memory, what stands there counts as kept by others", async () => {
    using m = mirrored();
    const a = m.bare("a");
    const mirror = { remote: "a", keepDays: 1 };
    await m.run(mirror);
    m.amend();
    await m.run(mirror);
    rmSync(m.state, { recursive: true });
    expect(await days(m, 6, mirror)).toEqual([]);
    expect(Object.keys(a.tips())).toHaveLength(2);
    expect((await readStates(m.state))[0]?.retention.kept.size).toBe(0);
  });
});
