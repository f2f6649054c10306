import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { tempDir } from "../../test/support/repo.ts";
import { BranchStore, type BranchStoreOptions } from "./branch.ts";
import { bytesSource, readAll, type Store } from "./store.ts";

let dir = tempDir();
let remote = "";
beforeEach(() => {
  dir = tempDir();
  remote = join(dir.path, "remote.git");
  git(dir.path, "init", "-q", "--bare", remote);
});
afterEach(() => dir[Symbol.dispose]());

const ref = "refs/heads/holdfast/backup";
const point = "20261121T143005Z-a1b2c3";

function git(cwd: string, ...args: string[]): string {
  return execFileSync("git", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
}

function open(machine: string, more: Partial<BranchStoreOptions> = {}): BranchStore {
  const gitDir = join(dir.path, `${machine}.git`);
  return new BranchStore({ name: machine, url: "branch:origin", gitDir, remoteUrl: remote, ref, partSize: 1000, ...more });
}

async function keys(store: Store): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of store.list("")) found.push(entry.key);
  return found.sort();
}

/** The keys that a stranger sees who has only the remote. */
function shown(): string[] {
  return git(remote, "ls-tree", "-r", "--name-only", ref).split("\n").sort();
}

async function save(store: Store, ...names: string[]): Promise<void> {
  for (const name of names) await store.put(name, bytesSource(`bytes of ${name}`));
  await store.flush();
}

test("a clone of the branch shows plain files, and cat joins the parts", async () => {
  const store = open("a");
  const large = randomBytes(4321);
  await store.put(`20261121/${point}.bundle`, bytesSource(large));
  await save(store, `20261121/${point}.json`, "RECOVERY.md");
  const clone = join(dir.path, "clone");
  git(dir.path, "clone", "-q", "-b", "holdfast/backup", remote, clone);
  expect(readFileSync(join(clone, "RECOVERY.md"), "utf8")).toBe("bytes of RECOVERY.md");
  expect(execFileSync("sh", ["-c", `cat 20261121/${point}.bundle.part*`], { cwd: clone }).equals(large)).toBe(true);
  expect(git(clone, "fsck", "--strict")).toBe("");
});

test("a key below another one is refused, staged or pushed, from either side; not where that one was deleted", async () => {
  const refused = async (store: Store, ...names: string[]): Promise<void> => {
    for (const name of names)
      await expect(store.put(name, bytesSource("x")), name).rejects.toMatchObject({
        code: "store_failed",
        message: expect.stringContaining("beside"),
      });
  };
  const store = open("a");
  await store.put("trash/20261121/a", bytesSource("x"));
  await refused(store, "trash", "trash/20261121", "trash/20261121/a/b");
  await store.flush();
  const later = open("b");
  await refused(later, "trash", "trash/20261121", "trash/20261121/a/b");
  await save(later, "trash/20261121.json", "trash/20261121/ab");
  for (const name of ["a", "ab"]) await later.delete(`trash/20261121/${name}`);
  await save(later, "trash/20261121");
  expect(shown()).toEqual(["trash/20261121", "trash/20261121.json"]);
});

test("a flush is one commit of all that was staged, on a branch of its own", async () => {
  const store = open("a", { now: () => new Date("2026-11-21T14:30:05Z") });
  await store.put(`20261121/${point}.bundle`, bytesSource("b"));
  await save(store, `20261121/${point}.json`);
  await store.delete(`20261121/${point}.bundle`);
  await save(store, "holdfast.json");
  await store.flush();
  const subject = `Holdfast <holdfast@localhost> 1795271405 holdfast: point ${point}`;
  expect(git(remote, "log", "--format=%an <%ae> %at %s", ref).split("\n")).toEqual([subject, subject]);
  expect(git(remote, "log", "-1", "--format=%b", ref)).toBe(`point ${point}\n\n- 20261121/${point}.bundle\n+ holdfast.json\n\nHoldfast-Garbage: 1`);
  expect(git(remote, "for-each-ref", "--format=%(refname)")).toBe(ref);
});

test("a flush of nothing makes no commit and does not ask the remote", async () => {
  const store = open("a");
  await save(store, "x");
  const before = git(remote, "rev-parse", ref);
  renameSync(remote, `${remote}.away`);
  await store.flush();
  renameSync(`${remote}.away`, remote);
  expect(git(remote, "rev-parse", ref)).toBe(before);
});

