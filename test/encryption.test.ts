/** Encrypted points by the built program: made without a secret, opened with it, and by stock tools alone. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
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
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { manifestKey } from "../src/core/manifest.ts";
import { readEvidence } from "../src/drill/evidence.ts";
import { keygen } from "./support/age.ts";
import { type CliResult, runCli } from "./support/cli.ts";
import { needs } from "./support/needs.ts";
import { type TempDir, tempDir } from "./support/repo.ts";
import { repositoryState } from "./support/repository-state.ts";
import { runScript } from "./support/restore-script.ts";
import { snapshotTree } from "./support/tree.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

const hasAge = needs("age", "opening encrypted points without Holdfast");
const hasZstd = needs("zstd", "restore.sh tests");

/** None of these may stand anywhere in a store. */
const secrets = ["Kolibri", "papagei", "Nachtigall", "Zaunkoenig", "Rotkehlchen", "Wiedehopf", "Eisvogel"];
const files = { "Kolibri.md": "Rotkehlchen\n", "papagei/a.txt": "one\n" };

let config: TempDir;
let work: Workspace;
let identity = "";
const environment = (): Record<string, string> => ({ HOLDFAST_CONFIG_DIR: config.path });

beforeEach(() => {
  config = tempDir();
  identity = join(config.path, "identity.txt");
  process.env["HOLDFAST_CONFIG_DIR"] = config.path;
});
afterEach(() => {
  delete process.env["HOLDFAST_CONFIG_DIR"];
  work?.[Symbol.dispose]();
  config[Symbol.dispose]();
});

async function encrypted(...init: readonly string[]): Promise<void> {
  work = await workspace({ files, init: ["--no-hooks", "--encrypt", ...init] });
}

function bytesOf(folder: string): Buffer {
  const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
  return Buffer.concat(
    names.flatMap((name) => [Buffer.from(`${name}\n`), ...(statSync(join(folder, name)).isFile() ? [readFileSync(join(folder, name))] : [])]),
  );
}

function restored(): string {
  return join(work.path, "restored");
}

describe("init --encrypt", () => {
  test("makes a key for its owner alone, proves the point, and puts nothing plain into the store", async () => {
    work = await workspace({ files, isProtected: false });
    work.repo.git("branch", "Nachtigall");
    work.repo.write("Eisvogel.txt", "Wiedehopf\n");
    const { code, stdout, stderr } = await work.run(["init", "--yes", "--no-hooks", "--encrypt", "--store", work.store]);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    expect(stdout).toMatch(/Points are encrypted from now on\.\n {2}key {8}\S+identity\.txt \(made now\)\n {2}recipient {2}age1/);
    expect(stdout).toContain("Proven: restored it");
    expect(stdout).toContain("holdfast key kit");
    expect(stdout + readFileSync(join(work.repo.path, "backup.yaml"), "utf8")).not.toContain("AGE-SECRET-KEY");
    expect((statSync(identity).mode & 0o777).toString(8)).toBe("600");
    await work.backup("-m", "Zaunkoenig", "--ticket", "Zaunkoenig-1");
    await work.run(["doctor"]);
    const [first, second] = await work.points();
    for (const { artifacts } of [first, second].flatMap((point) => point ?? [])) for (const { name } of artifacts) expect(name).toMatch(/\.age$/);
    const stored = bytesOf(work.store).toString("latin1");
    for (const word of [...secrets, "test-repository", work.repo.path, work.repo.path.split("/").at(-1) ?? ""])
      expect(stored.includes(word), word).toBe(false);
    expect(JSON.parse(readFileSync(join(work.store, "backup_metadata.json"), "utf8"))).toMatchObject({
      name: expect.stringMatching(/^encrypted-[0-9a-f]{8}$/),
      manual: [{ description: null }, { description: null }],
    });
    // What waited to be encrypted is gone.
    expect(readdirSync(join(work.repo.path, ".git/holdfast")).filter((name) => name.startsWith("plain-"))).toEqual([]);
    expect(await work.json(["show", second?.id ?? ""])).toMatchObject({ note: { text: "Zaunkoenig", ticket: "Zaunkoenig-1" } });
  });

  test("takes the user's key for a second repository, without reading a secret", async () => {
    await encrypted();
    const recipient = (await work.json(["key", "show"])).key.own[0];
    renameSync(identity, join(config.path, "elsewhere"));
    using second = await workspace({ isProtected: false });
    const { code, stdout, stderr } = await second.run(["init", "--yes", "--no-hooks", "--encrypt", "--store", second.store]);
    expect(stdout).toContain(recipient);
    expect(stderr).toMatch(/warning: there is no key at \S+: make sure that you have it elsewhere/);
    expect(stdout).toContain("NOT proven: the key is not here");
    expect(code).toBe(3);
    expect(existsSync(identity)).toBe(false);
    expect((await second.points()).length).toBe(1);
  });

  test("a second time, with --no-encrypt, says how to stop", async () => {
    await encrypted();
    expect(await work.run(["init", "--yes", "--no-encrypt"])).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/encrypted already\nhint: .*encryption:/),
    });
  });
});

