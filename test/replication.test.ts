/** Copies through the built program: each on its own, away and back, off-site only what nobody can read, 3-2-1 by what was seen. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { openApp } from "../src/app.ts";
import type { StoreConfig } from "../src/core/config.ts";
import { copyLock, readCopyState } from "../src/replicate/copy-state.ts";
import { stateLayout } from "../src/state/layout.ts";
import { acquireLock } from "../src/state/lock.ts";
import { FolderStore } from "../src/stores/folder.ts";
import { syncCopies } from "../src/tasks/copies.ts";
import { isForEncryptedOnly } from "../src/tasks/places.ts";
import { syncPatiently } from "../src/tasks/sync-wait.ts";
import { runCli } from "./support/cli.ts";
import { needs } from "./support/needs.ts";
import { tempDir } from "./support/repo.ts";
import { publishSmallPoint } from "./support/small-point.ts";
import { until } from "./support/until.ts";
import { type Workspace, workspace } from "./support/workspace.ts";

const layout = (work: Workspace) => stateLayout(join(work.repo.path, ".git/holdfast"));

/** Adds a store by hand, with settings that no option gives. */
function configure(work: Workspace, lines: readonly string[]): void {
  const file = join(work.repo.path, "backup.yaml");
  const text = readFileSync(file, "utf8");
  writeFileSync(
    file,
    text.replace(/(stores:\n(?: {2}.*\n)+)/, (stores) => `${stores}${lines.map((line) => `  ${line}\n`).join("")}`),
  );
}

/** A host that takes every connection and never says a word. */
async function silentHost(): Promise<AsyncDisposable & { readonly port: number }> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => void sockets.add(socket.on("error", () => undefined)));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

describe("a copy that hangs", () => {
  test("keeps no other from the points of later commits, is shown, and is waited for by nobody", async () => {
    await using host = await silentHost();
    using work = await workspace({ init: [] });
    using far = tempDir();
    await work.json(["store", "add", "disk", join(far.path, "disk")]);
    configure(work, ["- name: hub", `  url: branch:http://127.0.0.1:${host.port}/x.git#backup`, "  encrypt: false"]);
    const disk = { name: "disk", url: join(far.path, "disk") };
    const seen = (): string => readCopyState(layout(work).copies, disk).seenTo ?? "";
    for (const name of ["one", "two"]) {
      const before = seen();
      work.repo.write(`${name}.txt`, name);
      work.repo.commit();
      await until(`the commit ${name} is on the disk`, () => seen() > before);
      expect(existsSync(copyLock(layout(work).copies, "hub"))).toBe(true);
    }
    const { copies } = await work.json(["status"], 3);
    expect(copies).toMatchObject([
      { name: "disk", missing: 0, error: null, sendingSince: null },
      { name: "hub", missing: 3, sendingSince: expect.any(String), lastOkAt: null },
    ]);
    const app = await openApp(work.repo.path);
    const outcomes = await syncCopies(app, { force: true, lockWaitMs: 0 });
    expect(outcomes).toMatchObject([
      { store: "disk", status: "ok", missing: 0 },
      { store: "hub", status: "busy", code: "locked", message: expect.stringContaining("sending points to hub"), hint: "holdfast sync --wait" },
    ]);
    const worker = Number(readFileSync(layout(work).lease, "utf8"));
    process.kill(worker, "SIGTERM");
    await until("the worker has ended", () => !existsSync(layout(work).lease));
  });
});

