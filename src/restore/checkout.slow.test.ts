import { hash } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { gitRepo, type TestRepo, tempDir } from "../../test/support/repo.ts";
import { readIndex } from "../git/index-entries.ts";
import { checkoutRaw, smudgeLfs } from "./checkout.ts";
import { gitProgram } from "./with-git.ts";
import { withoutGit } from "./without-git.ts";

test.each([
  ["the git directory", "xgit/hooks/post-checkout", ".git/hooks/post-checkout"],
  ["a nested git directory", "nested/xGit/config", "nested/.Git/config"],
  ["a folder outside", "up/outside", "../outside"],
])("an index that names %s is refused, and nothing is written", async (_, name, hostile) => {
  using repo = gitRepo({ [name]: "hostile\n", "a.txt": "one\n" });
  const file = join(repo.path, ".git/index");
  const forged = Buffer.from(readFileSync(file).subarray(0, -20).toString("latin1").replace(name, hostile), "latin1");
  writeFileSync(file, Buffer.concat([forged, hash("sha1", forged, "buffer")]));
  const place = { gitDir: join(repo.path, ".git"), root: repo.path };
  const paths = (await readIndex(repo.path, [])).map((entry) => entry.path);
  expect(paths).toContain(hostile);
  for (const git of [gitProgram, withoutGit()]) await expect(checkoutRaw(git, place, place.gitDir, paths)).rejects.toMatchObject({ code: "hostile" });
  expect(existsSync(join(repo.path, hostile))).toBe(false);
});

test("the content of an LFS pointer takes its place and keeps its mode; an object of any size is read to see whether it is the one", () => {
  using repo = gitRepo({});
  const content = Buffer.alloc(3 << 20, 7);
  const [oid, other] = [hash("sha256", content), "ab".repeat(32)];
  const pointer = (id: string): string => `version https://git-lfs.github.com/spec/v1\noid sha256:${id}\nsize 1\n`;
  const object = (id: string): string => `.git/lfs/objects/${id.slice(0, 2)}/${id.slice(2, 4)}/${id}`;
  repo.write("tool", pointer(oid));
  repo.write("damaged", pointer(other));
  chmodSync(join(repo.path, "tool"), 0o755);
  repo.write(object(oid), content);
  repo.write(object(other), "");
  chmodSync(join(repo.path, object(oid)), 0o444);
  truncateSync(join(repo.path, object(other)), 2 ** 31 + 1); // one read takes less
  expect(smudgeLfs(join(repo.path, ".git"), repo.path, ["tool", "damaged"])).toEqual(["tool"]);
  expect([readFileSync(join(repo.path, "tool")).equals(content), statSync(join(repo.path, "tool")).mode & 0o777]).toEqual([true, 0o755]);
  expect(readFileSync(join(repo.path, "damaged"), "utf8")).toBe(pointer(other));
});

/** The id of a tree with this one file, of a name that git itself would refuse. */
function hostileTree(repo: TestRepo, name: string): string {
  const blob = repo.git("hash-object", "-w", "a.txt");
  const tree = Buffer.concat([Buffer.from(`100644 ${name}\0`), Buffer.from(blob, "hex")]);
  repo.write("tree", tree);
  return repo.git("hash-object", "-w", "-t", "tree", "--literally", "tree");
}

test.each(["..", ".git", ".GIT", "."])("a commit with a file %s is refused without git too, and nothing is written", async (name) => {
  using repo = gitRepo({ "a.txt": "one\n" });
  const inner = hostileTree(repo, name === ".git" || name === ".GIT" ? "config" : "outside");
  const outer = Buffer.concat([Buffer.from(`40000 ${name}\0`), Buffer.from(inner, "hex")]);
  repo.write("tree", outer);
  const tree = repo.git("hash-object", "-w", "-t", "tree", "--literally", "tree");
  const commit = repo.git("commit-tree", "-m", "hostile", tree);
  using target = tempDir();
  const root = join(target.path, "root");
  mkdirSync(root);
  await expect(withoutGit().writeCommit({ gitDir: join(repo.path, ".git"), root }, commit, {})).rejects.toMatchObject({ code: "hostile" });
  expect(readdirSync(target.path)).toEqual(["root"]);
  expect(readdirSync(root)).toEqual([]);
});
