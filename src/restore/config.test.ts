import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import { applyConfig } from "./config.ts";
import { inertFolder } from "./place.ts";
import { gitProgram } from "./with-git.ts";

let dir: TempDir;
let gitDir = "";
beforeEach(() => {
  dir = tempDir();
  gitDir = join(dir.path, ".git");
  mkdirSync(join(gitDir, inertFolder), { recursive: true });
  writeFileSync(join(gitDir, "config"), "[core]\n\trepositoryformatversion = 0\n\tbare = false\n");
});
afterEach(() => dir[Symbol.dispose]());

/** Applies a captured configuration; gives what git then reads, and what was left out. */
async function apply(text: string | Buffer): Promise<{ settings: string[]; leftOut: readonly string[] }> {
  writeFileSync(join(gitDir, inertFolder, "config"), text);
  const { leftOut } = await applyConfig(gitProgram, gitDir);
  const listed = execFileSync("git", ["config", "--file", join(gitDir, "config"), "--list", "-z"], { encoding: "latin1" });
  const settings = listed.split("\0").filter((item) => item !== "" && !/^core\.(repositoryformatversion|bare)\n/.test(item));
  return { settings: settings.map((item) => item.replace("\n", "=")), leftOut };
}

const harmless = `[core]
	repositoryformatversion = 0
	filemode = true
	bare = false
	logallrefupdates = true
[user]
	name = A Tester
	email = tester@example.org
[remote "origin"]
	url = git@example.org:me/notes.git
	fetch = +refs/heads/*:refs/remotes/origin/*
[branch "main"]
	remote = origin
	merge = refs/heads/main
[pull]
	rebase = true
`;

/** What can start a command, read elsewhere, or weaken a check; and what nobody knows. */
const dangerous: readonly (readonly [section: string, name: string])[] = [
  ["core", "fsmonitor"], ["core", "sshCommand"], ["core", "hooksPath"], ["core", "pager"], ["core", "editor"], ["core", "askPass"],
  ["core", "gitProxy"], ["core", "attributesFile"], ["core", "excludesFile"], ["core", "worktree"], ["core", "alternateRefsCommand"],
  ["CORE", "FSMONITOR"], ["cOrE", "SshCommand"], ["filter \"lfs\"", "smudge"], ["filter \"x\"", "clean"], ["filter \"x\"", "process"],
  ["filter \"filter\"", "required"], ["alias", "status"], ["alias \"x\"", "command"], ["include", "path"], ["includeIf \"gitdir:/\"", "path"],
  ["credential", "helper"], ["credential \"https://x\"", "helper"], ["diff", "external"], ["diff \"x\"", "textconv"], ["diff \"x\"", "command"],
  ["merge \"x\"", "driver"], ["mergetool \"x\"", "cmd"], ["difftool \"x\"", "cmd"], ["pager", "log"], ["pager", "status"],
  ["gpg", "program"], ["gpg \"ssh\"", "program"], ["gpg \"ssh\"", "defaultKeyCommand"], ["sequence", "editor"], ["interactive", "diffFilter"],
  ["remote \"o\"", "uploadpack"], ["remote \"o\"", "receivepack"], ["remote \"o\"", "vcs"], ["remote \"o\"", "proxy"],
  ["submodule \"x\"", "update"], ["url \"ext::sh -c x\"", "insteadOf"], ["protocol \"ext\"", "allow"], ["protocol", "allow"],
  ["uploadpack", "packObjectsHook"], ["trailer \"x\"", "command"], ["trailer \"x\"", "cmd"], ["man \"x\"", "cmd"], ["browser \"x\"", "cmd"],
  ["web", "browser"], ["instaweb", "httpd"], ["guitool \"x\"", "cmd"], ["init", "templateDir"], ["sendemail", "smtpServer"],
  ["tar \"x\"", "command"], ["lfs \"customtransfer.x\"", "path"], ["lfs", "standalonetransferagent"], ["http", "proxy"], ["http", "sslVerify"],
  ["commit", "template"], ["safe", "directory"], ["rebase", "instructionFormat"], ["fsck", "skipList"], ["hook \"x\"", "command"],
  ["extensions", "preciousObjects"], ["transfer", "credentialsInUrl"], ["maintenance", "repo"], ["unheard", "of"],
]; // biome-ignore format: a list of words

