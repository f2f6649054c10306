import { execFileSync } from "node:child_process";
import { chmodSync, lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { gitRepo, type TestRepo } from "../../test/support/repo.ts";
import { readIndex } from "./index-entries.ts";
import { readIndexFile, writeIndexFile } from "./index-file.ts";

const files = Object.fromEntries(Array.from({ length: 90 }, (_, at) => [`folder-${at % 7}/file-${at}.txt`, `${at}\n`]));

/** Both readings of the same index. */
async function bothWays(repo: TestRepo): Promise<{ ours: unknown; gits: unknown }> {
  return { ours: readIndexFile(join(repo.path, ".git/index")), gits: await readIndex(repo.path) };
}

const setups: readonly (readonly [name: string, change: (repo: TestRepo) => void])[] = [
  ["version 2", () => undefined],
  [
    "version 3: skipped and announced files",
    (repo) => {
      repo.git("update-index", "--skip-worktree", "folder-1/file-1.txt");
      repo.write("announced.txt", "x\n");
      repo.git("add", "--intent-to-add", "announced.txt");
      repo.git("update-index", "--assume-unchanged", "folder-2/file-2.txt");
    },
  ],
  ["version 4: names without their common beginnings", (repo) => repo.git("update-index", "--index-version", "4")],
  [
    "a conflict, a symlink, an executable file, a long name",
    (repo) => {
      symlinkSync("file-1.txt", join(repo.path, "folder-1/link"));
      repo.write(`${"long/".repeat(40)}${"n".repeat(200)}`, "long\n");
      chmodSync(join(repo.path, "folder-3/file-3.txt"), 0o755);
      repo.commit("base");
      repo.git("checkout", "-q", "-b", "side");
      repo.write("folder-1/file-1.txt", "side\n");
      repo.commit("side");
      repo.git("checkout", "-q", "main");
      repo.write("folder-1/file-1.txt", "main\n");
      repo.commit("main");
      expect(() => repo.git("merge", "-q", "side")).toThrow();
    },
  ],
  [
    "a split index",
    (repo) => {
      repo.git("config", "splitIndex.maxPercentChange", "100");
      repo.git("update-index", "--split-index");
      repo.write("folder-1/file-1.txt", "replaced\n");
      repo.write("folder-6/file-6.txt", "replaced too\n");
      repo.write("added.txt", "added\n");
      rmSync(join(repo.path, "folder-2/file-2.txt"));
      repo.git("add", "--all");
      expect(readdirSync(join(repo.path, ".git")).filter((name) => name.startsWith("sharedindex."))).toHaveLength(1);
    },
  ],
  ["an empty index", (repo) => repo.git("rm", "-q", "-r", "--cached", ".")],
];

test.each(setups)("reads %s as git lists it", async (_, change) => {
  using repo = gitRepo(files);
  change(repo);
  const { ours, gits } = await bothWays(repo);
  expect(ours).toEqual(gits);
});

test("a cut index is damaged, not half of one", () => {
  using repo = gitRepo(files);
  const file = join(repo.path, ".git/index");
  truncateSync(file, readFileSync(file).length >> 1);
  expect(() => readIndexFile(file)).toThrow(expect.objectContaining({ code: "damaged" }));
});

test("a bitmap that claims four thousand million entries is damage, not work", () => {
  using repo = gitRepo(files);
  repo.git("config", "splitIndex.maxPercentChange", "100");
  repo.git("update-index", "--split-index");
  repo.write("folder-1/file-1.txt", "replaced\n");
  repo.git("add", "--all");
  const file = join(repo.path, ".git/index");
  const bytes = readFileSync(file);
  // Behind the shared index's id: the size in bits, the number of words, and the first word.
  const link = bytes.indexOf("link") + 8 + 20;
  expect(bytes.readUInt32BE(link + 4)).toBeGreaterThan(0);
  bytes.writeBigUInt64BE((0xffffffffn << 1n) | 1n, link + 8);
  writeFileSync(file, bytes);
  expect(() => readIndexFile(file)).toThrow(expect.objectContaining({ code: "damaged" }));
});

test("git takes an index that was written as its own, and need not look into the files again", async () => {
  using repo = gitRepo(files);
  mkdirSync(join(repo.path, "more"));
  writeFileSync(join(repo.path, "more/ü"), "umlaut\n");
  chmodSync(join(repo.path, "more/ü"), 0o755);
  symlinkSync("ü", join(repo.path, "more/link"));
  repo.commit();
  const before = await readIndex(repo.path);
  const entries = before.map(({ path, mode, oid }) => ({ path, mode, oid, stat: lstatSync(join(repo.path, path), { bigint: true }) }));
  writeFileSync(join(repo.path, ".git/index"), writeIndexFile(entries.toReversed()));
  expect(await readIndex(repo.path)).toEqual(before);
  expect(repo.git("diff-files", "--name-only")).toBe("");
  expect(execFileSync("git", ["fsck"], { cwd: repo.path, encoding: "utf8", stdio: "pipe" })).toBe("");
});
