/** With the real git-lfs: what a mirror lacks of LFS objects is sent, or it is said. */
import { existsSync, mkdirSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterEach, describe, expect, test } from "vitest";
import { httpServer } from "../../test/support/http-server.ts";
import { type Mirrored, mirrored } from "../../test/support/mirrored.ts";
import { needs } from "../../test/support/needs.ts";
import { hasSshd, sshServer } from "../../test/support/ssh-server.ts";

const hasLfs = needs("git-lfs", "LFS objects on mirrors");
const hasSsh = needs("sshd", "LFS objects on mirrors over ssh", hasSshd);

const path = process.env["PATH"];
afterEach(() => {
  process.env["PATH"] = path;
});

function useLfs(m: Mirrored): void {
  m.user.git("lfs", "install", "--local", "--skip-repo");
  m.user.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
}

/** Commits a file of its own content. Gives the name of its LFS object. */
function commitLarge(m: Mirrored, name: string): string {
  m.user.write(name, `large ${name}\n`.repeat(1000));
  m.user.commit();
  return /oid sha256:(\w+)/.exec(m.user.git("cat-file", "blob", `HEAD:${name}`))?.[1] ?? "";
}

/** All that git-lfs has in the user's repository, with the time of its last change. Without `tmp`, which it makes anew wherever it starts. */
function lfsFolder(m: Mirrored): string[] {
  const root = join(m.user.path, ".git", "lfs");
  const names = ["", ...(readdirSync(root, { recursive: true }) as string[])];
  return names.map((name) => `${name} ${statSync(join(root, name)).mtimeMs}`).sort();
}

