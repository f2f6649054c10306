/** `find` and `diff` through the built program. */
import { chmodSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { workspace } from "./support/workspace.ts";

test("find names every version of a file, the points that hold it, and what commits have", async () => {
  using work = await workspace({ files: { "a.txt": "one\n", "src/tracked.db": "v1\n" } });
  const ids: string[] = [];
  for (const text of ["first\n", "second\n", "second\n", "first\n"]) {
    work.repo.write("data/notes.db", text);
    ids.push(await work.backup());
  }
  work.repo.write("src/tracked.db", "modified, in no commit yet\n");
  const modified = await work.backup();
  work.repo.commit("v2");
  rmSync(join(work.repo.path, "data/notes.db"));
  await work.backup("--full");
  work.repo.write("data/notes.db", "first\n");
  const last = await work.backup();

  const { versions, commits, unread } = await work.json(["find", "*.db"]);
  expect(unread).toEqual([]);
  expect(versions).toMatchObject([
    { path: "data/notes.db", size: 6, first: ids[0], last, points: 4, area: "untracked" },
    { path: "data/notes.db", size: 7, first: ids[1], last: ids[2], points: 2 },
    { path: "src/tracked.db", area: "modified", first: modified, last: modified },
  ]);
  // The commit that came after took data/notes.db in as well.
  expect(commits.map(({ path }: { path: string }) => path).sort()).toEqual(["data/notes.db", "src/tracked.db", "src/tracked.db"]);
  const { stdout } = await work.run(["find", "/data/"]);
  expect(stdout).toMatch(new RegExp(`data/notes\\.db +7 B +[0-9a-f]{12} +untracked +in ${ids[1]} to ${ids[2]} \\(2 points\\)`));
  const none = await work.run(["find", "*.zip"]);
  expect(none.code).toBe(1);
  expect(none.stderr).toMatch(/error: no point and no commit holds .*\nhint: globs are gitignore's/);
});

test("diff tells what was added, removed and changed between two points, and until now", async () => {
  using work = await workspace({ files: { "a.txt": "one\n", "b.txt": "two\n", "gone.txt": "x\n", "later.txt": "l\n" } });
  work.repo.write("notes.md", "notes\n");
  work.repo.write("same.md", "same\n");
  work.repo.write("soon.md", "soon committed\n");
  work.repo.write("later.txt", "edited\n");
  const first = await work.backup();
  expect(await work.json(["diff", first])).toMatchObject({ from: first, to: "worktree", files: [], refs: [], uncompared: [] });

  work.repo.git("checkout", "-q", "-b", "topic");
  work.repo.write("a.txt", "committed\n");
  rmSync(join(work.repo.path, "gone.txt"));
  work.repo.git("add", "a.txt", "gone.txt", "soon.md", "later.txt");
  work.repo.git("commit", "-q", "-m", "topic");
  work.repo.write("b.txt", "modified\n");
  work.repo.write("notes.md", "other notes\n");
  work.repo.write("new.md", "new\n");
  chmodSync(join(work.repo.path, "same.md"), 0o755);
  const second = await work.backup();
  const expected = [
    { path: "a.txt", change: "changed", what: ["content"] },
    { path: "b.txt", change: "changed", what: ["content"] },
    { path: "gone.txt", change: "removed" },
    { path: "new.md", change: "added" },
    { path: "notes.md", change: "changed", what: ["content"] },
    { path: "same.md", change: "changed", what: [expect.stringMatching(/^mode 6\d\d became 755$/)] },
    { path: "soon.md", change: "changed", what: ["tracked now"] },
  ];
  const refs = [
    { name: "refs/heads/topic", before: null },
    { name: "HEAD", before: "refs/heads/main", after: "refs/heads/topic" },
  ];
  for (const until of [[second], ["worktree"], []]) expect(await work.json(["diff", first, ...until])).toMatchObject({ files: expected, refs });

  rmSync(join(work.repo.path, "new.md"));
  symlinkSync("a.txt", join(work.repo.path, "new.md"));
  const { code, stdout } = await work.run(["diff", second]);
  expect({ code, stdout }).toEqual({
    code: 0,
    stdout: `M new.md  (a file became a symlink)\n1 file and 0 refs differ between ${second} and worktree.\n`,
  });
  expect((await work.run(["diff", second, "20200101T000000Z"])).code).toBe(1);
});

test("diff says where the commits that it would need are not here", async () => {
  using work = await workspace();
  work.repo.write("a.txt", "two\n");
  const doomed = work.repo.commit("doomed");
  const first = await work.backup();
  work.repo.git("reset", "-q", "--hard", "HEAD~1");
  const second = await work.backup();
  expect(await work.json(["diff", first, second])).toMatchObject({ files: [{ path: "a.txt", what: ["content"] }], uncompared: [] });
  work.repo.git("reflog", "expire", "--expire=now", "--all");
  work.repo.git("gc", "-q", "--prune=now");
  expect(work.repo.git("cat-file", "--batch-check", "--batch-all-objects")).not.toContain(doomed);
  const { code, stderr } = await work.run(["diff", first, second]);
  expect(code).toBe(0);
  expect(stderr).toContain("warning: tracked files are not compared: this repository lacks one of the two commits");
});
