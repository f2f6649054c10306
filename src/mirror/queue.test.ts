import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freshState, type MirrorState, readState, stateFile, writeState } from "./queue.ts";

let dir = "";
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "hf-queue-"));
});
afterEach(() => rm(dir, { recursive: true }));

test("a state survives writing and reading, without its unchanged refs, and leaves no other file", async () => {
  const oid = "a".repeat(40);
  const ref = { ref: "refs/heads/main", action: "create", status: "ok", local: oid, remote: oid } as const;
  const outcome = {
    remote: "o",
    url: "/r",
    status: "ok",
    refs: [ref, { ...ref, ref: "refs/heads/x", action: "unchanged" }],
    kept: [],
    expired: [],
    notes: ["a note"],
    at: new Date(5),
  } as const;
  const state: MirrorState = {
    outcome,
    lastOkAt: new Date(5),
    ours: new Map([["refs/heads/main", oid]]),
    whole: "0a1b",
    machine: "box",
    retention: { elapsedMs: 3, seenAt: new Date(4), kept: new Map([["refs/holdfast/kept/x", { oid, sinceMs: 1 }]]) },
    lfs: { done: new Map([["refs/heads/main", oid]]), note: "no LFS", failures: 1, nextAttemptAt: new Date(8) },
    failures: 2,
    nextAttemptAt: new Date(9),
  };
  const file = stateFile(dir, "o", "/r");
  await writeState(file, state);
  await writeState(file, state);
  expect(await readState(file)).toEqual({ ...state, outcome: { ...outcome, refs: [ref] } });
  expect(await readdir(dirname(file))).toHaveLength(1);
});

test("a state of the first version is read: what came later is fresh", async () => {
  const file = stateFile(dir, "o", "/r");
  await writeState(file, freshState);
  const oid = "b".repeat(40);
  const old = { outcome: null, lastOkAt: "2026-11-21T14:30:05.000Z", ours: { "refs/heads/main": oid }, failures: 1, nextAttemptAt: null };
  await writeFile(file, JSON.stringify(old));
  expect(await readState(file)).toEqual({ ...freshState, lastOkAt: new Date(old.lastOkAt), ours: new Map([["refs/heads/main", oid]]), failures: 1 });
});

test("a missing or damaged state is a fresh one", async () => {
  const file = stateFile(dir, "o", "/r");
  expect(await readState(file)).toEqual(freshState);
  await writeState(file, freshState);
  await writeFile(file, '{"ours": 3}');
  expect(await readState(file)).toEqual(freshState);
});

test("file names are safe, tell two URLs apart, and carry no password", () => {
  const name = (remote: string, url: string) => stateFile("", remote, url).replace("mirrors/", "");
  expect(name("https://u:secret@h/x.git", "https://u:secret@h/x.git")).toMatch(/^https-h-x\.git-[0-9a-f]{8}\.json$/);
  expect(name("../../etc", "/a")).toMatch(/^etc-[0-9a-f]{8}\.json$/);
  expect(name("o", "/a")).not.toBe(name("o", "/b"));
  expect(name("o", "https://u:one@h")).toBe(name("o", "https://u:two@h"));
});
