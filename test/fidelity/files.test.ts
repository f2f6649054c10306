/** Files of the worktree, every kind that a folder can hold: each comes back byte for byte, or is named with the reason. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  appendFileSync,
  chmodSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { journey } from "../support/journey.ts";
import { noise } from "../support/noise.ts";
import { gitRepo, type TestRepo, tempDir } from "../support/repo.ts";

/** A path of any bytes, written in latin1. */
function raw(repo: TestRepo, path: string): Buffer {
  return Buffer.from(`${repo.path}/${path}`, "latin1");
}

test("untracked and chosen ignored files are in the point, other ignored ones are left out with the reason", async () => {
  using repo = gitRepo({ ".gitignore": "*.log\n.env\n*.db\nnode_modules/\nsecret/\nbuild/\nlocal/\n", a: "1\n" });
  for (const path of ["new", "deep/down/new", ".env", "data/app.db", "secret/.env.local", "local/notes/today"]) repo.write(path, `${path}\n`);
  const outside = ["x.log", "node_modules/m/index.js", "build/out.bin", "secret/rest", "local/rest"];
  for (const path of outside) repo.write(path, `${path}\n`);
  const isOutside = (path: string): boolean => outside.includes(path) || path === "node_modules" || path === "build";
  using trip = await journey(repo.path, { exclude: isOutside });
  const { left } = await trip.mark("first");
  expect(Object.fromEntries(left.map(({ path, reason }) => [path, reason]))).toEqual({
    "x.log": "ignored, never kept: *.log",
    "node_modules/": "generated: node_modules/",
    "build/": "ignored, never kept: build/",
    "secret/": "ignored, no include pattern chooses it (1 files)",
    "local/": "ignored, no include pattern chooses it (1 files)",
  });
  repo.write(".env", "changed\n");
  rmSync(join(repo.path, "data"), { recursive: true });
  repo.git("add", "-f", "new", "deep");
  await trip.mark("changed");
  repo.write(".gitignore", "nothing-any-more\nnode_modules/\nx.log\nbuild/\nsecret/rest\nlocal/rest\n");
  await trip.mark("no longer ignored");
  await trip.verify();
});

describe("tracked files", () => {
  test("modified, deleted, other mode, other kind; then put right again", async () => {
    using repo = gitRepo({
      edit: "1\n",
      gone: "1\n",
      mode: "1\n",
      "to-link": "1\n",
      "to-dir": "1\n",
      "dir/to-file": "1\n",
      "dir2/a": "1\n",
      "dir2/b": "1\n",
      touched: "1\n",
    });
    symlinkSync("edit", join(repo.path, "link"));
    symlinkSync("edit", join(repo.path, "link2"));
    repo.commit();
    using trip = await journey(repo.path);
    await trip.mark("clean");
    repo.write("edit", "2\n");
    for (const path of ["gone", "to-link", "to-dir", "dir", "link2"]) rmSync(join(repo.path, path), { recursive: true });
    chmodSync(join(repo.path, "mode"), 0o755);
    symlinkSync("no/where", join(repo.path, "to-link"));
    repo.write("to-dir/below", "now a folder\n");
    repo.write("dir", "now a file\n");
    repo.write("link2", "now a file\n");
    renameSync(join(repo.path, "dir2"), join(repo.path, "moved"));
    symlinkSync("moved", join(repo.path, "dir2"));
    utimesSync(join(repo.path, "touched"), 1e9, 1e9);
    await trip.mark("changed");
    repo.git("add", "--all");
    await trip.mark("staged");
    repo.git("reset", "-q", "--hard");
    repo.git("clean", "-qfd");
    await trip.mark("clean again");
    await trip.verify();
  });

  test("what git does not look at: assume-unchanged, skip-worktree, modes it ignores", async () => {
    using repo = gitRepo({ assumed: "1\n", skipped: "1\n", "skipped-gone": "1\n", "assumed-gone": "1\n", mode: "1\n", same: "1\n" });
    repo.git("config", "core.fileMode", "false");
    repo.git("update-index", "--assume-unchanged", "assumed", "assumed-gone");
    repo.git("update-index", "--skip-worktree", "skipped", "skipped-gone");
    using trip = await journey(repo.path);
    await trip.mark("flags");
    repo.write("assumed", "other\n");
    repo.write("skipped", "other\n");
    rmSync(join(repo.path, "skipped-gone"));
    rmSync(join(repo.path, "assumed-gone"));
    chmodSync(join(repo.path, "mode"), 0o751);
    await trip.mark("hidden changes");
    chmodSync(join(repo.path, "assumed"), 0o600);
    await trip.mark("hidden mode");
    await trip.verify();
  });

  test("a change of the same size right after a point, with the old time put back, is seen", async () => {
    using repo = gitRepo({ tracked: "aaaa\n" });
    repo.write("untracked", "aaaa\n");
    using trip = await journey(repo.path);
    await trip.mark("before");
    for (const path of ["tracked", "untracked"]) {
      const { atime, mtime } = statSync(join(repo.path, path));
      repo.write(path, "bbbb\n");
      utimesSync(join(repo.path, path), atime, mtime);
    }
    await trip.mark("after");
    repo.write("untracked", "cccc\n");
    repo.write("tracked", "cccc\n");
    await trip.mark("at once");
    await trip.verify();
  });
});