/** Names of the LFS objects below a git directory. */
function lfsObjects(gitDir: string): string[] {
  const root = join(gitDir, "lfs", "objects");
  if (!existsSync(root)) return [];
  const entries = readdirSync(root, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

describe.skipIf(!hasLfs)("LFS objects", () => {
  test.each(["path", "file:"])(
    "reach a remote that is a folder (%s), each once, in every commit that is mirrored; nothing of the user's changes",
    async (kind) => {
      using m = mirrored();
      const a = m.bare("a", "a ü%20b.git");
      useLfs(m);
      const first = commitLarge(m, "a.bin");
      const second = commitLarge(m, "b.bin");
      m.user.write("staged.bin", "never committed");
      m.user.git("add", "staged.bin");
      rmSync(join(m.user.path, ".git", "lfs", "tmp"), { recursive: true });
      const before = lfsFolder(m);
      const url = kind === "path" ? "a" : pathToFileURL(a.path).href;
      expect(await m.run(url)).toMatchObject({ status: "ok", notes: [] });
      expect(lfsObjects(a.path).sort()).toEqual([first, second].sort());
      expect(lfsFolder(m)).toEqual(before);

      rmSync(join(a.path, "lfs"), { recursive: true });
      m.user.git("switch", "-q", "-c", "topic");
      const third = commitLarge(m, "c.bin");
      await m.run(url);
      expect(lfsObjects(a.path)).toEqual(expect.arrayContaining([third]));
      expect(lfsObjects(a.path)).not.toContain(first);
    },
  );

  test("reach a namespaced and an exact mirror too, and from a bare repository", async () => {
    using m = mirrored();
    const [a, b] = [m.bare("a"), m.bare("b")];
    useLfs(m);
    const oid = commitLarge(m, "a.bin");
    expect(await m.run({ remote: "a", mode: "namespaced" })).toMatchObject({ status: "ok", notes: [] });
    expect(await m.run({ remote: "b", mode: "exact" })).toMatchObject({ status: "ok", notes: [] });
    expect([...lfsObjects(a.path), ...lfsObjects(b.path)]).toEqual([oid, oid]);
    m.user.git("config", "core.bare", "true");
    const c = m.bare("c");
    expect(await m.run("c")).toMatchObject({ status: "ok", notes: [] });
    expect(lfsObjects(c.path)).toEqual([oid]);
  });

  test("that are not here are counted; the others arrive, and the note goes when all are there", async () => {
    using m = mirrored();
    const a = m.bare("a");
    useLfs(m);
    const gone = commitLarge(m, "gone.bin");
    const here = commitLarge(m, "here.bin");
    const file = join(m.user.path, ".git", "lfs", "objects", gone.slice(0, 2), gone.slice(2, 4), gone);
    rmSync(join(m.user.path, "gone.bin"));
    m.user.commit();
    rmSync(file);
    const [note] = (await m.run("a")).notes;
    expect(note).toContain("1 of them not in this repository");
    expect(lfsObjects(a.path)).toEqual([here]);
    writeFileSync(file, "large gone.bin\n".repeat(1000));
    expect(await m.run("a")).toMatchObject({ status: "ok", notes: [] });
    expect(lfsObjects(a.path)).toHaveLength(2);
  });

  test("reach a host with LFS over http; nothing of the user's changes", async () => {
    using m = mirrored();
    const a = m.bare("a");
    await using server = await httpServer(dirname(a.path), { hasLfs: true });
    useLfs(m);
    const oid = commitLarge(m, "a.bin");
    rmSync(join(m.user.path, ".git", "lfs", "tmp"), { recursive: true });
    const before = lfsFolder(m);
    expect(await m.run(server.url("a.git", "user"))).toMatchObject({ status: "ok", notes: [] });
    expect(lfsObjects(a.path)).toEqual([oid]);
    expect(lfsFolder(m)).toEqual(before);
  });

  test("over http to a host without LFS are a note, and so are those of a central LFS server, which is not written to", async () => {
    using m = mirrored();
    const a = m.bare("a");
    await using server = await httpServer(dirname(a.path));
    useLfs(m);
    commitLarge(m, "a.bin");
    rmSync(join(m.user.path, ".git", "lfs", "tmp"), { recursive: true });
    const before = lfsFolder(m);
    expect(await m.run(server.url("a.git", "user"))).toMatchObject({ status: "ok", notes: [expect.stringContaining("the remote has no LFS")] });
    expect(lfsFolder(m)).toEqual(before);
    expect(a.tips()).toEqual(m.tips());
    expect(server.requests.some((request) => request.includes("/info/lfs/objects/batch"))).toBe(true);

    m.user.write(".lfsconfig", `[lfs]\n\turl = ${server.url("central.git", "user")}/info/lfs\n`);
    m.user.commit();
    const { notes } = await m.run(server.url("a.git", "user"));
    expect(notes).toEqual([expect.stringContaining("lfs.url sends them to http://127.0.0.1")]);
    expect(notes.join()).not.toContain("s3cret");
    expect(server.requests.filter((request) => request.includes("central"))).toEqual([]);
  });

  test.skipIf(!hasSsh)("over ssh to a host without LFS are a note, once; refs arrive, and it is asked again when its time has come", async () => {
    using m = mirrored();
    const a = m.bare("a");
    await using server = await sshServer();
    m.user.git("config", "core.sshCommand", server.command.known);
    useLfs(m);
    commitLarge(m, "a.bin");
    const url = server.url(a.path);
    const note = "LFS objects are missing there: the remote has no LFS";
    expect(await m.run(url)).toMatchObject({ status: "ok", notes: [note] });
    expect(a.tips()).toEqual(m.tips());
    commitLarge(m, "b.bin");
    // Not its turn: the note stands, and no program of git-lfs is started.
    process.env["PATH"] = withoutLfs(m);
    expect(await m.run(url, { force: false })).toMatchObject({ status: "ok", notes: [note] });
    m.clock = new Date(m.clock.getTime() + 60_000);
    expect(await m.run(url, { force: false })).toMatchObject({ status: "ok", notes: [expect.stringContaining("not installed")] });
  });

  test("without git-lfs on this machine are a note with what to install; without LFS objects there is none", async () => {
    using m = mirrored();
    const a = m.bare("a");
    useLfs(m);
    const oid = commitLarge(m, "a.bin");
    process.env["PATH"] = withoutLfs(m);
    expect(await m.run("a")).toMatchObject({ status: "ok", notes: [expect.stringContaining("apt-get install git-lfs")] });
    expect(a.tips()).toEqual(m.tips());
    process.env["PATH"] = path;
    expect(await m.run("a")).toMatchObject({ status: "ok", notes: [] });
    expect(lfsObjects(a.path)).toEqual([oid]);

    using plain = mirrored();
    plain.bare("a");
    process.env["PATH"] = withoutLfs(plain);
    expect(await plain.run("a")).toMatchObject({ status: "ok", notes: [] });
  });
});

/** A PATH with everything but git-lfs: links to all other programs. */
function withoutLfs(m: Mirrored): string {
  const bin = join(m.user.path, ".git", "bin");
  mkdirSync(bin, { recursive: true });
  for (const folder of (path ?? "").split(delimiter).filter((name) => existsSync(name))) {
    for (const name of readdirSync(folder)) {
      if (name !== "git-lfs" && !existsSync(join(bin, name))) symlinkSync(join(folder, name), join(bin, name));
    }
  }
  return bin;
}
