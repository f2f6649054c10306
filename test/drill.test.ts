/** `holdfast drill`: proof by restoring, and the evidence of it. */
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { addEvidence, readEvidence } from "../src/drill/evidence.ts";
import { stateLayout } from "../src/state/layout.ts";
import { thisProcess } from "../src/state/owner.ts";
import { programs } from "./support/cli.ts";
import { tempDir } from "./support/repo.ts";
import { until } from "./support/until.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

const stateOf = (work: Workspace) => stateLayout(join(work.repo.path, ".git/holdfast"));

/** What drills put into the temporary folder of this run. */
const scratches = (folder: string): string[] => readdirSync(folder).filter((name) => name.startsWith("holdfast-drill-"));

function makeDatabase(path: string): void {
  const database = new DatabaseSync(path);
  database.exec(
    "CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE child (parent INTEGER REFERENCES parent (id)); INSERT INTO parent VALUES (1)",
  );
  for (let row = 0; row < 2000; row += 1) database.exec("INSERT INTO child VALUES (1)");
  database.close();
}

test("the newest point and an older one are restored, compared and checked; the proof is kept, the folder is not", async () => {
  using dir = tempDir();
  using work = await workspace({ init: ["--no-hooks", "--store", join(dir.path, "copy")] });
  makeDatabase(join(work.repo.path, "notes.db"));
  const older = await work.backup();
  work.repo.write("later.md", "later\n");
  const latest = await work.backup();
  await work.json(["sync"]);
  const temporary = join(dir.path, "tmp");
  mkdirSync(temporary);

  const { code, stdout, stderr } = await work.run(["drill", "--check", 'test -f notes.db && echo "looking at $(basename "$PWD")"'], {
    env: { TMPDIR: temporary },
  });
  expect({ code, lines: stdout.split("\n") }).toMatchObject({ code: 0, lines: expect.arrayContaining(["PROVEN  local2"]) });
  expect(stdout).toMatch(
    new RegExp(`latest  ${latest}: \\d+ files \\(.*\\) and 1 ref in .*, 1 database, signed by [^,]+, your check in .*, all as captured\n`),
  );
  expect(stdout).toMatch(/\nRecovery time: .*\nRecovery point: /);
  expect(stderr).toContain(`looking at ${latest}`);
  expect(readdirSync(temporary)).toEqual([]);
  const [evidence] = readEvidence(stateOf(work).drills);
  expect(evidence).toMatchObject({ store: "local2", isOffsite: false, isProven: true, error: null });
  expect(evidence?.points.map(({ role, id }) => [role, id])[0]).toEqual(["latest", latest]);
  expect((await work.points()).map(({ id }) => id)).toContain(evidence?.points[1]?.id);
  expect(evidence?.points[1]?.id).not.toBe(latest);
  expect(older).toBeDefined();
  const { drill } = await work.json(["drill", "--store", "local"]);
  expect(drill).toMatchObject({ store: "local", isProven: true, points: [{ check: null, signature: { status: "trusted" } }, {}] });
  expect(readEvidence(stateOf(work).drills)).toHaveLength(2);
});

test("what is not as captured is named: a damaged copy, a database that is not whole, a check that fails", async () => {
  using dir = tempDir();
  using work = await workspace({ init: ["--no-hooks", "--store", join(dir.path, "copy")] });
  const database = join(work.repo.path, "notes.db");
  makeDatabase(database);
  const bytes = readFileSync(database);
  bytes.fill(0xff, 4096, 4096 + 200); // the root page of a table
  writeFileSync(database, bytes);
  const torn = await work.backup();
  const one = await work.json(["drill", "--store", "local", "--check", "exit 7"], 13);
  expect(one.drill.isProven).toBe(false);
  expect(one.drill.recoveryMs).toBeNull();
  expect(one.drill.points[0].findings).toEqual([expect.stringMatching(/^database notes\.db: /), "the check `exit 7` ended with 7"]);

  await work.json(["sync"]);
  const [day] = readdirSync(join(dir.path, "copy")).filter((name) => /^\d{8}$/.test(name));
  const tarball = join(dir.path, "copy", day ?? "", `${torn}.tar.zst`);
  const damaged = readFileSync(tarball);
  damaged[damaged.length >> 1] = (damaged[damaged.length >> 1] ?? 0) ^ 1;
  writeFileSync(tarball, damaged);
  const two = await work.json(["drill"], 13);
  expect(two.drill).toMatchObject({ store: "local2", isProven: false });
  expect(two.drill.points[0].findings).toEqual([expect.stringContaining(`${torn}.tar.zst`)]);

  rmSync(join(dir.path, "copy"), { recursive: true });
  const three = await work.run(["drill"]);
  expect(three.code).toBe(13);
  expect(three.stdout).toMatch(/^NOT PROVEN {2}local2\n {2}it could not be carried out: /);
  expect(readEvidence(stateOf(work).drills).map(({ isProven }) => isProven)).toEqual([false, false, false]);
});

