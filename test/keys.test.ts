/** Keys by the built program: made, shown, printed, changed; and older points encrypted again, in the copies too. */

import { createHash } from "node:crypto";
import { readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openApp } from "../src/app.ts";
import { encryptWithPassphrase } from "../src/keys/age-library.ts";
import { readRewrapPlan, writeRewrapPlan } from "../src/state/rewrap.ts";
import { planRewrap } from "../src/tasks/rewrap.ts";
import { runCli } from "./support/cli.ts";
import { runKilled, startRun } from "./support/killable.ts";
import { type TempDir, tempDir } from "./support/repo.ts";
import { snapshotTree } from "./support/tree.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

let config: TempDir;
let work: Workspace;
let identity = "";

beforeEach(async () => {
  config = tempDir();
  identity = join(config.path, "identity.txt");
  process.env["HOLDFAST_CONFIG_DIR"] = config.path;
  work = await workspace({ init: ["--no-hooks", "--encrypt"] });
});
afterEach(() => {
  delete process.env["HOLDFAST_CONFIG_DIR"];
  delete process.env["HOLDFAST_PASSPHRASE"];
  work[Symbol.dispose]();
  config[Symbol.dispose]();
});

const verify = (point: string, ...more: string[]) => work.run(["restore", point, "--verify-only", ...more]);
const text = (path: string): string => readFileSync(path, "utf8");

test("a key is made where there is none, and never over one", async () => {
  const before = text(identity);
  expect(await work.run(["key", "new"])).toMatchObject({ code: 2, stderr: expect.stringMatching(/there is a key already: .*\nhint: .*key rotate/) });
  expect(text(identity)).toBe(before);
  // Without a repository around.
  const file = join(work.path, "usb/key.txt");
  const made = await runCli(["key", "new", "--output", "usb/key.txt"], { cwd: work.path });
  expect(made).toMatchObject({ code: 0, stderr: "", stdout: expect.stringContaining("age1") });
  expect(made.stdout).not.toContain("AGE-SECRET");
  expect(text(file)).toMatch(/^# created: \S+\n# public key: age1\S+\nAGE-SECRET-KEY-1\S+\n$/);
  expect(readdirSync(join(work.path, "usb"))).toEqual(["key.txt"]);
  expect(await work.run(["key", "new", "--output", "inside.txt"])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("lies in the repository"),
  });
});

test("show names recipients and the file, and the secret only when it is asked for", async () => {
  const plain = await work.run(["key", "show"]);
  expect(plain.stdout).toMatch(/^key {9}\S+identity\.txt\n {2}opens {5}(age1\S+)\npoints for {2}\1\n$/);
  expect(plain.stdout + JSON.stringify(await work.json(["key", "show"]))).not.toContain("AGE-SECRET");
  expect((await work.run(["key", "show", "--secret"])).stdout).toBe(text(identity));
  renameSync(identity, join(config.path, "away"));
  expect((await work.run(["key", "show"])).stdout).toContain("identity.txt, which is not there");
  expect(await work.run(["key", "show", "--secret"])).toMatchObject({ code: 12 });
});

test("the kit is one private page with the key, every store and commands; not into the repository", async () => {
  await work.run(["store", "add", "usb", join(work.path, "usb")]);
  await work.run(["store", "add", "hub", "branch:https://me:pass@127.0.0.1:1/r.git#holdfast/backup"]);
  const { file } = await work.json(["key", "kit", "--output", join(work.path, "kit.html")]);
  expect((statSync(file).mode & 0o777).toString(8)).toBe("600");
  const page = text(file);
  const secret = /AGE-SECRET-KEY-1\S+/.exec(text(identity))?.[0] ?? "";
  const groups = [...page.matchAll(/<span>([^<]*)<\/span>/g)].map(([, group]) => group).join("");
  expect(groups).toBe(secret);
  const id = JSON.parse(text(join(work.store, "holdfast.json"))).repository;
  for (const part of [id, work.store, join(work.path, "usb"), "https://127.0.0.1:1/r.git", "git clone --branch holdfast/backup", "restore.sh"])
    expect(page.replace(/<[^>]*>/g, "")).toContain(part);
  expect(page).toContain("<svg");
  expect(page).not.toContain("pass@");
  expect(await work.run(["key", "kit", "--output", "kit.html"])).toMatchObject({
    code: 2,
    stderr: expect.stringContaining("lies in the repository"),
  });
  const usual = await work.json(["key", "kit"]);
  expect(usual.file).toMatch(new RegExp(`^${config.path}/recovery-kit-.*\\.html$`));
});

