import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type StateLayout, stateLayout } from "../state/layout.ts";
import { openRunLog, readRunLog } from "../state/run-log.ts";
import { type Replication, runWorker, type WorkerOptions } from "./worker.ts";

const node = process.execPath;

/** What happens in the instant after a lease has ended. */
const leaseEnd = vi.hoisted((): { happens: (() => void) | undefined } => ({ happens: undefined }));
vi.mock(import("./lease.ts"), async (original) => {
  const { takeLease } = await original();
  return {
    takeLease(path, now) {
      const lease = takeLease(path, now);
      return {
        end() {
          lease.end();
          leaseEnd.happens?.();
        },
      };
    },
  };
});

let state: StateLayout;
let time: number;
let calls: string[][];

beforeEach(() => {
  state = stateLayout(mkdtempSync(join(tmpdir(), "holdfast-worker-")));
  time = Date.now();
  calls = [];
});
afterEach(() => rmSync(state.root, { recursive: true, force: true }));

const mark = (event = "post-commit"): void => appendFileSync(state.dirty, `${event}\n`);
const idleAtOnce = (): Replication => ({ request: () => undefined, idle: async () => undefined });

/** A worker on a clock that moves only when somebody sleeps. `onSleep` is what happens meanwhile. */
function worker(changes: Partial<WorkerOptions> = {}, onSleep: (ms: number) => void = () => undefined): ReturnType<typeof runWorker> {
  return runWorker({
    stateDir: state.root,
    now: () => new Date(time),
    sleep: async (ms) => {
      time += ms;
      onSleep(ms);
      await new Promise((done) => setImmediate(done));
    },
    makePoint: async (events) => void calls.push(events),
    startReplication: idleAtOnce,
    log: openRunLog(state.root, "test"),
    signal: new AbortController().signal,
    ...changes,
  });
}

const logged = (): string[] => readRunLog(state.root, 99).map((event) => event.event);

describe("marks become points", () => {
  test("one mark, one point, and nothing is left behind", async () => {
    mark("pre-push");
    expect(await worker()).toEqual({ status: "done", tried: 1, failed: 0 });
    expect(calls).toEqual([["pre-push"]]);
    expect(readdirSync(state.root)).toEqual([]);
  });

  test("no mark, no point", async () => {
    expect(await worker()).toEqual({ status: "done", tried: 0, failed: 0 });
  });

  test("sixty quick marks make few points, and each mark is in one", async () => {
    let left = 59;
    mark();
    await worker({}, () => {
      if (left > 0) mark();
      left -= 1;
    });
    expect(calls.length).toBeLessThanOrEqual(3);
    expect(calls.flat()).toHaveLength(60);
  });

  test("a burst is waited out, but marks without end get a point after two seconds", async () => {
    const startedAt = time;
    mark();
    await worker(
      {
        makePoint: async (events) => {
          calls.push(events);
          if (calls.length === 1) expect(time - startedAt).toBe(2000);
        },
      },
      () => time - startedAt < 5000 && mark(),
    );
    expect(calls.length).toBeLessThanOrEqual(4);
  });

  test("a mark while a point is made is not lost", async () => {
    mark("post-commit");
    await worker({
      makePoint: async (events) => {
        calls.push(events);
        if (calls.length === 1) mark("post-merge");
      },
    });
    expect(calls).toEqual([["post-commit"], ["post-merge"]]);
  });

  test("a mark between the end of the lease and the release of the lock is taken by the same worker", async () => {
    mark();
    leaseEnd.happens = () => {
      leaseEnd.happens = undefined;
      mark("late");
    };
    expect(await worker()).toEqual({ status: "done", tried: 2, failed: 0 });
    expect(calls).toEqual([["post-commit"], ["late"]]);
  });

  test("marks that a killed worker had taken are taken again", async () => {
    writeFileSync(state.dirtyTaken, "pre-push\n");
    mark("post-commit");
    await worker();
    expect(calls).toEqual([["pre-push", "post-commit"]]);
    expect(readdirSync(state.root)).toEqual([]);
  });
});