test("where objects were missing already, the proof says that git did not check", async () => {
  using work = await workspace({ isProtected: false });
  const blob = work.repo.git("rev-parse", "HEAD:a.txt");
  work.repo.write("a.txt", "two\n");
  work.repo.commit();
  rmSync(join(work.repo.path, ".git/objects", blob.slice(0, 2), blob.slice(2)));
  await work.run(["init", "--yes", "--no-hooks", "--store", work.store]);
  const { code, stdout } = await work.run(["drill"]);
  expect([code, stdout]).toEqual([0, expect.stringMatching(/ in [^,]+, not checked by git, .*all as captured\n {4}the point itself was partial/)]);
  expect(readEvidence(stateOf(work).drills)).toMatchObject([{ isProven: true, points: [{ fsck: false }] }]);
});

test("a command in settings that git tracks is not run", async () => {
  using work = await workspace();
  const marker = join(work.path, "ran");
  const settings = join(work.repo.path, "backup.yaml");
  writeFileSync(settings, `${readFileSync(settings, "utf8")}\ndrill:\n  check: touch ${marker}\n`);
  expect((await work.run(["drill"])).code).toBe(0);
  expect(existsSync(marker)).toBe(true);
  rmSync(marker);
  work.repo.git("add", "-f", "backup.yaml");
  const { code, stderr } = await work.run(["drill"]);
  expect([code, stderr]).toEqual([2, expect.stringMatching(/is tracked by git, so the command drill\.check in it is not run\nhint: .*--check/)]);
  expect(existsSync(marker)).toBe(false);
  expect((await work.run(["drill", "--check", "true"])).code).toBe(0);
});

test("nothing of a point is run that no trusted key signed, and status tells of the failure until it went well", async () => {
  using dir = tempDir();
  using work = await workspace({ init: ["--no-hooks", "--store", join(dir.path, "copy")] });
  const latest = await work.backup();
  await work.json(["sync"]);
  const marker = join(dir.path, "ran");
  const manifest = join(dir.path, "copy", latest.slice(0, 8), `${latest}.json`);
  const signed = readFileSync(manifest, "utf8");
  writeFileSync(manifest, JSON.stringify({ ...JSON.parse(signed), signature: null }));
  const failed = await work.json(["drill", "--store", "local2", "--check", `touch ${marker}`], 13);
  expect(failed.drill.points[0]).toMatchObject({ signature: { status: "unsigned" }, findings: [expect.stringContaining("your check was not run")] });
  writeFileSync(manifest, signed.replace('"manual"', '"daily"'));
  const changed = await work.json(["drill", "--store", "local2", "--check", `touch ${marker}`], 13);
  expect(changed.drill.points[0]).toMatchObject({ files: 0, signature: { status: "bad" } });
  expect(existsSync(marker)).toBe(false);
  expect((await work.run(["status"])).stdout).toMatch(/last drill +FAILED .* from local2\n[\s\S]*- the last drill from local2 failed: /);

  writeFileSync(manifest, signed);
  for (const _ of [1, 2]) expect((await work.run(["drill", "--store", "local2", "--check", `touch ${marker}`])).code).toBe(0);
  expect(existsSync(marker)).toBe(true);
  await work.json(["verify", "--read-data"]);
  const { stdout } = await work.run(["status"]);
  expect(stdout).toMatch(/last drill +proven .* from local2 in .*s, before .*s\n/);
  expect(stdout).toMatch(/last verify +.* of local: \d+ artifacts read, nothing damaged\n/);
  expect(stdout).not.toContain("drill from");
  const status = await work.json(["status"], 3);
  expect(status).toMatchObject({ drills: [{}, {}, { isProven: true }, { store: "local2" }], verifications: [{ store: "local", damaged: 0 }] });
});

