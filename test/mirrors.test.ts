/** Mirrors as backup.yaml asks for them, through the built program. */
import { readFileSync, writeFileSync } from "node:fs";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { machineName } from "../src/core/machine-name.ts";
import { httpServer } from "./support/http-server.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

function bare(work: Workspace, name: string): string {
  const path = join(work.path, `${name}.git`);
  work.repo.git("init", "--quiet", "--bare", "--initial-branch=main", path);
  work.repo.git("remote", "add", name, path);
  return path;
}

function configure(work: Workspace, mirrors: string): void {
  const settings = join(work.repo.path, "backup.yaml");
  writeFileSync(settings, readFileSync(settings, "utf8").replace(/mirrors:[\s\S]*?\n(?=#)/, `mirrors:\n${mirrors}`));
}

function refs(work: Workspace, path: string): string[] {
  return work.repo.git("--git-dir", path, "for-each-ref", "--format=%(refname)").split("\n");
}

test("a shared remote gets a namespace, one of ours the same refs but for the branch of points that it holds too", async () => {
  using work = await workspace({ isProtected: false });
  const [shared, ours] = [bare(work, "shared"), bare(work, "ours")];
  for (const path of [shared, ours]) work.repo.git("push", "--quiet", path, "main:refs/heads/colleague");
  const stores = ["--store", work.store, "--store", "branch:ours/points"];
  expect((await work.run(["init", "--yes", "--no-hooks", ...stores])).stderr).toBe("");
  configure(work, "  - {remote: shared, mode: namespaced, keep_days: forever}\n  - {remote: ours, mode: exact}\n");
  const { mirrors } = await work.json(["mirror"]);
  expect(mirrors).toMatchObject([
    { remote: "shared", status: "ok", kept: [] },
    { remote: "ours", status: "ok", kept: [{ ref: "refs/heads/colleague" }] },
  ]);
  const root = `refs/holdfast/${machineName(hostname())}`;
  expect(refs(work, shared)).toEqual(["refs/heads/colleague", `${root}/heads/main`]);
  expect(refs(work, ours)).toEqual(["refs/heads/main", "refs/heads/points", expect.stringMatching(/^refs\/holdfast\/kept\/.*Z\/heads\/colleague$/)]);

  const checked = await work.run(["mirror", "--check"]);
  expect(checked).toMatchObject({ code: 0, stdout: "shared: all 1 tip the same\nours: all 1 tip the same, 1 old tip kept\n" });
  work.repo.git("branch", "new");
  expect(await work.json(["mirror", "--check"], 3)).toMatchObject({
    mirrors: [
      { status: "differs", kept: 0, refs: [{ state: "same" }, { ref: "refs/heads/new", state: "missing" }] },
      { status: "differs", kept: 1 },
    ],
  });
});

test("a remote that does not let us in is told everywhere with what to do, and holds up no other", async () => {
  using work = await workspace();
  const [far] = [bare(work, "far"), bare(work, "near")];
  await using server = await httpServer(work.path);
  work.repo.git("remote", "set-url", "far", server.url(basename(far)));
  configure(work, "  - far\n  - near\n");
  const run = await work.run(["mirror"]);
  expect(run.code).toBe(3);
  expect(run.stdout).toMatch(/^mirror far: unauthorized: .*not let in.*\n {2}hint: git config credential\.helper/);
  expect(run.stdout).toContain("mirror near: ok, 1 ref pushed");
  expect((await work.run(["mirror", "--check"])).stdout).toMatch(/^far: unauthorized \(/);
  const status = await work.json(["status"], 3);
  expect(status.mirrors).toMatchObject([
    { remote: "far", status: "unauthorized" },
    { remote: "near", status: "ok", notes: [] },
  ]);
  expect(status.findings).toContainEqual({
    what: expect.stringContaining("mirror far: unauthorized"),
    hint: expect.stringContaining("credential.helper"),
  });
});