describe("a restored configuration", () => {
  test("is the captured one, byte for byte, where all of it is harmless", async () => {
    const { leftOut } = await apply(`# mine\n${harmless}`);
    expect(leftOut).toEqual([]);
    expect(readFileSync(join(gitDir, "config"), "utf8")).toBe(`# mine\n${harmless}`);
  });

  test("is left as git made it where none was captured", async () => {
    expect(await applyConfig(gitProgram, gitDir)).toEqual({ leftOut: [] });
  });

  test("keeps what is harmless and names what it left out", async () => {
    const { settings, leftOut } = await apply(`${harmless}[core]\n\tfsmonitor = /tmp/evil\n[alias]\n\tst = !evil\n\tci = commit\n`);
    expect(leftOut).toEqual(["core.fsmonitor", "alias.st", "alias.ci"]);
    expect(settings).toEqual([
      "core.filemode=true",
      "core.logallrefupdates=true",
      "user.name=A Tester",
      "user.email=tester@example.org",
      "remote.origin.url=git@example.org:me/notes.git",
      "remote.origin.fetch=+refs/heads/*:refs/remotes/origin/*",
      "branch.main.remote=origin",
      "branch.main.merge=refs/heads/main",
      "pull.rebase=true",
    ]);
  });

  test("leaves out all that can start a command, in any spelling of its name", async () => {
    const lines = dangerous.map(([section, name]) => `[${section}]\n\t${name} = !touch /tmp/evil\n`).join("");
    const { settings, leftOut } = await apply(`[user]\n\tname = A\n${lines}`);
    expect(settings).toEqual(["user.name=A"]);
    const names = new Set(
      dangerous.map(([section, name]) => {
        const [first = "", rest] = section.split(/ (.*)/s);
        return `${first.toLowerCase()}${rest === undefined ? "" : `.${rest.slice(1, -1)}`}.${name.toLowerCase()}`;
      }),
    );
    names.delete("core.worktree"); // decided anew, and so not worth a word
    expect(new Set(leftOut)).toEqual(names);
  });

  test("leaves out urls that are commands", async () => {
    const urls = ["ext::sh -c evil", "fd::3", "-oProxyCommand=evil", "--upload-pack=evil"];
    const text = urls
      .map((url, index) => `[remote "${index}"]\n\turl = ${url}\n\tpushurl = ${url}\n[submodule "${index}"]\n\turl = ${url}\n`)
      .join("");
    const { settings, leftOut } = await apply(`${text}[remote "o"]\n\tfetch = +refs/heads/*:refs/remotes/o/*\n`);
    expect(settings).toEqual(["remote.o.fetch=+refs/heads/*:refs/remotes/o/*"]);
    expect(leftOut).toHaveLength(3 * urls.length);
  });

  test("does not take a subsection for a harmless name", async () => {
    const { settings } = await apply(
      '[filter "remote.x.url"]\n\tclean = evil\n[alias "user.name"]\n\tcommand = evil\n[core "x.filemode"]\n\tfsmonitor = evil\n[user]\n\tname = A\n',
    );
    expect(settings).toEqual(["user.name=A"]);
  });

  test("keeps odd values and names as they are", async () => {
    const text = [
      "[alias]\n\tdrop = !me\n",
      '[user]\n\tname = "  A \\"quoted\\" \\\\ name; # not a comment\\tand a tab  "\n',
      '\temail = "line one\\nline two"\n',
      '[remote "with \\"quote\\" and \\\\ back.dots"]\n\turl = "file:///a b/#c;d"\n',
      "\tfetch = +refs/heads/*:refs/remotes/a/*\n\tfetch = +refs/tags/*:refs/tags/*\n",
      '[remote ""]\n\turl = empty\n',
      '[remote "UPPER"]\n\turl = x\n',
      '[branch "feature/ü"]\n\tdescription = "a\\bb"\n',
      "[pull]\n\trebase\n",
    ].join("");
    writeFileSync(join(gitDir, inertFolder, "config"), text);
    const before = execFileSync("git", ["config", "--file", join(gitDir, inertFolder, "config"), "--list", "-z"], { encoding: "latin1" });
    const { settings } = await apply(text);
    expect(settings).toEqual(
      before
        .split("\0")
        .filter((item) => item !== "" && !item.startsWith("alias."))
        .map((item) => item.replace("\n", "=")),
    );
  });

  test("keeps bytes that are not UTF-8", async () => {
    const { settings } = await apply(Buffer.from('[alias]\n\tx = y\n[user]\n\tname = Andr\xe9\n[branch "caf\xe9"]\n\tremote = o\n', "latin1"));
    expect(settings).toEqual(["user.name=Andr\xe9", "branch.caf\xe9.remote=o"]);
  });

  test("takes nothing from a file that git cannot read to its end", async () => {
    const { settings, leftOut } = await apply("[user]\n\tname = A\n[core\n\tfsmonitor = evil\n");
    expect(settings).toEqual([]);
    expect(leftOut).toEqual(["config"]);
  });

  test("decides for itself what kind of repository it is", async () => {
    const { settings, leftOut } = await apply(
      "[core]\n\tworktree = /elsewhere\n\tbare = true\n\trepositoryformatversion = 1\n[extensions]\n\tobjectFormat = sha256\n[alias]\n\tx = y\n",
    );
    expect(settings).toEqual([]);
    expect(leftOut).toEqual(["alias.x"]);
    expect(readFileSync(join(gitDir, "config"), "utf8")).toContain('bare = "false"');
  });

  test("has a format that knows its extensions", async () => {
    const { settings } = await apply("[alias]\n\tx = y\n[extensions]\n\tworktreeConfig = true\n[core]\n\tsparseCheckout = true\n");
    expect(settings).toEqual(["extensions.worktreeconfig=true", "core.sparsecheckout=true"]);
    expect(readFileSync(join(gitDir, "config"), "utf8")).toContain('repositoryformatversion = "1"');
  });
});