describe("what fails", () => {
  test("is logged, and not tried again before the next mark", async () => {
    mark();
    const result = await worker({
      makePoint: async () => {
        throw new Error("no space");
      },
    });
    expect(result).toEqual({ status: "done", tried: 1, failed: 1 });
    expect(logged()).toEqual(["point_failed"]);
    expect(existsSync(state.dirty)).toBe(false);
  });

  test("replication that cannot start or rejects does not stop points", async () => {
    mark();
    await worker({
      startReplication: () => {
        throw new Error("no config");
      },
    });
    mark();
    await worker({ startReplication: () => ({ request: () => undefined, idle: () => Promise.reject(new Error("lost")) }) });
    expect(calls).toHaveLength(2);
    expect(logged()).toEqual(["replication_failed", "replication_failed"]);
  });

  test("an interrupted point leaves its marks for the next worker", async () => {
    mark("pre-push");
    const control = new AbortController();
    const result = await worker({
      signal: control.signal,
      makePoint: async () => {
        control.abort();
        throw new Error("aborted");
      },
    });
    expect(result.status).toBe("interrupted");
    expect(existsSync(state.lease)).toBe(false);
    expect(existsSync(state.workerLock)).toBe(false);
    await worker();
    expect(calls).toEqual([["pre-push"]]);
  });
});

test("points go on while replication hangs, and the worker ends when it is done", async () => {
  let finish = (): void => undefined;
  const hanging = new Promise<void>((done) => {
    finish = done;
  });
  let requests = 0;
  let polls = 0;
  const count = (): void => {
    requests += 1;
  };
  mark();
  const result = await worker({ startReplication: () => ({ request: count, idle: () => hanging }) }, (ms) => {
    if (ms < 200) return;
    polls += 1;
    if (polls === 3 || polls === 6) mark("later");
    if (polls === 10) finish();
  });
  expect(result).toEqual({ status: "done", tried: 3, failed: 0 });
  expect(requests).toBe(3);
});

test("the lease is ahead of the clock and names the process", async () => {
  mark();
  await worker({
    makePoint: async () => {
      expect(statSync(state.lease).mtimeMs - time).toBeGreaterThan(5_000);
    },
  });
  expect.assertions(1);
});

test("of two workers at once one works", async () => {
  mark();
  const first = worker();
  const second = worker();
  expect((await Promise.all([first, second])).map((result) => result.status).toSorted()).toEqual(["busy", "done"]);
  expect(calls).toHaveLength(1);
});

test("after kill -9 the next mark's worker finishes what was begun", async () => {
  mark("pre-push");
  const program = `
    import { runWorker } from ${JSON.stringify(new URL("./worker.ts", import.meta.url).href)};
    await runWorker({ stateDir: ${JSON.stringify(state.root)}, now: () => new Date(), signal: new AbortController().signal, log: { write() {} },
      startReplication: () => ({ request() {}, idle: async () => {} }),
      makePoint: async () => { console.log("inside"); await new Promise((done) => setTimeout(done, 60000)); } });`;
  const child = spawn(node, ["--input-type=module", "-e", program], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await once(child, "exit");
  mark("post-commit");
  expect(await worker()).toEqual({ status: "done", tried: 1, failed: 0 });
  expect(calls).toEqual([["pre-push", "post-commit"]]);
  expect(logged()).toEqual(["worker_taken_over"]);
  rmSync(state.log);
  expect(readdirSync(state.root)).toEqual([]);
});

test("a state folder that is deleted under the worker comes back", async () => {
  mark();
  await worker({
    makePoint: async (events) => {
      calls.push(events);
      rmSync(state.root, { recursive: true });
      mkdirSync(state.root);
    },
  });
  expect(calls).toHaveLength(1);
});
