/** Runs of the built program that can be killed with everything that they started, as a power switch or an OOM killer would. */
import { spawn } from "node:child_process";
import { programs } from "./cli.ts";

export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly lengthMs: number;
}

export interface KillableRun {
  readonly ended: Promise<Ended>;
  /** SIGKILL to it and to the git processes that it started. Nothing once all of them have ended. */
  kill(): void;
}

export function startRun(args: readonly string[], cwd: string, env: Readonly<Record<string, string>> = {}): KillableRun {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [programs.holdfast, ...args], {
    cwd,
    env: { ...process.env, ...env },
    detached: true, // a group of its own, which is what gets the signal
    stdio: ["ignore", "pipe", "pipe"],
  });
  const texts = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const)
    child[name].on("data", (chunk: Buffer) => {
      texts[name] += chunk.toString("utf8");
    });
  const ended = new Promise<Ended>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal, ...texts, lengthMs: performance.now() - startedAt }));
  });
  return {
    ended,
    kill() {
      try {
        if (child.pid !== undefined) process.kill(-child.pid, "SIGKILL");
      } catch {
        // ended meanwhile
      }
    },
  };
}

/** Kills it so long after its start. `signal` is null where it had ended before. */
export async function runKilled(args: readonly string[], cwd: string, afterMs: number, env?: Readonly<Record<string, string>>): Promise<Ended> {
  const run = startRun(args, cwd, env);
  const timer = setTimeout(() => run.kill(), afterMs);
  const ended = await run.ended;
  clearTimeout(timer);
  return ended;
}
