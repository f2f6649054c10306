/**
 * The bare repository of our own that a backup branch is made in. Plumbing only: no index or worktree of anyone's.
 * Its calls are short and are not interrupted half-way; the store looks at its signal between them.
 */
import { randomBytes } from "node:crypto";
import { mkdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { BackupError, systemCode } from "../core/errors.ts";
import { isPointId } from "../core/ids.ts";
import { type GitResult, git, gitConversation, gitFind, gitText, withoutCredentials } from "../git/run.ts";
import { type BranchFile, type BranchFiles, parseFiles, pathsOf } from "./branch-files.ts";

/** Ref, and its new oid; null deletes. With `from` the ref must stand there (null: must not exist). */
export interface RefUpdate {
  readonly ref: string;
  readonly to: string | null;
  readonly from?: string | null;
}

export type Changes = ReadonlyMap<string, BranchFile | null>;

export interface Author {
  readonly name: string;
  readonly email: string;
}

/** Errors of every method: `store_failed`, `store_unwritable`, `store_full`, `git_missing`. */
export class BranchRepository {
  readonly gitDir: string;
  readonly objectFormat: "sha1" | "sha256";
  readonly #storeName: string;

  constructor(storeName: string, gitDir: string, objectFormat: "sha1" | "sha256") {
    this.#storeName = storeName;
    this.gitDir = gitDir;
    this.objectFormat = objectFormat;
  }

  /** Makes it where it is missing or half made. */
  async create(branch: string): Promise<void> {
    if ((await gitFind(["config", "--file", join(this.gitDir, "config"), "holdfast.ready"])) === "true") return;
    await this.#run(async () => {
      await mkdir(this.gitDir, { recursive: true, mode: 0o700 });
      // Left by a run that was killed while it made the repository.
      for (const name of ["config.lock", "HEAD.lock"]) await rm(join(this.gitDir, name), { force: true });
      await git(["init", "--quiet", "--bare", "--template=", `--object-format=${this.objectFormat}`, this.gitDir]);
      await git(["symbolic-ref", "HEAD", `refs/heads/${branch}`], { cwd: this.gitDir });
      for (const [key, value] of settings) await git(["config", key, value], { cwd: this.gitDir });
    });
  }

  async resolve(ref: string): Promise<string | null> {
    return (await this.#run(() => gitFind(["rev-parse", "--verify", "--quiet", ref], { cwd: this.gitDir }))) ?? null;
  }

  async filesAt(commit: string | null): Promise<BranchFiles> {
    if (commit === null) return new Map();
    const { stdout } = await this.#run(() => git(["ls-tree", "-r", "-l", "-z", "--full-tree", commit], { cwd: this.gitDir }));
    return parseFiles(stdout);
  }

  /** Is `ancestor` in the history of `commit`? No for null. */
  async follows(commit: string | null, ancestor: string | null): Promise<boolean> {
    if (commit === null || ancestor === null) return false;
    const { code } = await this.#run(() => git(["merge-base", "--is-ancestor", ancestor, commit], { cwd: this.gitDir, okCodes: [0, 1] }));
    return code === 0;
  }

  /** All or nothing. False when a ref did not stand where it must. */
  async update(...updates: readonly RefUpdate[]): Promise<boolean> {
    const zero = this.#zero();
    const lines = updates.map(({ ref, to, from }) => {
      const expected = from === undefined ? "" : ` ${from ?? zero}`;
      return to === null ? `delete ${ref}${expected}` : `update ${ref} ${to}${expected}`;
    });
    const attempt = (): Promise<GitResult> => git(["update-ref", "--stdin"], { cwd: this.gitDir, input: `${lines.join("\n")}\n`, okCodes: [0, 128] });
    let { code, stderr } = await this.#run(attempt);
    while (code !== 0 && (await outlived(stderr))) ({ code, stderr } = await this.#run(attempt));
    if (code === 0) return true;
    if (/cannot lock ref .*(is at|already exists|unable to resolve|File exists)/s.test(stderr)) return false;
    throw this.#failure(stderr);
  }

  /** A commit of `files` (the tree of `parent`) with `changes`. Moves no ref. */
  async commit(parent: string | null, files: BranchFiles, changes: Changes, author: Author, at: Date): Promise<string> {
    const index = join(this.gitDir, `holdfast-index-${randomBytes(6).toString("hex")}`);
    const call = { cwd: this.gitDir, env: { ...identity(author, at), GIT_INDEX_FILE: index } };
    const parents = parent === null ? [] : ["-p", parent];
    try {
      return await this.#run(async () => {
        await git(["read-tree", parent ?? "--empty"], call);
        await git(["update-index", "-z", "--index-info"], { ...call, input: indexInfo(files, changes, this.#zero()) });
        const tree = (await gitText(["write-tree"], call)).trim();
        return (await gitText(["commit-tree", tree, ...parents, "-F", "-"], { ...call, input: commitMessage(changes) })).trim();
      });
    } finally {
      await rm(index, { force: true });
      await rm(`${index}.lock`, { force: true });
    }
  }

  /** Writes one blob from a stream and gives its oid. git holds it in memory: a part, never a whole file. Rethrows what `bytes` throws. */
  async writeBlob(bytes: AsyncIterable<Uint8Array>): Promise<string> {
    // The empty input asks for a pipe.
    const { child, exited } = gitConversation(["hash-object", "-w", "--stdin"], { cwd: this.gitDir, input: "" });
    exited.catch(() => undefined);
    let oid = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      oid += chunk.toString("latin1");
    });
    if (child.stdin === null) throw new BackupError("internal", "git was started without a pipe");
    try {
      await pipeline(bytes, child.stdin);
    } catch (error) {
      child.kill();
      // git went first: its own words say why.
      if (systemCode(error) === "EPIPE") await this.#run(() => exited);
      await exited.catch(() => undefined);
      throw error;
    }
    await this.#run(() => exited);
    return oid.trim();
  }

  async *readBlob(oid: string, signal?: AbortSignal): AsyncIterable<Buffer> {
    const { child, exited } = gitConversation(["cat-file", "blob", oid], { cwd: this.gitDir, ...(signal === undefined ? {} : { signal }) });
    // Awaited below, or git was ended because nobody reads on.
    exited.catch(() => undefined);
    let isRead = false;
    try {
      for await (const chunk of child.stdout ?? []) yield chunk as Buffer;
      isRead = true;
    } finally {
      if (!isRead) child.kill();
    }
    await this.#run(() => exited);
  }

  #zero(): string {
    return "0".repeat(this.objectFormat === "sha256" ? 64 : 40);
  }

  async #run<T>(action: () => Promise<T>): Promise<T> {
    try {
      return await action();
    } catch (error) {
      if (error instanceof BackupError && error.code !== "git_failed") throw error;
      throw this.#failure(error instanceof Error ? error.message : String(error), error);
    }
  }

  #failure(words: string, cause?: unknown): BackupError {
    const isFull = /no space left|quota exceeded|ENOSPC|EDQUOT/i.test(words);
    const isDenied = /permission denied|read-only|EACCES|EROFS|EPERM/i.test(words);
    const code = isFull ? "store_full" : isDenied ? "store_unwritable" : "store_failed";
    return new BackupError(code, `the store ${this.#storeName} (${this.gitDir}): ${withoutCredentials(words.trim())}`, { cause });
  }
}

