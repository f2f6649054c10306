/** What goes wrong, seen from the command line: exit code, `error:` and `hint:` lines, the --json form; and nothing is lost by it. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  watch,
  writeFileSync,
} from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { program as fakeProgram } from "./support/age.ts";
import { type CliOptions, type CliResult, runCli, runRestore } from "./support/cli.ts";
import { gitRepo, tempDir } from "./support/repo.ts";
import { freeBytes, hasSmallDisks, smallDisk } from "./support/small-disk.ts";
import { snapshotTree } from "./support/tree.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

const program = fileURLToPath(new URL("../dist/bin/holdfast.js", import.meta.url));

interface Refusal {
  readonly exit: number;
  readonly code: string;
  readonly error: RegExp;
  readonly hint: RegExp;
}

/** The same refusal for people and with --json. */
async function expectRefusal(args: readonly string[], cwd: string, { exit, code, error, hint }: Refusal, options: CliOptions = {}): Promise<void> {
  const plain = await runCli(args, { cwd, ...options });
  expect({ code: plain.code, stdout: plain.stdout }).toEqual({ code: exit, stdout: "" });
  expect(plain.stderr).toMatch(/^(?:.+\n)*error: .+\n(?:.+\n)*hint: .+\n$/);
  expect(plain.stderr).toMatch(error);
  expect(plain.stderr.slice(plain.stderr.lastIndexOf("hint:"))).toMatch(hint);
  const json = await runCli([...args, "--json"], { cwd, ...options });
  expect(json.code).toBe(exit);
  expect(JSON.parse(json.stdout)).toMatchObject({ v: 1, error: { code, message: expect.stringMatching(error), hint: expect.stringMatching(hint) } });
}