test("a backup reads no secret: with the key away, after a lost memory, a week later", async () => {
  await encrypted();
  const away = join(config.path, "away");
  mkdirSync(away);
  renameSync(identity, join(away, "identity.txt"));
  rmSync(join(config.path, "recipients.txt"));
  const ids: string[] = [];
  for (const round of [1, 2, 3, 4]) {
    work.repo.write("papagei/a.txt", `round ${round}\n`);
    if (round === 2) work.repo.commit();
    if (round === 3) rmSync(join(work.repo.path, ".git/holdfast/capture"), { recursive: true });
    if (round === 4) work.repo.git("commit", "-q", "--amend", "-m", "forced");
    ids.push(round === 4 ? (await work.json(["backup", "--full"])).point.id : await work.backup());
  }
  expect((await work.run(["status"])).code).not.toBe(12);
  expect((await work.run(["points"])).code).toBe(0);
  expect(readFileSync(join(work.repo.path, ".git/holdfast/log.ndjson"), "utf8")).toContain('"event":"history_not_compared"');
  // Nothing opens here …
  for (const args of [
    ["show", "latest"],
    ["restore", "latest", "--verify-only"],
    ["restore", "--lost"],
  ])
    expect(await work.run(args)).toMatchObject({
      code: 12,
      stderr: expect.stringMatching(/the key is not here: there is no .*identity\.txt\nhint: .*--identity FILE/),
    });
  // … and everything with the key, named by the option, the variable, .env or backup.yaml.
  const key = join(away, "identity.txt");
  for (const id of ids) expect(await work.run(["restore", id, "--verify-only", "--identity", key])).toMatchObject({ code: 0 });
  expect((await work.run(["show", "latest"], { env: { HOLDFAST_IDENTITY: key } })).code).toBe(0);
  writeFileSync(join(work.repo.path, ".env"), `HOLDFAST_IDENTITY=${key}\n`);
  expect((await work.run(["show", "latest"])).code).toBe(0);
  rmSync(join(work.repo.path, ".env"));
  appendFileSync(join(work.repo.path, "backup.yaml"), `  identity: ${key}\n`);
  expect((await work.run(["show", "latest"])).code).toBe(0);
  expect((await work.run(["show", "latest"], { env: { HOLDFAST_IDENTITY: "/nowhere" } })).stderr).toContain(
    "/nowhere (named by --identity or HOLDFAST_IDENTITY)",
  );
});

test("a key that others may read is told", async () => {
  await encrypted();
  execFileSync("chmod", ["644", identity]);
  expect((await work.run(["show", "latest"])).stderr).toMatch(/warning: other users of this machine can read the key .*chmod 600/);
});

describe("what cannot be opened is named", () => {
  /** The bundle's file in the store. */
  const bundle = async (): Promise<string> => {
    const point = (await work.points())[0];
    const name = point?.artifacts.find((artifact) => artifact.name.includes(".bundle"))?.name ?? "";
    return join(work.store, manifestKey(point?.id ?? "").slice(0, 9), name);
  };
  const verify = (...more: string[]) => work.run(["restore", "latest", "--verify-only", ...more]);

  test("a wrong key, a changed, a truncated, a swapped and a missing artifact, each by its exit code", async () => {
    await encrypted();
    await work.run(["key", "new", "--output", join(work.path, "other.txt")]);
    const wrong = await verify("--identity", join(work.path, "other.txt"));
    expect(wrong).toMatchObject({ code: 12, stderr: expect.stringMatching(/no key in \S+other\.txt opens \S+\.age\nhint: holdfast key show/) });
    const file = await bundle();
    const whole = readFileSync(file);
    const changed = Buffer.from(whole);
    changed[whole.length - 40] = (changed[whole.length - 40] ?? 0) ^ 1;
    writeFileSync(file, changed);
    expect(await verify()).toMatchObject({ code: 13, stderr: expect.stringContaining("does not have the sha256 of its manifest") });
    // With a wrong key too: damage is not taken for a matter of keys.
    const contents = file.replace(".bundle.", ".contents.zst.");
    const list = readFileSync(contents);
    truncateSync(contents, list.length - 10);
    expect(await verify("--identity", join(work.path, "other.txt"))).toMatchObject({ code: 13 });
    writeFileSync(contents, list);
    copyFileSync(file.replace(".bundle.", ".tar.zst."), file);
    expect(await verify()).toMatchObject({ code: 13 });
    truncateSync(file, 100);
    expect(await verify()).toMatchObject({ code: 13 });
    rmSync(file);
    expect(await verify()).toMatchObject({ code: 13 });
    writeFileSync(file, whole);
    expect(await verify()).toMatchObject({ code: 0 });
  });
});

