/**
 * The runbook's commands, run as they are written: each scenario in a vault that has just met that accident.
 * A ```sh block is run, a ```text block after it says what its output must hold: its lines in order, `…` for anything.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { type CliResult, runCli } from "./support/cli.ts";
import { needs } from "./support/needs.ts";
import { type TempDir, tempDir } from "./support/repo.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
const runbook = readFileSync(join(root, "vault/00_system/docs/disaster-recovery.md"), "utf8");

interface Scene {
  readonly vault: string;
  readonly store: string;
  readonly origin: string;
  /** Must be absent when the scenario begins. */
  readonly rescue: string;
  /** The file that a reader types the printed key into. */
  readonly key: string;
  /** The configuration folder of the machine, with the key. */
  readonly config: string;
  readonly mirror: string;
  /** In the vault. Like `holdfast` it throws when it fails. */
  git(...args: readonly string[]): string;
  holdfast(...args: readonly string[]): Promise<CliResult>;
}

/** What has happened when a reader comes to the scenario with this number. */
const accidents: Readonly<Record<number, (scene: Scene) => Promise<void> | void>> = {
  1: ({ vault }) => rmSync(join(vault, "inbox/call-the-plumber.md")),
  2: ({ git }) => void git("clean", "-fdxq"),
  3: ({ git }) => {
    git("reset", "-q", "--hard", "HEAD~2");
    git("update-ref", "-d", "refs/remotes/origin/main");
    git("reflog", "expire", "--expire=now", "--all");
    git("gc", "-q", "--prune=now");
  },
  4: ({ git, origin }) => {
    const rubbish = git("commit-tree", "-m", "somebody's rubbish", "HEAD^{tree}");
    // By its path, as somebody else would: the vault does not hear of it.
    git("push", "-q", "--force", origin, `${rubbish}:refs/heads/main`);
  },
  5: async ({ vault, git, holdfast }) => {
    for (const name of ["older", "newer"]) {
      writeFileSync(join(vault, "10_notes/rpo-and-rto.md"), `${name}\n`);
      git("stash", "push", "-q", "-m", name);
    }
    await holdfast("backup");
    git("stash", "clear");
    git("gc", "-q", "--prune=now");
  },
  6: ({ vault }) => rmSync(join(vault, ".git/HEAD")),
  7: ({ vault }) => rmSync(vault, { recursive: true }),
  8: loseTheLaptop,
  9: ({ store }) => rmSync(store, { recursive: true }),
  10: ({ store }) => damage(store),
  11: loseTheLaptop,
  12: async ({ mirror, git, holdfast }) => {
    git("init", "-q", "--bare", mirror);
    git("remote", "add", "mirror", mirror);
    await holdfast("init", "--yes", "--mirror", "mirror");
    git("commit", "-q", "--amend", "-m", "rewritten");
    await holdfast("mirror");
  },
  13: async ({ vault, holdfast }) => {
    for (const draft of ["the first draft", "the second draft", "the third draft"]) {
      writeFileSync(join(vault, "inbox/draft.md"), `${draft}\n`);
      await holdfast("backup", "--full");
    }
    // The point of the vault without a draft stays, so that the list of the trash has one line only.
    const settings = join(vault, "backup.yaml");
    const rules = "{keep_last: 2, keep_within: 0, keep_daily: 0, keep_weekly: 0, keep_monthly: 0}";
    const [first = { id: "" }] = (JSON.parse((await holdfast("points", "--json")).stdout) as { points: { id: string }[] }).points;
    await holdfast("mark", first.id, "pinned");
    writeFileSync(settings, `${readFileSync(settings, "utf8").replace(/^retention:.*\n/m, "")}\nretention: ${rules}\n`);
    await holdfast("prune", "--force");
  },
  14: (scene) => rmSync(typeTheKey(scene)),
  15: ({ store }) => {
    for (const day of readdirSync(store).filter((name) => /^\d{8}$/.test(name)))
      for (const name of readdirSync(join(store, day))) writeFileSync(join(store, day, name), "pay us\n");
  },
};