/** A git that holds a ref of ours does so for milliseconds; a lock file older than this was left by one that was killed. */
const staleRefLockMs = 5_000;

/** True when the lock that git met is gone by now, or may go on its own: try again. */
async function outlived(stderr: string): Promise<boolean> {
  const lock = /Unable to create '(.+\.lock)': File exists/.exec(stderr)?.[1];
  if (lock === undefined) return false;
  const modifiedAt = await stat(lock).then(
    ({ mtimeMs }) => mtimeMs,
    () => undefined,
  ); // gone meanwhile
  if (modifiedAt !== undefined && Math.abs(Date.now() - modifiedAt) > staleRefLockMs) await rm(lock, { force: true });
  else if (modifiedAt !== undefined) await delay(100);
  return true;
}

/** Artifacts are compressed already, and must be on disk when a flush returns. `holdfast.ready` is written last. */
const settings: readonly (readonly [string, string])[] = [
  ["core.compression", "0"],
  ["core.looseCompression", "0"],
  ["pack.compression", "0"],
  ["core.bigFileThreshold", "512k"],
  ["core.fsync", "committed"],
  ["core.fsyncObjectFiles", "true"],
  ["core.logAllRefUpdates", "false"],
  ["gc.auto", "0"],
  ["maintenance.auto", "false"],
  ["transfer.fsckObjects", "true"],
  ["holdfast.ready", "true"],
];

/** Input of `update-index -z --index-info`: the old paths of each changed key go, the new ones come. */
function indexInfo(files: BranchFiles, changes: Changes, zero: string): string {
  const gone: string[] = [];
  const come: string[] = [];
  for (const [key, file] of changes) {
    for (const path of pathsOf(files.get(key))) gone.push(`0 ${zero}\t${path}\0`);
    for (const part of file?.parts ?? []) come.push(`100644 ${part.oid}\t${part.path}\0`);
  }
  return [...gone, ...come].join("");
}

function commitMessage(changes: Changes): string {
  const keys = [...changes.keys()].sort();
  const ids = keys.map((key) => key.slice(key.lastIndexOf("/") + 1).replace(/\..*$/, "")).filter(isPointId);
  const points = [...new Set(ids)];
  const subject = points.length === 0 ? `${keys.length} files` : points.length === 1 ? `point ${points[0]}` : `${points.length} points`;
  const lines = keys.map((key) => `${changes.get(key) === null ? "-" : "+"} ${key}`);
  return `${[`holdfast: ${subject}`, "", ...points.map((id) => `point ${id}`), "", ...lines].join("\n")}\n`;
}

function identity({ name, email }: Author, at: Date): Record<string, string> {
  const date = `${Math.floor(at.getTime() / 1000)} +0000`;
  return {
    GIT_AUTHOR_NAME: name,
    GIT_AUTHOR_EMAIL: email,
    GIT_AUTHOR_DATE: date,
    GIT_COMMITTER_NAME: name,
    GIT_COMMITTER_EMAIL: email,
    GIT_COMMITTER_DATE: date,
  };
}
