/** The user's own check of a restored folder: whatever tells them that their work is usable, such as `npm test`. */
import { spawn } from "node:child_process";

export interface CheckRequest {
  readonly command: string;
  readonly folder: string;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface CheckOutcome {
  readonly command: string;
  /** Null: it did not end in time, or a signal ended it. */
  readonly code: number | null;
  readonly ms: number;
}

const defaultTimeoutMs = 30 * 60_000;

/**
 * Runs it by a shell in the folder, with what it prints on our stderr. No hook of ours fires by it. When it is ended, so is
 * all that it started.
 */
export async function runCheck({ command, folder, timeoutMs = defaultTimeoutMs, signal }: CheckRequest): Promise<CheckOutcome> {
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
  const timer = setTimeout(end, timeoutMs);
  signal?.addEventListener("abort", end, { once: true });
  try {
    const code = await new Promise<number | null>((resolve, reject) => {
      child.once("error", reject);
      child.once("close", resolve);
    });
    signal?.throwIfAborted();
    return { command, code, ms: performance.now() - startedAt };
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
