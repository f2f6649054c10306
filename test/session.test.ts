/** hooks/post-session: what an agent's tool calls when a session ends. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { stateLayout } from "../src/state/layout.ts";
import { tempDir } from "./support/repo.ts";
import { until } from "./support/until.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

const program = fileURLToPath(new URL("../hooks/post-session", import.meta.url));

/** As a tool that a desktop started would call it. */
function endSession(
  work: Workspace,
  args: readonly string[] = [],
  options: { cwd?: string; path?: string } = {},
): { code: number | null; line: string; stderr: string } {
  const environment = { ...process.env, PATH: options.path ?? "/usr/bin:/bin" };
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: options.cwd ?? work.repo.path, env: environment, encoding: "utf8" });
  return { code: status, line: stdout, stderr };
}

const settled = (work: Workspace): Promise<void> => {
  const { dirty, lease, workerLock } = stateLayout(join(work.repo.path, ".git/holdfast"));
  return until("the worker has ended", () => ![dirty, lease, workerLock].some((path) => existsSync(path)));
};

async function mirrored(folder: string): Promise<Workspace> {
  const mirror = join(folder, "mirror.git");
  execFileSync("git", ["init", "-q", "--bare", mirror]);
  return workspace({ init: ["--mirror", mirror, "--store", join(folder, "copy")] });
}

test("a point of what the session left, in one line; nothing changed makes none", async () => {
  using dir = tempDir();
  using work = await mirrored(dir.path);
  work.repo.write("left-behind.md", "by the agent\n");
  const first = endSession(work);
  expect(first).toMatchObject({ code: 0, stderr: "" });
  expect(first.line).toMatch(/^point \d{8}T\d{6}Z-[0-9a-f]{6}; 1 mirror with every tip; local2 pending\n$/);
  expect((await work.points()).at(-1)?.kind).toBe("session");
  await settled(work);
  const again = endSession(work);
  expect(again.line).toMatch(/^nothing changed since point \d{8}T\d{6}Z-[0-9a-f]{6}; 1 mirror with every tip; 1 copy whole\n$/);
  expect(await work.points()).toHaveLength(2);
});

test("--wait brings mirrors and copies up to date, and reads the tips back", async () => {
  using dir = tempDir();
  using work = await mirrored(dir.path);
  work.repo.git("-c", "core.hooksPath=/dev/null", "commit", "-q", "--allow-empty", "-m", "unseen");
  expect(endSession(work).line).toMatch(/mirror\.git pending/);
  await settled(work);
  work.repo.git("-c", "core.hooksPath=/dev/null", "commit", "-q", "--allow-empty", "-m", "unseen too");
  const { code, line } = endSession(work, ["--wait", "60"]);
  expect([code, line]).toEqual([0, expect.stringMatching(/; 1 mirror with every tip; 1 copy whole\n$/)]);
  expect(work.repo.git("ls-remote", join(dir.path, "mirror.git"), "main")).toContain(work.repo.git("rev-parse", "HEAD"));

  renameSync(join(dir.path, "mirror.git"), join(dir.path, "away.git"));
  work.repo.git("commit", "-q", "--allow-empty", "-m", "not there");
  const behind = endSession(work, ["--wait", "60"]);
  expect(behind.code).toBe(3);
  expect(behind.line).toMatch(/mirror\.git behind \(.*there is no repository\); 1 copy whole\n$/);
  await settled(work);
});

test("a copy on a disk that is away is told, and is no failure", async () => {
  using dir = tempDir();
  using work = await mirrored(dir.path);
  renameSync(join(dir.path, "copy"), join(dir.path, "drawer"));
  work.repo.git("-c", "core.hooksPath=/dev/null", "commit", "-q", "--allow-empty", "-m", "unseen");
  const { code, line } = endSession(work, ["--wait", "60"]);
  expect([code, line]).toEqual([0, expect.stringMatching(/; 1 mirror with every tip; local2 away\n$/)]);
  renameSync(join(dir.path, "drawer"), join(dir.path, "copy"));
  expect(endSession(work).line).toMatch(/local2 away\n$/);
  await settled(work);
  expect(endSession(work).line).toMatch(/1 copy whole\n$/);
});

test("from a folder below, in a linked worktree, inside a git hook; wrong words are told", async () => {
  using dir = tempDir();
  using work = await mirrored(dir.path);
  const linked = join(dir.path, "linked");
  work.repo.git("worktree", "add", "-q", linked);
  mkdirSync(join(linked, "below"));
  writeFileSync(join(linked, "below/new"), "n\n");
  expect(endSession(work, [], { cwd: join(linked, "below") })).toMatchObject({ code: 0, stderr: "" });
  expect((await work.points()).at(-1)?.kind).toBe("session");
  await settled(work);
  expect(endSession(work, ["--wait", "soon"])).toMatchObject({
    code: 2,
    stderr: expect.stringMatching(/^error: --wait takes seconds: soon is not\nhint: /),
  });
  expect(endSession(work, [], { cwd: dir.path }).code).not.toBe(0);
});

test("without the program that the hooks were installed with it says what to do", async () => {
  using work = await workspace();
  const { code, stderr } = endSession(work, [], { path: "/nowhere" });
  expect([code, stderr]).toEqual([1, expect.stringMatching(/^error: holdfast is not .*\nhint: install Holdfast as its README says, then: /)]);
});
