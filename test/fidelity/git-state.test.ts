/** What git knows beside files: HEAD, refs, stash, reflog, index, lost commits, operations in progress. Each comes back as it was. */
import { appendFileSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Journey, type JourneyOptions, journey } from "../support/journey.ts";
import { gitRepo, type TestRepo } from "../support/repo.ts";

/** Runs git where failing is what it should do (a conflict). */
function tryGit(repo: TestRepo, ...args: string[]): void {
  expect(() => repo.git(...args)).toThrow();
}

async function roundTrip(repo: TestRepo, options: JourneyOptions = {}): Promise<void> {
  using trip = await journey(repo.path, options);
  await trip.mark("only");
  await trip.verify();
}

/** main and topic both changed f: merging, picking and rebasing stop. */
function conflicting(): TestRepo {
  const repo = gitRepo({ f: "base\n", g: "g\n" });
  repo.git("switch", "-q", "-c", "topic");
  repo.write("f", "topic\n");
  repo.commit("topic 1");
  repo.write("h", "h\n");
  repo.commit("topic 2");
  repo.git("switch", "-q", "main");
  repo.write("f", "main\n");
  repo.commit("main 1");
  return repo;
}

describe("HEAD", () => {
  test("an empty repository, then staged files, then the first commit", async () => {
    using repo = gitRepo();
    using trip = await journey(repo.path);
    await trip.mark("nothing at all");
    repo.write("a", "a\n");
    await trip.mark("an untracked file");
    repo.git("add", "a");
    repo.write("b", "b\n");
    await trip.mark("a staged file");
    repo.commit();
    await trip.mark("a commit");
    await trip.verify();
  });

  test("detached, then on a branch that has no commit", async () => {
    using repo = gitRepo({ a: "1\n" });
    repo.write("a", "2\n");
    repo.commit();
    using trip = await journey(repo.path);
    repo.git("checkout", "-q", "HEAD~1");
    await trip.mark("detached");
    repo.git("switch", "-q", "--orphan", "fresh");
    repo.write("z", "z");
    repo.git("add", "z");
    await trip.mark("orphan");
    repo.git("switch", "-q", "-f", "main");
    await trip.mark("back");
    await trip.verify();
  });
});

describe("refs", () => {
  test("tags of every kind, notes, replacements, symbolic refs, odd names", async () => {
    using repo = gitRepo({ a: "1\n", "d/b": "2\n" });
    repo.write("a", "two\n");
    repo.commit();
    repo.git("tag", "light");
    repo.git("tag", "-a", "-m", "annotated", "annotated");
    repo.git("tag", "-a", "-m", "of a tag", "nested", "annotated");
    repo.git("tag", "of-tree", "HEAD^{tree}");
    repo.git("tag", "of-blob", "HEAD:a");
    repo.git("tag", "-a", "-m", "annotated tree", "annotated-tree", "HEAD:d");
    repo.git("notes", "add", "-m", "a note", "HEAD");
    repo.git("replace", "HEAD~1", "HEAD");
    repo.git("symbolic-ref", "refs/heads/alias", "refs/heads/main");
    repo.git("symbolic-ref", "refs/remotes/origin/HEAD", "refs/remotes/origin/main");
    repo.git("update-ref", "refs/remotes/origin/main", "HEAD~1");
    for (const name of [
      "refs/heads/ünï/çödé",
      "refs/heads/-dash@x",
      "refs/heads/a/b/c.d",
      'refs/heads/qu"ote',
      "refs/odd/place",
      "refs/heads/HEAD",
    ]) {
      repo.git("update-ref", name, "HEAD");
    }
    await roundTrip(repo);
  });

  test("a ref that points to nothing is a problem, and the rest comes back", async () => {
    using repo = gitRepo({ a: "1\n" });
    writeFileSync(join(repo.path, ".git/refs/heads/broken"), `${"1".repeat(40)}\n`);
    writeFileSync(join(repo.path, ".git/refs/heads/garbage"), "no oid\n");
    using trip = await journey(repo.path, { problems: ["missing_objects"] });
    const { problems } = await trip.mark("broken");
    expect(problems.map(({ path }) => path).sort()).toEqual([".git/objects", "refs/heads/broken", "refs/heads/garbage"]);
    repo.write("a", "2\n");
    const second = await trip.mark("still broken");
    expect(second.problems.map(({ path }) => path).sort()).toEqual(["refs/heads/broken", "refs/heads/garbage"]);
    const { target } = await trip.safe.restore();
    expect(repo.git("-C", target, "for-each-ref", "--format=%(refname)")).toBe("refs/heads/main");
  });

  test("packed, deleted, moved back and made again between points", async () => {
    using repo = gitRepo({ a: "1\n" });
    const first = repo.git("rev-parse", "HEAD");
    using trip = await journey(repo.path);
    await trip.mark("one commit");
    repo.write("a", "2\n");
    repo.commit();
    repo.git("branch", "side");
    repo.git("tag", "-a", "-m", "t", "v1");
    await trip.mark("more");
    repo.git("pack-refs", "--all");
    await trip.mark("packed");
    repo.git("branch", "-q", "-D", "side");
    repo.git("tag", "-d", "v1");
    await trip.mark("deleted");
    repo.git("update-ref", "refs/heads/main", first);
    await trip.mark("moved back");
    repo.git("branch", "side", first);
    repo.git("branch", "other", first);
    await trip.mark("made again, no new object");
    repo.git("symbolic-ref", "refs/heads/other", "refs/heads/side");
    await trip.mark("made symbolic");
    await trip.verify();
  });

  test("two thousand of them", async () => {
    using repo = gitRepo({ a: "1\n" });
    const oid = repo.git("rev-parse", "HEAD");
    const names = Array.from({ length: 2000 }, (_, i) => `refs/heads/b/${String(i).padStart(4, "0")}`);
    const pack = (refs: readonly string[]): void =>
      writeFileSync(join(repo.path, ".git/packed-refs"), `# pack-refs with: sorted\n${refs.map((name) => `${oid} ${name}\n`).join("")}`);
    pack(names);
    using trip = await journey(repo.path);
    const all = await trip.mark("all");
    pack(names.slice(1900));
    const few = await trip.mark("few");
    await trip.verify("few");
    expect([all.manifest.counts.refs, few.manifest.counts.refs]).toEqual([2001, 101]);
  });
});

