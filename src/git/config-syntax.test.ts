import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { seededRandom } from "../../test/support/random.ts";
import { gitRepo, tempDir } from "../../test/support/repo.ts";
import { isPlainConfig, parseConfigText, parseSettings } from "./config-syntax.ts";

/** What git reads, in the same form. */
function gitReads(folder: string, text: string): ReturnType<typeof parseConfigText> {
  const file = join(folder, "config");
  writeFileSync(file, text, "latin1");
  const { status, stdout } = spawnSync("git", ["config", "--file", file, "--no-includes", "--list", "-z"]);
  if (status !== 0) return undefined;
  return parseSettings(stdout.toString("latin1"));
}

test("settings as git lists them: without a value, with an empty one, with line ends in it", () => {
  expect(parseSettings("core.bare\0a.b=c.d\n\0user.name\nA\nB\0")).toEqual([
    { key: "core.bare", value: undefined },
    { key: "a.b=c.d", value: "" },
    { key: "user.name", value: "A\nB" },
  ]);
  expect(parseSettings("")).toEqual([]);
});

const texts = [
  "",
  "[core]\n\tbare = false\n\trepositoryformatversion=0\n",
  '[remote "origin"]\n\turl = https://example.org/a b.git # mine\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n',
  '[Branch "Main \\"x\\" \\\\"] Merge = refs/heads/Main\n[a.B.c]\nflag\nother ; a comment\n',
  '[user]\n\tname = "  A # B ; C  "   tail  \n\temail = a\\tb\\nc\\bd \\\n  next\n',
  "\u00ef\u00bb\u00bf[core]\r\n\teditor = vi\r\n; comment\r\n[empty]\r\n",
  '[user]\n\tname =\n\tother = ""\n\tthird = "" x\n',
  '[core]\n\tx = "open\n',
  "[core]\n\tx = bad \\q escape\n",
  "[core\n\tx = 1\n",
  "[core]\n\t1x = 1\n",
  "[core]\n\tx_y = 1\n",
  "[core]\n\tx 1\n",
  '[sub ""]\n\tx = 1\n',
  '[sub "a\nb"]\n\tx = 1\n',
  "[core]\n\tx = 1",
  "[core]\n\tx",
];

test.each(texts.map((text) => [JSON.stringify(text), text]))("reads %s as git does", (_, text) => {
  using dir = tempDir();
  expect(parseConfigText(text)).toEqual(gitReads(dir.path, text));
});

test("a name without a section is not read, although git reads it", () => {
  expect(parseConfigText("name = value\n")).toBeUndefined();
});

test("never reads a file otherwise than git, whatever is in it", () => {
  using dir = tempDir();
  const random = seededRandom(11);
  const bits = ["[core]", '[a "B"]', "\n", " ", "x", "Y-1", "=", '"', "\\", "#", ";", "\\n", "value", "\n\t", "]", "[", ".", '\\"'];
  let read = 0;
  for (let round = 0; round < 60; round += 1) {
    let text = "[core]\n\t";
    for (let count = Math.floor(random() * 9); count >= 0; count -= 1) text += bits[Math.floor(random() * bits.length)];
    const ours = parseConfigText(text);
    if (ours !== undefined) read += 1;
    expect({ text, settings: ours }).toEqual({ text, settings: gitReads(dir.path, text) });
  }
  expect(read).toBeGreaterThan(10);
});

test("plain is what git itself writes, and nothing that could be read in two ways", () => {
  using repo = gitRepo();
  repo.git("remote", "add", "origin", "git@example.org:me/my notes.git");
  expect(isPlainConfig(readFileSync(join(repo.path, ".git/config"), "utf8"))).toBe(true);
  for (const line of ["\tx = a # b", '\tx = "a', "\tx = a\\", "\tx", "\tx = a\r", "[a", '[a "b\\"]', "x = a", "\tx = a  b", "[a] x = b"])
    expect({ line, isPlain: isPlainConfig(`[core]\n${line}\n`) }).toEqual({ line, isPlain: false });
});
