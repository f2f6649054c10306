/** A store on an rclone remote by the built program: added, filled, the machine lost, and everything back from it alone. */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { programs, runCli } from "./support/cli.ts";
import { needs } from "./support/needs.ts";
import { type CountedRclone, countedRclone, cryptRemote, localRemote, type RcloneRemoteForTests, webdavRemote } from "./support/rclone.ts";
import { repositoryState } from "./support/repository-state.ts";
import { runScript } from "./support/restore-script.ts";
import { until } from "./support/until.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

const rclone = needs("rclone", "stores on rclone remotes");
const zstd = needs("zstd", "restoring by hand what rclone copied");

let work: Workspace;
let counted: CountedRclone;
beforeEach(async () => {
  counted = countedRclone();
  work = await workspace({ files: { "a.txt": "one\n" } });
});
afterEach(() => {
  counted[Symbol.dispose]();
  work[Symbol.dispose]();
});

const isRunning = (pid: number): boolean => {
  try {
    process.kill(pid, 0);
    return !readFileSync(`/proc/${pid}/stat`, "utf8").includes(") Z ");
  } catch {
    return false; // gone
  }
};

describe.skipIf(!rclone).each([
  { name: "over webdav", serve: webdavRemote },
  { name: "with encrypted names", serve: cryptRemote },
])("a store on an rclone remote $name", ({ serve }) => {
  let remote: RcloneRemoteForTests;
  beforeAll(async () => {
    remote = await serve();
  });
  afterAll(() => remote[Symbol.asyncDispose]());

  test("holds the points of several repositories; a bare machine gets each back", async () => {
    await using other = { ...(await workspace({ files: { "b.txt": "other\n" } })), [Symbol.asyncDispose]: async () => undefined };
    const env = remote.environment;
    const url = `rclone:${remote.remote}backups/git`;
    for (const each of [work, other]) {
      const added = await each.run(["store", "add", "cloud", url, "--json"], { env });
      expect({ code: added.code, stderr: added.stderr }).toEqual({ code: 0, stderr: "" });
      expect(JSON.parse(added.stdout)).toMatchObject({ name: "cloud", copy: { status: "ok", missing: 0 } });
    }
    work.repo.write("notes/untracked.md", "note\n");
    work.repo.write("a.txt", "two\n");
    work.repo.commit("second");
    work.repo.write("a.txt", "three\n");
    await work.backup();
    expect((await work.run(["sync"], { env })).code).toBe(0);
    const before = repositoryState(work.repo.path);

    const cwd = mkdtempSync(join(work.path, "bare-"));
    const several = await runCli(["recover", url, "found"], { cwd, env });
    expect(several.code).toBe(2);
    expect(several.stderr).toMatch(/there are 2 repositories at rclone:[\s\S]*name one by its id: .rclone:/);
    const [id = ""] = (await work.points()).map((point) => point.repository);
    const recovered = await runCli(["recover", `${url}/${id}`, "found"], { cwd, env });
    expect({ code: recovered.code, stderr: recovered.code === 0 ? "" : recovered.stderr }).toEqual({ code: 0, stderr: "" });
    expect(repositoryState(join(cwd, "found"))).toEqual(before);
    other[Symbol.dispose]();
  });
});

