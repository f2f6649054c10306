/** Restores over the living worktree, by the built program. */
import { existsSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { snapshotTree } from "./support/tree.ts";
import { workspace } from "./support/workspace.ts";

test("files that are not as the point has them are shown, and nothing is written, with --force too", async () => {
  using work = await workspace({ files: { "a.txt": "one\n", "b.txt": "two\n" } });
  const { repo } = work;
  repo.write("a.txt", "three\n");
  repo.commit("three");
  const oid = repo.git("rev-parse", "HEAD:a.txt");
  rmSync(join(repo.path, ".git/objects", oid.slice(0, 2), oid.slice(2)));
  expect(await work.run(["backup", "--full"])).toMatchObject({ code: 3 });
  repo.write("b.txt", "changed since\n");
  const before = snapshotTree(repo.path, { exclude: [".git"] });
  const result = await work.run(["restore", "latest", "--in-place", "--force"]);
  expect(result).toMatchObject({ code: 13, stderr: expect.stringContaining("nothing was written over yours") });
  expect(result.stdout).toContain("  a.txt is missing\n");
  expect(result.stderr).toContain("the point itself was partial");
  expect(snapshotTree(repo.path, { exclude: [".git"] })).toEqual(before);
  const { inPlace } = JSON.parse((await work.run(["restore", "latest", "--in-place", "--force", "--json"])).stdout);
  expect(inPlace).toMatchObject({ executed: false, comparison: { differences: [{ path: "a.txt", what: "is missing" }] } });
  expect(inPlace.problems).not.toEqual([]);
  const chosen = await work.run(["restore", "latest", "--in-place", "--force", "--path", "b.txt"]);
  expect([chosen.code, readFileSync(join(repo.path, "b.txt"), "utf8")]).toEqual([0, "two\n"]);
});

test("a nested repository that lives here keeps its .git; one that is gone comes back whole", async () => {
  using work = await workspace();
  const at = (path: string): string => join(work.repo.path, path);
  const git = (...args: string[]): string => work.repo.git("-C", at("tools"), ...args);
  const inPlace = async (...args: string[]): Promise<unknown> => (await work.json(["restore", "latest", "--in-place", "--force", ...args])).inPlace;
  mkdirSync(at("tools"));
  git("init", "-q", "-b", "main");
  git("config", "user.name", "A");
  git("config", "user.email", "a@example.org");
  work.repo.write("tools/a.txt", "a\n");
  git("add", "a.txt");
  git("commit", "-q", "-m", "a");
  git("config", "alias.st", "status");
  git("pack-refs", "--all");
  const oid = git("rev-parse", "HEAD");
  await work.backup();
  expect(await inPlace()).toMatchObject({ files: [], kept: ["tools"], executed: false });

  git("commit", "-q", "--allow-empty", "-m", "later");
  git("config", "alias.lg", "log");
  work.repo.write("tools/a.txt", "changed\n");
  const before = snapshotTree(at("tools/.git"), { exclude: ["index"] });
  const point = (await work.points()).at(-1)?.id ?? "";
  expect(await inPlace()).toMatchObject({ files: [{ path: "tools/a.txt", action: "overwrite" }], kept: ["tools"], executed: true });
  expect(readFileSync(at("tools/a.txt"), "utf8")).toBe("a\n");
  expect(snapshotTree(at("tools/.git"), { exclude: ["index"] })).toEqual(before);

  rmSync(at("tools"), { recursive: true });
  expect(await work.json(["restore", point, "--in-place", "--force"])).toMatchObject({ inPlace: { kept: [], executed: true } });
  expect([git("rev-parse", "HEAD"), git("status", "--porcelain")]).toEqual([oid, ""]);
  expect([existsSync(at("tools/.git/config")), readFileSync(at("tools/.git/holdfast-restored/config"), "utf8")]).toEqual([
    true,
    expect.stringContaining("st = status"),
  ]);
});
