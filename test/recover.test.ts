/**
 * The bare machine: one was protected and is gone with its home; another has nothing but a copy. Recovered, looked at byte for byte,
 * protected again, and restored from once more.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readCatalogue } from "../src/points/catalogue.ts";
import { FolderStore } from "../src/stores/folder.ts";
import { type CliResult, runCli, runRestore } from "./support/cli.ts";
import { type TempDir, tempDir } from "./support/repo.ts";
import { type RepositoryState, repositoryState } from "./support/repository-state.ts";
import { snapshotTree } from "./support/tree.ts";
import { until } from "./support/until.ts";
import { workspace } from "./support/workspace.ts";

/** A machine is a folder with a home in it; nothing else of this one is its own. */
class Machine {
  readonly root: string;

  constructor(root: string) {
    this.root = root;
    mkdirSync(this.at("home"), { recursive: true });
  }

  get env(): Record<string, string | undefined> {
    return { HOME: this.at("home"), XDG_CONFIG_HOME: undefined, XDG_DATA_HOME: undefined, XDG_STATE_HOME: undefined, XDG_CACHE_HOME: undefined };
  }

  at(path: string): string {
    return join(this.root, path);
  }

  run(args: readonly string[], cwd = this.root): Promise<CliResult> {
    return runCli(args, { cwd, env: this.env });
  }

  /** Must end with `code`. */
  async done(args: readonly string[], cwd = this.root, code = 0): Promise<string> {
    const result = await this.run(args, cwd);
    expect({ args, code: result.code, stderr: result.code === code ? "" : result.stderr }).toEqual({ args, code, stderr: "" });
    return result.stdout;
  }

  git(cwd: string, ...args: string[]): string {
    const dates = { GIT_AUTHOR_DATE: "2026-02-01T00:00Z", GIT_COMMITTER_DATE: "2026-02-01T00:00Z" };
    return execFileSync("git", args, { cwd, env: { ...process.env, ...this.env, ...dates }, encoding: "utf8", stdio: "pipe" }).trim();
  }
}

let dir: TempDir;
let before: RepositoryState;
let older: { readonly id: string; readonly createdAt: string; readonly text: string };
/** The last point of the lost machine: others may have gone on with the copies. */
let newest = "";
let lostPrimary = "";
let settings = "";
const copies = (): readonly (readonly [name: string, url: string])[] => [
  ["a folder", join(dir.path, "disk")],
  ["a backup branch", `branch:${join(dir.path, "hub.git")}#holdfast/backup`],
];

beforeAll(async () => {
  dir = tempDir();
  execFileSync("git", ["init", "-q", "--bare", join(dir.path, "hub.git")]);
  const old = new Machine(join(dir.path, "old"));
  const root = old.at("notes");
  mkdirSync(root);
  old.git(root, "init", "-q", "-b", "main");
  old.git(root, "config", "user.name", "A Tester");
  old.git(root, "config", "user.email", "tester@example.org");
  old.git(root, "remote", "add", "hub", join(dir.path, "hub.git"));
  writeFileSync(join(root, "a.txt"), "one\n");
  old.git(root, "add", ".");
  old.git(root, "commit", "-q", "-m", "one");
  lostPrimary = old.at("home/store");
  await old.done(["init", "--yes", "--no-hooks", "--store", lostPrimary], root);
  const first = (await points(lostPrimary)).at(-1);
  older = { id: first?.id ?? "", createdAt: first?.createdAt ?? "", text: "one\n" };
  writeFileSync(join(root, "a.txt"), "two\n");
  old.git(root, "stash", "push", "-q");
  writeFileSync(join(root, "a.txt"), "three\n");
  writeFileSync(join(root, "staged.txt"), "staged\n");
  old.git(root, "add", "staged.txt");
  writeFileSync(join(root, ".env"), "SECRET=1\n");
  await old.done(["backup"], root);
  await old.done(["store", "add", "disk", join(dir.path, "disk")], root);
  await old.done(["store", "add", "hub", "branch:hub/holdfast/backup"], root);
  await old.done(["backup", "-m", "the last one"], root);
  await old.done(["sync", "--wait"], root);
  newest = (await points(lostPrimary)).at(-1)?.id ?? "";
  before = repositoryState(root);
  settings = readFileSync(join(root, "backup.yaml"), "utf8");
  rmSync(old.root, { recursive: true });
});
afterAll(() => dir[Symbol.dispose]());

async function points(store: string): Promise<readonly { id: string; createdAt: string }[]> {
  return (await readCatalogue(new FolderStore("any", store))).points;
}

describe.each([0, 1])("from a copy (%i)", (which) => {
  test("everything comes back, what is not protected is said, and nothing is begun in the lost store's place", async () => {
    const [name, url] = copies()[which] ?? ["", ""];
    const machine = new Machine(join(dir.path, `new-${which}`));
    const target = machine.at("notes");
    const answer = await machine.done(["recover", url, target, ...(which === 0 ? [] : [newest])]);
    expect(repositoryState(target), name).toEqual(before);
    expect(readFileSync(join(target, "backup.yaml"), "utf8")).toBe(settings);
    expect(answer).toContain("all as captured");
    expect(answer).toContain(`Their primary store is not on this machine: ${lostPrimary}`);
    expect(answer).toMatch(/Not protected yet: no hooks .*\n.*mount it first.*\n.*init --yes\n.*\n.*init --yes --primary FOLDER\n/);
    expect(existsSync(lostPrimary)).toBe(false);
    expect(readdirSync(machine.at("home"))).toEqual([".cache"]);

    // As it says: a folder of this machine, hooks, the first point, the copies go on.
    const store = machine.at("home/points");
    expect(await machine.done(["init", "--yes", "--primary", store], target)).toContain("Proven: ");
    expect(existsSync(lostPrimary)).toBe(false);
    expect(readFileSync(join(target, "backup.yaml"), "utf8")).toContain(store);
    expect(readFileSync(join(target, "backup.yaml"), "utf8")).not.toContain(lostPrimary);
    writeFileSync(join(target, "later.txt"), "later\n");
    machine.git(target, "add", ".");
    const known = (await points(store)).length;
    machine.git(target, "commit", "-q", "-m", "later");
    await until("the hook has made a point", async () => (await points(store)).length > known);
    await machine.done(["sync", "--wait"], target);
    const again = machine.at("again");
    await machine.done(["recover", url, again]);
    expect(readFileSync(join(again, "later.txt"), "utf8")).toBe("later\n");
    expect(machine.git(again, "rev-parse", "HEAD")).toBe(machine.git(target, "rev-parse", "HEAD"));
    expect(machine.git(again, "stash", "list")).toBe(machine.git(target, "stash", "list"));
  });
});