test("a machine that has never seen the branch fetches it first", async () => {
  await save(open("a"), "x", "y");
  const other = open("b");
  await other.open();
  expect(await keys(other)).toEqual(["x", "y"]);
  expect((await readAll(open("c"), "x"))?.toString()).toBe("bytes of x");
  await expect(open("d").put("x", bytesSource("other"))).rejects.toMatchObject({ code: "store_failed" });
});

test("a machine that looks again sees what others have pushed since; while the remote is away, what it saw last", async () => {
  await save(open("a"), "x");
  await open("b").open();
  await save(open("a"), "y");
  expect(await keys(open("b"))).toEqual(["x", "y"]);
  await save(open("a"), "z");
  renameSync(remote, `${remote}.away`);
  expect(await keys(open("b"))).toEqual(["x", "y"]);
  renameSync(`${remote}.away`, remote);
  expect((await readAll(open("b"), "z"))?.toString()).toBe("bytes of z");
});

test("two machines that write at once lose nothing", { timeout: 60_000 }, async () => {
  const machines = ["a", "b"].map((machine) => ({ machine, store: open(machine) }));
  await Promise.all(
    machines.map(async ({ machine, store }) => {
      for (let index = 0; index < 10; index += 1) await save(store, `20261121/${machine}${index}`);
    }),
  );
  const expected = machines.flatMap(({ machine }) => Array.from({ length: 10 }, (_, index) => `20261121/${machine}${index}`));
  expect(shown()).toEqual(expected);
  for (const { store } of machines) {
    await store.refresh();
    expect(await keys(store)).toEqual(expected);
  }
  expect(git(remote, "rev-list", "--min-parents=2", ref)).toBe("");
  expect(git(remote, "fsck", "--strict", "--no-dangling")).toBe("");
});

test("two store objects on one bare repository lose nothing", async () => {
  const stores = [open("a", { remoteUrl: null }), open("a", { remoteUrl: null })];
  await stores[0]?.open();
  await Promise.all(stores.map(async (store, which) => {
    for (let index = 0; index < 6; index += 1) await save(store, `${which}-${index}`);
  })); // biome-ignore format: one call
  expect(await keys(open("a", { remoteUrl: null }))).toHaveLength(12);
});

test("while the remote is away the commit waits here, and the next flush brings it there", async () => {
  const store = open("a");
  await save(store, "x");
  renameSync(remote, `${remote}.away`);
  await expect(save(store, "y")).rejects.toMatchObject({ code: "remote_failed", hint: expect.stringContaining("holdfast sync --wait") });
  await expect(save(store, "z")).rejects.toMatchObject({ code: "remote_failed" });
  expect(await keys(store)).toEqual(["x", "y", "z"]);
  renameSync(`${remote}.away`, remote);
  await open("a").flush();
  expect(shown()).toEqual(["x", "y", "z"]);
});

test("a new machine can put while the remote is away, but does not call it empty", async () => {
  await save(open("a"), "x");
  renameSync(remote, `${remote}.away`);
  const store = open("b");
  await expect(store.stat("x")).rejects.toMatchObject({ code: "remote_failed" });
  await expect(save(store, "y")).rejects.toMatchObject({ code: "remote_failed" });
  expect((await readAll(store, "y"))?.toString()).toBe("bytes of y");
  renameSync(`${remote}.away`, remote);
  await store.flush();
  expect(shown()).toEqual(["x", "y"]);
  expect(await keys(store)).toEqual(["x", "y"]);
});

test("a deletion there is taken over, one here is carried out there, and both sides' new keys stay", async () => {
  const [a, b] = [open("a"), open("b")];
  await save(a, "x", "y", "z");
  await b.open();
  await a.delete("x");
  await save(a, "from a");
  await b.delete("y");
  await save(b, "from b");
  expect(shown()).toEqual(["from a", "from b", "z"]);
  await a.refresh();
  expect(await keys(a)).toEqual(["from a", "from b", "z"]);
});

