/** Backup branches and hidden refs by the built program: added, filled, within a budget, and recovered from alone. */
import { execFileSync } from "node:child_process";
import { chmodSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type BranchPlace, branchPlace, branchRef, gitIn } from "./support/branch.ts";
import { runCli } from "./support/cli.ts";
import { needs } from "./support/needs.ts";
import { noise } from "./support/noise.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

const hiddenRef = "refs/holdfast/backup";
const zstd = needs("zstd", "restoring a hidden ref by hand");

let place: BranchPlace;
let work: Workspace;
beforeEach(async () => {
  place = branchPlace();
  work = await workspace({ files: { "a.txt": "one\n" } });
  gitIn(work.repo.path, "remote", "add", "hub", place.remote);
});
afterEach(() => {
  place[Symbol.dispose]();
  work[Symbol.dispose]();
});

const refs = (): string[] => place.git("for-each-ref", "--format=%(refname)").split("\n");

/** The remote takes branches only. */
function refuseHidden(): void {
  const hook = join(place.remote, "hooks", "update");
  writeFileSync(hook, `#!/bin/sh\ncase "$1" in refs/heads/*) exit 0 ;; esac\necho "only branches here" >&2\nexit 1\n`);
  chmodSync(hook, 0o755);
}

async function recovered(url: string): Promise<string> {
  const cwd = join(place.path, "bare-machine");
  mkdirSync(cwd);
  const { code, stderr } = await runCli(["recover", url, "found"], { cwd });
  expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
  return join(cwd, "found");
}

function bytesIn(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: "utf8" }).reduce((sum, path) => sum + statSync(join(folder, path)).size, 0);
}

describe("a hidden ref", () => {
  test("holds the points, is no branch, and a bare machine recovers from it", async () => {
    const added = await work.json(["store", "add", "hub", "branch:hub", "--ref", hiddenRef]);
    expect(added).toMatchObject({ name: "hub", url: "branch:hub", ref: hiddenRef, copy: { status: "ok", missing: 0 } });
    work.repo.write("notes/untracked.md", "note\n");
    await work.backup();
    await work.json(["sync"]);
    expect(refs()).toEqual([hiddenRef]);
    const folder = await recovered(`branch:${place.remote}#${hiddenRef}`);
    expect(readFileSync(join(folder, "notes/untracked.md"), "utf8")).toBe("note\n");
  });

  test("can be named by init, in the address", async () => {
    using fresh = await workspace({ isProtected: false });
    const stores = ["--store", fresh.store, "--store", `branch:${place.remote}#${hiddenRef}`];
    const { code, stderr } = await fresh.run(["init", "--yes", "--no-hooks", ...stores]);
    expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
    expect(refs()).toEqual([hiddenRef]);
  });

  test("is refused at once where the host takes none, with what to do; nothing is set up, nothing is left there", async () => {
    refuseHidden();
    const settings = readFileSync(join(work.repo.path, "backup.yaml"), "utf8");
    const { code, stderr } = await work.run(["store", "add", "hub", "branch:hub", "--ref", hiddenRef]);
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringMatching(/only branches here[\s\S]*hint: keep the points on a branch/) });
    expect(readFileSync(join(work.repo.path, "backup.yaml"), "utf8")).toBe(settings);
    expect(refs()).toEqual([""]);
    using fresh = await workspace({ isProtected: false });
    const init = await fresh.run(["init", "--yes", "--no-hooks", "--store", fresh.store, "--store", `branch:${place.remote}#${hiddenRef}`]);
    expect({ code: init.code, stderr: init.stderr }).toEqual({ code: 1, stderr: expect.stringContaining("hint: keep the points on a branch") });
    expect(readdirSync(fresh.repo.path)).not.toContain("backup.yaml");
    expect(refs()).toEqual([""]);
  });

  test.skipIf(!zstd)("is fetched by hand as RECOVERY.md says, and restore.sh does the rest", async () => {
    await work.json(["store", "add", "hub", "branch:hub", "--ref", hiddenRef]);
    const commands = /branch of its own[\s\S]*?\n\n((?: {4}.*\n)+)/.exec(readFileSync("src/recovery/recovery.md", "utf8"))?.[1] ?? "";
    expect(commands).toContain("FETCH_HEAD");
    execFileSync("sh", ["-ec", commands.replaceAll("URL", place.remote)], { cwd: place.path, stdio: "pipe" });
    execFileSync("sh", ["restore.sh", "latest", join(place.path, "by-hand")], { cwd: join(place.path, "STORE"), stdio: "pipe" });
    expect(readFileSync(join(place.path, "by-hand", "a.txt"), "utf8")).toBe("one\n");
  });
});

test("options of a branch store are refused where they mean nothing, or are wrong", async () => {
  for (const args of [
    ["/tmp/x", "--ref", hiddenRef],
    ["/tmp/x", "--max-bytes", "1 GiB"],
    ["branch:hub", "--ref", "backup"],
    ["branch:hub", "--max-bytes", "much"],
  ]) {
    const { code, stderr } = await work.run(["store", "add", "more", ...args]);
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining("hint: ") });
  }
});

test("a budget keeps older points out, and says so; it is no failure", async () => {
  for (let number = 1; number <= 3; number += 1) {
    work.repo.write("large.bin", noise(300_000, number));
    await work.backup("--full");
  }
  const added = await work.json(["store", "add", "hub", "branch:hub", "--max-bytes", "500 KiB"]);
  expect(added.copy).toMatchObject({ status: "ok", beyond: { points: 2, maxBytes: 500 * 1024, hasNewest: true } });
  const sync = await work.run(["sync"]);
  expect({ code: sync.code, stdout: sync.stdout }).toEqual({
    code: 0,
    stdout: expect.stringContaining("copy hub: 2 older points do not fit into 500 KiB"),
  });
  const status = await work.run(["status"]);
  expect(status.stdout).toMatch(/copy hub +2 older points do not fit into 500 KiB, seen/);
  expect((await work.json(["store", "list"])).stores).toContainEqual({ name: "hub", url: "branch:hub", maxBytes: 500 * 1024 });
  const folder = await recovered(`branch:${place.remote}#holdfast/backup`);
  expect(readFileSync(join(folder, "large.bin")).equals(noise(300_000, 3))).toBe(true);
});

test("the user's own object store and refs stay as they are, and the branch's bytes do not lie here twice", async () => {
  work.repo.write("large.bin", noise(2_000_000, 1));
  const gitDir = join(work.repo.path, ".git");
  const state = (): unknown => [
    bytesIn(join(gitDir, "objects")),
    gitIn(work.repo.path, "for-each-ref"),
    gitIn(work.repo.path, "count-objects", "-v"),
  ];
  const before = state();
  await work.json(["store", "add", "hub", "branch:hub"]);
  await work.backup("--full");
  await work.json(["sync"]);
  expect(state()).toEqual(before);
  expect(place.git("log", "-1", "--format=%s", branchRef)).toMatch(/^holdfast: point /);
  expect(bytesIn(join(gitDir, "holdfast/branches"))).toBeLessThan(300_000);
  const { code } = await work.run(["restore", "latest", "--from", "hub", "--verify-only"]);
  expect(code).toBe(0);
  expect(bytesIn(join(gitDir, "holdfast/branches"))).toBeLessThan(300_000);
});