describe("sync", () => {
  test("goes on at once where another run sends to one copy; --wait waits for it, and tries again what may work", async () => {
    using work = await workspace();
    using far = tempDir();
    for (const name of ["one", "two"]) await work.json(["store", "add", name, join(far.path, name)]);
    await work.backup();
    const app = await openApp(work.repo.path);
    const lock = await acquireLock(copyLock(layout(work).copies, "one"), { purpose: "testing" });
    const signal = new AbortController().signal;
    expect(await syncCopies(app, { force: true, lockWaitMs: 0 })).toMatchObject([
      { store: "one", status: "busy" },
      { store: "two", status: "ok", sent: 1 },
    ]);
    const patient = syncPatiently(app, { signal, pausesMs: [] });
    const two = { name: "two", url: join(far.path, "two") };
    await until("two is seen to", () => readCopyState(layout(work).copies, two).missing === 0);
    lock.release();
    expect(await patient).toMatchObject({
      copies: [
        { store: "one", status: "ok", sent: 1 },
        { store: "two", status: "ok", sent: 0 },
      ],
    });

    const remote = join(far.path, "remote.git");
    work.repo.git("init", "--quiet", "--bare", remote);
    await work.json(["store", "add", "git", `branch:${remote}#backup`]);
    await work.backup();
    renameSync(remote, `${remote}.away`);
    const waits: string[] = [];
    const mended = await syncPatiently(await openApp(work.repo.path), {
      signal,
      pausesMs: [1, 1, 1],
      onWait: (what) => {
        waits.push(what);
        if (waits.length === 2) renameSync(`${remote}.away`, remote);
      },
    });
    expect(mended.copies).toMatchObject([
      { store: "one", status: "ok", sent: 1 },
      { store: "two", status: "ok", sent: 1 },
      { store: "git", status: "ok", sent: 1 },
    ]);
    expect(waits).toEqual([expect.stringMatching(/^git: trying again/), expect.stringMatching(/^git: trying again/)]);
  });

  test("of a copy on a remote that is gone says so, in status too, and the others go on", async () => {
    using work = await workspace();
    using far = tempDir();
    await work.json(["store", "add", "disk", join(far.path, "disk")]);
    configure(work, ["- name: hub", "  url: branch:nobody/backup"]);
    await work.backup();
    expect((await work.json(["sync"], 3)).copies).toMatchObject([
      { store: "disk", status: "ok", sent: 1 },
      {
        store: "hub",
        status: "failed",
        code: "config_invalid",
        missing: 2,
        message: "store hub: there is no remote called nobody",
        hint: "git remote -v",
      },
    ]);
    expect((await work.json(["status"], 3)).findings).toContainEqual({
      what: "copy hub: store hub: there is no remote called nobody",
      hint: "git remote -v",
    });
  });

  test("a disk that comes back gets all that waited; until then the number and the bytes are known", async () => {
    using work = await workspace();
    using far = tempDir();
    const [disk, drawer] = [join(far.path, "disk"), join(far.path, "drawer")];
    await work.json(["store", "add", "disk", disk]);
    renameSync(disk, drawer);
    for (let number = 1; number <= 3; number += 1) await work.backup();
    const { copies } = await work.json(["sync"]);
    expect(copies).toMatchObject([{ status: "away", missing: 3, missingBytes: expect.any(Number), awaySince: expect.any(String) }]);
    expect((await work.json(["status"], 3)).copies).toMatchObject([{ missing: 3, missingBytes: expect.any(Number), error: null }]);
    expect((await work.run(["sync"])).stdout).toMatch(
      /^copy disk: away since 20.*, 3 points \(.*\) waiting: the store disk is no longer at .*\n {2}hint: /,
    );
    renameSync(drawer, disk);
    expect((await work.json(["sync", "--wait"])).copies).toEqual([{ store: "disk", status: "ok", sent: 3, missing: 0 }]);
  });
});

describe("a place that others may read", () => {
  test("gets no point that is not encrypted, is told why, and does not name the repository", async () => {
    using work = await workspace();
    using far = tempDir();
    const elsewhere = join(far.path, "elsewhere");
    mkdirSync(elsewhere);
    configure(work, ["- name: out", `  url: ${elsewhere}`, "  offsite: true"]);
    const sync = await work.run(["sync"]);
    expect([sync.code, sync.stdout]).toEqual([
      3,
      expect.stringMatching(/^copy out: the newest point is not encrypted and stays here\n {2}hint: holdfast key new .*encrypt: false at out/),
    ]);
    const status = await work.json(["status"], 3);
    expect(status.findings).toContainEqual({
      what: "copy out: a point is not encrypted, and not sent there",
      hint: expect.stringContaining("encrypt: false"),
    });
    expect(status.threeTwoOne).toEqual({ copies: 1, media: 1, offsite: 0, isMet: false });
    const identity = JSON.parse(readFileSync(join(elsewhere, "holdfast.json"), "utf8")) as { name: string; repository: string };
    expect(identity.name).toBe(`encrypted-${identity.repository.slice(0, 8)}`);
    expect((await new FolderStore("out", elsewhere).folders()).length).toBe(0);

    // An encrypted one goes, alone.
    const later = await publishSmallPoint(new FolderStore("local", work.store), "20991121T100000Z-00000a", { isEncrypted: true });
    expect((await work.json(["sync"])).copies).toMatchObject([{ status: "ok", sent: 1, withheld: { points: 1, hasNewest: true } }]);
    expect((await work.json(["points", "--store", "out"])).points).toMatchObject([{ id: later.id }]);
    const { stdout } = await work.run(["status"]);
    expect(stdout).toMatch(/copy out +1 older point is not encrypted and stays here, seen /);

    // Told that it may, it gets all of it.
    writeFileSync(
      join(work.repo.path, "backup.yaml"),
      readFileSync(join(work.repo.path, "backup.yaml"), "utf8").replace("offsite: true", "offsite: true\n    encrypt: false"),
    );
    expect((await work.json(["sync"])).copies).toEqual([{ store: "out", status: "ok", sent: 1, missing: 0 }]);
  });
});

