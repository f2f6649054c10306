/** Throw-away folders and repositories. The same content gives the same object ids on every machine and day. */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

export interface TempDir extends Disposable {
  /** Absolute, without symlinks. */
  readonly path: string;
}

export interface TestRepo extends TempDir {
  /**
   * Runs git here and gives its output without the last line end.
   * Throws an Error with git's own words when it fails.
   */
  git(...args: readonly string[]): string;
  /** Writes a file and the folders above it; `path` is relative to the worktree. */
  write(path: string, bytes: string | Uint8Array): void;
  /** Stages everything and commits, an empty change too. Each commit is a minute later than the last. Gives its oid. */
  commit(message?: string): string;
}

export function tempDir(): TempDir {
  const path = realpathSync(mkdtempSync(join(tmpdir(), "dir-")));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true, maxRetries: 3 }) };
}

/** A repository on branch `main`. With `files` it has one commit that holds them, without it has none. */
export function gitRepo(files?: Readonly<Record<string, string | Uint8Array>>): TestRepo {
  const dir = tempDir();
  let commits = 0;
  const repo: TestRepo = {
    ...dir,
    git: (...args) => runGit(dir.path, args, commits),
    write(path, bytes) {
      const file = join(dir.path, path);
      mkdirSync(dirname(file), { recursive: true });
      writeFileSync(file, bytes);
    },
    commit(message = `commit ${commits + 1}`) {
      repo.git("add", "--all");
      repo.git("commit", "--quiet", "--allow-empty", "--message", message);
      commits += 1;
      return repo.git("rev-parse", "HEAD");
    },
  };
  repo.git("init", "--quiet", "--initial-branch=main");
  const settings = {
    "user.name": "A Tester",
    "user.email": "tester@example.org",
    "commit.gpgSign": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
  };
  for (const [key, value] of Object.entries(settings)) repo.git("config", key, value);
  for (const [path, bytes] of Object.entries(files ?? {})) repo.write(path, bytes);
  if (files !== undefined) repo.commit();
  return repo;
}

function runGit(cwd: string, args: readonly string[], minute: number): string {
  const date = `${Date.UTC(2026, 0, 1, 12, minute) / 1000} +0000`;
  try {
    const output = execFileSync("git", args, {
      cwd,
      encoding: "utf8",
      stdio: ["ignore", "pipe", "pipe"],
      maxBuffer: 64 * 1024 * 1024,
      env: { ...process.env, LC_ALL: "C", GIT_TERMINAL_PROMPT: "0", GIT_AUTHOR_DATE: date, GIT_COMMITTER_DATE: date },
    });
    return output.replace(/\n$/, "");
  } catch (error) {
    const words = error instanceof Error && "stderr" in error ? String(error.stderr).trim() : "";
    throw new Error(`git ${args.join(" ")} failed: ${words}`, { cause: error });
  }
}