describe("what git would forget", () => {
  test("stash entries with untracked files, dropped ones, amended and reset commits, deleted branches", async () => {
    using repo = gitRepo({ a: "1\n", b: "1\n" });
    using trip = await journey(repo.path);
    for (const round of [1, 2, 3]) {
      repo.write("a", `stash ${round}\n`);
      repo.write(`new-${round}`, `untracked ${round}\n`);
      repo.git("stash", "push", "-q", "--include-untracked", "-m", `entry ${round}`);
    }
    await trip.mark("three entries");
    repo.git("stash", "drop", "-q", "stash@{1}");
    await trip.mark("one dropped");
    repo.write("b", "to be amended\n");
    repo.commit();
    repo.git("commit", "-q", "--amend", "-m", "amended");
    repo.write("b", "to be reset\n");
    repo.commit();
    repo.git("reset", "-q", "--hard", "HEAD~1");
    repo.git("switch", "-q", "-c", "doomed");
    repo.write("b", "on the doomed branch\n");
    repo.commit();
    repo.git("switch", "-q", "main");
    repo.git("branch", "-q", "-D", "doomed");
    await trip.mark("lost between two points");
    repo.git("reflog", "expire", "--expire=now", "--all");
    repo.write("c", "c\n");
    repo.commit();
    await trip.mark("reflog gone");
    repo.git("gc", "-q", "--prune=now");
    await trip.mark("collected");
    await trip.verify();
  });

  test("objects that nothing names and that a repack moved between two points", async () => {
    using repo = gitRepo({ a: "1\n" });
    using trip = await journey(repo.path);
    await trip.mark("before");
    repo.write("lost", "never committed, only hashed\n");
    const oid = repo.git("hash-object", "-w", "lost");
    rmSync(join(repo.path, "lost"));
    repo.write("a", "2\n");
    repo.commit();
    repo.git("repack", "-q", "-d", "--cruft");
    await trip.mark("in a cruft pack");
    const { target } = await trip.safe.restore();
    expect(repo.git("-C", target, "cat-file", "-p", oid)).toBe("never committed, only hashed");
    await trip.verify();
  });
});