test("a mistyped key is named by its line and shown nowhere, and no point is called damaged", async () => {
  await encrypted();
  const key = readFileSync(identity, "utf8");
  // The last three signs before the end of the line: one is another now.
  const mistyped = key.replace(/.(..)\n$/, (end, rest) => `${end.startsWith("Q") ? "P" : "Q"}${rest}\n`);
  const typed = join(work.path, "key.txt");
  writeFileSync(typed, mistyped);
  const told = {
    stderr: expect.stringMatching(/error: line 3 of \S+ is a mistyped key: its checksum does not fit\nhint: compare it with the printed sheet/),
  };
  const results: CliResult[] = [];
  const run = async (code: number, ...args: string[]): Promise<void> => {
    const result = await work.run(args);
    expect(result, args.join(" ")).toMatchObject({ code, ...(code === 12 ? told : {}) });
    results.push(result);
  };
  await run(12, "recover", work.store, join(work.path, "back"), "--identity", typed);
  await run(12, "restore", "latest", "--verify-only", "--identity", typed);
  await run(12, "drill", "--store", "local", "--identity", typed);
  // As without a key: every byte is as it was written, and nothing was decoded.
  await run(3, "verify", "--decode", "--identity", typed);
  writeFileSync(identity, mistyped);
  for (const action of ["show", "kit", "rotate"]) await run(12, "key", action);
  await run(12, "key", "show", "--json");
  expect(results.at(-1)?.stdout).toContain('"code": "key_wrong"');
  await run(3, "status");
  expect(readFileSync(identity, "utf8")).toBe(mistyped);
  const state = join(work.repo.path, ".git/holdfast");
  expect(readEvidence(join(state, "drills.ndjson"))).toEqual([]);
  expect(JSON.stringify(results) + bytesOf(state).toString("latin1")).not.toContain("AGE-SECRET-KEY");
  writeFileSync(identity, key);
  await run(0, "restore", "latest", "--verify-only");
});

test("what reads contents takes a key that is kept elsewhere, and says what to do without it; a backup goes on", async () => {
  await encrypted();
  work.repo.write("Kolibri.md", "Zaunkoenig\n");
  await work.backup();
  const elsewhere = join(work.path, "stick.txt");
  renameSync(identity, elsewhere);
  const reading = [
    ["find", "*.md"],
    ["diff", "latest"],
    ["show", "latest"],
    ["drill", "--store", "local"],
    ["restore", "latest", "--verify-only"],
  ];
  for (const args of reading) {
    expect(await work.run(args), args.join(" ")).toMatchObject({
      code: 12,
      stderr: expect.stringMatching(/error: the key is not here: there is no \S+identity\.txt\nhint: .*--identity FILE/),
    });
    expect(await work.run([...args, "--identity", elsewhere]), args.join(" ")).toMatchObject({ code: 0 });
  }
  const blind = await work.run(["verify", "--decode"]);
  expect(blind).toMatchObject({ code: 3, stdout: expect.stringMatching(/ read, 0 of them decoded\.\nEvery byte is as it was written; /) });
  expect(blind.stderr).toContain("--identity FILE");
  expect(await work.run(["verify", "--decode", "--identity", elsewhere])).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("read and decoded"),
  });
  // A drill without the key tells nothing about the store, and is no evidence.
  expect(readEvidence(join(work.repo.path, ".git/holdfast/drills.ndjson")).map(({ isProven }) => isProven)).toEqual([true]);

  const missing = "points are encrypted, and their key is not here";
  expect((await work.run(["status"])).stdout).toContain(missing);
  expect((await work.run(["doctor"])).stdout).toMatch(new RegExp(`^ok {6}key: ${missing}.*\\n {8}hint: .*holdfast drill --identity FILE`, "m"));
  renameSync(elsewhere, identity);
  chmodSync(identity, 0o644);
  expect((await work.run(["status"])).stdout).toMatch(/other users of this machine can read the key \S+\n {4}chmod 600 \S+identity\.txt\n/);
  expect((await work.run(["doctor"])).stdout).toMatch(/^mended {2}key: other users/m);
  expect((statSync(identity).mode & 0o777).toString(8)).toBe("600");
});

