import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { bakeTrigger, parseTrigger } from "./trigger.ts";

const template = readFileSync(new URL("../../hooks/trigger", import.meta.url), "utf8");
// By path: some tests take PATH away.
const shells = ["/bin/dash", "/bin/bash", "/bin/zsh", "/bin/ksh"].filter((shell) => existsSync(shell));

test("any path that can be a path survives the quoting", () => {
  const path = fc
    .string({ unit: "binary" })
    .filter((text) => !text.includes("\0"))
    .map((text) => `/${text}`);
  fc.assert(
    fc.property(path, path, (node, main) => {
      expect(parseTrigger(bakeTrigger(template, { node, main }))).toEqual({ node, main });
    }),
  );
});

test("sh reads the same paths, and none of them runs", () => {
  const runtime = { node: "/a 'b' \"c\" $(touch x) `y` \\ $& \n z", main: "/m'" };
  const head = bakeTrigger(template, runtime).split("# Set by Holdfast")[0];
  for (const shell of shells) {
    const { stdout } = spawnSync(shell, ["-c", `${head}\nprintf '%s|%s' "$node" "$main"`], { encoding: "utf8" });
    expect(stdout).toBe(`${runtime.node}|${runtime.main}`);
  }
});

test("relative paths and a template without places are refused", () => {
  expect(() => bakeTrigger(template, { node: "node", main: "/m" })).toThrow();
  expect(() => bakeTrigger("", { node: "/n", main: "/m" })).toThrow();
  expect(parseTrigger(template)).toBeUndefined();
});

describe.each(shells)("sourced by %s", (shell) => {
  let common: string;
  let state: string;

  beforeEach(() => {
    common = mkdtempSync(join(tmpdir(), "holdfast-trigger-"));
    state = join(common, "holdfast");
    mkdirSync(state);
    // The "runtime" is a shell that writes down how it was started.
    writeFileSync(
      join(common, "main"),
      `echo "$HOLDFAST_ROUND" >>"${common}/rounds"\n{ echo "$@"; env | grep -E '^GIT_(DIR|INDEX_FILE|AUTHOR_DATE)='; } >"${common}/started.part"; mv "${common}/started.part" "${common}/started"`,
    );
  });
  // A worker that was started may be writing still.
  afterEach(() => rmSync(common, { recursive: true, force: true, maxRetries: 20 }));

  function trigger(options: { node?: string; env?: Record<string, string>; flags?: string } = {}): number | null {
    const text = bakeTrigger(template, { node: options.node ?? "/bin/sh", main: join(common, "main") });
    writeFileSync(join(state, "hook"), text);
    const script = `holdfast_dir='${common}' holdfast_event=post-commit; . '${state}/hook'`;
    return spawnSync(shell, [options.flags ?? "-e", "-c", script], { env: { PATH: process.env["PATH"] ?? "", ...options.env }, stdio: "ignore" })
      .status;
  }
  const marks = (): string => readFileSync(join(state, "dirty"), "utf8");
  const started = (): string | undefined => {
    try {
      return readFileSync(join(common, "started"), "utf8");
    } catch {
      return undefined;
    }
  };

  const rounds = (): string[] => readFileSync(join(common, "rounds"), { encoding: "utf8", flag: "a+" }).split("\n").filter(Boolean);

  test("marks, and starts the worker without git's variables", async () => {
    expect(trigger({ env: { GIT_DIR: "/x", GIT_INDEX_FILE: "/y", GIT_AUTHOR_DATE: "z" }, flags: "-eu" })).toBe(0);
    expect(marks()).toBe("post-commit\n");
    await expect.poll(started).toBe(`worker ${common}\n`);
  });

  test("starts nothing while a worker is alive", async () => {
    writeFileSync(join(state, "worker"), `${process.pid}\n`);
    utimesSync(join(state, "worker"), Date.now() / 1000 + 10, Date.now() / 1000 + 10);
    expect(trigger({ env: { HOLDFAST_ROUND: "first" } })).toBe(0);
    expect(marks()).toBe("post-commit\n");
    // Where it had started one, that would have come before the one that an old lease starts.
    utimesSync(join(state, "worker"), Date.now() / 1000 - 5, Date.now() / 1000 - 5);
    expect(trigger({ env: { HOLDFAST_ROUND: "second" } })).toBe(0);
    await expect.poll(rounds).toEqual(["second"]);
  });

  test.each([
    ["its lease is old", String(process.pid), -5],
    ["its process is gone", "999999999", 10],
    ["its lease is empty", "", 10],
  ])("starts one when %s", async (_why, pid, ahead) => {
    writeFileSync(join(state, "worker"), `${pid}\n`);
    utimesSync(join(state, "worker"), Date.now() / 1000 + ahead, Date.now() / 1000 + ahead);
    expect(trigger()).toBe(0);
    await expect.poll(started).toBeDefined();
  });

  test.each(["HOLDFAST_ACTIVE", "HOLDFAST_DISABLE"])("does nothing under %s", (name) => {
    expect(trigger({ env: { [name]: "1" } })).toBe(0);
    expect(marks).toThrow();
  });

  test("succeeds and keeps the mark when nothing can be started", () => {
    rmSync(join(common, "main"));
    expect(trigger({ node: "/gone/node", env: { PATH: "/nowhere" } })).toBe(0);
    expect(marks()).toBe("post-commit\n");
  });

  test("takes holdfast on PATH when the runtime is gone", async () => {
    rmSync(join(common, "main"));
    mkdirSync(join(common, "bin"));
    writeFileSync(join(common, "bin/holdfast"), `#!/bin/sh\necho "path $*" >"${common}/started"\n`, { mode: 0o755 });
    expect(trigger({ node: "/gone/node", env: { PATH: `${join(common, "bin")}:${process.env["PATH"]}` } })).toBe(0);
    await expect.poll(started).toBe(`path worker ${common}\n`);
  });

  test("uses nohup where there is no setsid", async () => {
    mkdirSync(join(common, "bin"));
    writeFileSync(join(common, "bin/nohup"), `#!/bin/sh\necho nohup >"${common}/nohup"\nexec "$@"\n`, { mode: 0o755 });
    expect(trigger({ env: { PATH: join(common, "bin") } })).toBe(0);
    await expect.poll(() => readFileSync(join(common, "nohup"), "utf8")).toBe("nohup\n");
  });

  test("never fails when the marker cannot be written", () => {
    mkdirSync(join(state, "dirty"));
    expect(trigger()).toBe(0);
    expect(started()).toBeUndefined();
  });
});
