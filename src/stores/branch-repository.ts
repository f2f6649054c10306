/**
 * The bare repository of our own that a backup branch is made in. Plumbing only: no index or worktree of anyone's.
 * Its calls are short and are not interrupted half-way; the store looks at its signal between them.
 */
import { randomBytes } from "node:crypto";
import { appendFile, mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { BackupError, systemCode } from "../core/errors.ts";
import { type GitResult, git, gitConversation, gitFind, gitText, withoutCredentials } from "../git/run.ts";
import { commitMessage, garbageTrailer, goneBytes, indexInfo, replacesTrailer, rootMessage } from "./branch-commit.ts";
import { type BranchFiles, type BranchPart, blobsOf, type Changes, parseBlobs, parseFiles } from "./branch-files.ts";
import { fillSizes, tellingManifests } from "./branch-sizes.ts";

/** Ref, and its new oid; null deletes. With `from` the ref must stand there (null: must not exist). */
export interface RefUpdate {
  readonly ref: string;
  readonly to: string | null;
  readonly from?: string | null;
}

/** What a commit is made of, beside its parent. */
export interface CommitWish {
  readonly changes: Changes;
  /** Parts of files that a later commit completes. */
  readonly early?: readonly BranchPart[];
  readonly author: Author;
  readonly at: Date;
}

/** A commit, and the blobs that came with it. */
export interface CommitBlobs {
  readonly commit: string;
  /** Null: the blob is not on this machine. */
  readonly blobs: readonly { readonly oid: string; readonly size: number | null }[];
}

/** A bare repository beside ours for one fetch; removed when it is disposed of. */
export interface Scratch extends AsyncDisposable {
  readonly gitDir: string;
}

export interface Author {
  readonly name: string;
  readonly email: string;
}

/** Errors of every method: `store_failed`, `store_unwritable`, `store_full`, `git_missing`. */
export class BranchRepository {
  readonly gitDir: string;
  /** Its object folder. */
  readonly objects: string;
  readonly objectFormat: "sha1" | "sha256";
  readonly #storeName: string;

  constructor(storeName: string, gitDir: string, objectFormat: "sha1" | "sha256") {
    this.#storeName = storeName;
    this.gitDir = gitDir;
    this.objects = join(gitDir, "objects");
    this.objectFormat = objectFormat;
  }

  /** Makes it where it is missing or half made. */
  async create(ref: string): Promise<void> {
    if ((await gitFind(["config", "--file", join(this.gitDir, "config"), "holdfast.ready"])) === "true") return this.#run(() => this.#sweep());
    await this.#run(async () => {
      await mkdir(this.gitDir, { recursive: true, mode: 0o700 });
      // Left by a run that was killed while it made the repository.
      for (const name of ["config.lock", "HEAD.lock"]) await rm(join(this.gitDir, name), { force: true });
      await git(["init", "--quiet", "--bare", "--template=", `--object-format=${this.objectFormat}`, this.gitDir]);
      await git(["symbolic-ref", "HEAD", ref], { cwd: this.gitDir });
      await mkdir(join(this.gitDir, "info"), { recursive: true });
      await writeFile(join(this.gitDir, "info/attributes"), attributes);
      for (const [key, value] of settings) await git(["config", key, value], { cwd: this.gitDir });
    });
  }

  async resolve(ref: string): Promise<string | null> {
    return (await this.#run(() => gitFind(["rev-parse", "--verify", "--quiet", ref], { cwd: this.gitDir }))) ?? null;
  }

  async filesAt(commit: string | null): Promise<BranchFiles> {
    if (commit === null) return new Map();
    const { stdout } = await this.#run(() => git(["ls-tree", "-r", "-z", "--full-tree", commit], { cwd: this.gitDir }));
    const files = parseFiles(stdout, await this.sizesOf(parseBlobs(stdout).map(({ oid }) => oid)));
    const manifests = [...tellingManifests(files)].map((key) => [key, files.get(key)?.parts[0]?.oid ?? ""] as const);
    if (manifests.length === 0) return files;
    const bytes = await this.#readSmall(manifests.map(([, oid]) => oid));
    return fillSizes(files, new Map(manifests.map(([key, oid]) => [key, bytes.get(oid) ?? Buffer.alloc(0)])));
  }

  /** Of those blobs that are on this machine, or in a scratch repository. */
  async sizesOf(oids: readonly string[], cwd: string = this.gitDir): Promise<Map<string, number>> {
    const sizes = new Map<string, number>();
    if (oids.length === 0) return sizes;
    const text = await this.#run(() => gitText(["cat-file", "--batch-check=%(objectname) %(objectsize)"], { cwd, input: `${oids.join("\n")}\n` }));
    for (const line of text.split("\n")) {
      const [oid = "", size = ""] = line.split(" ");
      if (/^\d+$/.test(size)) sizes.set(oid, Number(size));
    }
    return sizes;
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

  /** A commit of `files` (the tree of `parent`) with changes. Moves no ref. Blobs of it may be on the remote only. */
  async commit(parent: string | null, files: BranchFiles, { changes, early = [], author, at }: CommitWish): Promise<string> {
    const index = join(this.gitDir, `holdfast-index-${randomBytes(6).toString("hex")}`);
    const call = { cwd: this.gitDir, env: { ...identity(author, at), GIT_INDEX_FILE: index } };
    const parents = parent === null ? [] : ["-p", parent];
    const garbage = (await this.garbageOf(parent)) + goneBytes(files, changes);
    try {
      return await this.#run(async () => {
        await git(["read-tree", parent ?? "--empty"], call);
        await git(["update-index", "-z", "--index-info"], { ...call, input: indexInfo(files, changes, early, this.#zero()) });
        const tree = (await gitText(["write-tree", "--missing-ok"], call)).trim();
        const input = commitMessage(changes, garbage);
        return (await gitText(["commit-tree", tree, ...parents, "-F", "-"], { ...call, input })).trim();
      });
    } finally {
      await rm(index, { force: true });
      await rm(`${index}.lock`, { force: true });
    }
  }

  /** A root commit with the tree of `replaced`, which it names. Moves no ref. */
  async commitRoot(replaced: string, author: Author, at: Date): Promise<string> {
    const call = { cwd: this.gitDir, env: identity(author, at), input: rootMessage(replaced) };
    return (await this.#run(() => gitText(["commit-tree", `${replaced}^{tree}`, "-F", "-"], call))).trim();
  }

  /** The commit that the root below `commit` says to stand for; null where it says nothing. */
  async replacedBy(commit: string): Promise<{ readonly root: string; readonly replaced: string } | null> {
    const root = (await this.#run(() => gitText(["rev-list", "--first-parent", "--max-parents=0", commit, "--"], { cwd: this.gitDir }))).trim();
    const replaced = root === "" ? "" : await this.#trailer(root, replacesTrailer);
    return /^[0-9a-f]{40,64}$/.test(replaced) ? { root, replaced } : null;
  }

  /** Bytes of the files that the history below a commit holds and its tree no longer does, as its writers counted them. */
  async garbageOf(commit: string | null): Promise<number> {
    const text = commit === null ? "" : await this.#trailer(commit, garbageTrailer);
    return /^\d{1,15}$/.test(text) ? Number(text) : 0;
  }

  async treeOf(commit: string): Promise<string | null> {
    return this.resolve(`${commit}^{tree}`);
  }

  /** The commits of `tip` that `since` lacks, oldest first, each with the blobs that came with it and that `since` does not hold. */
  async newBlobs(since: string | null, tip: string): Promise<CommitBlobs[]> {
    const range = since === null ? [tip] : [tip, `^${since}`];
    const call = { cwd: this.gitDir };
    const commits = await this.#run(() => gitText(["rev-list", "--first-parent", "--reverse", ...range, "--"], call));
    const text = await this.#run(() => gitText(["diff-tree", "--stdin", "-r", "--root", "--no-renames"], { ...call, input: commits }));
    const found: { readonly commit: string; oids: string[] }[] = [];
    for (const line of text.split("\n")) {
      const [, oid, status] = /^:\d+ \d+ [0-9a-f]+ ([0-9a-f]+) ([A-Z])/.exec(line) ?? [];
      if (oid !== undefined && status !== "D") found.at(-1)?.oids.push(oid);
      else if (/^[0-9a-f]{40,64}$/.test(line)) found.push({ commit: line, oids: [] });
    }
    const there = new Set(blobsOf((await this.filesAt(since)).values()));
    for (const each of found) each.oids = each.oids.filter((oid) => !there.has(oid));
    const sizes = await this.sizesOf(found.flatMap(({ oids }) => oids));
    return found.map(({ commit, oids }) => ({ commit, blobs: oids.map((oid) => ({ oid, size: sizes.get(oid) ?? null })) }));
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

  /** From here, or from a scratch repository. */
  async *readBlob(
    oid: string,
    { cwd = this.gitDir, signal }: { readonly cwd?: string; readonly signal?: AbortSignal | undefined },
  ): AsyncIterable<Buffer> {
    const { child, exited } = gitConversation(["cat-file", "blob", oid], { cwd, signal });
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

  /** Takes blobs from this machine that the remote has. One that git has packed stays. */
  async dropBlobs(oids: readonly string[]): Promise<void> {
    await this.#run(async () => {
      for (const oid of oids) await rm(join(this.objects, oid.slice(0, 2), oid.slice(2)), { force: true });
    });
  }

  /** True when the history of `commit` ends where its parents were not fetched, not at a root. */
  async isCut(commit: string): Promise<boolean> {
    const ends = await readIfThere(join(this.gitDir, "shallow"));
    if (ends === "") return false;
    const roots = await this.#run(() => gitText(["rev-list", "--first-parent", "--max-parents=0", commit, "--"], { cwd: this.gitDir }));
    return roots.split("\n").some((root) => root !== "" && ends.includes(root));
  }

  /** Histories end at these commits from now on. git itself never writes this file here: no fetch into this repository deepens. */
  async endHistoryAt(commits: readonly string[]): Promise<void> {
    const file = join(this.gitDir, "shallow");
    const known = await readIfThere(file);
    const lines = commits.filter((commit) => !known.includes(commit)).map((commit) => `${commit}\n`);
    if (lines.length === 0) return;
    // On disk before a ref leads there: without it git would look for the parents.
    await this.#run(() => appendFile(file, lines.join(""), { flush: true }));
  }

  /** Takes over a ref that was fetched into a scratch repository, with where its history ends. The objects are ours already. */
  async adoptFrom(scratch: Scratch, ref: string, intoRef: string): Promise<void> {
    const call = { cwd: scratch.gitDir, env: { GIT_OBJECT_DIRECTORY: this.objects } };
    const commit = (await this.#run(() => gitText(["rev-parse", "--verify", ref], call))).trim();
    const ends = (await readIfThere(join(scratch.gitDir, "shallow"))).split("\n").filter((line) => line !== "");
    await this.endHistoryAt(ends);
    await this.update({ ref: intoRef, to: commit });
  }

  /** Has the scratch repository this commit with all its folders, and do they name the same blobs as here? */
  async holdsSame(scratch: Scratch, commit: string): Promise<boolean> {
    const list = (cwd: string): Promise<GitResult> =>
      this.#run(() => git(["ls-tree", "-r", "-z", "--full-tree", commit], { cwd, okCodes: [0, 128] }));
    const [there, here] = [await list(scratch.gitDir), await list(this.gitDir)];
    return there.code === 0 && there.stdout.equals(here.stdout);
  }

  async openScratch(): Promise<Scratch> {
    const gitDir = join(this.gitDir, `${scratchPrefix}${randomBytes(6).toString("hex")}`);
    await this.#run(() => git(["init", "--quiet", "--bare", "--template=", `--object-format=${this.objectFormat}`, gitDir]));
    return { gitDir, [Symbol.asyncDispose]: () => rm(gitDir, { recursive: true, force: true }) };
  }

  /** A number that this machine remembers of the branch. */
  async remembered(name: string): Promise<number> {
    return Number((await gitFind(["config", "--file", join(this.gitDir, "config"), `holdfast.${name}`])) ?? 0);
  }

  async remember(name: string, value: number): Promise<void> {
    await this.#run(() => git(["config", "--file", join(this.gitDir, "config"), `holdfast.${name}`, String(value)]));
  }

  /** Unreachable objects of an older history. A blob that was put and not yet committed is younger. */
  async prune(): Promise<void> {
    await this.#run(() => git(["prune", "--expire=2.days.ago"], { cwd: this.gitDir }));
  }

  async #trailer(commit: string, name: string): Promise<string> {
    const format = `--format=%(trailers:key=${name},valueonly)`;
    return (await this.#run(() => gitText(["log", "-1", format, commit, "--"], { cwd: this.gitDir }))).trim();
  }

  /** Whole small blobs, by oid; those that are not here are left out. */
  async #readSmall(oids: readonly string[]): Promise<Map<string, Buffer>> {
    const found = new Map<string, Buffer>();
    for (let at = 0; at < oids.length; at += 1000) {
      const input = `${oids.slice(at, at + 1000).join("\n")}\n`;
      const { stdout } = await this.#run(() => git(["cat-file", "--batch=%(objectname) %(objectsize)"], { cwd: this.gitDir, input }));
      for (let start = 0; start < stdout.length; ) {
        const end = stdout.indexOf(0x0a, start);
        const [oid = "", size = ""] = stdout.toString("latin1", start, end).split(" ");
        start = end + 1;
        if (!/^\d+$/.test(size)) continue; // missing
        found.set(oid, stdout.subarray(start, start + Number(size)));
        start += Number(size) + 1;
      }
    }
    return found;
  }

  /** What killed runs left. No call of ours takes a day. */
  async #sweep(): Promise<void> {
    for (const name of await readdir(this.gitDir)) {
      if (!name.startsWith(scratchPrefix) && !name.startsWith("holdfast-index-")) continue;
      const file = join(this.gitDir, name);
      const found = await stat(file).catch(() => undefined); // gone meanwhile
      if (found !== undefined && Date.now() - found.mtimeMs > 24 * 60 * 60_000) await rm(file, { recursive: true, force: true });
    }
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

/** Deltas between compressed artifacts save nothing and cost a search; between folders and manifests they do save. */
const attributes = "*.zst -delta\n*.bundle -delta\n*.idx -delta\n*.part[0-9][0-9][0-9] -delta\n";

const scratchPrefix = "holdfast-scratch-";

async function readIfThere(file: string): Promise<string> {
  return readFile(file, "utf8").catch((error: unknown) => {
    if (systemCode(error) === "ENOENT") return "";
    throw error;
  });
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