describe.skipIf(!rclone)("a store on an rclone remote", () => {
  let remote: RcloneRemoteForTests;
  beforeEach(async () => {
    remote = await localRemote();
  });
  afterEach(() => remote[Symbol.asyncDispose]());

  test("costs one rclone for everything, and one for each file that is sent; none of them stays", async () => {
    const env = { PATH: counted.path };
    await work.run(["store", "add", "cloud", `rclone:${remote.remote}git`], { env });
    // Once a day the copy is pruned too, by another rclone.
    await work.run(["sync"], { env });
    work.repo.write("notes/untracked.md", "note\n");
    work.repo.write("a.txt", "two\n");
    work.repo.commit("second");
    await work.backup();
    const before = counted.calls().length;
    expect((await work.run(["sync"], { env })).code).toBe(0);
    const point = (await work.points()).at(-1);
    const calls = counted.calls().slice(before);
    expect(calls.filter(({ args }) => args.startsWith("rcd "))).toHaveLength(1);
    expect(calls).toHaveLength(1 + (point?.artifacts.length ?? 0) + 1);
    await until("all of them have ended", () => !counted.calls().some(({ pid }) => isRunning(pid)));
  });

  test.skipIf(process.platform !== "linux")("a kill of the program ends its rclone too", async () => {
    // It never gets further than the first upload: the rclone that should take it waits for ever.
    const slow = join(work.path, "slow");
    mkdirSync(slow);
    const real = execFileSync("sh", ["-c", "command -v rclone"], { encoding: "utf8" }).trim();
    writeFileSync(
      join(slow, "rclone"),
      `#!/bin/sh\necho "$$ $1" >>'${work.path}/calls'\ncase "$1" in rcat) cat >/dev/null; exec sleep 600 ;; esac\nexec '${real}' "$@"\n`,
      { mode: 0o755 },
    );
    const env = { ...process.env, PATH: `${slow}:${process.env["PATH"] ?? ""}` };
    const child = spawn(process.execPath, [programs.holdfast, "store", "add", "cloud", `rclone:${remote.remote}git`], {
      cwd: work.repo.path,
      env,
      stdio: "ignore",
    });
    const ended = new Promise<void>((resolve) => void child.once("close", () => resolve()));
    const calls = (): { pid: number; what: string }[] =>
      existsSync(`${work.path}/calls`)
        ? readFileSync(`${work.path}/calls`, "utf8")
            .trim()
            .split("\n")
            .map((line) => ({ pid: Number.parseInt(line, 10), what: line.split(" ")[1] ?? "" }))
        : [];
    await until("an upload has begun", () => calls().some(({ what }) => what === "rcat"));
    const servers = calls().filter(({ what }) => what === "rcd");
    expect(servers.some(({ pid }) => isRunning(pid))).toBe(true);
    child.kill("SIGKILL");
    await ended;
    await until("it has ended", () => !servers.some(({ pid }) => isRunning(pid)));
    for (const { pid, what } of calls()) if (what === "rcat" && isRunning(pid)) process.kill(pid);
  });

  test.skipIf(!zstd)("what `rclone copy` brings back restores with stock tools alone", async () => {
    await work.run(["store", "add", "cloud", `rclone:${remote.remote}git`]);
    work.repo.write("notes/untracked.md", "note\n");
    await work.backup();
    expect((await work.run(["sync"])).code).toBe(0);
    const copy = join(work.path, "copied");
    const { AWS_CA_BUNDLE: _, ...env } = process.env;
    execFileSync("rclone", ["copy", `${remote.remote}git`, copy], { env, stdio: "ignore" });
    const [id = ""] = readdirSync(copy);
    const target = join(work.path, "restored");
    const { status, stderr } = runScript(join(copy, id), ["latest", target]);
    expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
    expect(readFileSync(join(target, "notes/untracked.md"), "utf8")).toBe("note\n");
  });

  test("the user's configuration is read and stays as it is", async () => {
    const file = join(work.path, "rclone.conf");
    writeFileSync(file, `[mine]\ntype = alias\nremote = ${remote.root}\n`);
    const before = statSync(file);
    const env = { RCLONE_CONFIG: file, RCLONE_DRY_RUN: "true", RCLONE_EXCLUDE: "*.json", RCLONE_MAX_SIZE: "1" };
    const { code, stderr } = await work.run(["store", "add", "cloud", "rclone:mine:git"], { env });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const [id = ""] = readdirSync(join(remote.root, "git"));
    const recovered = await runCli(["recover", "rclone:mine:git", "found"], { cwd: work.path, env });
    expect(recovered.code, recovered.stderr).toBe(0);
    expect(readFileSync(join(work.path, "found/a.txt"), "utf8")).toBe("one\n");
    expect(existsSync(join(remote.root, "git", id, "holdfast.json"))).toBe(true);
    expect([statSync(file).mtimeMs, statSync(file).ino, readdirSync(work.path).filter((name) => name.startsWith("rclone.conf"))]).toEqual([
      before.mtimeMs,
      before.ino,
      ["rclone.conf"],
    ]);
  });

  test("what cannot work says what to do", async () => {
    const unknown = await work.run(["store", "add", "cloud", "rclone:nosuch:git"]);
    expect(unknown.code).toBe(2);
    expect(unknown.stderr).toMatch(/rclone knows no such remote\n.*rclone listremotes/);
    const bin = join(work.path, "bin");
    mkdirSync(bin);
    for (const tool of ["git", "sh"]) execFileSync("sh", ["-c", `ln -s "$(command -v ${tool})" '${bin}/'`]);
    const absent = await work.run(["store", "add", "cloud", `rclone:${remote.remote}git`], { env: { PATH: bin } });
    expect(absent.code).toBe(1);
    expect(absent.stderr).toMatch(/rclone could not be started\n.*install rclone 1\.60/);
    const dead = { RCLONE_CONFIG_DEAD_TYPE: "webdav", RCLONE_CONFIG_DEAD_URL: "http://127.0.0.1:9/", RCLONE_LOW_LEVEL_RETRIES: "1" };
    const away = await work.run(["store", "add", "cloud", "rclone:dead:git"], { env: dead });
    expect(away.code).toBe(3);
    expect(away.stdout).toMatch(/connection refused/);
    expect(away.stdout).toMatch(/is the network up\? rclone lsd dead:git/);
  });
});
