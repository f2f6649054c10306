import { spawn } from "node:child_process";
import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { findProcess, fromPs, isGone, type LockOwner, type ProcessIdentity, parseOwner, thisProcess } from "./owner.ts";

const here: ProcessIdentity = { pid: 7, host: "box", bootId: "boot-1", pidSpace: "pid:[1]", processStart: "100" };
const running = (start: string | null) => () => ({ start });
const notRunning = () => undefined;

describe("an owner on this machine", () => {
  test("is there while its process is, however old the heartbeat", () => {
    expect(isGone(here, 1e9, here, running("100"))).toBe(false);
  });
  test("is gone with its process, however fresh the heartbeat", () => {
    expect(isGone(here, 0, here, notRunning)).toBe(true);
  });
  test("is gone when another process has its pid", () => {
    expect(isGone(here, 0, here, running("101"))).toBe(true);
  });
  test("is gone after a reboot", () => {
    expect(isGone({ ...here, bootId: "boot-0" }, 0, here, running("100"))).toBe(true);
  });
  test("is doubted only after long silence where the start of a process is unknown", () => {
    expect(isGone({ ...here, processStart: null }, 500_000, here, running(null))).toBe(false);
    expect(isGone({ ...here, processStart: null }, 700_000, here, running(null))).toBe(true);
  });
});

test("an owner elsewhere, or in another container, is judged by its heartbeat alone", () => {
  for (const owner of [
    { ...here, host: "other" },
    { ...here, pidSpace: "pid:[2]", bootId: "boot-0" },
  ]) {
    expect(isGone(owner, 59_000, here, notRunning)).toBe(false);
    expect(isGone(owner, 61_000, here, running("100"))).toBe(true);
  }
});

test("this process is found, with the same start each time", () => {
  expect(thisProcess().processStart).toBe(findProcess(process.pid)?.start);
  expect(isGone(thisProcess(), 0)).toBe(false);
});

test.skipIf(process.platform === "win32")("ps gives the same start whatever the zone", () => {
  const start = fromPs(process.pid);
  const zone = process.env["TZ"];
  process.env["TZ"] = "Asia/Tokyo";
  expect(fromPs(process.pid)).toBe(start);
  if (zone === undefined) delete process.env["TZ"];
  else process.env["TZ"] = zone;
});

test.skipIf(process.platform !== "linux")("a process that ended but was not reaped is not running", async () => {
  // The shell becomes sleep, which never waits for the child it inherits.
  const parent = spawn("sh", ["-c", "sleep 0.2 & echo $!; exec sleep 60"], { stdio: ["ignore", "pipe", "ignore"] });
  const [line] = (await once(parent.stdout, "data")) as [Buffer];
  const pid = Number(line.toString());
  await expect.poll(() => findProcess(pid)).toBeUndefined();
  expect(() => process.kill(pid, 0)).not.toThrow();
  parent.kill();
});

test("only a whole owner with a harmless token is read", () => {
  const owner: LockOwner = { ...here, token: "0a1b", purpose: "test", startedAt: "2026-11-21T14:30:05.000Z" };
  expect(parseOwner(JSON.stringify(owner))).toEqual(owner);
  for (const bad of ["", "{", "[]", "null", JSON.stringify({ ...owner, token: "../x" }), JSON.stringify({ ...owner, pid: -1 })]) {
    expect(parseOwner(bad)).toBeUndefined();
  }
});
