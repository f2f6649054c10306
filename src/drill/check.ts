/** The user's own check of a restored folder: whatever tells them that their work is usable, such as `npm test`. */
import { spawn } from "node:child_process";
import { printablePath } from "../core/paths.ts";

export interface CheckRequest {
  readonly command: string;
  readonly folder: string;
  readonly signal?: AbortSignal | undefined;
}

export interface CheckOutcome {
  readonly command: string;
  /** Null: it did not end in time, or a signal ended it. */
  readonly code: number | null;
  readonly ms: number;
}

export interface RunCheck {
  readonly outcome: CheckOutcome;
  /** How it ended, where that was not well. */
  readonly finding: string | undefined;
}

const limitMs = 30 * 60_000;

/**
 * Runs it by a shell in the folder, with what it prints on our stderr. No hook of ours fires by it. When it is ended, so is
 * all that it started.
 */
export async function runCheck({ command, folder, signal }: CheckRequest): Promise<RunCheck> {
  signal?.throwIfAborted();
  const startedAt = performance.now();
  const isWindows = process.platform === "win32";
  const child = spawn(command, {
    cwd: folder,
    shell: true,
    // A group of its own, so that a shell's children end with it.
    detached: !isWindows,
    stdio: ["ignore", 2, 2],
    env: { ...withoutGit(process.env), HOLDFAST_DISABLE: "1" },
  });
  const end = (): void => {
    if (child.pid === undefined || child.exitCode !== null) return;
    try {
      process.kill(isWindows ? child.pid : -child.pid, "SIGKILL");
    } catch {
      // It has ended meanwhile.
    }
  };
  let isLate = false;
  const timer = setTimeout(() => {
    isLate = true;
    end();
  }, limitMs);
  signal?.addEventListener("abort", end, { once: true });
  try {
    const [code, endedBy] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (...how) => resolve(how));
    });
    signal?.throwIfAborted();
    const how = code !== null ? `ended with ${code}` : isLate ? "did not end in time" : `was ended by ${endedBy}`;
    const finding = code === 0 ? undefined : `the check \`${printablePath(command)}\` ${how}`;
    return { outcome: { command, code, ms: performance.now() - startedAt }, finding };
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", end);
  }
}

/** A hook that starts us hands down where its own repository is. */
function withoutGit(environment: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(environment).filter(([name]) => !/^GIT_(?:DIR|WORK_TREE|INDEX_FILE|PREFIX|COMMON_DIR|OBJECT_DIRECTORY)$/.test(name)),
  );
}
