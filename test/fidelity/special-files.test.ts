/** What cannot be kept, or moves while it is read: reported, never fatal, and nothing else suffers. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, lstatSync, mkdirSync, readFileSync, rmSync, statSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ArtifactWriter } from "../../src/archive/artifact-file.ts";
import { Tarball } from "../../src/capture/tarball.ts";
import { programs } from "../support/cli.ts";
import { letOthersReach, nobody } from "../support/other-user.ts";
import { protect } from "../support/protected.ts";
import { gitRepo, tempDir } from "../support/repo.ts";
import { snapshotTree } from "../support/tree.ts";

const isRoot = process.getuid?.() === 0;

test("a socket, a fifo, and a fifo where a tracked file was: named, and not waited for", async () => {
  using repo = gitRepo({ "dir/tracked": "1\n", other: "1\n" });
  const server = createServer().listen(join(repo.path, "dir/socket"));
  await once(server, "listening");
  execFileSync("mkfifo", ["fifo", "dir/fifo"], { cwd: repo.path });
  rmSync(join(repo.path, "other"));
  execFileSync("mkfifo", ["other"], { cwd: repo.path });
  repo.write("fine", "fine\n");
  try {
    using safe = await protect(repo.path);
    const { problems, manifest } = await safe.point();
    expect(problems.map(({ code, path }) => `${code} ${path}`).sort()).toEqual([
      "special dir/fifo",
      "special dir/socket",
      "special fifo",
      "special other",
    ]);
    expect(manifest.consistent).toBe(false);
    const { target, problems: told } = await safe.restore();
    expect(told).toMatchObject(problems);
    expect(readFileSync(join(target, "fine"), "utf8")).toBe("fine\n");
    expect(await safe.pointIfChanged()).toMatchObject({ status: "unchanged" });
  } finally {
    server.close();
  }
});

test.skipIf(!isRoot)("what another user may not read is named, exit 3; the rest is kept", async () => {
  using repo = gitRepo({ ".gitignore": "data/\nlogs/\npgdata/\n", "hidden/tracked": "1\n", "locked/tracked": "1\n", closed: "1\n", open: "1\n" });
  for (const path of ["secret", "hidden/untracked", "locked/untracked", "data/private/rows", "data/rows", "logs/today", "pgdata/base/1"])
    repo.write(path, "x\n");
  writeFileSync(join(repo.path, "backup.yaml"), "version: 1\ninclude: [data/, logs/]\n");
  repo.write("closed", "changed\n");
  using store = gitRepo();
  letOthersReach(repo.path);
  execFileSync("chown", ["-R", `${nobody}:${nobody}`, repo.path, store.path]);
  const env = { HOLDFAST_STORE: undefined, HOME: store.path, XDG_DATA_HOME: undefined, XDG_CONFIG_HOME: undefined };
  const run = (...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> => asNobody(repo.path, env, args);
  expect(await run("init", "--yes", "--no-hooks", "--store", join(store.path, "points"))).toMatchObject({ code: 0 });
  execFileSync("chown", ["root:root", join(repo.path, "secret"), join(repo.path, "closed")]);
  for (const path of ["data/private", "logs", "pgdata"]) chmodSync(join(repo.path, path), 0);
  for (const path of ["secret", "closed"]) chmodSync(join(repo.path, path), 0o600);
  chmodSync(join(repo.path, "hidden"), 0);
  chmodSync(join(repo.path, "locked"), 0o600);
  repo.write("fine", "fine\n");
  execFileSync("chown", [`${nobody}:${nobody}`, join(repo.path, "fine")]);
  const backup = await run("backup", "--json");
  expect(backup.stderr + backup.stdout).not.toContain("error");
  const { problems } = JSON.parse(backup.stdout) as { problems: { code: string; path: string }[] };
  // Nothing in it was ever chosen: of no point, and no problem.
  expect(problems.map(({ path }) => path).filter((path) => path.startsWith("pgdata"))).toEqual([]);
  const unreadable = problems.filter(({ code }) => code === "unreadable").map(({ path }) => path);
  const expected = ["secret", "closed", "hidden", "hidden/tracked", "locked/tracked", "locked/untracked", "data/private", "logs"];
  for (const path of expected) expect(unreadable).toContain(path);
  expect(backup.code).toBe(3);
  const restored = await run("restore", "--to", join(store.path, "restored"), "--json");
  expect(restored.stderr + restored.stdout).not.toContain("error");
  expect(restored.code).toBe(0);
  expect(readFileSync(join(store.path, "restored/fine"), "utf8")).toBe("fine\n");
});

async function asNobody(
  cwd: string,
  env: Record<string, string | undefined>,
  args: string[],
): Promise<{ code: number; stdout: string; stderr: string }> {
  const child = spawn(process.execPath, [programs.holdfast, ...args], {
    cwd,
    uid: nobody,
    gid: nobody,
    env: { ...process.env, ...env, TMPDIR: env["HOME"] },
    stdio: "pipe",
  });
  child.stdin.end();
  let stdout = "";
  let stderr = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    stderr += text;
  });
  const [code] = (await once(child, "close")) as [number];
  return { code, stdout, stderr };
}

describe("while they are read", () => {
  test("files written all the time, and files that come and go, are reported; the others are right", async () => {
    using repo = gitRepo({ a: "1\n" });
    for (let i = 0; i < 50; i += 1) repo.write(`still/${i}`, `${i}\n`);
    repo.write("busy-small", "x");
    repo.write("busy-large", Buffer.alloc(3 << 20, 1));
    mkdirSync(join(repo.path, "come"));
    const script = `
      const fs = require("node:fs"), large = fs.openSync("busy-large", "r+"), small = fs.openSync("busy-small", "r+");
      process.stdout.write("go");
      for (let i = 0; ; i += 1) {
        fs.writeSync(large, Buffer.alloc(512, i), 0, 512, (i % 5000) * 512);
        fs.writeSync(small, String(i), 0);
        if (i % 300 > 0) continue;
        fs.writeFileSync("come/" + (i % 9), "x");
        fs.rmSync("come/" + ((i + 3) % 9), { force: true });
      }`;
    const writer = spawn(process.execPath, ["-e", script], { cwd: repo.path, stdio: ["ignore", "pipe", "inherit"] });
    try {
      await once(writer.stdout, "data");
      using safe = await protect(repo.path);
      const seen = new Set<string>();
      // A writer that got no processor meanwhile was not seen to write; sooner or later it is.
      for (let round = 1; round <= 20 && !seen.has("changed busy-large"); round += 1) {
        const { problems, manifest } = await safe.point();
        expect(manifest.consistent).toBe(problems.length === 0);
        for (const { code, path } of problems) seen.add(`${code} ${path}`);
      }
      expect([...seen].filter((problem) => !/^(?:changed busy-(?:large|small)|(?:vanished|changed) come\/\d+)$/.test(problem))).toEqual([]);
      expect(seen).toContain("changed busy-large");
      const { target } = await safe.restore();
      expect(statSync(join(target, "busy-large")).size).toBe(3 << 20);
      expect(snapshotTree(join(target, "still"))).toEqual(snapshotTree(join(repo.path, "still")));
    } finally {
      writer.kill("SIGKILL");
    }
  });

  test("a file that vanishes, shrinks, grows or becomes something else between the look and the reading", async () => {
    using dir = tempDir();
    const at = (name: string): string => join(dir.path, name);
    const names = ["gone", "shrunk", "grown", "large-shrunk", "large-gone", "to-folder", "to-fifo", "to-link"];
    for (const name of names) writeFileSync(at(name), name.startsWith("large") ? Buffer.alloc(200_000, 7) : "some bytes\n");
    const observed = names.map((name) => ({
      path: `untracked/${name}`,
      file: at(name),
      kind: "file" as const,
      stat: lstatSync(at(name), { bigint: true }),
    }));
    for (const name of names) if (!name.endsWith("shrunk")) rmSync(at(name));
    for (const name of ["shrunk", "large-shrunk"]) truncateSync(at(name), 3);
    writeFileSync(at("grown"), "some bytes and more\n");
    mkdirSync(at("to-folder"));
    execFileSync("mkfifo", [at("to-fifo")]);
    symlinkSync("/etc/passwd", at("to-link"));
    const writer = await ArtifactWriter.create(at("tar.zst"), "zstd");
    const tarball = new Tarball({ writer, patchBase: () => undefined, keepChunks: () => undefined, isAsKnown: () => false });
    const sizes: Record<string, number | undefined> = {};
    for (const file of observed) sizes[file.path.slice(10)] = (await tarball.emit(file))?.entry.size;
    await tarball.finish();
    await writer.finish("tar.zst");
    expect(sizes).toEqual({ shrunk: 3, grown: 20, "large-shrunk": 3 });
    const lost = names.filter((name) => /gone|^to-/.test(name)).map((path) => ({ code: "vanished", path }));
    expect(tarball.problems).toMatchObject(lost);
    expect(execFileSync("tar", ["--zstd", "-tf", at("tar.zst")], { encoding: "utf8" })).toContain("untracked/grown");
  });
});