describe("bytes that git would convert", () => {
  test("line ends, $Id$, encodings: what stood on disk comes back", async () => {
    using repo = gitRepo();
    repo.write(".gitattributes", "*.txt text eol=crlf\n*.id ident\n*.u16 working-tree-encoding=UTF-16LE eol=lf text\nmixed text=auto\n");
    repo.write("dos.txt", "one\r\ntwo\r\n");
    repo.write("unix.txt", "one\ntwo\n");
    repo.write("mixed", "one\r\ntwo\n");
    repo.write("x.id", "$Id$\n");
    repo.write("x.u16", Buffer.from("gr\u00fc\u00dfe\n", "utf16le"));
    repo.commit();
    using trip = await journey(repo.path);
    await trip.mark("as written");
    for (const name of ["dos.txt", "unix.txt", "mixed", "x.id", "x.u16"]) rmSync(join(repo.path, name));
    repo.git("checkout", "--", ".");
    await trip.mark("as checked out");
    repo.git("config", "core.autocrlf", "true");
    repo.write("plain", "a\r\nb\r\n");
    repo.git("add", "plain");
    repo.git("commit", "-q", "-m", "plain");
    await trip.mark("by configuration");
    await trip.verify();
  });

  test("encodings and line ends that together keep the size", async () => {
    using repo = gitRepo();
    repo.write(".gitattributes", "*.txt text eol=crlf working-tree-encoding=ISO-8859-1\n*.u16 text eol=lf working-tree-encoding=UTF-16LE\n");
    repo.write("x.txt", Buffer.from("\xe9\r\n", "latin1"));
    repo.write("x.u16", Buffer.from("\u6f22\n", "utf16le"));
    repo.commit();
    for (const name of ["x.txt", "x.u16"]) expect(repo.git("cat-file", "-s", `:${name}`)).toBe(String(statSync(join(repo.path, name)).size));
    using trip = await journey(repo.path);
    await trip.mark("as written");
    await trip.verify();
  });

  test("converted by the user's own attributes, which no setting names", async () => {
    using repo = gitRepo({ "a.txt": "one\ntwo\n" });
    const folder = join(process.env["XDG_CONFIG_HOME"] ?? "", "git");
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "attributes"), "*.txt text eol=crlf\n");
    try {
      rmSync(join(repo.path, "a.txt"));
      repo.git("checkout", "--", "a.txt");
      expect(readFileSync(join(repo.path, "a.txt"), "utf8")).toBe("one\r\ntwo\r\n");
      using path = await journey(repo.path);
      await path.mark("converted");
      await path.verify();
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  test("a clean and smudge filter, which a restore does not run", async () => {
    using repo = gitRepo();
    const config = ["-c", "filter.rot.clean=tr a-z n-za-m", "-c", "filter.rot.smudge=tr a-z n-za-m", "-c", "filter.rot.required=true"];
    repo.write(".gitattributes", "*.rot filter=rot\n");
    repo.write("x.rot", "hello\n");
    repo.write("y.rot", "world\n");
    for (const setting of config) if (setting !== "-c") repo.git("config", ...(setting.split(/=(.*)/s).slice(0, 2) as [string, string]));
    repo.commit();
    expect(repo.git("cat-file", "-p", "HEAD:x.rot")).toBe("uryyb");
    using trip = await journey(repo.path, { config });
    await trip.mark("filtered");
    repo.write("x.rot", "changed\n");
    await trip.mark("changed");
    await trip.verify();
  });

  test("an LFS file that is as long as its pointer", async () => {
    using dir = tempDir();
    using repo = gitRepo();
    const content = Buffer.alloc(128, "even\n");
    const pointer = `version https://git-lfs.github.com/spec/v1\noid sha256:${createHash("sha256").update(content).digest("hex")}\nsize 128\n`;
    expect(pointer).toHaveLength(content.length);
    for (const [name, bytes] of Object.entries({ pointer, content })) writeFileSync(join(dir.path, name), bytes);
    const config = ["-c", `filter.lfs.clean=cat ${dir.path}/pointer`, "-c", `filter.lfs.smudge=cat ${dir.path}/content`];
    repo.write(".gitattributes", "*.bin filter=lfs -text\n");
    repo.write("even.bin", content);
    for (const setting of config) if (setting !== "-c") repo.git("config", ...(setting.split(/=(.*)/s).slice(0, 2) as [string, string]));
    repo.commit();
    expect(repo.git("cat-file", "-p", "HEAD:even.bin")).toBe(pointer.trimEnd());
    using trip = await journey(repo.path, { config });
    await trip.mark("smudged");
    await trip.verify();
  });

  test("LFS pointers and their objects", async () => {
    using repo = gitRepo({ a: "1\n" });
    const sum = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03"; // of "hello\n"
    repo.write(".gitattributes", "*.bin filter=lfs diff=lfs merge=lfs -text\n");
    repo.write("big.bin", `version https://git-lfs.github.com/spec/v1\noid sha256:${sum}\nsize 6\n`);
    repo.commit();
    repo.write("big.bin", "hello\n");
    repo.write(`.git/lfs/objects/58/91/${sum}`, "hello\n");
    repo.write(".git/lfs/tmp/half", "no");
    using trip = await journey(repo.path, { excludeGit: (path) => path === "lfs/tmp" });
    await trip.mark("smudged");
    await trip.verify();
    const { target } = await trip.safe.restore("HEAD");
    expect(execFileSync("cat", [join(target, "big.bin")], { encoding: "utf8" })).toBe("hello\n");
  });
});

describe("links", () => {
  test("symlinks: dangling, absolute, to a folder, in a circle, long, of odd bytes", async () => {
    using repo = gitRepo({ a: "1\n", "d/b": "2\n" });
    const links = {
      dangling: "no/where",
      absolute: "/etc/hostname",
      folder: "d",
      loop: "loop",
      up: "../..",
      "d/to-up": "../a",
      long: `d/${"x".repeat(1000)}`,
    };
    for (const [path, target] of Object.entries(links)) symlinkSync(target, join(repo.path, path));
    symlinkSync(Buffer.from("\xff\n", "latin1"), raw(repo, "odd"));
    repo.git("add", "absolute", "folder", "odd");
    repo.git("commit", "-q", "-m", "links");
    using trip = await journey(repo.path);
    await trip.mark("links");
    rmSync(join(repo.path, "folder"));
    mkdirSync(join(repo.path, "folder"));
    repo.write("folder/b", "a folder where a link was\n");
    rmSync(join(repo.path, "loop"));
    symlinkSync("a", join(repo.path, "loop"));
    execFileSync("touch", ["-h", "-d", "2001-02-03 04:05:06.789012 UTC", "dangling"], { cwd: repo.path });
    await trip.mark("changed");
    await trip.verify();
  });

  test("hard links: among untracked files, among tracked ones, across; broken up and joined between points", async () => {
    using repo = gitRepo({ t1: "tracked\n", t3: "tracked too\n" });
    linkSync(join(repo.path, "t1"), join(repo.path, "t2"));
    repo.commit();
    repo.write("sub/u1", "untracked\n");
    for (const name of ["u2", "a/u0"]) {
      mkdirSync(join(repo.path, "a"), { recursive: true });
      linkSync(join(repo.path, "sub/u1"), join(repo.path, name));
    }
    linkSync(join(repo.path, "t3"), join(repo.path, "u3"));
    repo.write("big1", Buffer.alloc(300_000, "large "));
    linkSync(join(repo.path, "big1"), join(repo.path, "big2"));
    using trip = await journey(repo.path);
    await trip.mark("linked");
    appendFileSync(join(repo.path, "u2"), "more through one name\n");
    appendFileSync(join(repo.path, "big2"), "more");
    await trip.mark("written through a link");
    rmSync(join(repo.path, "a/u0"));
    rmSync(join(repo.path, "big1"));
    await trip.mark("the first name is gone");
    rmSync(join(repo.path, "u2"));
    repo.write("u2", "on its own\n");
    linkSync(join(repo.path, "big2"), join(repo.path, "a/big0"));
    linkSync(join(repo.path, "t1"), join(repo.path, "t0"));
    await trip.mark("apart, and others together");
    utimesSync(join(repo.path, "t1"), 1e9, 1e9);
    await trip.mark("another time");
    await trip.verify();
  });
});

describe("folders, modes and times", () => {
  test("empty folders, their modes and times; set-uid, sticky, unreadable to others", async () => {
    using repo = gitRepo({ "kept/file": "1\n" });
    for (const path of ["empty", "nest/of/empty", "kept/beside", "closed"]) mkdirSync(join(repo.path, path), { recursive: true });
    repo.write("tool", "x");
    repo.write("group", "x");
    repo.write("none", "x");
    for (const [path, mode] of Object.entries({ empty: 0o1777, "nest/of": 0o2750, closed: 0o500, tool: 0o4755, group: 0o2644, none: 0, kept: 0o700 }))
      chmodSync(join(repo.path, path), mode);
    for (const path of ["empty", "nest/of/empty", "kept"]) utimesSync(join(repo.path, path), 1e9, 1e9 + 0.123456);
    using trip = await journey(repo.path);
    await trip.mark("made");
    rmSync(join(repo.path, "nest/of/empty"), { recursive: true });
    chmodSync(join(repo.path, "empty"), 0o755);
    await trip.mark("changed");
    rmSync(join(repo.path, "nest"), { recursive: true });
    repo.write("nest", "a file now");
    rmSync(join(repo.path, "empty"), { recursive: true });
    await trip.mark("gone");
    await trip.verify();
  });

  test("times: the epoch, before it, far ahead, to the nanosecond", async () => {
    using repo = gitRepo({ tracked: "1\n" });
    const times = [
      "1970-01-01 00:00:00",
      "1969-12-31 23:59:58.5",
      "1931-05-06 07:08:09.123456789",
      "2001-01-01 00:00:00.999999999",
      "2200-01-01 00:00:00.000000001",
      "2026-01-01 00:00:00.123456789",
    ];
    for (const [i, time] of times.entries()) {
      mkdirSync(join(repo.path, `d${i}`));
      repo.write(`t${i}`, "x");
      execFileSync("touch", ["-d", `${time} UTC`, `t${i}`, `d${i}`], { cwd: repo.path });
    }
    execFileSync("touch", ["-d", "1960-01-01 UTC", "tracked"], { cwd: repo.path });
    using trip = await journey(repo.path);
    await trip.mark("times");
    await trip.verify();
  });
});

test("sizes around every limit, and a sparse file that stays sparse", async () => {
  using repo = gitRepo({ a: "1\n" });
  const sizes = [0, 1, 511, 512, 513, 65_535, 65_536, 65_537, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3_000_000];
  const bytes = noise(3_000_000, 1);
  for (const size of sizes) repo.write(`s/${size}`, bytes.subarray(0, size));
  repo.write("sparse", "");
  truncateSync(join(repo.path, "sparse"), 64 << 20);
  const handle = openSync(join(repo.path, "sparse"), "r+");
  writeSync(handle, "in the middle", 32 << 20);
  using trip = await journey(repo.path);
  const first = await trip.mark("all sizes");
  writeSync(handle, "further on", 48 << 20);
  for (const size of sizes) appendFileSync(join(repo.path, `s/${size}`), "!");
  const second = await trip.mark("a byte more each");
  await trip.verify();
  const sizeOf = ({ manifest }: typeof first): number => manifest.artifacts.reduce((sum, { size }) => sum + size, 0);
  expect(sizeOf(second)).toBeLessThan(sizeOf(first) / 5);
  const { target } = await trip.safe.restore();
  expect(statSync(join(target, "sparse")).blocks * 512).toBeLessThan(2 << 20);
});

test("names of any bytes, of any meaning to somebody", async () => {
  using repo = gitRepo({ a: "1\n" });
  const names = [
    "\xff\xfe not utf-8", "latin1-\xe9", "line\nbreak", "tab\there", "-dash", "--help", " leading", "trailing ", "dot.", "...", "back\\slash", "star*", "q?", "[ab]", "!bang", "#hash",
    "quote\"'", "\u0001control", "x".repeat(255), "\u00c3\u00bc nfc".normalize("NFC"), "e\xcc\x81 nfd", "\xf0\x9f\x92\x80 skull", "\xf0\x9f\x92\x80\xff", "deleted", "times", "plan", "HEAD", "refs/heads/main", "untracked/x", "modified/x",
    "git/index", "folder/x", "tracked/a", "patches/000001/path", "worktrees/x/untracked/y", "name-in-pax-header", ".gitx", "a.git/x", "objects/aa", "\xed\xb2\x80 surrogate", "C:", "con", "a:b", ".holdfas", "%41", "$HOME", "~", "`id`",
  ]; // biome-ignore format: a list
  for (const name of names) {
    const parent = name.split("/").slice(0, -1).join("/");
    if (parent !== "") mkdirSync(raw(repo, parent), { recursive: true });
    writeFileSync(raw(repo, name), `content of ${JSON.stringify(name)}`);
  }
  const deep = Array.from({ length: 14 }, (_, i) => `${"d".repeat(250)}${i}`).join("/");
  repo.write(`${deep}/file`, "far down\n");
  using trip = await journey(repo.path);
  await trip.mark("untracked");
  repo.git("add", "--all");
  await trip.mark("staged");
  repo.git("commit", "-q", "-m", "odd");
  await trip.mark("committed");
  for (const name of names) appendFileSync(raw(repo, name), "!");
  repo.write("a", Buffer.alloc(70_000, "large"));
  repo.write("-large\n", Buffer.alloc(70_000, "large"));
  await trip.mark("modified");
  appendFileSync(join(repo.path, "-large\n"), "!");
  for (const name of names.slice(0, 20)) rmSync(raw(repo, name));
  await trip.mark("half of them gone");
  await trip.verify();
});

test("names that a restore would take for the git directory are reported, and the rest restores", async () => {
  using repo = gitRepo({ a: "1\n" });
  for (const name of [".GIT", "git~1/x", ".git /x", "fine"]) repo.write(name, "x");
  using trip = await journey(repo.path, { problems: ["unsupported"], exclude: (path) => /^(?:\.GIT|git~1|\.git )/.test(path) });
  const { problems } = await trip.mark("odd");
  expect(problems.map(({ path }) => path).sort()).toEqual([".GIT", ".git ", "git~1"]);
  const { target } = await trip.safe.restore();
  expect(lstatSync(join(target, "fine")).isFile()).toBe(true);
});