test("--hooks and --primary do all of it at once, and what came back restores as it was", async () => {
  const [, url] = copies()[0] ?? ["", ""];
  const machine = new Machine(join(dir.path, "at-once"));
  const target = machine.at("notes");
  const answer = await machine.done(["recover", url, target, newest, "--hooks", "--primary", "store"]);
  expect(answer).toMatch(/Protected again: points go into .*store, and the hooks are installed\./);
  const made = await points(machine.at("store"));
  expect(made).toHaveLength(1);
  const restored = machine.at("restored");
  const result = await runRestore(["latest", "--to", restored], { cwd: target, env: machine.env });
  expect(result.code).toBe(0);
  const withoutSettings = (root: string): unknown => snapshotTree(root, { exclude: [".git", "backup.yaml"] });
  expect(withoutSettings(restored)).toEqual(before.tree.filter(({ path }) => path !== "backup.yaml"));
});

test("--hooks without the primary store protects nothing, says so and ends with 3", async () => {
  const [, url] = copies()[0] ?? ["", ""];
  const machine = new Machine(join(dir.path, "absent"));
  const document = JSON.parse(await machine.done(["recover", url, "notes", newest, "--hooks", "--json"], machine.root, 3));
  expect(document).toMatchObject({
    v: 1,
    comparison: { differences: [] },
    footing: { status: "primary_absent", primary: lostPrimary },
    protected: null,
  });
  expect(existsSync(machine.at("notes/.git/hooks/post-commit"))).toBe(false);
  expect(existsSync(lostPrimary)).toBe(false);
});

test("init says it where a store that was there is not, before it begins a new one", async () => {
  const [, url] = copies()[0] ?? ["", ""];
  const machine = new Machine(join(dir.path, "said"));
  await machine.done(["recover", url, "notes", newest]);
  const { stderr, code } = await machine.run(["init", "--yes", "--no-hooks"], machine.at("notes"));
  expect(stderr).toContain(`there is no store at ${lostPrimary}`);
  expect(code).toBe(0);
  rmSync(lostPrimary, { recursive: true });
});

test("another point and another time; what is none is refused before anything is written", async () => {
  const [, url] = copies()[0] ?? ["", ""];
  const machine = new Machine(join(dir.path, "older"));
  await machine.done(["recover", url, "by-id", older.id]);
  expect(readFileSync(machine.at("by-id/a.txt"), "utf8")).toBe(older.text);
  await machine.done(["recover", url, "by-time", "--at", older.createdAt]);
  expect(readFileSync(machine.at("by-time/a.txt"), "utf8")).toBe(older.text);
  for (const [args, code] of [
    [["recover", url, "x", "main"], 1],
    [["recover", url, "x", "--at", "2001-01-01"], 1],
    [["recover", url, "x", "--at", "whenever"], 2],
    [["recover", join(dir.path, "nowhere"), "x"], 10],
  ] as const)
    expect({ args, code: (await machine.run(args)).code }).toEqual({ args, code });
  expect(existsSync(machine.at("x"))).toBe(false);
});

test("settings that cannot be read are said, and the repository is back all the same", async () => {
  using work = await workspace();
  using bare = tempDir();
  writeFileSync(join(work.path, "outside.yaml"), readFileSync(join(work.repo.path, "backup.yaml")));
  writeFileSync(join(work.repo.path, "backup.yaml"), "storez: []\n");
  const made = await work.run(["backup"], { env: { HOLDFAST_CONFIG: join(work.path, "outside.yaml") } });
  expect(made.code).toBe(0);
  const result = await runCli(["recover", work.store, "back"], { cwd: bare.path });
  expect(result).toMatchObject({ code: 0, stdout: expect.stringMatching(/settings that came back cannot be read: .*storez/s) });
  expect(readFileSync(join(bare.path, "back/a.txt"), "utf8")).toBe("one\n");
});

test("where the primary store is still here, --hooks goes on with it", async () => {
  using work = await workspace({ files: { "a.txt": "one\n" }, init: [] });
  using bare = tempDir();
  const lost = repositoryState(work.repo.path);
  const known = (await work.points()).length;
  const target = join(bare.path, "again");
  const plain = await runCli(["recover", work.store, join(bare.path, "plain")], { cwd: bare.path });
  expect(plain.stdout).toContain(`their primary store is here: ${work.store}`);
  const result = await runCli(["recover", work.store, target, "--hooks"], { cwd: bare.path });
  expect({ code: result.code, stderr: result.code === 0 ? "" : result.stderr }).toEqual({ code: 0, stderr: "" });
  expect(repositoryState(target).tree).toEqual(lost.tree);
  expect(await work.points()).toHaveLength(known + 1);
  expect(existsSync(join(target, ".git/hooks/post-commit"))).toBe(true);
});