describe("wrong place or wrong words", () => {
  test("not a repository", async () => {
    using dir = tempDir();
    for (const args of [["backup"], ["points"], ["status"], ["restore", "latest"], ["init", "--yes"]]) {
      await expectRefusal(args, dir.path, {
        exit: 10,
        code: "not_a_repository",
        error: /not (?:in )?a git repository|no git repository/,
        hint: /-C DIR/,
      });
    }
    expect(readdirSync(dir.path)).toEqual([]);
  });

  test("not protected", async () => {
    using repo = gitRepo({ "a.txt": "one\n" });
    const before = snapshotTree(repo.path);
    for (const args of [["backup"], ["points"], ["restore", "latest"], ["sync"]]) {
      await expectRefusal(args, repo.path, { exit: 10, code: "not_protected", error: /is not protected yet/, hint: /holdfast init --yes/ });
    }
    await expectRefusal(["store", "add", "disk", "/nowhere"], repo.path, {
      exit: 10,
      code: "not_protected",
      error: /is not protected yet/,
      hint: /holdfast init --yes --store \/nowhere/,
    });
    expect(snapshotTree(repo.path, { exclude: [".git/holdfast", ".git"] })).toEqual(snapshotTree(repo.path, { exclude: [".git"] }));
    expect(before.filter(({ path }) => !path.startsWith(".git"))).toEqual(snapshotTree(repo.path, { exclude: [".git"] }));
  });

  test("an unknown commit, point and store, an ambiguous prefix", async () => {
    using work = await workspace();
    await work.backup();
    const cwd = work.repo.path;
    await expectRefusal(["restore", "no-such-branch"], cwd, {
      exit: 1,
      code: "unknown_revision",
      error: /is called no-such-branch/,
      hint: /restore-from-git --list/,
    });
    await expectRefusal(["restore", "deadbeef"], cwd, { exit: 1, code: "unknown_revision", error: /deadbeef/, hint: /restore-from-git --list/ });
    await expectRefusal(["show", "19990101"], cwd, { exit: 1, code: "unknown_point", error: /there is no point 19990101/, hint: /holdfast points/ });
    await expectRefusal(["show", "2"], cwd, { exit: 2, code: "ambiguous", error: /2 fits 2 points: \d{8}T/, hint: /give more characters/ });
    await expectRefusal(["restore", (await work.points())[0]?.id.slice(0, 8) ?? ""], cwd, {
      exit: 2,
      code: "ambiguous",
      error: /fits 2 points/,
      hint: /give more characters/,
    });
    await expectRefusal(["points", "--store", "attic"], cwd, { exit: 2, code: "usage", error: /no store called attic/, hint: /stores: local/ });
  });

  test("options that mean nothing", async () => {
    using work = await workspace();
    const cwd = work.repo.path;
    await expectRefusal(["restore", "--at", "next blursday"], cwd, {
      exit: 2,
      code: "usage",
      error: /"next blursday" is not a date/,
      hint: /--at "yesterday 18:00"/,
    });
    await expectRefusal(["restore", "--at", "2001-01-01"], cwd, {
      exit: 1,
      code: "unknown_point",
      error: /no point at or before 2001-01-01/,
      hint: /holdfast points/,
    });
    await expectRefusal(["points", "--since", "blursday"], cwd, { exit: 2, code: "usage", error: /not a date/, hint: /--at/ });
    await expectRefusal(["backup", "--kind", "hourly"], cwd, { exit: 2, code: "usage", error: /hourly/, hint: /--help/ });
    await expectRefusal(["points", "--kind", "hourly"], cwd, { exit: 2, code: "usage", error: /hourly is not a kind/, hint: /commit\|push/ });
    await expectRefusal(["backup", "--retain", "forever"], cwd, { exit: 2, code: "usage", error: /forever is not a retention/, hint: /days_N/ });
    await expectRefusal(["backup", "--retain", "days_0"], cwd, { exit: 2, code: "usage", error: /days_0/, hint: /days_N/ });
    await expectRefusal(["restroe"], cwd, { exit: 2, code: "usage", error: /unknown command/, hint: /--help/ });
    await expectRefusal(["restore", "--to", "x", "--in-place"], cwd, { exit: 2, code: "usage", error: /exclude each other/, hint: /--help/ });
    expect(await work.points()).toHaveLength(1);
  });

  test("a date that is none, before any store is looked at", async () => {
    using work = await workspace();
    rmSync(work.store, { recursive: true });
    const refusal = { exit: 2, code: "usage", error: /"whenever" is not a date/, hint: /2 hours ago/ };
    await expectRefusal(["points", "--since", "whenever"], work.repo.path, refusal);
  });

  test("settings that are not YAML, or hold an unknown key, are told with their line, and nothing is done", async () => {
    using work = await workspace();
    const file = join(work.repo.path, "backup.yaml");
    const good = readFileSync(file, "utf8");
    writeFileSync(file, `${good}\nmirrors: [unclosed\n`);
    await expectRefusal(["backup"], work.repo.path, { exit: 2, code: "config_invalid", error: /backup\.yaml:\d+: /, hint: /holdfast config check/ });
    const line = good.split("\n").length;
    writeFileSync(file, `${good}stors:\n  - name: x\n`);
    await expectRefusal(["points"], work.repo.path, {
      exit: 2,
      code: "config_invalid",
      error: new RegExp(`backup\\.yaml:${line}: unknown setting "stors"; did you mean stores\\?`),
      hint: /config check/,
    });
    writeFileSync(file, good);
    expect(await work.points()).toHaveLength(1);
    await work.backup();
  });
});