describe("the index", () => {
  test("staged, half staged, intent to add, deleted, renamed, executable, flags", async () => {
    using repo = gitRepo({ a: "1\n", b: "1\n", c: "1\n", d: "1\n", e: "1\n", f: "1\n", g: "1\n" });
    repo.write("a", "staged\n");
    repo.git("add", "a");
    repo.write("a", "and changed again\n");
    repo.write("ita", "intent\n");
    repo.git("add", "-N", "ita");
    repo.git("rm", "-q", "--cached", "b");
    rmSync(join(repo.path, "c"));
    repo.git("mv", "d", "renamed");
    repo.git("update-index", "--chmod=+x", "e");
    repo.git("update-index", "--assume-unchanged", "f");
    repo.write("f", "hidden\n");
    repo.git("update-index", "--skip-worktree", "g");
    repo.write("g", "hidden too\n");
    repo.write("gone", "staged, then deleted\n");
    repo.git("add", "gone");
    rmSync(join(repo.path, "gone"));
    await roundTrip(repo);
  });

  test("split and untracked-cache indexes", async () => {
    using repo = gitRepo({ a: "1\n", b: "1\n" });
    repo.git("update-index", "--split-index", "--untracked-cache");
    repo.write("a", "2\n");
    repo.git("add", "a");
    repo.git("status");
    await roundTrip(repo);
  });
});

describe("an operation in progress", () => {
  const operations: Record<string, (repo: TestRepo) => void> = {
    merge: (repo) => tryGit(repo, "merge", "topic"),
    "cherry-pick": (repo) => tryGit(repo, "cherry-pick", "topic~1", "topic"),
    revert: (repo) => {
      repo.write("f", "again\n");
      repo.commit();
      tryGit(repo, "revert", "HEAD~1");
    },
    rebase: (repo) => tryGit(repo, "rebase", "main", "topic"),
    "rebase, interactive": (repo) => {
      repo.git("switch", "-q", "topic");
      repo.git("-c", "sequence.editor=sed -i -e 's/^pick/edit/'", "rebase", "-q", "-i", "HEAD~2");
      repo.write("f", "edited while stopped\n");
      repo.git("add", "f");
      repo.write("scratch", "untracked\n");
    },
    am: (repo) => {
      const patch = repo.git("format-patch", "--stdout", "topic~2..topic");
      writeFileSync(join(repo.path, ".git/patches"), `${patch}\n`);
      tryGit(repo, "am", "--3way", ".git/patches");
    },
    bisect: (repo) => {
      for (const i of [1, 2, 3, 4]) {
        repo.write("n", `${i}\n`);
        repo.commit();
      }
      repo.git("bisect", "start", "HEAD", "HEAD~4");
      repo.git("bisect", "good");
    },
  };
  test.each(Object.keys(operations))("%s", async (name) => {
    using repo = conflicting();
    operations[name]?.(repo);
    await roundTrip(repo);
  });

  test("a merge resolved in part, and finished after the restore", async () => {
    using repo = conflicting();
    using trip = await journey(repo.path);
    await trip.mark("before");
    tryGit(repo, "merge", "topic");
    await trip.mark("conflict");
    repo.write("f", "resolved\n");
    await trip.mark("resolved, not added");
    repo.git("add", "f");
    await trip.mark("added");
    await trip.verify("resolved, not added", "added");
    const { target } = await trip.safe.restore();
    repo.git("-C", target, "-c", "user.name=x", "-c", "user.email=x@x", "commit", "-q", "--no-edit");
    expect(repo.git("-C", target, "rev-list", "--parents", "-1", "HEAD").split(" ")).toHaveLength(3);
  });
});

test("settings, attributes and excludes of the repository itself come back; hooks lie beside", async () => {
  using repo = gitRepo({ a: "1\n" });
  mkdirSync(join(repo.path, ".git/info"), { recursive: true });
  appendFileSync(join(repo.path, ".git/info/exclude"), "secret-*\n");
  mkdirSync(join(repo.path, ".git/hooks"), { recursive: true });
  writeFileSync(join(repo.path, ".git/hooks/post-commit"), "#!/bin/sh\n", { mode: 0o755 });
  repo.git("config", "remote.origin.url", "https://example.org/x.git");
  repo.git("config", "alias.evil", "!false");
  repo.git("config", "branch.main.description", 'two\nlines "quoted" \\ # ; end ');
  using trip: Journey = await journey(repo.path);
  await trip.mark("only");
  await trip.verify();
  const { target, hooks, settings } = await trip.safe.restore();
  expect(hooks).toEqual(["post-commit"]);
  expect(settings).toEqual(["alias.evil"]);
  expect(repo.git("-C", target, "config", "branch.main.description")).toBe(repo.git("config", "branch.main.description"));
});
