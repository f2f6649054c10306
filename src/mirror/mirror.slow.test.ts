import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { chmod, lstat, mkdtemp, readdir, readFile, readlink, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, test } from "vitest";
import { until } from "../../test/support/until.ts";
import { mirrorOf } from "../core/config.ts";
import { openRepository } from "../git/repository.ts";
import { checkMirrors } from "./check.ts";
import { mirrorAll } from "./mirror.ts";
import { readStates } from "./queue.ts";
import type { MirrorOptions } from "./targets.ts";

let root = "";
let user = "";
let state = "";
let clock = new Date("2026-11-21T14:30:05Z");

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "hf-mirror-"));
  user = join(root, "user");
  state = join(user, ".git", "holdfast");
  clock = new Date("2026-11-21T14:30:05Z");
  await git(root, "init", "-q", "-b", "main", user);
  await commit(user, "one");
});
afterEach(() => rm(root, { recursive: true, force: true }));

const environment = {
  PATH: process.env["PATH"],
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_AUTHOR_NAME: "A",
  GIT_AUTHOR_EMAIL: "a@example.org",
  GIT_COMMITTER_NAME: "A",
  GIT_COMMITTER_EMAIL: "a@example.org",
};

async function git(cwd: string, ...args: string[]): Promise<string> {
  const quiet = ["-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "advice.detachedHead=false"];
  return (await promisify(execFile)("git", [...quiet, ...args], { cwd, env: environment })).stdout.trim();
}

let counter = 0;
async function commit(cwd: string, name: string, ...args: string[]): Promise<string> {
  counter += 1;
  await writeFile(join(cwd, name), `${name} ${counter}\n`);
  await git(cwd, "add", name);
  await git(cwd, "commit", "-q", "-m", `${name} ${counter}`, ...args);
  return git(cwd, "rev-parse", "HEAD");
}

async function bare(name: string): Promise<string> {
  const path = join(root, `${name}.git`);
  await git(root, "init", "-q", "--bare", path);
  await git(user, "remote", "add", name, path);
  return path;
}

async function tips(path: string): Promise<Record<string, string>> {
  const text = await git(path, "for-each-ref", "--format=%(refname) %(objectname)");
  return Object.fromEntries(
    text
      .split("\n")
      .filter(Boolean)
      .map((line) => line.split(" ") as [string, string]),
  );
}

async function mirror(remotes: string[], more: Partial<MirrorOptions> = {}) {
  const repository = await openRepository(user);
  return mirrorAll({ repository, mirrors: remotes.map(mirrorOf), ...usual, stateDir: state, ...more });
}

const usual = { machine: "box", reserved: [], now: () => clock, random: () => 0.5 };

/** Every byte below the user's git directory but our own folder. */
async function fingerprint(): Promise<string> {
  const hash = createHash("sha256");
  const walk = async (dir: string): Promise<void> => {
    for (const name of (await readdir(dir)).sort()) {
      const path = join(dir, name);
      if (path === state) continue;
      const stat = await lstat(path);
      hash.update(`${path} ${stat.mode} ${stat.mtimeMs}\n`);
      if (stat.isDirectory()) await walk(path);
      else hash.update(stat.isSymbolicLink() ? await readlink(path) : await readFile(path));
    }
  };
  await walk(join(user, ".git"));
  return hash.digest("hex");
}

async function unchangedUser<T>(action: () => Promise<T>): Promise<T> {
  await rm(state, { recursive: true, force: true }).then(() => mirror([]));
  return untouched(action);
}

async function untouched<T>(action: () => Promise<T>): Promise<T> {
  const before = await fingerprint();
  const result = await action();
  expect(await fingerprint()).toBe(before);
  return result;
}

test("branches and tags are created on every remote, then moved forward", async () => {
  const [a, b] = [await bare("a"), await bare("b")];
  await git(user, "branch", "topic/x");
  await git(user, "tag", "-a", "v1", "-m", "v1");
  await git(user, "update-ref", "refs/holdfast/private", "HEAD");
  const first = await unchangedUser(() => mirror(["a", "b"]));
  expect(first.map((outcome) => [outcome.remote, outcome.status])).toEqual([
    ["a", "ok"],
    ["b", "ok"],
  ]);
  const local = await tips(user);
  delete local["refs/holdfast/private"];
  expect(await tips(a)).toEqual(local);
  expect(await tips(b)).toEqual(local);

  const tip = await commit(user, "two");
  const [second] = await untouched(() => mirror(["a"]));
  expect(second?.refs.filter((ref) => ref.action !== "unchanged")).toEqual([
    { ref: "refs/heads/main", action: "fast_forward", status: "ok", local: tip, remote: tip },
  ]);
  expect((await tips(a))["refs/heads/main"]).toBe(tip);
});

test("an amended commit replaces the old tip, which is kept under a dated ref first", async () => {
  const a = await bare("a");
  const old = await commit(user, "two");
  await mirror(["a"]);
  const tip = await commit(user, "two", "--amend");
  const [outcome] = await untouched(() => mirror(["a"]));
  const keptAs = "refs/holdfast/kept/20261121T143005Z/heads/main";
  expect(outcome).toMatchObject({ status: "ok", kept: [{ ref: "refs/heads/main", oid: old, keptAs }] });
  expect(await tips(a)).toEqual({ "refs/heads/main": tip, [keptAs]: old });
});

test("an old tip that is gone from this repository is fetched aside and kept all the same", async () => {
  const a = await bare("a");
  const old = await commit(user, "two");
  await mirror(["a"]);
  const tip = await commit(user, "two", "--amend");
  await git(user, "reflog", "expire", "--expire=now", "--all");
  await git(user, "gc", "-q", "--prune=now");
  await expect(git(user, "cat-file", "-e", old)).rejects.toThrow();
  const [outcome] = await untouched(() => mirror(["a"]));
  expect(outcome?.status).toBe("ok");
  expect(await tips(a)).toEqual({ "refs/heads/main": tip, "refs/holdfast/kept/20261121T143005Z/heads/main": old });
  await expect(git(user, "cat-file", "-e", old)).rejects.toThrow();
});

test("without a memory of what we pushed, the branch's reflog tells", async () => {
  const a = await bare("a");
  await commit(user, "two");
  await mirror(["a"]);
  await rm(state, { recursive: true });
  const tip = await commit(user, "two", "--amend");
  expect(await mirror(["a"])).toMatchObject([{ status: "ok", kept: [{}] }]);
  expect((await tips(a))["refs/heads/main"]).toBe(tip);
});

test("a deleted branch and tag are kept, then deleted; the room is free for a branch below the name", async () => {
  const a = await bare("a");
  await git(user, "branch", "topic");
  await git(user, "tag", "v1");
  await mirror(["a"]);
  const old = (await tips(user))["refs/heads/topic"] ?? "";
  await git(user, "branch", "-q", "-D", "topic");
  await git(user, "tag", "-d", "v1");
  await git(user, "branch", "topic/below");
  const [outcome] = await untouched(() => mirror(["a"]));
  expect(outcome?.status).toBe("ok");
  expect(await tips(a)).toEqual({
    ...(await tips(user)),
    "refs/holdfast/kept/20261121T143005Z/heads/topic": old,
    "refs/holdfast/kept/20261121T143005Z/tags/v1": old,
  });
  const [again] = await mirror(["a"]);
  expect(again?.refs.map((ref) => ref.action)).toEqual(["unchanged", "unchanged"]);
});

test("a colleague's branch, and a branch that we never pushed, stay when they are deleted here", async () => {
  const a = await bare("a");
  await git(user, "branch", "shared");
  await git(user, "push", "-q", "a", "shared", "main:colleague");
  await mirror(["a"]);
  await git(user, "branch", "-q", "-D", "shared");
  expect(await mirror(["a"])).toMatchObject([{ status: "ok", kept: [] }]);
  expect(Object.keys(await tips(a))).toEqual(["refs/heads/colleague", "refs/heads/main", "refs/heads/shared"]);
});

test("a colleague's commit is never overwritten, not even after an amend here", async () => {
  const a = await bare("a");
  await mirror(["a"]);
  const colleague = join(root, "colleague");
  await git(root, "clone", "-q", "-b", "main", a, colleague);
  const theirs = await commit(colleague, "theirs");
  await git(colleague, "push", "-q");
  expect(await untouched(() => mirror(["a"]))).toMatchObject([{ status: "ok", refs: [{ action: "ahead", status: "ok" }] }]);

  await commit(user, "one", "--amend");
  const [outcome] = await untouched(() => mirror(["a"]));
  expect(outcome).toMatchObject({
    status: "behind",
    hint: "git fetch a && git merge a/main",
    refs: [{ action: "foreign", status: "behind", remote: theirs }],
  });
  await git(user, "fetch", "-q", "a");
  expect(await mirror(["a"])).toMatchObject([{ status: "behind" }]);
  expect(await tips(a)).toEqual({ "refs/heads/main": theirs });
});

test("a branch that others moved after us is not deleted", async () => {
  const a = await bare("a");
  await git(user, "branch", "topic");
  await mirror(["a"]);
  const colleague = join(root, "colleague");
  await git(root, "clone", "-q", "-b", "topic", a, colleague);
  const theirs = await commit(colleague, "theirs");
  await git(colleague, "push", "-q");
  await git(user, "branch", "-q", "-D", "topic");
  const [outcome] = await mirror(["a"]);
  expect(outcome).toMatchObject({ status: "ok", kept: [] });
  expect(outcome?.refs[1]?.note).toContain("others");
  expect((await tips(a))["refs/heads/topic"]).toBe(theirs);
});

test("a refusal by the remote's hook is told in its words, and the other branches arrive", async () => {
  const a = await bare("a");
  await git(user, "branch", "free");
  await writeFile(join(a, "hooks", "update"), '#!/bin/sh\n[ "$1" = refs/heads/main ] || exit 0\necho "main is closed today" >&2\nexit 1\n');
  await chmod(join(a, "hooks", "update"), 0o755);
  const [outcome] = await unchangedUser(() => mirror(["a"]));
  expect(outcome).toMatchObject({ status: "rejected", message: expect.stringContaining("main is closed today") });
  expect(outcome?.hint).toBeDefined();
  expect(Object.keys(await tips(a))).toEqual(["refs/heads/free"]);
});

test("a remote that refuses everything in pre-receive is rejected", async () => {
  const a = await bare("a");
  await writeFile(join(a, "hooks", "pre-receive"), "#!/bin/sh\necho 'read only' >&2\nexit 1\n");
  await chmod(join(a, "hooks", "pre-receive"), 0o755);
  expect(await mirror(["a"])).toMatchObject([{ status: "rejected", message: expect.stringContaining("read only") }]);
});

test("a remote that refuses force-pushes keeps its tip, and its kept ref does not pile up", async () => {
  const a = await bare("a");
  await git(a, "config", "receive.denyNonFastForwards", "true");
  const old = await commit(user, "two");
  await mirror(["a"]);
  await commit(user, "two", "--amend");
  for (let i = 0; i < 3; i += 1) {
    clock = new Date(clock.getTime() + 60_000);
    expect(await mirror(["a"])).toMatchObject([{ status: "rejected" }]);
  }
  const shown = await tips(a);
  expect(shown["refs/heads/main"]).toBe(old);
  expect(Object.keys(shown)).toHaveLength(2);
});

test("a remote that will not keep the old tip is not rewritten", async () => {
  const a = await bare("a");
  const old = await commit(user, "two");
  await mirror(["a"]);
  await git(a, "config", "receive.hideRefs", "refs/holdfast");
  await commit(user, "two", "--amend");
  const [outcome] = await mirror(["a"]);
  expect(outcome).toMatchObject({ status: "rejected", message: expect.stringContaining("could not be kept") });
  expect(await tips(a)).toEqual({ "refs/heads/main": old });
});

test("an unreachable remote is tried again later, delays no other, and is well again afterwards", async () => {
  await bare("b");
  const gone = join(root, "gone.git");
  await git(user, "remote", "add", "gone", gone);
  const [first, other] = await unchangedUser(() => mirror(["gone", "b"]));
  expect(first).toMatchObject({ status: "unreachable", message: expect.stringContaining("there is no repository") });
  expect(other?.status).toBe("ok");

  await git(root, "init", "-q", "--bare", gone);
  clock = new Date(clock.getTime() + 29_000);
  expect(await mirror(["gone"])).toMatchObject([{ status: "unreachable", at: first?.at, nextAttemptAt: new Date("2026-11-21T14:30:35Z") }]);
  expect((await readStates(state)).map((known) => [known.outcome?.remote, known.failures]).sort()).toEqual([
    ["b", 0],
    ["gone", 1],
  ]);
  clock = new Date(clock.getTime() + 1000);
  expect(await mirror(["gone"])).toMatchObject([{ status: "ok" }]);
});

test("a memory that cannot be written is said, and stops no mirror", async () => {
  const a = await bare("a");
  await mirror([]);
  await writeFile(join(state, "mirrors"), "in the way");
  expect(await mirror(["a"])).toMatchObject([{ status: "ok", message: expect.stringContaining("cannot remember") }]);
  expect(Object.keys(await tips(a))).toEqual(["refs/heads/main"]);
});

test("force does not wait for the time of the next attempt", async () => {
  const gone = join(root, "gone.git");
  expect(await mirror([gone])).toMatchObject([{ status: "unreachable" }]);
  await git(root, "init", "-q", "--bare", gone);
  expect(await mirror([gone], { force: true })).toMatchObject([{ status: "ok", remote: gone }]);
});

async function hangingRemote(): Promise<string> {
  const script = join(root, "hang.sh");
  const pid = join(root, "hang.pid");
  await writeFile(script, `#!/bin/sh\ntrap '' TERM\necho $$ > ${pid}\nsleep 60 & echo $! >> ${pid}\nwait\nsleep 60\n`);
  await chmod(script, 0o755);
  await git(user, "config", "core.sshCommand", script);
  await git(user, "config", "ssh.variant", "ssh");
  await git(user, "remote", "add", "hanging", "ssh://git@host.invalid/x.git");
  return pid;
}

/** They were killed when the outcome came; the system may need a moment to carry it out. Left alone they would stay for a minute. */
async function expectGone(pidFile: string): Promise<void> {
  const pids = (await readFile(pidFile, "utf8")).trim().split("\n");
  const isGone = async (): Promise<boolean> => {
    const { stdout } = await promisify(execFile)("ps", ["-e", "-o", "pid=,stat="]);
    const processes = stdout.split("\n").map((line) => line.trim().split(/\s+/));
    // In a container without an init the ended ones stay as zombies.
    return !processes.some(([pid, stat]) => pids.includes(pid ?? "") && stat?.startsWith("Z") === false);
  };
  await until("what git had started is gone", isGone, 10_000);
}

test("a remote that moves under our push is looked at again, and not overwritten", async () => {
  const a = await bare("a");
  const colleague = join(root, "colleague");
  await mirror(["a"]);
  await git(root, "clone", "-q", "-b", "main", a, colleague);
  const theirs = await commit(colleague, "theirs");
  await git(colleague, "push", "-q", "origin", "HEAD:refs/racing/tip");
  // The colleague's push lands after our look and before ours: the remote's own hook plays it.
  await writeFile(join(a, "hooks", "pre-receive"), `#!/bin/sh\nunset GIT_QUARANTINE_PATH\ngit update-ref refs/heads/main ${theirs}\n`);
  await chmod(join(a, "hooks", "pre-receive"), 0o755);
  await commit(user, "mine");
  await git(user, "branch", "extra");
  const [outcome] = await untouched(() => mirror(["a"]));
  expect(outcome).toMatchObject({
    status: "behind",
    refs: [
      { ref: "refs/heads/extra", action: "create", status: "ok" },
      { ref: "refs/heads/main", action: "foreign", remote: theirs },
    ],
  });
  // What arrived in the first round is ours all the same.
  await rm(join(a, "hooks", "pre-receive"));
  await git(user, "branch", "-q", "-D", "extra");
  expect(await mirror(["a"])).toMatchObject([{ status: "behind", kept: [{ ref: "refs/heads/extra" }] }]);
  expect((await tips(a))["refs/heads/extra"]).toBeUndefined();
});

test("a remote that hangs ends at its deadline, leaves no process, and delays no other", async () => {
  await bare("b");
  const pidFile = await hangingRemote();
  const started = performance.now();
  const done: string[] = [];
  const timings = new Map<string, number>();
  const [hanging, other] = await unchangedUser(() =>
    mirror(["hanging", "b"], {
      timeoutMs: 1500,
      onEvent: (event) => {
        if (event.kind !== "mirror_done") return;
        done.push(event.outcome.remote);
        timings.set(event.outcome.remote, performance.now() - started);
      },
    }),
  );
  expect(done).toEqual(["b", "hanging"]);
  expect(other?.status).toBe("ok");
  expect(hanging).toMatchObject({ status: "unreachable", message: expect.stringContaining("in time") });
  expect(timings.get("hanging")).toBeLessThan(5000);
  await expectGone(pidFile);
}, 30_000);

test("silence ends a remote that has no deadline", async () => {
  const pidFile = await hangingRemote();
  expect(await mirror(["hanging"], { silenceMs: 400 })).toMatchObject([{ status: "unreachable" }]);
  await expectGone(pidFile);
}, 30_000);

test("the caller can interrupt; nothing is remembered and no process stays", async () => {
  const pidFile = await hangingRemote();
  const controller = new AbortController();
  const running = mirror(["hanging"], { signal: controller.signal });
  while (!existsSync(pidFile)) await new Promise((resolve) => setTimeout(resolve, 20));
  controller.abort();
  await expect(running).rejects.toMatchObject({ code: "interrupted" });
  await expectGone(pidFile);
  expect(existsSync(join(state, "mirrors"))).toBe(false);
}, 30_000);

test("a remote with two push URLs gives two outcomes", async () => {
  const [a, b] = [await bare("a"), await bare("b")];
  await git(user, "remote", "set-url", "--add", "--push", "a", a);
  await git(user, "remote", "set-url", "--add", "--push", "a", b);
  expect((await mirror(["a"])).map((outcome) => [outcome.remote, outcome.url, outcome.status])).toEqual([
    ["a", a, "ok"],
    ["a", b, "ok"],
  ]);
});

test("names that are no remote are an outcome too, and are no options for git", async () => {
  expect(await mirror(["nowhere", "--upload-pack=/bin/sh"])).toMatchObject([
    { status: "unreachable", message: "there is no remote nowhere" },
    { status: "unreachable" },
  ]);
});

test("in a linked worktree, and with hooks and odd push settings of the user's, it is the same", async () => {
  const a = await bare("a");
  await writeFile(join(user, ".git", "hooks", "pre-push"), "#!/bin/sh\nexit 1\n");
  await chmod(join(user, ".git", "hooks", "pre-push"), 0o755);
  for (const [key, value] of [
    ["push.followTags", "true"],
    ["push.gpgSign", "true"],
    ["remote.a.mirror", "true"],
    ["push.default", "nothing"],
  ]) {
    await git(user, "config", key as string, value as string);
  }
  const linked = join(root, "linked");
  await git(user, "worktree", "add", "-q", "-b", "side", linked);
  const repository = await openRepository(linked);
  const [outcome] = await mirrorAll({ repository, mirrors: [mirrorOf("a")], ...usual, stateDir: state });
  expect(outcome?.status).toBe("ok");
  expect(Object.keys(await tips(a))).toEqual(["refs/heads/main", "refs/heads/side"]);
});

test("a check reads the tips back and changes nothing", async () => {
  const a = await bare("a");
  await git(user, "branch", "ahead");
  await git(user, "branch", "foreign");
  await git(user, "branch", "same");
  await mirror(["a"]);
  const colleague = join(root, "colleague");
  await git(root, "clone", "-q", "-b", "foreign", a, colleague);
  await commit(colleague, "theirs");
  await git(colleague, "push", "-q");
  await commit(user, "mine");
  await git(user, "branch", "missing");
  await git(user, "push", "-q", a, "main:ahead");
  const before = await tips(a);
  const repository = await openRepository(user);
  const [check] = await untouched(() => checkMirrors({ repository, mirrors: [mirrorOf("a")], ...usual, stateDir: state }));
  expect(check?.status).toBe("differs");
  expect(Object.fromEntries(check?.refs.map((ref) => [ref.ref.slice(11), ref.state]) ?? [])).toEqual({
    ahead: "ahead",
    foreign: "foreign",
    main: "behind",
    missing: "missing",
    same: "same",
  });
  expect(await tips(a)).toEqual(before);
});