describe("a store that stands elsewhere", () => {
  test("turns encryption on: a key, a full encrypted point, and what to do with the key", async () => {
    work = await workspace({ files });
    const remote = join(work.path, "remote.git");
    work.repo.git("init", "-q", "--bare", remote);
    // By its address it is on another host; git is told that it is here.
    const url = "ssh://backup.invalid/r.git";
    const env = { GIT_CONFIG_COUNT: "1", GIT_CONFIG_KEY_0: `url.${remote}.insteadOf`, GIT_CONFIG_VALUE_0: url };
    const { stdout } = await work.run(["store", "add", "off", `branch:${url}#holdfast/backup`], { env });
    expect(stdout).toMatch(/Points are encrypted from now on\.[\s\S]*holdfast key kit\nPoint \S+ \(manual, full\)/);
    const [plain, sealed] = await work.points();
    expect([plain?.artifacts[0]?.name.endsWith(".age"), sealed?.artifacts[0]?.name.endsWith(".age"), sealed?.base]).toEqual([false, true, null]);
    expect(readFileSync(join(work.repo.path, "backup.yaml"), "utf8")).toMatch(/encryption:\n {2}recipients:\n {4}- age1/);
    expect(await work.run(["restore", sealed?.id ?? "", "--verify-only"])).toMatchObject({ code: 0 });
    expect(await work.run(["restore", plain?.id ?? "", "--verify-only"])).toMatchObject({ code: 0 });
  });

  test("does not with --no-encrypt, which the settings remember", async () => {
    work = await workspace({ files });
    const args = ["store", "add", "off", "branch:ssh://127.0.0.1:1/r.git#holdfast/backup", "--no-encrypt"];
    const { stdout } = await work.run(args);
    expect(stdout).not.toContain("encrypted");
    expect(existsSync(identity)).toBe(false);
    expect(readFileSync(join(work.repo.path, "backup.yaml"), "utf8")).toMatch(/name: off\n.*\n {4}encrypt: false/);
  });
});

test("another machine joins an encrypted branch with its key, and makes no key of its own without", async () => {
  await encrypted();
  const remote = join(work.path, "remote.git");
  work.repo.git("init", "-q", "--bare", remote);
  await work.json(["store", "add", "hub", `branch:${remote}#holdfast/backup`]);
  const clone = join(work.path, "clone");
  work.repo.git("clone", "-q", work.repo.path, clone);
  const second = { HOLDFAST_CONFIG_DIR: join(work.path, "second-config") };
  const join2 = [
    "init",
    "--yes",
    "--no-hooks",
    "--encrypt",
    "--store",
    join(work.path, "second-store"),
    "--store",
    `branch:${remote}#holdfast/backup`,
  ];
  const stranger = await runCli(join2, { cwd: clone, env: second });
  expect(stranger).toMatchObject({ code: 12, stderr: expect.stringMatching(/the key is not here[\s\S]*--identity FILE/) });
  expect(existsSync(second.HOLDFAST_CONFIG_DIR)).toBe(false);
  const joined = await runCli([...join2, "--identity", identity], { cwd: clone, env: second });
  expect(joined).toMatchObject({ code: 0, stdout: expect.stringContaining("Proven") });
  expect(JSON.parse(readFileSync(join(work.path, "second-store/holdfast.json"), "utf8"))).toEqual({
    ...JSON.parse(readFileSync(join(work.store, "holdfast.json"), "utf8")),
    created: expect.any(String),
  });
});

