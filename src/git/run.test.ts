import { createHash } from "node:crypto";
import { afterEach, expect, test, vi } from "vitest";
import { gitText } from "./run.ts";

afterEach(() => vi.restoreAllMocks());

test("much input waits for git to take it, and leaves no listener behind", async () => {
  const warned = vi.spyOn(process, "emitWarning");
  const piece = Buffer.alloc(256 * 1024, "x");
  const sum = createHash("sha1").update(`blob ${piece.length * 60}\0`);
  async function* pieces(): AsyncGenerator<Buffer> {
    for (let left = 60; left > 0; left -= 1) yield piece;
  }
  for (let left = 60; left > 0; left -= 1) sum.update(piece);
  expect((await gitText(["hash-object", "--stdin"], { input: pieces() })).trim()).toBe(sum.digest("hex"));
  expect(warned).not.toHaveBeenCalled();
});

test("a failure names the command, not the folder that it ran in", async () => {
  await expect(gitText(["--git-dir", "/nowhere", "rev-parse", "HEAD"])).rejects.toThrow(
    /^git rev-parse failed \(exit 128\): fatal: not a git repository/,
  );
});
