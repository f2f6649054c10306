/** `holdfast verify` as a user meets it: what it says, what it ends with, what it mends. */
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { findArtifact, manifestKey } from "../src/core/manifest.ts";
import { startRun } from "./support/killable.ts";
import { repositoryState } from "./support/repository-state.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

const artifactOf = async (work: Workspace, id: string, kind: "bundle" | "tar.zst" | "contents.zst" | "idx"): Promise<string> => {
  const manifest = (await work.points()).find((point) => point.id === id);
  return join(work.store, id.slice(0, 8), (manifest && findArtifact(manifest, kind)?.name) ?? "none");
};
const flip = (file: string): void => {
  const bytes = readFileSync(file);
  bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 1;
  writeFileSync(file, bytes);
};
const withCopy = async (work: Workspace): Promise<string> => {
  const copy = join(work.path, "copy");
  await work.json(["store", "add", "copy", copy]);
  return copy;
};

describe("verify", () => {
  test("of a whole store is short, and ends with 0 at every level", async () => {
    using work = await workspace();
    await work.backup();
    expect((await work.run(["verify"])).stdout).toBe("Store local: 2 points, 2 signed by trusted keys.\nNothing is missing.\n");
    const read = await work.run(["verify", "--read-data"]);
    expect(read).toMatchObject({ code: 0, stdout: expect.stringMatching(/\n\d artifacts \(.*\) read\.\nAll is as it was written\.\n$/) });
    const share = await work.run(["verify", "--read-data", "auto/3"]);
    expect(share).toMatchObject({ code: 0, stdout: expect.stringContaining("Share auto/3: ") });
    const deep = await work.json(["verify", "latest", "--decode"]);
    expect(deep).toMatchObject({ store: "local", level: "content", points: 2, findings: [], isDamaged: false, undecoded: null });
    expect((await work.run(["verify", "--read-data", "9/3"])).code).toBe(2);
    expect((await work.run(["verify", "20200101"])).code).toBe(1);
  });

  test("names what a damaged file hits and where it is good, ends with 13, and --repair puts it right", async () => {
    using work = await workspace({ files: { "a.txt": "one\n" } });
    const copy = await withCopy(work);
    work.repo.write("a.txt", "two\n");
    const commit = work.repo.commit();
    const id = await work.backup();
    await work.run(["sync"]);
    const bundle = await artifactOf(work, id, "bundle");
    const before = readFileSync(bundle);
    flip(bundle);
    expect((await work.run(["verify"])).code).toBe(0);
    const found = await work.run(["verify", "--read-data"]);
    expect(found.code).toBe(13);
    expect(found.stdout).toContain(`Damaged (1):\n- ${id}.bundle has other bytes than were written\n    hits 1 point: ${id}\n`);
    expect(found.stdout).toContain(`main ${commit.slice(0, 12)}`);
    expect(found.stdout).toContain("    good in copy\nNext: holdfast verify --store local --repair puts it right from copy; nothing is deleted.\n");
    // A run that reads less does not forget it.
    const less = await work.run(["verify"]);
    expect(less.code).toBe(13);
    expect(less.stdout).toMatch(
      /Damaged when it was last read, and not read now \(1\):\n- \d{8}\/\S+\.bundle\nNext: holdfast verify --store local --repair reads it again/,
    );
    expect(await work.json(["verify", id], 13)).toMatchObject({ findings: [], foundBefore: [{ point: id, damage: "bytes" }], isDamaged: true });
    const mended = await work.json(["verify", "--read-data", "--repair"]);
    expect(mended).toMatchObject({ isDamaged: false, repair: { mended: [{ point: id, by: "copy" }], unmended: [], fullPoint: null } });
    expect(readFileSync(bundle)).toEqual(before);

    // The copy, from the primary.
    const theirs = bundle.replace(work.store, copy);
    rmSync(theirs);
    rmSync(join(copy, manifestKey(id)));
    expect((await work.json(["verify", "--store", "copy"], 13)).findings[0]).toMatchObject({ kind: "history", copies: ["local"] });
    expect((await work.run(["verify", "--store", "copy", "--repair"])).stdout).toMatch(/Mended \d{8}\/\S+\.json: from local\.\n/);
    expect(readFileSync(theirs)).toEqual(before);
    expect((await work.run(["verify", "--store", "copy", "--decode"])).code).toBe(0);
  });

  test("damage that was found stands in status, whatever later runs read, until it is mended or well again", async () => {
    using work = await workspace();
    await withCopy(work);
    const id = await work.backup();
    await work.run(["sync"]);
    const bundle = await artifactOf(work, id, "bundle");
    const status = async (): Promise<unknown[]> => {
      const { code, stdout } = await work.run(["status", "--json"]);
      const { verifications, findings } = JSON.parse(stdout) as { verifications: { damaged: number }[]; findings: { what: string }[] };
      return [code, verifications.map(({ damaged }) => damaged), findings.filter(({ what }) => what.startsWith("the last verify")).length];
    };
    flip(bundle);
    expect((await work.run(["verify", "--read-data"])).code).toBe(13);
    const [risk] = await status();
    // None of these reads it; each says it.
    for (const args of [[], ["--read-data", "--max-duration", "0"]]) {
      expect((await work.run(["verify", ...args])).code).toBe(13);
      expect(await status()).toEqual([risk, [1], 1]);
    }
    expect((await work.json(["verify", "--repair"])).repair).toMatchObject({ mended: [{ point: id, by: "copy" }] });
    expect((await status()).slice(1)).toEqual([[0], 0]);
    flip(bundle);
    expect((await work.run(["verify", "--read-data"])).code).toBe(13);
    flip(bundle);
    await work.run(["verify"]);
    expect((await status()).slice(1)).toEqual([[1], 1]);
    await work.run(["verify", "--read-data"]);
    expect((await status()).slice(1)).toEqual([[0], 0]);
  });

  test("where no copy has it a new full point is made at once, of all that is still here", async () => {
    using work = await workspace();
    work.repo.write("untracked.txt", "still here\n");
    const id = await work.backup();
    rmSync(await artifactOf(work, id, "tar.zst"));
    const before = repositoryState(work.repo.path);
    const result = await work.run(["verify", "--repair", "--json"]);
    expect(result.code).toBe(13);
    const { repair } = JSON.parse(result.stdout);
    expect(repair).toMatchObject({ mended: [], unmended: [{ point: id, reason: expect.stringContaining("no other store holds it") }] });
    expect(repair.fullPoint > id).toBe(true);
    expect((await work.json(["points"], 3)).damaged).toMatchObject([{ key: expect.stringContaining(id) }]);
    const target = join(work.path, "back");
    expect((await work.run(["restore", repair.fullPoint, "--to", target])).code).toBe(0);
    expect(repositoryState(target)).toEqual(before);
  });

  test("a full point's files are made again from the repository where nothing has changed since", async () => {
    using work = await workspace();
    work.repo.write("untracked.txt", "still here\n");
    const id = await work.backup("--full", "-m", "a note");
    for (const kind of ["tar.zst", "contents.zst"] as const) {
      const file = await artifactOf(work, id, kind);
      const before = readFileSync(file);
      flip(file);
      const { repair } = await work.json(["verify", "latest", "--read-data", "--repair"], kind === "tar.zst" ? 0 : 13);
      if (kind === "tar.zst") {
        expect(repair).toMatchObject({ mended: [{ point: id, by: "made again from this repository" }], unmended: [], fullPoint: null });
        expect(readFileSync(file)).toEqual(before);
      } else expect(repair.unmended).toMatchObject([{ reason: expect.stringContaining("the repository as it is now gives other bytes") }]);
    }
  });

  test("a store that was put back to an older state is told by what this machine remembers", async () => {
    using work = await workspace();
    await withCopy(work);
    const id = await work.backup();
    await work.run(["sync"]);
    for (const name of readdirSync(join(work.store, id.slice(0, 8)))) if (name.startsWith(id)) rmSync(join(work.store, id.slice(0, 8), name));
    const found = await work.run(["verify"]);
    expect(found).toMatchObject({ code: 13, stdout: expect.stringContaining(`point ${id} was in this store and is gone`) });
    expect((await work.run(["verify", "--repair"])).code).toBe(0);
    expect((await work.json(["verify"])).findings).toEqual([]);
  });

  test("mends a backup branch from the primary", async () => {
    using work = await workspace();
    const remote = join(work.path, "remote.git");
    work.repo.git("init", "--quiet", "--bare", remote);
    await work.json(["store", "add", "hub", `branch:${remote}#holdfast/backup`]);
    work.repo.write("more.txt", "m\n");
    const id = await work.backup();
    await work.run(["sync"]);
    // Somebody with push rights takes a file out, and a manifest.
    const clone = join(work.path, "clone");
    work.repo.git("clone", "--quiet", "--branch", "holdfast/backup", remote, clone);
    const git = (...args: string[]) => work.repo.git("-C", clone, "-c", "user.name=X", "-c", "user.email=x@example.org", ...args);
    const first = (await work.points())[0]?.id ?? "";
    git("rm", "--quiet", `${id.slice(0, 8)}/${id}.tar.zst`, manifestKey(first));
    git("commit", "--quiet", "--message", "tidy");
    git("push", "--quiet", "origin", "HEAD");
    const { findings } = await work.json(["verify", "--store", "hub"], 13);
    expect(findings).toContainEqual(expect.objectContaining({ kind: "artifact", point: id, copies: ["local"] }));
    expect(findings).toContainEqual(expect.objectContaining({ kind: "chain", point: id, copies: ["local"] }));
    expect(await work.run(["verify", "--store", "hub", "--repair"])).toMatchObject({ code: 0, stdout: expect.stringContaining("from local.") });
    expect((await work.run(["verify", "--store", "hub", "--decode"])).code).toBe(0);
    expect(work.repo.git("--git-dir", remote, "ls-tree", "-r", "--name-only", "holdfast/backup")).toContain(`${id}.tar.zst`);
  });

  test("stops when its time is up, says what is left, and goes on there", async () => {
    using work = await workspace();
    await work.backup();
    const first = await work.run(["verify", "--read-data", "--max-duration", "0"]);
    expect(first).toMatchObject({ code: 3, stdout: expect.stringMatching(/time was up, \d artifacts left for the next run/) });
    expect((await work.run(["verify", "--read-data", "--max-duration", "600"])).code).toBe(0);
    expect(readFileSync(join(work.repo.path, ".git/holdfast/verified.ndjson"), "utf8")).toContain('"store":"local"');
    expect((await work.run(["verify", "--max-duration", "soon"])).code).toBe(2);
  });

  test("what a killed one decrypted or unpacked is removed by the next one, and by the next point", async () => {
    using work = await workspace();
    await work.backup();
    const temporary = join(work.path, "tmp");
    mkdirSync(temporary);
    const env = { TMPDIR: temporary };
    for (const next of [["verify"], ["backup"]]) {
      const run = startRun(["verify", "--decode"], work.repo.path, env);
      while (readdirSync(temporary).length === 0) await delay(2);
      run.kill();
      expect(await run.ended).toMatchObject({ signal: "SIGKILL" });
      expect(readdirSync(temporary)).toEqual([expect.stringMatching(/^holdfast-verify-/)]);
      rmSync(join(work.repo.path, ".git/holdfast/swept"), { force: true });
      expect((await work.run(next)).code).toBe(0); // also where its own temporary folder is another
      expect(readdirSync(temporary)).toEqual([]);
    }
  });

  test("an unreachable copy is no help and no hindrance", async () => {
    using work = await workspace();
    const copy = await withCopy(work);
    const id = await work.backup();
    await work.run(["sync"]);
    rmSync(copy, { recursive: true });
    rmSync(await artifactOf(work, id, "contents.zst"));
    const { findings } = await work.json(["verify"], 13);
    expect(findings).toMatchObject([{ point: id, copies: [] }]);
    expect((await work.run(["verify", "--store", "copy"])).code).toBe(10);
    expect(existsSync(copy)).toBe(false);
  });
});