describe.skipIf(!hasAge || !hasZstd)("restore.sh", () => {
  const script = (...args: string[]) => runScript(work.store, args, { with: ["age"] });

  test("opens encrypted points with age alone: incremental, rotated, and with several keys in the file", async () => {
    await encrypted();
    work.repo.write("Eisvogel.txt", "Wiedehopf\n");
    work.repo.commit();
    const old = await work.backup();
    const state = repositoryState(work.repo.path);
    expect(script("--identity", identity, old, restored())).toMatchObject({ status: 0, stderr: "" });
    expect(repositoryState(restored())).toEqual(state);
    const usual = runScript(work.store, ["latest", `${restored()}-usual`], { with: ["age"], env: environment() });
    expect(usual).toMatchObject({ status: 0 });
    const named = runScript(work.store, ["latest", `${restored()}-named`], { with: ["age"], env: { HOLDFAST_IDENTITY: identity } });
    expect(named).toMatchObject({ status: 0 });
    await work.json(["key", "rotate", "--rewrap"]);
    expect(script(`--identity=${identity}`, old, `${restored()}-old`)).toMatchObject({ status: 0 });
    expect(snapshotTree(`${restored()}-old`, { exclude: [".git"] })).toEqual(snapshotTree(restored(), { exclude: [".git"] }));
  });

  test("says what is missing: the key, the right key, the program; and writes nothing", async () => {
    await encrypted();
    const { file: other } = keygen(work.path, "other.txt");
    const target = restored();
    expect(script("latest", target)).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/^error: .*no key was named\nhint: sh restore\.sh --identity FILE/),
    });
    expect(script("--identity", "/nowhere", "latest", target).stderr).toMatch(/no key that can be read at \/nowhere/);
    expect(script("--identity", other, "latest", target).stderr).toMatch(/other\.txt does not open \S+\.age\nhint: name another one/);
    expect(script("--identity")).toMatchObject({ status: 1, stderr: expect.stringContaining("--identity needs a file") });
    expect(runScript(work.store, ["--identity", identity, "latest", target]).stderr).toMatch(/the program age is missing\nhint: install age/);
    expect(script("--list")).toMatchObject({ status: 0, stdout: expect.stringMatching(/^\d{8}T/) });
    expect(readdirSync(target)).toEqual([]);
  });
});

describe.skipIf(!hasAge || !hasZstd)("restore.sh and a hostile store", () => {
  test("looks at what it has opened as at what was plain: whoever knows the recipient can encrypt for it", async () => {
    await encrypted();
    const { id, artifacts } = (await work.points())[0] ?? { id: "", artifacts: [] };
    const folder = join(work.path, "forged");
    const victim = join(work.path, "victim");
    mkdirSync(join(folder, "untracked/out"), { recursive: true });
    mkdirSync(victim);
    const [tar, sealed] = [join(work.path, "t.tar"), join(work.path, "t.tar.zst.age")];
    execFileSync("ln", ["-s", victim, join(work.path, "out")]);
    writeFileSync(join(folder, "untracked/out/file"), "evil");
    // A link, and then a file through it.
    execFileSync("tar", ["-cf", tar, "-C", work.path, "--transform", "s,^,untracked/,", "out"]);
    execFileSync("tar", ["-rf", tar, "-C", folder, "untracked/out/file"]);
    const recipient = (await work.json(["key", "show"])).key.own[0];
    execFileSync("sh", ["-c", `zstd -q -c "$1" | age -r "$2" -o "$3"`, "sh", tar, recipient, sealed]);
    const manifest = join(work.store, manifestKey(id));
    const name = artifacts.find((artifact) => artifact.name.includes(".tar."))?.name ?? "";
    const sum = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
    const old = sum(readFileSync(join(work.store, id.slice(0, 8), name)));
    copyFileSync(sealed, join(work.store, id.slice(0, 8), name));
    writeFileSync(manifest, readFileSync(manifest, "utf8").replace(old, sum(readFileSync(sealed))));
    const { status } = runScript(work.store, ["--identity", identity, "latest", restored()], { with: ["age"] });
    expect({ status, written: readdirSync(victim) }).toEqual({ status: expect.any(Number), written: [] });
  });
});

describe.skipIf(!hasAge || !needs("ssh-keygen", "ssh keys as recipients"))("keys of ssh", () => {
  test("read what was made for them, next to keys of age", async () => {
    await encrypted();
    const { file, recipient } = keygen(work.path, "id_ed25519", "ed25519");
    expect(await work.json(["key", "add-recipient", recipient])).toMatchObject({ recipients: [expect.stringMatching(/^age1/), recipient] });
    for (const key of [file, identity]) expect(await work.run(["restore", "latest", "--verify-only", "--identity", key])).toMatchObject({ code: 0 });
    expect(runScript(work.store, ["--identity", file, "latest", restored()], { with: ["age"] })).toMatchObject({ status: 0 });
  });
});