describe("the store", () => {
  test("missing: refused, and none is made in its place", async () => {
    using work = await workspace();
    const away = `${work.store}-unmounted`;
    renameSync(work.store, away);
    const missing = { exit: 10, code: "store_missing", error: /there is no store at/, hint: /is the disk mounted\?/ };
    for (const args of [["backup"], ["points"], ["restore", "latest"], ["show", "latest"]]) await expectRefusal(args, work.repo.path, missing);
    expect(existsSync(work.store)).toBe(false);
    // The mount point of a disk that is not there is an empty folder.
    mkdirSync(work.store);
    for (const args of [["backup"], ["points"]]) await expectRefusal(args, work.repo.path, missing);
    expect(readdirSync(work.store)).toEqual([]);
    const status = await work.json(["status"], 1);
    expect(status.protection).toBe("unprotected");
    expect(status.findings[0]).toMatchObject({ what: expect.stringContaining("there is no store at") });
    rmSync(work.store, { recursive: true });
    renameSync(away, work.store);
    await work.backup();
    expect(await work.points()).toHaveLength(2);
  });

  test("a copy whose disk is away is told, is no failure and not made anew; the primary and other copies go on", async () => {
    using work = await workspace();
    using far = tempDir();
    const [one, two] = [join(far.path, "one"), join(far.path, "two")];
    await work.json(["store", "add", "one", one]);
    await work.json(["store", "add", "two", two]);
    rmSync(one, { recursive: true });
    mkdirSync(one);
    await work.backup();
    const away = {
      store: "one",
      status: "away",
      missing: 1,
      message: expect.stringContaining("no longer at"),
      hint: expect.stringContaining("is the disk mounted?"),
    };
    expect((await work.json(["sync"])).copies).toMatchObject([away, { store: "two", status: "ok", sent: 1 }]);
    expect(readdirSync(one)).toEqual([]);
    expect((await work.json(["sync", "--wait"], 3)).copies).toMatchObject([away, { store: "two", status: "ok" }]);
    const { stdout } = await work.run(["status"]);
    expect(stdout).toMatch(/copy one +away since 20.*, 1 point \(.*\) waiting, last whole /);
    expect(stdout).not.toContain("- copy one");
    await work.json(["store", "remove", "one"]);
    await work.json(["store", "add", "one", one]);
    expect((await work.json(["points", "--store", "one"])).points).toHaveLength(2);
  });

  const isRoot = process.getuid?.() === 0;
  const mounts = hasSmallDisks("stores that are read-only or full");

  test.skipIf(!mounts)("read-only: refused, earlier points can be read, and it is told until it works again", async () => {
    using work = await workspace();
    using disk = smallDisk(work.store, "8m");
    await work.backup();
    execFileSync("mount", ["-o", "remount,ro", disk.path]);
    work.repo.write("b.txt", "two\n");
    await expectRefusal(["backup"], work.repo.path, {
      exit: 1,
      code: "store_unwritable",
      error: /cannot .* the store local .*EROFS/,
      hint: /check the permissions/,
    });
    expect(await work.points()).toHaveLength(2);
    await work.json(["restore", "latest", "--verify-only"]);
    expect((await work.json(["status"], 3)).findings).toContainEqual({
      what: expect.stringMatching(/the last point could not be made: .*EROFS/),
      hint: "holdfast backup",
    });
    execFileSync("mount", ["-o", "remount,rw", disk.path]);
    await work.backup();
    expect((await work.json(["status"], 3)).findings.map(({ what }: { what: string }) => what).join()).not.toContain("could not be made");
  });

  // To root every folder is its own to write; the read-only volume above shows it the same.
  if (!isRoot) {
    test("not ours to write: refused", async () => {
      using work = await workspace();
      chmodSync(work.store, 0o500);
      await expectRefusal(["backup"], work.repo.path, { exit: 1, code: "store_unwritable", error: /EACCES/, hint: /check the permissions/ });
      chmodSync(work.store, 0o700);
      await work.backup();
    });
  }

  test.skipIf(!mounts)("full: refused, earlier points are intact, nothing is left behind, and it works again after space is freed", async () => {
    using work = await workspace();
    using disk = smallDisk(work.store, "6m");
    const first = await work.backup();
    work.repo.write("large.bin", randomBytes(8 << 20));
    await expectRefusal(["backup"], work.repo.path, { exit: 1, code: "store_full", error: /ENOSPC/, hint: /free some space/ });
    expect(readdirSync(work.store).filter((name) => name.startsWith(".holdfast-"))).toEqual([]);
    // Room for the artifacts and none for the manifest.
    work.repo.write("large.bin", "small\n");
    for (const fill of [0, 4096, 8192, 12_288, 16_384, 24_576]) {
      writeFileSync(join(disk.path, "filler"), Buffer.alloc(freeBytes(disk.path) - fill));
      const { code } = await work.run(["backup"]);
      expect([0, 1]).toContain(code);
      rmSync(join(disk.path, "filler"));
      expect((await work.points()).map(({ id }) => id)).toContain(first);
    }
    await work.backup();
    const owned = new Set((await work.points()).flatMap(({ id, artifacts }) => [`${id}.json`, ...artifacts.map(({ name }) => name)]));
    const files = readdirSync(work.store, { recursive: true, encoding: "utf8" }).map((path) => path.slice(path.lastIndexOf("/") + 1));
    expect(files.filter((name) => /^(?:\d{8}T|\.holdfast-)/.test(name) && !owned.has(name))).toEqual([]);
    for (const id of [first, "latest"]) await work.json(["restore", id, "--verify-only"]);
  });

  test("full, in any words that git has for it", async () => {
    using work = await workspace();
    work.repo.write("a.txt", "two\n");
    work.repo.commit();
    const bin = join(work.path, "bin");
    mkdirSync(bin);
    const refuse = `case " $* " in *" pack-objects "*) echo "fatal: sha1 file 'x' write error. Out of diskspace" >&2; exit 128 ;; esac`;
    fakeProgram(bin, "git", `${refuse}\nPATH='${process.env["PATH"]}' exec git "$@"`);
    const env = { PATH: `${bin}${delimiter}${process.env["PATH"]}` };
    await expectRefusal(
      ["backup"],
      work.repo.path,
      { exit: 1, code: "store_full", error: /volume is full: .*Out of diskspace/, hint: /free some space/ },
      { env },
    );
  });

  test("of another repository: refused as primary and as copy, and nothing is written into it", async () => {
    using mine = await workspace({ files: { "mine.txt": "mine\n" } });
    using other = await workspace({ files: { "other.txt": "other\n" } });
    const before = snapshotTree(other.store);
    await expectRefusal(["store", "add", "theirs", other.store], mine.repo.path, {
      exit: 2,
      code: "store_foreign",
      error: /points of another repository/,
      hint: /choose another folder/,
    });
    writeFileSync(join(mine.repo.path, "backup.yaml"), `version: 1\nstores:\n  - name: local\n    url: ${other.store}\n`);
    await expectRefusal(["backup"], mine.repo.path, {
      exit: 2,
      code: "store_foreign",
      error: /points of another repository/,
      hint: /choose another folder/,
    });
    using third = gitRepo({ "third.txt": "third\n" });
    const init = await runCli(["init", "--yes", "--no-hooks", "--store", other.store], { cwd: third.path });
    expect(init).toMatchObject({ code: 2, stderr: expect.stringMatching(/^error: .* no commit in common .*\nhint: .*holdfast recover/) });
    expect(snapshotTree(other.store)).toEqual(before);
  });

  test("a clone of the repository may go on with its store", async () => {
    using work = await workspace();
    using dir = tempDir();
    work.repo.git("clone", "--quiet", work.repo.path, join(dir.path, "clone"));
    const result = await runCli(["init", "--yes", "--no-hooks", "--store", work.store], { cwd: join(dir.path, "clone") });
    expect(result.stderr).toBe("");
    expect(result.code).toBe(0);
    expect(await work.points()).toHaveLength(2);
  });

  test("a new store after the loss of the first carries the same id: old copies go on", async () => {
    using work = await workspace();
    using far = tempDir();
    await work.json(["store", "add", "far", join(far.path, "far")]);
    rmSync(work.store, { recursive: true });
    const again = await work.run(["init", "--yes", "--no-hooks"]);
    expect(again.stderr).toMatch(/^warning: there is no store at .*: a new one is begun there[^\n]*\n$/);
    expect((await work.json(["sync"])).copies).toMatchObject([{ store: "far", status: "ok" }]);
    expect((await work.json(["points", "--store", "far"])).points).toHaveLength(2);
  });
});