test("a remote that was reset to an older state, or lost the branch, gets all back", async () => {
  const store = open("a");
  await save(store, "x");
  const old = git(remote, "rev-parse", ref);
  await save(store, "y");
  git(remote, "update-ref", ref, old);
  await save(store, "z");
  expect(shown()).toEqual(["x", "y", "z"]);
  git(remote, "update-ref", "-d", ref);
  await save(store, "w");
  expect(shown()).toEqual(["w", "x", "y", "z"]);
  // Someone put another branch in its place, without a common commit.
  const tree = git(remote, "rev-parse", `${old}^{tree}`);
  git(remote, "update-ref", ref, git(remote, "-c", "user.name=x", "-c", "user.email=x@y", "commit-tree", tree, "-m", "anew"));
  await save(store, "v");
  expect(shown()).toEqual(["v", "w", "x", "y", "z"]);
});

test("two machines that put other bytes under one key: the first stay, the second is told, the rest arrives", async () => {
  const [a, b] = [open("a"), open("b")];
  await b.open();
  await save(a, "x");
  await b.put("x", bytesSource("other bytes"));
  await b.put("y", bytesSource("y"));
  await expect(b.flush()).rejects.toMatchObject({ code: "store_failed", details: { keys: ["x"] } });
  expect(shown()).toEqual(["x", "y"]);
  expect((await readAll(b, "x"))?.toString()).toBe("bytes of x");
  await b.flush();
});

test("a remote that refuses says why, without a password, and keeps its state", async () => {
  writeFileSync(join(remote, "hooks", "pre-receive"), "#!/bin/sh\necho 'over quota' >&2\nexit 1\n");
  chmodSync(join(remote, "hooks", "pre-receive"), 0o755);
  const store = open("a");
  await expect(save(store, "x")).rejects.toMatchObject({ code: "remote_failed", message: expect.stringMatching(/refused.*over quota/s) });
  const secret = open("b", { remoteUrl: "https://me:s3cret@127.0.0.1:1/x.git" });
  const error = await save(secret, "x").catch((caught: unknown) => caught);
  expect(error).toMatchObject({ code: "remote_failed" });
  expect(JSON.stringify(error, Object.getOwnPropertyNames(error))).not.toContain("s3cret");
});

test("a remote that hangs ends by silence; its ssh command comes from the user's repository", async () => {
  const script = join(dir.path, "hang.sh");
  writeFileSync(script, `#!/bin/sh\ntouch ${script}.ran\nsleep 60\n`);
  chmodSync(script, 0o755);
  const user = join(dir.path, "user");
  git(dir.path, "init", "-q", user);
  git(user, "config", "core.sshCommand", script);
  const store = open("a", { remoteUrl: "ssh://host.invalid/x.git", configFrom: join(user, ".git"), silenceMs: 300 });
  await expect(store.open()).rejects.toMatchObject({ code: "remote_failed", message: expect.stringContaining("in time") });
  expect(existsSync(`${script}.ran`)).toBe(true);
});

test("an interrupted flush keeps what is staged for the next", async () => {
  const store = open("a");
  await store.put("x", bytesSource("x"));
  await expect(store.flush({ signal: AbortSignal.abort() })).rejects.toMatchObject({ code: "interrupted" });
  await store.flush();
  expect(shown()).toEqual(["x"]);
});

test("keys that a tree or the parts cannot say are refused", async () => {
  const store = open("a");
  await save(store, "a/b");
  for (const key of ["a", "a/b/c", "../x", "/x", "x.part001", ""]) {
    await expect(store.put(key, bytesSource("x")), key).rejects.toMatchObject({ code: "store_failed" });
  }
  expect(await keys(store)).toEqual(["a/b"]);
});

test("a sha256 remote is served by a sha256 repository", async () => {
  const sha256 = join(dir.path, "sha256.git");
  git(dir.path, "init", "-q", "--bare", "--object-format=sha256", sha256);
  const options = { remoteUrl: sha256, objectFormat: "sha256" } as const;
  await save(open("a", options), "x");
  const other = open("b", options);
  await save(other, "x", "y");
  expect(await keys(other)).toEqual(["x", "y"]);
});

test("another part size reads what an earlier one wrote, and knows it for the same", async () => {
  const bytes = randomBytes(5000);
  await open("a").put("x", bytesSource(bytes));
  const store = open("a");
  await store.put("x", bytesSource(bytes));
  await store.flush();
  const later = open("a", { partSize: 100_000 });
  await later.put("x", bytesSource(bytes));
  expect((await readAll(later, "x", {}))?.equals(bytes)).toBe(true);
});
