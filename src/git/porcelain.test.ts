import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { gitRepo, tempDir } from "../../test/support/repo.ts";
import { isSsh, listRemotes, parseTips, pushUrls, readLocalTips, readRemoteTips } from "./porcelain.ts";

test.each([
  ["ssh", true],
  ["ssh -i key -v", true],
  ["/usr/bin/ssh", true],
  ['"C:/Program Files/OpenSSH/ssh.exe" -v', true],
  ["'/odd folder/ssh'", true],
  ["plink -batch", false],
  ["/opt/wrap-ssh", false],
  ["TOKEN=1 ssh", false],
  ["", false],
])("%j is ssh: %s", (command, is) => {
  expect(isSsh(command)).toBe(is);
});

test("remotes, their push URLs and the tips are read as git gives them", async () => {
  using repo = gitRepo({ a: "a" });
  repo.git("remote", "add", "one", "https://h/one.git");
  repo.git("remote", "add", "two", "short:two.git");
  repo.git("remote", "set-url", "--add", "--push", "one", "/first.git");
  repo.git("remote", "set-url", "--add", "--push", "one", "/second.git");
  repo.git("config", "url.https://h/.pushInsteadOf", "short:");
  repo.git("branch", "topic/x");
  repo.git("update-ref", "refs/other/x", "HEAD");
  expect(await listRemotes(repo.path)).toEqual(["one", "two"]);
  expect(await pushUrls(repo.path, "one")).toEqual(["/first.git", "/second.git"]);
  expect(await pushUrls(repo.path, "two")).toEqual(["https://h/two.git"]);
  await expect(pushUrls(repo.path, "three")).rejects.toMatchObject({ code: "git_failed" });
  const head = repo.git("rev-parse", "HEAD");
  expect([...(await readLocalTips(repo.path, ["refs/heads"]))]).toEqual([
    ["refs/heads/main", head],
    ["refs/heads/topic/x", head],
  ]);
  expect([...(await readRemoteTips(repo.path, ["refs/other/*"], { cwd: repo.path })).tips]).toEqual([["refs/other/x", head]]);
});

test("an answer without tips is an empty one", () => {
  expect(parseTips("").size).toBe(0);
  expect(parseTips("\n").size).toBe(0);
});

test("ssh is told not to ask, on top of the user's own options; another command is left as it is", async () => {
  using repo = gitRepo({ a: "a" });
  using dir = tempDir();
  const script = (path: string) => {
    mkdirSync(join(path, ".."), { recursive: true });
    writeFileSync(path, `#!/bin/sh\necho "$@" >> "${path}.said"\nexit 255\n`);
    chmodSync(path, 0o755);
    return path;
  };
  const said = (path: string) => readFileSync(`${path}.said`, "utf8");
  const [ssh, other] = [script(join(dir.path, "bin", "ssh")), script(join(dir.path, "bin", "tunnel"))];
  repo.git("config", "core.sshCommand", `${ssh} -i mine`);
  const { answer } = await readRemoteTips("ssh://host.invalid/x.git", [], { cwd: repo.path });
  expect(answer).toMatchObject({ code: 128, isTimedOut: false });
  expect(said(ssh)).toMatch(/^-i mine -oBatchMode=yes -oConnectTimeout=10 .*host\.invalid/m);
  repo.git("config", "core.sshCommand", other);
  await readRemoteTips("ssh://host.invalid/x.git", [], { cwd: repo.path });
  expect(said(other)).not.toContain("BatchMode");
});
