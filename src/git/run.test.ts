import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { keygen } from "../../test/support/age.ts";
import { needs } from "../../test/support/needs.ts";
import { gitRepo, tempDir } from "../../test/support/repo.ts";
import { listVersions } from "./file-history.ts";
import { reflogTexts } from "./reftable.ts";
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

test.skipIf(!needs("ssh-keygen", "signed commits"))("the user's own settings of git log change no answer", async () => {
  using dir = tempDir();
  using repo = gitRepo({ a: "1\n" });
  const { file } = keygen(dir.path, "key", "ed25519");
  writeFileSync(join(dir.path, "allowed"), `tester@example.org ${readFileSync(`${file}.pub`, "utf8")}`);
  const signing = { "gpg.format": "ssh", "user.signingKey": file, "commit.gpgSign": "true", "gpg.ssh.allowedSignersFile": join(dir.path, "allowed") };
  for (const [key, value] of Object.entries(signing)) repo.git("config", key, value);
  repo.git("checkout", "-q", "-b", "side");
  repo.write("b", "2\n");
  repo.commit();
  repo.git("checkout", "-q", "main");
  repo.write("c", "3\n");
  repo.commit();
  repo.git("merge", "-q", "--no-commit", "side");
  repo.write("a", "merged\n");
  repo.commit();
  const gitDir = join(repo.path, ".git");
  const answers = async (): Promise<unknown[]> => [
    await gitText(["--git-dir", gitDir, "show", "-s", "--format=%ct", "HEAD"]),
    await reflogTexts(gitDir),
    await listVersions(gitDir, () => true),
  ];
  const before = await answers();
  for (const [key, value] of Object.entries({ showSignature: "true", showRoot: "false", diffMerges: "off" })) repo.git("config", `log.${key}`, value);
  expect(repo.git("show", "-s", "--format=%ct", "HEAD")).toContain('Good "git" signature');
  expect(await answers()).toEqual(before);
});
