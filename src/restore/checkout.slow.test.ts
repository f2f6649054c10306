import { hash } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { gitRepo } from "../../test/support/repo.ts";
import { readIndex } from "../git/index-entries.ts";
import { checkoutRaw } from "./checkout.ts";

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
  await expect(checkoutRaw(place, place.gitDir, paths)).rejects.toMatchObject({ code: "hostile" });
  expect(existsSync(join(repo.path, hostile))).toBe(false);
});