test("which places others may read is known by their address; the settings know better", async () => {
  using work = await workspace({ isProtected: false });
  work.repo.git("remote", "add", "hub", "git@host.example:me/notes.git");
  work.repo.git("remote", "add", "beside", "../notes.git");
  const app = await openApp(work.repo.path);
  const verdict = (url: string, more: Partial<StoreConfig> = {}): Promise<boolean> => isForEncryptedOnly(app, { name: "x", url, ...more });
  for (const url of [
    "branch:hub",
    "branch:https://host.example/x.git#b",
    "branch:host:x.git#b",
    "branch:nobody-knows/b",
    "s3://bucket/x",
    "rclone:far:x",
  ]) {
    expect(await verdict(url), url).toBe(true);
    expect(await verdict(url, { isPlain: true }), url).toBe(false);
    expect(await verdict(url, { isOffsite: false }), url).toBe(false);
  }
  for (const url of [
    "/mnt/disk",
    "branch:beside",
    "branch:/srv/x.git#b",
    "branch:file:///srv/x.git#b",
    "branch:https://127.0.0.1/x.git#b",
    "s3://b-1?endpoint=http://localhost:9000",
  ]) {
    expect(await verdict(url), url).toBe(false);
    expect(await verdict(url, { isOffsite: true }), url).toBe(true);
  }
});

const otherVolume = process.env["HOLDFAST_TEST_OTHER_VOLUME"] ?? "/dev/shm";
const hasOtherVolume = needs("a second volume", "3-2-1 over two disks", () => statSync(otherVolume).dev !== statSync(tmpdir()).dev);

describe("3-2-1", () => {
  test.skipIf(!hasOtherVolume)("knows a disk on which the primary is not, also while it is away", async () => {
    using work = await workspace();
    const disk = mkdtempSync(join(otherVolume, "holdfast-test-"));
    try {
      await work.json(["store", "add", "disk", disk]);
      const two = { copies: 2, media: 2, offsite: 0, isMet: false };
      expect((await work.json(["status"], 3)).threeTwoOne).toEqual(two);
      renameSync(disk, `${disk}-away`);
      expect((await work.json(["sync"])).copies).toMatchObject([{ status: "away" }]);
      expect(await work.json(["status"], 3)).toMatchObject({ threeTwoOne: two, copies: [{ medium: "the disk of disk" }] });
    } finally {
      for (const path of [disk, `${disk}-away`]) rmSync(path, { recursive: true, force: true });
    }
  });

  test("counts what was read back, on the media that there are, and nothing that is only configured", async () => {
    using work = await workspace();
    using far = tempDir();
    const rule = async (): Promise<unknown> => (await work.json(["status"], 3)).threeTwoOne;
    expect(await rule()).toEqual({ copies: 1, media: 1, offsite: 0, isMet: false });
    configure(work, ["- name: none", "  url: branch:https://127.0.0.1:9/x.git#backup", "- name: soon", `  url: ${join(far.path, "soon")}`]);
    expect(await rule()).toEqual({ copies: 1, media: 1, offsite: 0, isMet: false });
    mkdirSync(join(far.path, "soon"));
    expect((await work.run(["sync"])).code).toBe(3);
    // On the primary's own disk.
    expect(await rule()).toEqual({ copies: 2, media: 1, offsite: 0, isMet: false });
    const { stdout } = await work.run(["status"]);
    expect(stdout).toMatch(/3-2-1 +2 of 3 copies, 1 of 2 media, none elsewhere\n/);
    expect(stdout).toContain("- not yet 3-2-1: 2 of 3 copies");
    // What was seen at one address says nothing of another.
    const settings = join(work.repo.path, "backup.yaml");
    writeFileSync(settings, readFileSync(settings, "utf8").replace(join(far.path, "soon"), join(far.path, "later")));
    expect(await rule()).toEqual({ copies: 1, media: 1, offsite: 0, isMet: false });
  });
});

test("an upload limit holds what is sent", async () => {
  using work = await workspace({ files: { "a.bin": Buffer.from(Array.from({ length: 60_000 }, (_, at) => (at * 7919) % 251)) } });
  using far = tempDir();
  mkdirSync(join(far.path, "slow"));
  configure(work, ["- name: slow", `  url: ${join(far.path, "slow")}`, "  upload_limit: 16 KiB"]);
  const startedAt = performance.now();
  const { copies } = await work.json(["sync"]);
  expect(copies).toMatchObject([{ status: "ok", sent: 1 }]);
  const [{ stored }] = [await work.json(["status"], 3)];
  expect(performance.now() - startedAt).toBeGreaterThan((stored / 16_384) * 1000 - 200);
  expect((await runCli(["recover", join(far.path, "slow"), join(far.path, "back")], { cwd: far.path })).code).toBe(0);
});
