/** What a store makes of a remote that is hostile, forgetful, old or slow; told by a program that only looks like rclone. */
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { needs } from "../../test/support/needs.ts";
import { localRemote, type RcloneRemoteForTests } from "../../test/support/rclone.ts";
import { tempDir } from "../../test/support/repo.ts";
import { RcloneStore } from "./rclone.ts";
import { rcloneEnvironment } from "./rclone-run.ts";
import { bytesSource, readAll } from "./store.ts";

const rclone = needs("rclone", "stores on rclone remotes");

/** Answers as the file says: for each command an object, or a status and words; a file's bytes for a GET. */
const standIn = `#!${process.execPath}
const { readFileSync, appendFileSync } = require("node:fs");
const says = () => JSON.parse(readFileSync(process.env.STAND_IN + "/says.json", "utf8"));
if (process.argv[2] === "rcat") {
  let size = 0;
  process.stdin.on("data", (chunk) => (size += chunk.length));
  process.stdin.on("end", () => {
    appendFileSync(process.env.STAND_IN + "/log", "rcat " + process.argv.at(-1).replace(/^[^:]*:/, "") + " " + size + "\\n");
    const exit = (says().rcat ?? []).at(0);
    if (exit !== undefined) process.stderr.write(exit.words);
    process.exit(exit === undefined ? 0 : exit.code);
  });
} else {
  const server = require("node:http").createServer((request, response) => {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => {
      const command = request.method === "GET" ? "read" : request.url.slice(1);
      const asked = chunks.length === 0 ? {} : JSON.parse(Buffer.concat(chunks).toString());
      appendFileSync(process.env.STAND_IN + "/log", command + " " + (asked.remote ?? asked.dstRemote ?? "") + "\\n");
      const answer = says()[command] ?? {};
      if (answer.cut !== undefined) {
        response.writeHead(200, { "content-length": answer.cut.length + 10 });
        response.write(answer.cut, () => response.destroy());
        return;
      }
      response.writeHead(answer.status ?? 200).end(answer.text ?? JSON.stringify(answer.json ?? {}));
    });
  });
  server.listen(0, "127.0.0.1", () => process.stderr.write("NOTICE: Serving remote control on http://127.0.0.1:" + server.address().port + "/\\n"));
}
`;

const well = {
  "core/version": { json: { version: "v1.60.1", decomposed: [1, 60, 1] } },
  "operations/fsinfo": { json: { Features: { BucketBased: false, Move: true }, Hashes: ["md5"] } },
  "operations/stat": { json: { item: null } },
  "operations/list": { json: { list: [] } },
};

const entry = (Path: string, Size = 1) => ({ Path, Name: Path, Size, ModTime: "", IsDir: false });