describe("damage", () => {
  const harms: readonly (readonly [string, (file: string) => void, seen: boolean])[] = [
    ["flipped", flipByte, false],
    ["truncated", (file) => truncateSync(file, statSync(file).size >> 1), true],
    ["deleted", (file) => rmSync(file), true],
  ];
  for (const kind of ["bundle", "idx", "tar.zst", "contents.zst", "json"]) {
    test(`a ${kind} that is flipped, truncated or deleted: the point says so, others and other copies still restore`, async () => {
      using work = await workspace();
      using far = tempDir();
      work.repo.write("b.txt", "two\n");
      work.repo.write("untracked.txt", "u\n");
      work.repo.commit();
      const hurt = await work.backup("--full");
      work.repo.write("b.txt", "three\n");
      const later = await work.backup("--full");
      await work.json(["store", "add", "far", join(far.path, "far")]);
      const file = join(work.store, hurt.slice(0, 8), `${hurt}.${kind}`);
      copyFileSync(file, join(far.path, "kept"));
      for (const [how, harm, isSeen] of harms) {
        harm(file);
        const isGone = kind === "json" && how === "deleted";
        const isSilent = (!isSeen && kind !== "json") || isGone;
        const result = await work.run(["restore", hurt, "--to", join(far.path, "no"), "--json"]);
        expect({ code: result.code, error: JSON.parse(result.stdout).error?.code }, how).toEqual(
          isGone ? { code: 1, error: "unknown_revision" } : { code: 13, error: "damaged" },
        );
        if (!isGone) expect(result.stderr).toMatch(/hint: .*--from STORE/);
        rmSync(join(far.path, "no"), { recursive: true, force: true });
        const listed = await work.json(["points"], isSilent ? 0 : 3);
        expect(listed.damaged.map(({ code }: { code: string }) => code)).toEqual(isSilent ? [] : ["damaged"]);
        if (how === "truncated") {
          expect((await work.json(["status"], 3)).damaged).toEqual([hurt]);
          for (const args of [[later], [hurt, "--from", "far"]]) await work.json(["restore", ...args, "--verify-only"]);
        }
        copyFileSync(join(far.path, "kept"), file);
      }
      await work.json(["restore", hurt, "--verify-only"]);
    });
  }

  test("of what the next point would build on, where it can be seen: the next one is a full one", async () => {
    using work = await workspace();
    const base = (await work.points())[0]?.id ?? "";
    rmSync(join(work.store, base.slice(0, 8), `${base}.tar.zst`));
    work.repo.write("b.txt", "two\n");
    const { point } = await work.json(["backup"]);
    expect(point.base).toBeNull();
    await work.json(["restore", point.id, "--verify-only"]);
  });

  test("of the newest manifest: restore names it and takes the one before", async () => {
    using work = await workspace();
    work.repo.write("b.txt", "two\n");
    const newest = await work.backup();
    writeFileSync(join(work.store, newest.slice(0, 8), `${newest}.json`), "{");
    const result = await work.run(["restore", "latest", "--verify-only"]);
    expect(result.code).toBe(0);
    expect(result.stderr).toMatch(new RegExp(`warning: manifest .*${newest}\\.json is not JSON`));
  });
});

