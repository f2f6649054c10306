/** Points in a bucket, by the program as users run it: many repositories and machines in one, a bare machine, a check. */
import { execFileSync } from "node:child_process";
import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, beforeEach, describe, expect, test } from "vitest";
import { openArtifact, readCatalogue } from "../src/points/catalogue.ts";
import { runCli } from "./support/cli.ts";
import { effort } from "./support/effort.ts";
import { tempDir } from "./support/repo.ts";
import { hasS3, type S3Server, s3Server, s3Store, s3Url, useCredentials } from "./support/s3-server.ts";
import { snapshotTree } from "./support/tree.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

describe.skipIf(!hasS3("ceph-rgw", "S3 stores"))("a bucket", () => {
  let server: S3Server;
  let bucket: string;
  let url: string;
  beforeAll(async () => {
    server = await s3Server();
  });
  beforeEach(async () => {
    useCredentials(server.owner);
    bucket = await server.makeBucket();
    url = s3Url(server.endpoint, bucket, "backups");
  });

  const add = async (work: Workspace, address = url): Promise<void> => {
    const { code, stdout, stderr } = await work.run(["store", "add", "off", address]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toBe("copy off: whole, 1 point sent\n");
  };

  test("alone gives everything back on a bare machine, by the bucket's address or the repository's", async () => {
    using work = await workspace({ files: { "a.txt": "one\n", "b/c.txt": "two\n" } });
    await add(work);
    work.repo.write("notes.md", "untracked\n");
    await work.backup();
    expect((await work.run(["sync"])).code).toBe(0);
    const id = readFileSync(join(work.repo.path, ".git/holdfast/repository"), "utf8").trim();
    using elsewhere = tempDir();
    for (const [folder, address] of [
      ["by-bucket", url],
      ["by-id", url.replace("backups", `backups/${id}`)],
    ] as const) {
      const recovered = await runCli(["recover", address, join(elsewhere.path, folder)], { cwd: elsewhere.path });
      expect({ code: recovered.code, stderr: recovered.stderr }).toEqual({
        code: 0,
        stderr: expect.stringMatching(new RegExp(`^Store of ${nameOf(work)}: the moment \\S+ \\(manual\\), the newest point\\.\n`)),
      });
      const options = { exclude: [".git"] };
      expect(snapshotTree(join(elsewhere.path, folder), options)).toEqual(snapshotTree(work.repo.path, options));
    }
  });

  test("with several repositories asks which, naming each; and another machine joins one by its address", async () => {
    using one = await workspace();
    using two = await workspace({ files: { "other.txt": "x\n" } });
    await add(one);
    await add(two);
    using elsewhere = tempDir();
    const asked = await runCli(["recover", url, "new", "--json"], { cwd: elsewhere.path });
    expect(asked.code).toBe(2);
    const { error } = JSON.parse(asked.stdout);
    expect(error.details.repositories.map(({ name }: { name: string }) => name).sort()).toEqual([nameOf(one), nameOf(two)].sort());
    for (const { id, name } of error.details.repositories)
      expect(error.message).toMatch(new RegExp(`${id}  ${name}, newest point of \\d{4}-\\d\\d-\\d\\d`));
    const id = error.details.repositories.find(({ name }: { name: string }) => name === nameOf(one)).id;
    const address = url.replace("backups", `backups/${id}`);
    expect(error.hint).toMatch(new RegExp(`'s3://${bucket}/backups/[0-9a-f-]{36}\\?endpoint=`));

    const clone = join(elsewhere.path, "clone");
    execFileSync("git", ["clone", "--quiet", one.repo.path, clone]);
    const joined = await runCli(["init", "--yes", "--no-hooks", "--store", join(elsewhere.path, "store"), "--store", address], { cwd: clone });
    expect(joined.code, joined.stderr).toBe(0);
    expect(readFileSync(join(clone, ".git/holdfast/repository"), "utf8").trim()).toBe(id);
    const points = await runCli(["points", "--store", "s3", "--json"], { cwd: clone });
    expect(JSON.parse(points.stdout).points).toHaveLength(2);
  });

  const repositories = effort("HOLDFAST_BUCKET_REPOSITORIES", 10, 4);
  test(`takes the points of ${2 * repositories} processes of ${repositories} repositories at once, and loses and mixes none`, async () => {
    using elsewhere = tempDir();
    const machines: { readonly cwd: string; readonly id: string }[] = [];
    const works: Workspace[] = [];
    try {
      for (let index = 0; index < repositories; index += 1) {
        const work = await workspace({ files: { "which.txt": `${index}\n` } });
        works.push(work);
        addToConfig(work, url);
        const id = readFileSync(join(work.repo.path, ".git/holdfast/repository"), "utf8").trim();
        // Another machine of the same repository: its own clone, primary and memory.
        const clone = join(elsewhere.path, `clone-${index}`);
        cpSync(work.repo.path, clone, { recursive: true });
        const primary = join(elsewhere.path, `store-${index}`);
        cpSync(work.store, primary, { recursive: true });
        writeFileSync(join(clone, "backup.yaml"), readFileSync(join(clone, "backup.yaml"), "utf8").replace(work.store, primary));
        machines.push({ cwd: work.repo.path, id }, { cwd: clone, id });
      }
      await Promise.all(
        machines.map(async ({ cwd }, index) => {
          writeFileSync(join(cwd, "untracked.txt"), `of machine ${index}\n`);
          const made = await runCli(["backup"], { cwd });
          expect(made.code, made.stderr).toBe(0);
          const synced = await runCli(["sync"], { cwd });
          expect(synced.code, synced.stdout + synced.stderr).toBe(0);
        }),
      );
      for (const id of new Set(machines.map((machine) => machine.id))) {
        const store = s3Store(url.replace("backups", `backups/${id}`));
        const { points, damaged } = await readCatalogue(store);
        expect(damaged).toEqual([]);
        expect(points).toHaveLength(3);
        expect(new Set(points.map(({ repository }) => repository))).toEqual(new Set([id]));
        for (const point of points) for (const artifact of point.artifacts) for await (const _ of await openArtifact(store, point, artifact));
      }
      expect((await s3Store(url).folders()).sort()).toEqual([...new Set(machines.map(({ id }) => id))].sort());
    } finally {
      for (const work of works) work[Symbol.dispose]();
    }
  });

  test("of encrypted points holds no name and no content; what a lost machine left there stays for the old key, and that is said", async () => {
    using config = tempDir();
    const env = { HOLDFAST_CONFIG_DIR: config.path };
    using work = await workspace({ files: { "Kolibri.md": "Rotkehlchen\n" }, isProtected: false });
    const run = async (...args: string[]) => {
      const { code, stdout, stderr } = await work.run([...args, "--json"], { env });
      return { code, stderr, json: JSON.parse(stdout) };
    };
    work.repo.git("branch", "Nachtigall");
    work.repo.write("papagei/Eisvogel.txt", "Wiedehopf\n");
    expect((await run("init", "--yes", "--no-hooks", "--encrypt", "--store", work.store, "--store", url)).code).toBe(0);
    expect((await run("backup", "-m", "Zaunkoenig")).code).toBe(0);
    expect((await run("sync")).code).toBe(0);
    const stored = await everythingIn(server, bucket);
    for (const word of ["Kolibri", "Rotkehlchen", "Nachtigall", "papagei", "Eisvogel", "Wiedehopf", "Zaunkoenig", nameOf(work), work.repo.path])
      expect(stored.includes(word), word).toBe(false);
    expect(stored).toContain("age-encryption.org/v1");

    // The printed sheet says which of the bucket's repositories it means, though there is only one today.
    const { file } = (await run("key", "kit")).json;
    const id = JSON.parse(readFileSync(join(work.store, "holdfast.json"), "utf8")).repository;
    expect(readFileSync(file, "utf8")).toContain(`aws s3 sync s3://${bucket}/backups/${id}/ store`);
    expect(readFileSync(file, "utf8")).toContain(`holdfast recover &#39;${url.replace("backups", `backups/${id}`)}&#39;`);

    execFileSync("rm", ["-r", work.store]);
    expect((await run("init", "--yes", "--no-hooks")).code).toBe(0);
    const rotated = await work.run(["key", "rotate", "--rewrap"], { env });
    expect(rotated).toMatchObject({
      code: 3,
      stderr: expect.stringMatching(/^warning: the store s3: 2 points in its trash, or not in the primary/m),
    });
    expect(rotated.stdout).toContain("Encrypted again: 1 point.");
  });

  describe("store check", () => {
    test("tells what the place can do, leaves nothing, and changes nothing", async () => {
      using work = await workspace();
      await add(work);
      const before = await keysOf(server, bucket);
      const plain = await work.run(["store", "check", "off"]);
      expect({ code: plain.code, stderr: plain.stderr }).toEqual({ code: 0, stderr: "" });
      expect(plain.stdout).toMatch(/^ {2}ok {7}1 point has its manifest/m);
      expect(plain.stdout).toMatch(/^ {2}ok {7}puts side by side all arrive$/m);
      expect(plain.stdout).toMatch(/^ {2}yes {6}an object that is there is never written over/m);
      expect(plain.stdout).toMatch(/^off keeps what a store promises\.$/m);
      expect(await keysOf(server, bucket)).toEqual(before);
      const checked = await work.json(["store", "check", "local"]);
      expect(checked).toMatchObject({ store: "local", isWell: true, facts: [{ what: "what is written can be deleted", answer: "yes" }] });
      expect(snapshotTree(work.store).filter(({ path }) => path.includes("check"))).toEqual([]);
    });

    test("without the right to delete says so, skips what needs it, and is content", async () => {
      using work = await workspace();
      const Resource = [`arn:aws:s3:::${bucket}`, `arn:aws:s3:::${bucket}/*`];
      const Statement = [
        { Effect: "Allow", Principal: { AWS: ["arn:aws:iam:::user/writer"] }, Action: ["s3:ListBucket", "s3:GetObject", "s3:PutObject"], Resource },
      ];
      await server.client.putBucketPolicy({ Bucket: bucket, Policy: JSON.stringify({ Version: "2012-10-17", Statement }) });
      useCredentials({ key: "writerkey", secret: "writersecret" });
      await add(work);
      const { checks, facts, isWell } = await work.json(["store", "check", "off"]);
      expect(isWell).toBe(true);
      expect(checks.filter(({ status }: { status: string }) => status === "skipped")).toHaveLength(3);
      expect(facts[0]).toMatchObject({ what: "what is written can be deleted", answer: "no", note: expect.stringContaining("enough for backups") });
      expect(facts.at(-1)).toMatchObject({ what: "what this check wrote is gone", answer: "no" });
    });

    test("a lock that the bucket does not have is exit 3", async () => {
      using work = await workspace();
      await add(work);
      const file = join(work.repo.path, "backup.yaml");
      writeFileSync(file, readFileSync(file, "utf8").replace("- name: off\n", "$&    object_lock_days: 7\n"));
      const { code, stdout } = await work.run(["store", "check", "off"]);
      expect(code).toBe(3);
      expect(stdout).toMatch(/^ {2}no \(!\) {3}the bucket has Object Lock/m);
      expect(stdout).toMatch(/^off: 2 things to look at\.$/m);
    });

    test("a store that is not there is not made by it", async () => {
      using work = await workspace();
      await work.run(["store", "add", "disk", join(work.path, "disk")]);
      execFileSync("rm", ["-r", join(work.path, "disk")]);
      const { code, stderr } = await work.run(["store", "check", "disk"]);
      expect(code).toBe(10);
      expect(stderr).toContain(`there is no folder ${join(work.path, "disk")}`);
      expect((await work.run(["store", "check", "attic"])).code).toBe(2);
    });
  });
});

test("store check of a branch reads it, tries a hidden ref, and pushes nothing to stay", async () => {
  using work = await workspace();
  const remote = join(work.path, "remote.git");
  execFileSync("git", ["init", "--quiet", "--bare", remote]);
  await work.run(["store", "add", "open", `branch:${remote}#holdfast/backup`]);
  await work.run(["store", "add", "hidden", `branch:${remote}#refs/holdfast/backup`]);
  const refs = (): string => execFileSync("git", ["for-each-ref"], { cwd: remote, encoding: "utf8" });
  const before = refs();
  const first = { name: expect.stringMatching(/^1 point has its manifest/), status: "ok" };
  const open = await work.json(["store", "check", "open"]);
  expect(open).toMatchObject({ isWell: true, checks: [first, { status: "skipped", name: expect.stringContaining("writing is not tried") }] });
  const hidden = await work.json(["store", "check", "hidden"]);
  expect(hidden).toMatchObject({ isWell: true, checks: [first, { status: "ok", name: "the remote takes a ref of this name" }] });
  expect(refs()).toBe(before);
});

/** Every key, and the bytes of every object. */
async function everythingIn(server: S3Server, Bucket: string): Promise<string> {
  const parts: string[] = [];
  for (const Key of await keysOf(server, Bucket)) {
    const { Body } = await server.client.getObject({ Bucket, Key });
    parts.push(Key, Buffer.from((await Body?.transformToByteArray()) ?? []).toString("latin1"));
  }
  return parts.join("\n");
}

function nameOf({ repo }: Workspace): string {
  return repo.path.slice(repo.path.lastIndexOf("/") + 1);
}

function addToConfig({ repo }: Workspace, url: string): void {
  const file = join(repo.path, "backup.yaml");
  const text = readFileSync(file, "utf8");
  writeFileSync(file, text.replace(/^stores:\n/m, "$&").replace(/^(stores:\n(?: {2}.*\n)+)/m, `$1  - name: off\n    url: ${JSON.stringify(url)}\n`));
}

async function keysOf({ client }: S3Server, bucket: string): Promise<string[]> {
  const { Contents } = await client.listObjectsV2({ Bucket: bucket });
  return (Contents ?? []).map(({ Key }) => Key ?? "").sort();
}