describe("a key is changed", () => {
  test("the old points open as before, new ones only with the new key", async () => {
    const old = join(work.path, "old.txt");
    writeFileSync(old, text(identity));
    const first = (await work.points())[0]?.id ?? "";
    const { recipients, point } = await work.json(["key", "rotate"]);
    expect(point).toMatchObject({ base: null, artifacts: expect.arrayContaining([expect.objectContaining({ name: `${point.id}.bundle.age` })]) });
    expect(text(join(work.repo.path, "backup.yaml"))).toContain(`recipients:\n    - ${recipients[0]}\n`);
    expect(text(identity)).toMatch(/AGE-SECRET-KEY-1\S+\n[\s\S]*AGE-SECRET-KEY-1\S+\n$/);
    expect(text(identity).startsWith(text(old))).toBe(true);
    for (const id of [first, point.id]) expect(await verify(id)).toMatchObject({ code: 0 });
    expect(await verify(first, "--identity", old)).toMatchObject({ code: 0 });
    expect(await verify(point.id, "--identity", old)).toMatchObject({ code: 12 });
    work.repo.write("a.txt", "two\n");
    expect((await work.json(["backup"])).point.base).toBe(point.id);
  });

  test("a second repository takes the key that the first has begun", async () => {
    using second = await workspace({ init: ["--no-hooks", "--encrypt"] });
    const mine = await work.json(["key", "rotate"]);
    const theirs = await second.json(["key", "rotate"]);
    expect(theirs.recipients).toEqual(mine.recipients);
    expect((text(identity).match(/^AGE-SECRET/gm) ?? []).length).toBe(2);
    expect((await second.json(["key", "rotate"])).recipients).not.toEqual(mine.recipients);
  });

  test("two repositories that rotate at once lose no key", async () => {
    using second = await workspace({ init: ["--no-hooks", "--encrypt"] });
    // The arithmetic of a passphrase takes so long that both are between reading and writing at the same time.
    const env = { HOLDFAST_PASSPHRASE: "correct horse battery" };
    writeFileSync(identity, await encryptWithPassphrase(text(identity), env.HOLDFAST_PASSPHRASE));
    const rotations = await Promise.all([work, second].map((one) => one.run(["key", "rotate"], { env })));
    for (const rotation of rotations) expect(rotation).toMatchObject({ code: 0 });
    expect(readdirSync(config.path)).toEqual(["identity.txt", "recipients.txt", "signing-key"]);
    writeFileSync(identity, (await work.run(["key", "show", "--secret"], { env })).stdout);
    for (const one of [work, second])
      for (const { id } of await one.points()) expect(await one.run(["restore", id, "--verify-only"])).toMatchObject({ code: 0 });
  });

  test("one with a passphrase stays protected, and is asked for only where something is read", async () => {
    rmSync(identity);
    rmSync(join(config.path, "recipients.txt"));
    const passphrase = { HOLDFAST_PASSPHRASE: "correct horse battery" };
    expect(await work.run(["key", "new", "--passphrase"])).toMatchObject({ code: 2, stderr: expect.stringContaining("a passphrase is needed") });
    expect(await work.run(["key", "new", "--passphrase"], { env: passphrase })).toMatchObject({ code: 0 });
    expect(text(identity)).toMatch(/^-----BEGIN AGE ENCRYPTED FILE-----/);
    using second = await workspace({ isProtected: false });
    const init = await second.run(["init", "--yes", "--no-hooks", "--encrypt", "--store", second.store]);
    expect(init).toMatchObject({ code: 3, stdout: expect.stringMatching(/NOT proven: .* is protected by a passphrase[\s\S]*HOLDFAST_PASSPHRASE/) });
    expect((await second.run(["show", "latest"])).code).toBe(12);
    expect((await second.run(["show", "latest"], { env: { HOLDFAST_PASSPHRASE: "wrong" } })).stderr).toContain("the passphrase does not open");
    expect((await second.run(["restore", "latest", "--verify-only"], { env: passphrase })).code).toBe(0);
    expect((await second.run(["key", "rotate"], { env: passphrase })).code).toBe(0);
    expect(text(identity)).toMatch(/^-----BEGIN AGE ENCRYPTED FILE-----/);
    expect((await second.run(["key", "show", "--secret"], { env: passphrase })).stdout.match(/^AGE-SECRET/gm)?.length).toBe(2);
    expect((await second.run(["key", "show"])).stdout).toContain("protected by a passphrase");
  });

  test("another's recipient is added, stays when the key is changed, and nonsense or a secret is refused", async () => {
    const other = join(work.path, "other.txt");
    const { recipient } = await work.json(["key", "new", "--output", other]);
    const added = await work.json(["key", "add-recipient", recipient]);
    expect(added.recipients).toEqual([expect.stringMatching(/^age1/), recipient]);
    expect(await verify("latest", "--identity", other)).toMatchObject({ code: 0 });
    expect((await work.json(["key", "rotate"])).kept).toEqual([recipient]);
    const secret = /AGE-SECRET-KEY-1\S+/.exec(text(other))?.[0] ?? "";
    for (const bad of [secret, "nonsense", `${recipient.slice(0, -1)}x`]) {
      const refused = await work.run(["key", "add-recipient", bad]);
      expect(refused.code).toBe(2);
      expect(refused.stderr).not.toContain(secret.slice(20));
    }
    expect(text(join(work.repo.path, "backup.yaml"))).not.toContain("nonsense");
  });
});