describe("written by a newer version", () => {
  const newer = { exit: 1, code: "format_newer", error: /reads up to 1/, hint: /install that one, as its README says/ };

  test("the store", async () => {
    using work = await workspace();
    const file = join(work.store, "holdfast.json");
    const text = readFileSync(file, "utf8");
    writeFileSync(file, text.replace('"format": 1', '"format": 99'));
    for (const args of [["backup"], ["points"], ["restore", "latest"]]) await expectRefusal(args, work.repo.path, newer);
    writeFileSync(file, text);
    await work.backup();
  });

  test("a manifest: it is named, the others still restore", async () => {
    using work = await workspace();
    const first = (await work.points())[0]?.id ?? "";
    const id = await work.backup("--full");
    const file = join(work.store, id.slice(0, 8), `${id}.json`);
    writeFileSync(file, readFileSync(file, "utf8").replace('"format": 1', '"format": 99'));
    await expectRefusal(["restore", id], work.repo.path, newer);
    await expectRefusal(["show", id], work.repo.path, newer);
    expect((await work.json(["points"], 3)).damaged).toMatchObject([{ code: "format_newer" }]);
    await work.json(["restore", first, "--verify-only"]);
    await work.json(["backup"]);
  });

  test("contents", async () => {
    using work = await workspace();
    const id = await work.backup("--full");
    const file = join(work.store, id.slice(0, 8), `${id}.contents.zst`);
    const text = zstdDecompressSync(readFileSync(file)).toString("utf8");
    expect(text).toContain('"v":1,');
    rewriteArtifact(work, id, "contents.zst", Buffer.from(text.replace('"v":1,', '"v":99,')));
    await expectRefusal(["show", id], work.repo.path, newer);
    await expectRefusal(["restore", id, "--verify-only"], work.repo.path, newer);
  });
});

