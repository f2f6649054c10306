import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { BackupError } from "../core/errors.ts";
import { acquireLock, findLockOwner } from "./lock.ts";
import { type LockOwner, thisProcess } from "./owner.ts";

const lockModule = new URL("./lock.ts", import.meta.url).href;
const node = process.execPath;
let folder: string;
let path: string;
const children: ChildProcess[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "holdfast-lock-"));
  path = join(folder, "lock");
});
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

/** A real process that runs `code` with acquireLock at hand. */
function run(code: string): ChildProcess {
  const program = `import { acquireLock } from ${JSON.stringify(lockModule)}; import fs from "node:fs"; const path = ${JSON.stringify(path)};\n${code}`;
  const child = spawn(node, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  children.push(child);
  return child;
}

async function ended(child: ChildProcess): Promise<number | null> {
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  return child.exitCode;
}

async function holdAndDie(): Promise<void> {
  const child = run(`await acquireLock(path, { purpose: "dying" }); console.log("held"); setInterval(() => {}, 1000);`);
  await once(child.stdout as NodeJS.ReadableStream, "data");
  child.kill("SIGKILL");
  await ended(child);
}

function writeOwner(facts: Partial<LockOwner>, at: string = path): LockOwner {
  const owner: LockOwner = { ...thisProcess(), token: "abc123", purpose: "old run", startedAt: "2026-11-21T14:30:05.000Z", ...facts };
  writeFileSync(at, JSON.stringify(owner));
  return owner;
}

describe("one process", () => {
  test("holds it until the end of its scope and leaves nothing behind", async () => {
    {
      await using lock = await acquireLock(path, { purpose: "test" });
      expect(lock.isHeld).toBe(true);
      expect(findLockOwner(path)?.purpose).toBe("test");
      expect(readdirSync(folder)).toEqual(["lock"]);
    }
    expect(readdirSync(folder)).toEqual([]);
  });

  test("finds it locked, with who and since when", async () => {
    await using _held = await acquireLock(path, { purpose: "making a point", now: () => new Date("2026-11-21T14:30:05Z") });
    const refused = await acquireLock(path, { purpose: "second", waitMs: 60 }).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(BackupError);
    expect(refused).toMatchObject({
      code: "locked",
      message: expect.stringMatching(new RegExp(`making a point \\(pid ${process.pid} on .*, since 2026-11-21T14:30:05`)),
    });
    expect(readdirSync(folder)).toEqual(["lock"]);
  });

  test("gets it as soon as it is free", async () => {
    const first = await acquireLock(path, { purpose: "first" });
    const second = acquireLock(path, { purpose: "second", waitMs: 10_000 });
    first.release();
    expect((await second).owner.purpose).toBe("second");
    (await second).release();
  });

  test("stops waiting when told to", async () => {
    await using _held = await acquireLock(path, { purpose: "first" });
    const control = new AbortController();
    const waiting = acquireLock(path, { purpose: "second", waitMs: 60_000, signal: control.signal });
    control.abort();
    await expect(waiting).rejects.toMatchObject({ code: "interrupted" });
  });

  test("does not remove a lock that is no longer its own", async () => {
    const lock = await acquireLock(path, { purpose: "first" });
    const other = writeOwner({ token: "ffff" });
    lock.release();
    expect(JSON.parse(readFileSync(path, "utf8"))).toEqual(other);
  });

  test("says which folder takes no lock", async () => {
    writeFileSync(path, "");
    await expect(acquireLock(join(path, "lock"), { purpose: "test" })).rejects.toMatchObject({ code: "io_failed" });
  });
});

describe("an owner that died", () => {
  test("by SIGKILL is taken over at once, and reported", async () => {
    await holdAndDie();
    const seen: LockOwner[] = [];
    await using lock = await acquireLock(path, { purpose: "next", onTakeover: (previous) => seen.push(previous) });
    expect(lock.isHeld).toBe(true);
    expect(seen.map((owner) => owner.purpose)).toEqual(["dying"]);
    expect(readdirSync(folder)).toEqual(["lock"]);
  });

  test.skipIf(process.platform !== "linux")("is not mistaken for the process that has its pid now", async () => {
    writeOwner({ processStart: "1" });
    await using lock = await acquireLock(path, { purpose: "next" });
    expect(lock.isHeld).toBe(true);
  });

  test("before a reboot is taken over at once", async () => {
    writeOwner({ bootId: "another" });
    await using lock = await acquireLock(path, { purpose: "next" });
    expect(lock.isHeld).toBe(true);
  });

  test("on another machine is taken over after a minute without a heartbeat", async () => {
    writeOwner({ host: "elsewhere" });
    await expect(acquireLock(path, { purpose: "next" })).rejects.toMatchObject({ code: "locked" });
    utimesSync(path, new Date(), new Date(Date.now() - 61_000));
    await using lock = await acquireLock(path, { purpose: "next" });
    expect(lock.isHeld).toBe(true);
  });

  test("while it took over from another is taken over too, with its claim", async () => {
    writeOwner({ processStart: "1", token: "aa" });
    writeOwner({ processStart: "2", token: "bb" }, `${path}.stale.aa`);
    await using lock = await acquireLock(path, { purpose: "next" });
    expect(lock.isHeld).toBe(true);
    expect(readdirSync(folder)).toEqual(["lock"]);
  });

  test("is left to the living one that is taking it over", async () => {
    writeOwner({ processStart: "1", token: "aa" });
    writeOwner({ token: "cc", purpose: "taking over" }, `${path}.stale.aa`);
    await expect(acquireLock(path, { purpose: "next" })).rejects.toMatchObject({ code: "locked", message: expect.stringContaining("taking over") });
  });

  test("leaves nothing that stays: old temporary files and claims are swept", async () => {
    writeOwner({ processStart: "1" });
    for (const name of ["lock.new.11", "lock.stale.22"]) {
      writeFileSync(join(folder, name), "");
      utimesSync(join(folder, name), new Date(), new Date(Date.now() - 120_000));
    }
    writeFileSync(join(folder, "lock.new.33"), "");
    await using _lock = await acquireLock(path, { purpose: "next" });
    expect(readdirSync(folder)).toEqual(["lock", "lock.new.33"]);
  });
});

test("a file that is no lock blocks for ten seconds at most", async () => {
  writeFileSync(path, "{");
  await expect(acquireLock(path, { purpose: "next" })).rejects.toMatchObject({ code: "locked" });
  utimesSync(path, new Date(), new Date(Date.now() - 11_000));
  await using lock = await acquireLock(path, { purpose: "next" });
  expect(lock.isHeld).toBe(true);
});

/** Reads, waits a moment, writes one more: any overlap of two holders loses a count. */
const countOnce = `
  if (fs.existsSync(path + "-inside")) { console.error("two inside"); process.exitCode = 9; }
  fs.writeFileSync(path + "-inside", String(process.pid));
  const seen = Number(fs.readFileSync(path + "-counter", "utf8"));
  await new Promise((done) => setTimeout(done, Math.random() * 2));
  fs.writeFileSync(path + "-counter", String(seen + 1));
  fs.rmSync(path + "-inside");
`;

test("of eight processes with fifty turns each, never two are inside", { timeout: 120_000 }, async () => {
  writeFileSync(`${path}-counter`, "0");
  const turns = `for (let i = 0; i < 50; i += 1) { const lock = await acquireLock(path, { purpose: "turn", waitMs: 100000 }); ${countOnce} lock.release(); }`;
  const codes = await Promise.all(Array.from({ length: 8 }, () => ended(run(turns))));
  expect(codes).toEqual(Array(8).fill(0));
  expect(readFileSync(`${path}-counter`, "utf8")).toBe("400");
  expect(readdirSync(folder)).toEqual(["lock-counter"]);
});

test("many contenders for dead owners' locks: one takeover each, never two inside", { timeout: 120_000 }, async () => {
  // Whoever holds it replaces its own lock by that of a dead process, which all the others then see at once.
  writeFileSync(`${path}-counter`, "0");
  writeOwner({ bootId: "before", token: "00" });
  const turns = `
    for (let i = 0; i < 25; i += 1) {
      const lock = await acquireLock(path, { purpose: "turn", waitMs: 100000, onTakeover: () => fs.appendFileSync(path + "-takeovers", "x") });
      ${countOnce.replace('fs.rmSync(path + "-inside");', "")}
      const dead = { ...lock.owner, bootId: "before", token: Math.floor(Math.random() * 2 ** 48).toString(16) };
      fs.rmSync(path + "-inside");
      fs.writeFileSync(path + "-dead" + process.pid, JSON.stringify(dead));
      fs.renameSync(path + "-dead" + process.pid, path);
      lock.release();
    }`;
  const codes = await Promise.all(Array.from({ length: 6 }, () => ended(run(turns))));
  expect(codes).toEqual(Array(6).fill(0));
  expect(readFileSync(`${path}-counter`, "utf8")).toBe("150");
  expect(readFileSync(`${path}-takeovers`, "utf8")).toHaveLength(150);
});

test("owners killed at any moment never stop the others", { timeout: 120_000 }, async () => {
  const loop = `console.log("up"); for (;;) { const lock = await acquireLock(path, { purpose: "loop", waitMs: 100000 }); await new Promise((done) => setTimeout(done, 1)); lock.release(); }`;
  for (let round = 0; round < 6; round += 1) {
    const pair = [run(loop), run(loop)];
    await Promise.all(pair.map((child) => once(child.stdout as NodeJS.ReadableStream, "data")));
    await new Promise((done) => setTimeout(done, 20 + round * 7));
    for (const child of pair) child.kill("SIGKILL");
    await Promise.all(pair.map(ended));
    await using lock = await acquireLock(path, { purpose: "after", waitMs: 2_000 });
    expect(lock.isHeld).toBe(true);
  }
});