describe("a store on an rclone remote", () => {
  let dir: ReturnType<typeof tempDir>;
  let store: RcloneStore;
  beforeEach(() => {
    dir = tempDir();
    mkdirSync(join(dir.path, "bin"));
    writeFileSync(join(dir.path, "bin/rclone"), standIn);
    chmodSync(join(dir.path, "bin/rclone"), 0o755);
    const environment = { ...process.env, PATH: `${join(dir.path, "bin")}${delimiter}${process.env["PATH"] ?? ""}`, STAND_IN: dir.path };
    store = new RcloneStore({ name: "cloud", url: "rclone:box:git", path: "box:git", folder: "", environment });
  });
  afterEach(async () => {
    await store.close();
    dir[Symbol.dispose]();
  });
  const says = (more: object = {}): void => writeFileSync(join(dir.path, "says.json"), JSON.stringify({ ...well, ...more }));
  const log = (): string => (existsSync(join(dir.path, "log")) ? readFileSync(join(dir.path, "log"), "utf8") : "");

  test("follows no name that leads out of it, or that a terminal would obey", async () => {
    const hostile = [
      "../../etc/passwd",
      "/etc/passwd",
      "20261121/../../x",
      "a//b",
      ".",
      "a/./b",
      "a\nb",
      "20261121/\u001b[2J",
      "a\\b",
      "\u202ea",
      "",
    ];
    says({ "operations/list": { json: { list: [...hostile, "20261121/good"].map((name) => entry(name)) } } });
    const keys: string[] = [];
    for await (const { key } of store.list("")) keys.push(key);
    expect(keys).toEqual(["20261121/good"]);
    expect(await store.folders()).toEqual(["20261121/good"]);
  });

  test("a put that did not arrive as it was sent fails, is never given its name, and leaves nothing", async () => {
    // Of the right length when it is read back, with another sum.
    const item = { ...entry("x", 5), Hashes: { md5: "0".repeat(32) } };
    says({ "operations/stat": { json: { item } } });
    await expect(store.replace("20261121/a", bytesSource("hello"))).rejects.toMatchObject({ code: "store_failed" });
    expect(log()).toMatch(/operations\/deletefile \.holdfast-/);
    expect(log()).not.toContain("movefile");
  });

  test("a remote that knows no sums is read again", async () => {
    const item = entry("x", 5);
    says({ "operations/stat": { json: { item } }, read: { text: "hellO" } });
    await expect(store.replace("20261121/a", bytesSource("hello"))).rejects.toMatchObject({ code: "store_failed" });
    says({ "operations/stat": { json: { item } }, read: { text: "hello" } });
    await store.replace("20261121/a", bytesSource("hello"));
    expect(log()).toContain("operations/movefile 20261121/a");
  });

  test("a bucket takes a large file under its own name, and a small one by way of another", async () => {
    says({ "operations/fsinfo": { json: { Features: { BucketBased: true, Copy: true }, Hashes: ["md5"] } } });
    await expect(store.put("20261121/large", { ...bytesSource(Buffer.alloc(2 << 20)) })).rejects.toMatchObject({ code: "store_failed" });
    await expect(store.put("20261121/small", bytesSource("x"))).rejects.toMatchObject({ code: "store_failed" });
    expect(log()).toMatch(/rcat 20261121\/large 2097152\n/);
    expect(log()).toMatch(/rcat \.holdfast-[0-9a-z]+-[0-9a-f]{12} 1\n/);
  });

  test("an upload that broke on the way is tried again, one that is refused is not", async () => {
    says({ rcat: [{ code: 5, words: "read tcp: connection reset by peer" }] });
    await expect(store.replace("a", bytesSource("x"))).rejects.toMatchObject({ code: "remote_failed" });
    expect(log().match(/rcat /g)).toHaveLength(3);
    says({ rcat: [{ code: 1, words: "403 Forbidden" }] });
    await expect(store.replace("a", bytesSource("x"))).rejects.toMatchObject({ code: "store_unwritable" });
    expect(log().match(/rcat /g)).toHaveLength(4);
  });

  test("a read that breaks off throws, and is not the end of the file", async () => {
    says({ read: { cut: "half of" } });
    await expect(readAll(store, "20261121/a")).rejects.toMatchObject({ code: "remote_failed" });
  });

  test("answers that mean nothing, and versions that are too old, are told", async () => {
    says({ "operations/list": { text: "<html>" } });
    await expect(store.folders()).rejects.toMatchObject({ code: "store_failed" });
    says({ "operations/list": { json: { list: [{ Path: 7 }] } } });
    await expect(store.folders()).rejects.toMatchObject({ code: "store_failed" });
    await store.close();
    says({ "core/version": { json: { version: "v1.53.3", decomposed: [1, 53, 3] } } });
    await expect(store.folders()).rejects.toMatchObject({ code: "rclone_missing", message: expect.stringContaining("v1.53.3") });
  });

  test("an rclone that has gone away is started again by the next call", async () => {
    says();
    await store.folders();
    await store.close();
    await store.folders();
    expect(log().match(/core\/version/g)).toHaveLength(2);
  });
});

test("the environment of rclone lacks what would bend a command, and has what reaches the remote", () => {
  const bending = { RCLONE_DRY_RUN: "1", RCLONE_EXCLUDE: "*", RCLONE_MAX_AGE: "1d", RCLONE_RC_ADDR: ":1", RCLONE_LOG_FILE: "x", AWS_CA_BUNDLE: "x" };
  const reaching = {
    RCLONE_CONFIG: "/c",
    RCLONE_CONFIG_BOX_TYPE: "sftp",
    RCLONE_S3_REGION: "eu",
    RCLONE_CONTIMEOUT: "1s",
    RCLONE_BWLIMIT: "1M",
    HOME: "/h",
  };
  const environment = rcloneEnvironment({ ...bending, ...reaching }, {});
  expect(Object.keys(bending).filter((name) => name in environment)).toEqual([]);
  expect(environment).toMatchObject(reaching);
});

describe.skipIf(!rclone)("a store on a folder by way of rclone", () => {
  let remote: RcloneRemoteForTests;
  let store: RcloneStore;
  beforeEach(async () => {
    remote = await localRemote();
    store = new RcloneStore({ name: "cloud", url: "rclone::local:", path: `${remote.remote}it's a [store]`, folder: "id/" });
  });
  afterEach(async () => {
    await store.close();
    await remote[Symbol.asyncDispose]();
  });

  test("what a killed upload left is cleared after a day, and is never listed", async () => {
    await store.put("20261121/a", bytesSource("one"));
    const root = join(remote.root, "it's a [store]", "id");
    const at = Date.now();
    for (const age of [0, 23, 25]) writeFileSync(join(root, `.holdfast-${(at - age * 3_600_000).toString(36)}-0123456789ab`), "half");
    writeFileSync(join(root, ".holdfast-notes"), "of somebody else");
    const keys: string[] = [];
    for await (const { key } of store.list("")) keys.push(key);
    expect(keys).toEqual(["20261121/a"]);
    await store.clearLeftovers(new Date(at));
    expect(readdirSync(root)).toHaveLength(4);
    expect(readdirSync(root)).toContain(".holdfast-notes");
  });

  test("names of every kind arrive", async () => {
    for (const key of ["20261121/a b%20c#d?e&f", "20261121/ünï", "20261121/[x]", "20261121/it's", "-rf/--x"]) {
      await store.put(key, bytesSource(key));
      expect((await readAll(store, key))?.toString()).toBe(key);
      expect(await store.stat(key)).toEqual({ key, size: Buffer.byteLength(key) });
    }
  });
});