describe("where a restore would destroy something", () => {
  test("a target that is not empty is left as it is", async () => {
    using work = await workspace();
    using dir = tempDir();
    writeFileSync(join(dir.path, "mine.txt"), "mine");
    await expectRefusal(["restore", "latest", "--to", dir.path], work.repo.path, {
      exit: 2,
      code: "target_not_empty",
      error: /is not empty/,
      hint: /--to a folder that is new or empty/,
    });
    await expectRefusal(["restore", "latest", "--to", join(dir.path, "mine.txt")], work.repo.path, {
      exit: 2,
      code: "target_not_empty",
      error: /not a folder/,
      hint: /--to/,
    });
    expect(readdirSync(dir.path)).toEqual(["mine.txt"]);
  });

  test("in place without consent: a plan, no change, no leftover", async () => {
    using work = await workspace();
    work.repo.write("a.txt", "changed\n");
    const before = snapshotTree(work.repo.path, { exclude: [".git/holdfast", ".git/index"] });
    const result = await work.run(["restore", "latest", "--in-place", "--path", "a.txt"]);
    expect(result.code).toBe(2);
    expect(result.stdout).toMatch(/1 file overwritten/);
    expect(result.stderr).toMatch(/error: .*consent/);
    expect(snapshotTree(work.repo.path, { exclude: [".git/holdfast", ".git/index"] })).toEqual(before);
    expect(await work.points()).toHaveLength(1);
    expect(readdirSync(join(work.repo.path, ".git/holdfast")).filter((name) => name.startsWith("restoring"))).toEqual([]);
    await work.json(["restore", "latest", "--in-place", "--path", "a.txt", "--force"]);
    expect(readFileSync(join(work.repo.path, "a.txt"), "utf8")).toBe("one\n");
    expect(await work.points()).toHaveLength(2);
  });
});

