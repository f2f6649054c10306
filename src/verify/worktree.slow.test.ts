import { symlinkSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { protect } from "../../test/support/protected.ts";
import { gitRepo } from "../../test/support/repo.ts";
import type { Contents, FileEntry } from "../core/contents.ts";
import { Policy } from "../core/policy.ts";
import { openRepository } from "../git/repository.ts";
import { readContents } from "../points/catalogue.ts";
import { checkWorktree, type WorktreeRequest } from "./worktree.ts";

test("a file that should be as it was and is not, and one that the point should hold and does not, are told", async () => {
  using repo = gitRepo({ "tracked.txt": "t\n" });
  repo.write("untracked.txt", "u\n");
  repo.write("missed.txt", "m\n");
  symlinkSync("untracked.txt", join(repo.path, "link"));
  using safe = await protect(repo.path);
  const { manifest } = await safe.point();
  const contents = await readContents(safe.store, [manifest]);
  const request = async (changed: Contents, samplePercent = 100): Promise<WorktreeRequest> => ({
    repository: await openRepository(repo.path),
    policy: new Policy({ include: [], exclude: [] }),
    storeFolders: [],
    point: manifest,
    contents: changed,
    samplePercent,
    countTolerancePercent: 50,
    random: () => 0.5,
  });
  const check = async (changed: Contents, percent?: number) => checkWorktree(await request(changed, percent));
  expect(await check(contents)).toMatchObject({ files: 4, held: 4, changed: 0, sampled: 4, faults: [] });
  expect(await check(contents, 50)).toMatchObject({ sampled: 2, faults: [] });
  expect(await check(contents, 0)).toMatchObject({ sampled: 0, faults: [] });

  const alter = (path: string, change: Partial<FileEntry>): Contents => {
    const entry = contents.files.get(path) as FileEntry;
    return { ...contents, files: new Map([...contents.files, [path, { ...entry, ...change }]]) };
  };
  // As if the disk had changed the bytes behind the stat.
  const rotten = await check(alter("untracked/untracked.txt", { sha256: "0".repeat(64) }));
  expect(rotten.faults).toMatchObject([
    { kind: "worktree", weight: "doubt", message: expect.stringContaining("untracked.txt has other bytes than point") },
  ]);
  const bent = await check(alter("untracked/link", { target: "elsewhere" }));
  expect(bent.faults).toMatchObject([{ message: expect.stringContaining("link has other bytes") }]);
  // Changed since: no finding.
  expect(await check(alter("untracked/untracked.txt", { sha256: "0".repeat(64), mtime: "1" }))).toMatchObject({ changed: 1, faults: [] });

  const without = { ...contents, files: new Map([...contents.files].filter(([path]) => path !== "untracked/missed.txt")) };
  expect((await check(without)).faults).toMatchObject([{ message: expect.stringMatching(/^missed\.txt was in the worktree before point/) }]);
  const told = { ...without, problems: [{ code: "unreadable" as const, path: "missed.txt", message: "EACCES" }] };
  expect((await check(told)).faults).toEqual([]);
});
