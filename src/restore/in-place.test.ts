import { mkdirSync, readdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { gitRepo, tempDir } from "../../test/support/repo.ts";
import { executeInPlace, planInPlace } from "./in-place.ts";

test("files of any size are compared: what is the same is not written", async () => {
  using repo = gitRepo({});
  using dir = tempDir();
  const from = join(dir.path, "from");
  mkdirSync(from);
  const write = (name: string, here: Buffer, there: Buffer): void => {
    repo.write(name, here);
    writeFileSync(join(from, name), there);
  };
  const large = Buffer.alloc((2 << 20) + 5);
  const end = Buffer.from(large);
  end[end.length - 1] = 1;
  write("same", large, Buffer.from(large));
  write("end", large, end);
  write("shorter", large, large.subarray(1));
  write("huge", Buffer.from("a"), Buffer.from("b"));
  for (const root of [repo.path, from]) truncateSync(join(root, "huge"), 2 ** 31 + 1); // one read takes less
  const { files, same } = await planInPlace(from, repo.path);
  expect(files.map(({ path }) => path).sort()).toEqual(["end", "huge", "shorter"]);
  expect(same).toBe(1);
});

test("what waits beside a nested .git goes where that is gone, and nowhere near one that lives here", async () => {
  using repo = gitRepo({ "here/.keep": "", "gone/.keep": "" });
  using dir = tempDir();
  for (const name of ["here", "gone"]) {
    mkdirSync(join(dir.path, name));
    writeFileSync(join(dir.path, name, ".git.holdfast-restored"), "gitdir: /elsewhere\n");
  }
  repo.write("here/.git", "gitdir: /elsewhere\n");
  const plan = await planInPlace(dir.path, repo.path);
  expect(plan).toMatchObject({ files: [{ path: "gone/.git.holdfast-restored", action: "create" }], kept: ["here"] });
  executeInPlace(plan, dir.path, repo.path);
  expect(readdirSync(join(repo.path, "gone")).sort()).toEqual([".git.holdfast-restored", ".keep"]);
});