describe("interrupted, locked out, cut off", () => {
  test("SIGINT while capturing: 130, nothing half published, no spool left", async () => {
    using work = await workspace();
    work.repo.write("large.bin", randomBytes(48 << 20));
    const child = start(["backup"], work);
    await appears(work.store, /^\.holdfast-spool-/);
    child.process.kill("SIGINT");
    const { code, stderr } = await child.ended;
    expect({ code, stderr }).toEqual({ code: 130, stderr: expect.stringMatching(/^error: interrupted\nhint: .*\n$/) });
    expect(readdirSync(work.store).filter((name) => name.startsWith(".holdfast-"))).toEqual([]);
    expect(await work.points()).toHaveLength(1);
    expect(existsSync(join(work.repo.path, ".git/holdfast/lock"))).toBe(false);
    work.repo.write("large.bin", "small\n");
    await work.backup();
  });

  test("another run holds the lock: 11 after the wait that was asked for", async () => {
    using work = await workspace();
    const lock = join(work.repo.path, ".git/holdfast/lock");
    using holder = holdLock(lock);
    await appears(join(work.repo.path, ".git/holdfast"), /^lock$/);
    const refusal = { exit: 11, code: "locked", error: /another run is at work: testing \(pid \d+ /, hint: /a dead one is taken over by itself/ };
    await expectRefusal(["backup"], work.repo.path, refusal, { env: { HOLDFAST_LOCK_WAIT: "0" } });
    await expectRefusal(
      ["backup"],
      work.repo.path,
      { exit: 2, code: "usage", error: /HOLDFAST_LOCK_WAIT should be seconds/, hint: /HOLDFAST_LOCK_WAIT=60/ },
      { env: { HOLDFAST_LOCK_WAIT: "soon" } },
    );
    await work.json(["points"]);
    process.kill(holder.pid, "SIGKILL");
    await work.backup();
  });

  test("a reader that closes its end early is no failure; a long answer through a pipe is whole", async () => {
    const files = Object.fromEntries(Array.from({ length: 4000 }, (_, at) => [`folder/with a rather long name/file number ${at}.txt`, `${at}`]));
    using work = await workspace({ files });
    const shell = (command: string): ReturnType<typeof spawnSync> =>
      spawnSync("sh", ["-c", command, "sh", process.execPath, program], { cwd: work.repo.path, encoding: "utf8", maxBuffer: 1 << 26 });
    const cut = shell('{ "$1" "$2" show latest --files; echo "exit $?" >&2; } | head -1');
    expect({ stdout: cut.stdout, stderr: cut.stderr }).toEqual({ stdout: expect.stringMatching(/^Point \d{8}T.*\n$/), stderr: "exit 0\n" });
    const whole = shell('"$1" "$2" show latest --files --json | { sleep 1; cat; }');
    expect(String(whole.stdout).length).toBeGreaterThan(600_000);
    expect(JSON.parse(String(whole.stdout)).files.length).toBeGreaterThan(4000);
  });
});

function randomBytes(length: number): Buffer {
  return execFileSync("head", ["-c", String(length), "/dev/urandom"], { maxBuffer: length + 1 });
}

function flipByte(file: string): void {
  const bytes = readFileSync(file);
  const at = file.endsWith(".json") ? 0 : bytes.length >> 1;
  bytes[at] = (bytes[at] ?? 0) ^ 0x10;
  writeFileSync(file, bytes);
}

/** Another version of an artifact, with sums in the manifest that fit, and without a signature that no longer would. */
function rewriteArtifact(work: Workspace, id: string, kind: string, plain: Buffer): void {
  const file = join(work.store, id.slice(0, 8), `${id}.${kind}`);
  const manifestFile = join(work.store, id.slice(0, 8), `${id}.json`);
  const stored = zstdCompressSync(plain);
  writeFileSync(file, stored);
  const manifest = JSON.parse(readFileSync(manifestFile, "utf8"));
  const artifact = manifest.artifacts.find(({ name }: { name: string }) => name === `${id}.${kind}`);
  const sum = (bytes: Buffer): string => execFileSync("sha256sum", { input: bytes, encoding: "utf8" }).slice(0, 64);
  Object.assign(artifact, { size: stored.length, sha256: sum(stored), plainSize: plain.length, plainSha256: sum(plain) });
  writeFileSync(manifestFile, JSON.stringify({ ...manifest, signature: null }));
}

function start(args: readonly string[], work: Workspace): { process: ChildProcess; ended: Promise<{ code: number | null; stderr: string }> } {
  const child = spawn(process.execPath, [program, ...args], { cwd: work.repo.path, stdio: ["ignore", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.on("data", (chunk: Buffer) => {
    stderr += chunk.toString("utf8");
  });
  return { process: child, ended: new Promise((resolve) => child.once("close", (code) => resolve({ code, stderr }))) };
}

/** Resolves when the folder has an entry whose name fits. */
async function appears(folder: string, name: RegExp): Promise<void> {
  await new Promise<void>((resolve) => {
    const watcher = watch(folder, look);
    function look(): void {
      if (!readdirSync(folder).some((entry) => name.test(entry))) return;
      watcher.close();
      resolve();
    }
    look();
  });
}

/** A process of ours that holds the lock until it is ended. */
function holdLock(path: string): { readonly pid: number } & Disposable {
  const module = fileURLToPath(new URL("../src/state/lock.ts", import.meta.url));
  const code = `const { acquireLock } = await import(${JSON.stringify(module)}); await acquireLock(${JSON.stringify(path)}, { purpose: "testing" }); setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", code], { stdio: "ignore" });
  return { pid: child.pid ?? 0, [Symbol.dispose]: () => void child.kill("SIGKILL") };
}

test("restore-from-git is the same program", async () => {
  using dir = tempDir();
  const result: CliResult = await runRestore(["latest"], { cwd: dir.path });
  expect(result).toMatchObject({ code: 10, stdout: "", stderr: expect.stringMatching(/^error: .*\nhint: /) });
});