describe("verify --worktree", () => {
  test("compares what did not change; what did is counted and no finding", async () => {
    using work = await workspace({ files: { "a.txt": "one\n", "b.txt": "two\n" } });
    work.repo.write("untracked.txt", "u\n");
    await work.backup();
    const same = await work.json(["verify", "--worktree", "--sample", "100"]);
    expect(same).toMatchObject({ worktree: { files: 4, held: 4, changed: 0, sampled: 4 }, findings: [] });
    appendFileSync(join(work.repo.path, "untracked.txt"), "more\n");
    rmSync(join(work.repo.path, "a.txt"));
    work.repo.write("new.txt", "n\n");
    const changed = await work.run(["verify", "--worktree", "--sample", "100"]);
    expect(changed).toMatchObject({ code: 0, stdout: expect.stringContaining("4 files, 3 changes since; 2 of the others read and compared.\n") });
    for (const name of ["b.txt", "new.txt", "untracked.txt"]) rmSync(join(work.repo.path, name));
    const empty = await work.run(["verify", "--worktree"]);
    expect(empty).toMatchObject({
      code: 3,
      stdout: expect.stringMatching(/point \S+ has 4 files, the worktree 1: is that as it should be\?/),
    });
    expect((await work.run(["verify", "--worktree", "--count-tolerance", "90"])).code).toBe(0);
    expect((await work.run(["verify", "--worktree", "--sample", "101"])).code).toBe(2);
  });
});