describe("older points are encrypted again", () => {
  test("with --rewrap: no old key opens anything, in the primary and in a copy on a branch", async () => {
    const remote = join(work.path, "remote.git");
    work.repo.git("init", "-q", "--bare", remote);
    await work.json(["store", "add", "usb", join(work.path, "usb")]);
    await work.json(["store", "add", "hub", `branch:${remote}#holdfast/backup`]);
    for (const round of [1, 2]) {
      work.repo.write("a.txt", `${round}\n`);
      await work.backup();
    }
    await work.json(["sync"]);
    const old = join(work.path, "old.txt");
    writeFileSync(old, text(identity));
    const { rewrapped } = await work.json(["key", "rotate", "--rewrap"]);
    expect(rewrapped).toEqual({ points: 3, kept: [], damaged: [], beyond: [] });
    await work.json(["sync"]);
    const points = await work.points();
    expect(points.map(({ artifacts }) => artifacts.every(({ name }) => /\.r1\./.test(name)))).toEqual([true, true, true, false]);
    expectChain(work.store);
    for (const { id } of points) {
      for (const from of ["local", "usb", "hub"]) expect(await verify(id, "--from", from), `${id} from ${from}`).toMatchObject({ code: 0 });
      expect(await verify(id, "--from", "usb", "--identity", old)).toMatchObject({ code: 12 });
    }
    const tree = (folder: string) => snapshotTree(folder, { exclude: ["backup_metadata.json"] }).map(({ path }) => path);
    expect(tree(join(work.path, "usb"))).toEqual(tree(work.store));
    expect(
      work.repo
        .git("--git-dir", remote, "ls-tree", "-r", "--name-only", "holdfast/backup")
        .split("\n")
        .filter((name) => name.endsWith(".age"))
        .sort(),
    ).toEqual(points.flatMap(({ id, artifacts }) => artifacts.map(({ name }) => `${id.slice(0, 8)}/${name}`)).sort());
    // The machine goes on from there.
    work.repo.write("a.txt", "3\n");
    await work.backup();
    expectChain(work.store);
  });

  test("a plan for other recipients keeps what the one before had replaced: links of later points name it still", async () => {
    const app = await openApp(work.repo.path);
    const [first] = await work.points();
    const replaced = { [first?.id ?? ""]: ["0".repeat(64)] };
    writeRewrapPlan(app.state.rewrap, { recipients: ["age1other"], until: first?.id ?? "", done: first?.id ?? "", replaced });
    await planRewrap(app, app.config.encryption?.recipients ?? []);
    expect(readRewrapPlan(app.state.rewrap)).toEqual({ recipients: app.config.encryption?.recipients, until: first?.id, done: null, replaced });
  });

  test("killed at any instant it loses nothing, and the next run goes on", async () => {
    for (const round of [1, 2, 3, 4]) {
      work.repo.write("a.txt", `${round}\n`);
      await work.backup();
    }
    const { lengthMs, stdout } = await startRun(["key", "rewrap", "--json"], work.repo.path).ended;
    expect(JSON.parse(stdout).rewrapped).toMatchObject({ points: 5 });
    for (let killed = 0, run = 0; killed < 4; run += 1) {
      const { signal } = await runKilled(["key", "rewrap"], work.repo.path, lengthMs * (0.2 + 0.15 * (run % 5)));
      if (signal === "SIGKILL") killed += 1;
      const { damaged } = await work.json(["points"]);
      expect(damaged).toEqual([]);
      expect(await verify("latest")).toMatchObject({ code: 0 });
    }
    expect((await work.json(["key", "rewrap"])).rewrapped).toMatchObject({ damaged: [], kept: [] });
    const points = await work.points();
    for (const { id } of points) expect(await verify(id)).toMatchObject({ code: 0 });
    expectChain(work.store);
    const stored = readdirSync(join(work.store, points[0]?.id.slice(0, 8) ?? "")).filter((name) => name.endsWith(".age"));
    expect(stored.sort()).toEqual(points.flatMap(({ artifacts }) => artifacts.map(({ name }) => name)).sort());
  });

  test("plain ones too, and what cannot be opened stays for the next run", async () => {
    using plain = await workspace();
    plain.repo.write("a.txt", "two\n");
    await plain.backup();
    expect(await plain.run(["key", "rewrap"])).toMatchObject({ code: 2, stderr: expect.stringContaining("init --yes --encrypt") });
    expect((await plain.run(["init", "--yes", "--no-hooks", "--encrypt"])).code).toBe(0);
    expect((await plain.json(["key", "rewrap"])).rewrapped).toMatchObject({ points: 3 });
    expect((await plain.points()).flatMap(({ artifacts }) => artifacts).every(({ name }) => name.endsWith(".age"))).toBe(true);
    const away = join(config.path, "away");
    renameSync(identity, away);
    const failed = await plain.run(["key", "rewrap"]);
    expect(failed).toMatchObject({ code: 12, stderr: expect.stringContaining("--identity FILE") });
    expect((await plain.json(["key", "rewrap", "--identity", away])).rewrapped).toMatchObject({ points: 3, damaged: [] });
    for (const { id } of await plain.points())
      expect(await plain.run(["restore", id, "--verify-only", "--identity", away])).toMatchObject({ code: 0 });
  });
});

/** Each manifest names the one before it, by the sum that it has now. */
function expectChain(store: string): void {
  let before: { id: string; sum: string } | undefined;
  for (const name of readdirSync(store, { recursive: true, encoding: "utf8" })
    .filter((path) => /^\d{8}.*\.json$/.test(path))
    .sort()) {
    const bytes = readFileSync(join(store, name));
    const { previous, previousSha256, id } = JSON.parse(bytes.toString());
    expect({ previous, previousSha256 }).toEqual({ previous: before?.id ?? null, previousSha256: before?.sum ?? null });
    before = { id, sum: createHash("sha256").update(bytes).digest("hex") };
  }
}