test("a store's last drill that failed is told, however many of another store came after it", async () => {
  using dir = tempDir();
  using work = await workspace({ init: ["--no-hooks", "--store", join(dir.path, "copy")] });
  const evidence = { isOffsite: false, isProven: true, points: [], recoveryMs: 1000, pointAgeMs: 0, error: null };
  const at = (day: number): string => new Date(Date.UTC(2026, 0, day)).toISOString();
  addEvidence(stateOf(work).drills, { ...evidence, at: at(1), store: "local", isProven: false, recoveryMs: null, error: "it is gone" });
  for (let day = 2; day <= 40; day += 1) addEvidence(stateOf(work).drills, { ...evidence, at: at(day), store: "local2" });
  const { findings, drills } = await work.json(["status"], 3);
  expect(findings).toContainEqual({ what: "the last drill from local failed: it is gone", hint: "holdfast drill --store local" });
  expect(drills).toHaveLength(31);
});

test("without the key nothing was tried: exit 12, and no evidence against the copy", async () => {
  using work = await workspace({ init: ["--no-hooks", "--encrypt"] });
  expect((await work.run(["drill"])).code).toBe(0);
  rmSync((await work.json(["key", "show"])).key.path);
  const { code, stderr } = await work.run(["drill"]);
  expect([code, stderr]).toEqual([12, expect.stringContaining("--identity FILE")]);
  expect(readEvidence(stateOf(work).drills).map(({ isProven }) => isProven)).toEqual([true]);
});

test("what a killed drill leaves is removed by the next one, and by the next point", async () => {
  using dir = tempDir();
  using work = await workspace();
  const env = { ...process.env, TMPDIR: dir.path };
  for (const next of [["drill"], ["backup"]]) {
    const child = spawn(process.execPath, [programs.holdfast, "drill", "--check", "echo $$ > pid; sleep 600"], {
      cwd: work.repo.path,
      env,
      stdio: "ignore",
    });
    const pidFile = (): string | undefined => {
      const [scratch = "none"] = scratches(dir.path);
      const [point] = existsSync(join(dir.path, scratch)) ? readdirSync(join(dir.path, scratch)) : [];
      const file = join(dir.path, scratch, point ?? "none", "pid");
      return existsSync(file) && readFileSync(file, "utf8").endsWith("\n") ? file : undefined;
    };
    await until("the check runs", () => pidFile() !== undefined);
    const check = Number(readFileSync(pidFile() ?? "", "utf8"));
    child.kill("SIGKILL");
    await new Promise((resolve) => child.once("close", resolve));
    process.kill(-check, "SIGKILL"); // ours: the group that the drill had started
    expect(scratches(dir.path)).toHaveLength(1);
    rmSync(stateOf(work).swept, { force: true });
    expect((await work.run(next, { env: { TMPDIR: dir.path } })).code).toBe(0);
    expect(scratches(dir.path)).toEqual([]);
  }
});

test("leftovers that cannot be removed keep no point from being made, and are told", async () => {
  using work = await workspace();
  const { swept, scratch, log } = stateOf(work);
  const note = { ...thisProcess(), bootId: "an earlier one", token: "0123456789abcdef", purpose: "drill", startedAt: "2026-11-21T12:00:00Z" };
  mkdirSync(scratch);
  writeFileSync(
    join(scratch, "holdfast-drill-0123456789abcdef.json"),
    JSON.stringify({ ...note, folder: `/${"x".repeat(300)}` }), // a name that no file system takes
  );
  rmSync(swept, { force: true });
  await work.backup();
  expect(readFileSync(log, "utf8")).toMatch(/"leftovers_kept".*ENAMETOOLONG/);
  expect(existsSync(swept)).toBe(true);
});

test("one that is interrupted ends its check, keeps no evidence, and cleans up", async () => {
  using dir = tempDir();
  using work = await workspace();
  const child = spawn(process.execPath, [programs.holdfast, "drill", "--check", "touch started; sleep 600"], {
    cwd: work.repo.path,
    env: { ...process.env, TMPDIR: dir.path },
    stdio: "ignore",
  });
  await until("the check runs", () =>
    scratches(dir.path).some((name) => readdirSync(join(dir.path, name)).some((point) => existsSync(join(dir.path, name, point, "started")))),
  );
  child.kill("SIGINT");
  const code = await new Promise((resolve) => child.once("close", resolve));
  expect(code).toBe(130);
  expect(scratches(dir.path)).toEqual([]);
  expect(readEvidence(stateOf(work).drills)).toEqual([]);
});