/** Those whose points are encrypted, as they are when a copy stands on another host; the origin of these tests is a folder. */
const encrypted: ReadonlySet<number> = new Set([8, 11, 14]);

const isScriptThere = statSync(join(root, "src/recovery/restore.sh")).size > 100;
const hasTools = ["zstd", "age"].map((tool) => needs(tool, "the runbook's scenario without Holdfast")).every(Boolean);
const skipped = new Set(hasTools && isScriptThere ? [] : [11]);

let scene: (Scene & { readonly base: TempDir }) | undefined;
afterEach(() => {
  scene?.base[Symbol.dispose]();
  scene = undefined;
});

describe("the runbook", () => {
  const scenarios = parseScenarios(runbook);

  test("has a test for each scenario, and at least eight", () => {
    expect(scenarios.length).toBeGreaterThanOrEqual(8);
    expect(scenarios.map(({ number }) => number)).toEqual(Object.keys(accidents).map(Number));
  });

  for (const { number, title, blocks } of scenarios) {
    test.skipIf(skipped.has(number))(`${number}: ${title}`, async () => {
      scene = await protectedVault(encrypted.has(number) ? ["--encrypt"] : []);
      await accidents[number]?.(scene);
      expectBlocks(blocks, scene);
    });
  }

  test("its first look goes on where something is wrong", async () => {
    scene = await protectedVault();
    await scene.holdfast("hooks", "uninstall");
    expect((await runCli(["status"], { cwd: scene.vault, env: environment(scene.base.path) })).code).not.toBe(0);
    expectBlocks(blocksOf(runbook.split(/^## /m).find((section) => section.startsWith("Which one is it?")) ?? ""), scene);
  });
});

interface Block {
  readonly commands: string;
  readonly expected: readonly string[];
}

function parseScenarios(text: string): { number: number; title: string; blocks: Block[] }[] {
  return text.split(/^## /m).flatMap((section) => {
    const heading = /^(\d+)\. (.+)\n/.exec(section);
    if (heading === null) return [];
    return [{ number: Number(heading[1]), title: heading[2] ?? "", blocks: blocksOf(section) }];
  });
}

function blocksOf(section: string): Block[] {
  const blocks: { commands: string; expected: string[] }[] = [];
  for (const [, kind, body = ""] of section.matchAll(/^```(sh|text)\n(.*?)^```$/gms)) {
    if (kind === "sh") blocks.push({ commands: body, expected: [] });
    else blocks.at(-1)?.expected.push(...body.split("\n").filter((line) => line.trim() !== ""));
  }
  return blocks;
}

function expectBlocks(blocks: readonly Block[], scene: Scene & { base: TempDir }): void {
  expect(blocks.length).toBeGreaterThan(0);
  const outputs = runBlocks(blocks, scene);
  for (const [index, block] of blocks.entries()) expectLines(outputs[index] ?? "", block);
}

/** All blocks in one shell, as a reader has one terminal; stops at the first command that fails. Gives each block's output. */
function runBlocks(blocks: readonly Block[], { vault, store, origin, rescue, key, base }: Scene & { base: TempDir }): string[] {
  const values = Object.entries({ vault, store, origin, rescue, key }).map(([name, value]) => `${name}='${value}'\n`);
  const separator = "\u001e";
  const script = `set -eu\nexec 2>&1\n${values.join("")}${blocks.map(({ commands }) => `${commands}printf '${separator}'\n`).join("")}`;
  const { status, stdout } = spawnSync("sh", ["-c", script], { cwd: base.path, encoding: "utf8", input: "", env: environment(base.path) });
  expect(status, stdout).toBe(0);
  return stdout.split(separator);
}

function expectLines(output: string, { commands, expected }: Block): void {
  const lines = output.split("\n");
  let from = 0;
  for (const wanted of expected) {
    const pattern = new RegExp(wanted.trim().split("…").map(asPattern).join(".*"));
    const at = lines.findIndex((line, index) => index >= from && pattern.test(line));
    if (at === -1) expect.fail(`after\n${commands}\nno line\n${wanted}\nin\n${output}`);
    from = at + 1;
  }
}

/** This repository's vault with its local part, three commits, an origin, two stores, and a point of all of it. */
async function protectedVault(flags: readonly string[] = []): Promise<Scene & { base: TempDir }> {
  const base = tempDir();
  const at = (name: string): string => join(base.path, name);
  const [vault, store, origin] = [at("vault"), at("disk/vault"), at("origin.git")];
  mkdirSync(vault);
  cpSync(join(root, "vault"), vault, { recursive: true, filter: (path) => !/\/(?:inbox|\.env|state\.db[^/]*)$/.test(path) });
  mkdirSync(at("bin"));
  for (const name of ["holdfast", "restore-from-git"]) symlinkSync(join(root, `dist/bin/${name}.js`), join(at("bin"), name));
  writeFileSync(at("gitconfig"), "[user]\n\tname = A Tester\n\temail = tester@example.org\n[gc]\n\tauto = 0\n[init]\n\tdefaultBranch = main\n");
  const env = environment(base.path);
  const git = (...args: readonly string[]): string => {
    const cwd = existsSync(vault) ? vault : base.path;
    return execFileSync("git", args, { cwd, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
  };
  const holdfast = async (...args: readonly string[]): Promise<CliResult> => {
    const result = await runCli(args, { cwd: vault, env });
    if (result.code !== 0) throw new Error(`holdfast ${args.join(" ")}: exit ${result.code}\n${result.stdout}${result.stderr}`);
    return result;
  };
  git("init", "-q", "--bare", origin);
  git("init", "-q");
  git("remote", "add", "origin", origin);
  for (const change of ["first", "second", "third"]) {
    writeFileSync(join(vault, "20_projects/restore-drill/log.md"), `${change}\n`);
    git("add", "--all");
    git("commit", "-q", "-m", `${change} change`);
  }
  git("push", "-q", "-u", "origin", "main");
  execFileSync(process.execPath, [join(vault, "00_system/make-local.mjs")], { stdio: "ignore" });
  await holdfast("init", "--yes", ...flags, "--store", store, "--store", "branch:origin/holdfast/backup");
  return {
    base,
    vault,
    store,
    origin,
    rescue: at("rescue"),
    key: at("key.txt"),
    config: configOf(base.path),
    mirror: at("mirror.git"),
    git,
    holdfast,
  };
}

/** Hooks stay silent: a point in the background would make the scenarios race. */
function environment(base: string): Record<string, string | undefined> {
  return {
    ...process.env,
    PATH: [join(base, "bin"), dirname(process.execPath), process.env["PATH"]].join(delimiter),
    GIT_CONFIG_GLOBAL: join(base, "gitconfig"),
    HOLDFAST_CONFIG_DIR: configOf(base),
    HOLDFAST_DISABLE: "1",
    XDG_DATA_HOME: join(base, "data"),
  };
}

function configOf(base: string): string {
  return join(base, "config");
}

/** As from the printed sheet: the line of the secret key alone. Gives the file that it comes from. */
function typeTheKey({ config, key }: Scene): string {
  const identity = join(config, "identity.txt");
  writeFileSync(key, `${/^AGE-SECRET-KEY-.*$/m.exec(readFileSync(identity, "utf8"))?.[0]}\n`);
  return identity;
}

function loseTheLaptop(scene: Scene): void {
  typeTheKey(scene);
  for (const folder of [scene.vault, scene.store, scene.config]) rmSync(folder, { recursive: true });
}

/** Flips a byte in the middle of the newest tarball. */
function damage(store: string): void {
  const days = readdirSync(store).filter((name) => /^\d{8}$/.test(name));
  const files = days.flatMap((day) => readdirSync(join(store, day)).map((name) => join(store, day, name)));
  const file = files
    .filter((name) => name.endsWith(".tar.zst"))
    .sort()
    .at(-1);
  if (file === undefined) throw new Error("the store has no tarball");
  const bytes = readFileSync(file);
  const middle = bytes.length >> 1;
  bytes[middle] = (bytes[middle] ?? 0) ^ 0xff;
  writeFileSync(file, bytes);
}

/** Blanks may be more, or tabs. */
function asPattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&").replace(/ +/g, "\\s+");
}
