/** Everything that makes a repository what it is, for comparing two of them: files, refs, index, history, all that git's own files say. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { snapshotTree, type TreeEntry } from "./tree.ts";

export interface RepositoryState {
  /** The worktree without its .git; of a bare repository nothing. */
  readonly tree: readonly TreeEntry[];
  /** Files of the git directory but objects, refs, configuration and hooks: path to mode and sha256. */
  readonly gitFiles: Readonly<Record<string, string>>;
  readonly head: string;
  readonly refs: readonly string[];
  readonly status: readonly string[];
  readonly index: readonly string[];
  /** Of every ref; the stash entries are among them. */
  readonly reflog: string;
  readonly fsck: readonly string[];
}

export interface StateOptions {
  /** Settings that the comparison needs and a restore does not put to work: `["-c", "filter.x.clean=…"]`. */
  readonly config?: readonly string[];
  /** Paths of the worktree that no point holds. */
  readonly exclude?: (path: string) => boolean;
  /** Of the git directory. */
  readonly excludeGit?: (path: string) => boolean;
}

export function repositoryState(root: string, { config = [], exclude = () => false, excludeGit = () => false }: StateOptions = {}): RepositoryState {
  const ask = (...args: string[]): string => askGit(root, [...config, ...args]);
  const [, answer = "", place = ""] = /^(\w+)\n(.*)\n$/s.exec(ask("rev-parse", "--is-bare-repository", "--absolute-git-dir")) ?? [];
  const isBare = answer === "true";
  const gitDir = Buffer.from(place, "latin1").toString("utf8");
  const lines = (text: string, end = "\n"): string[] => text.split(end).filter((line) => line !== "");
  return {
    tree: isBare ? [] : snapshotTree(root, { exclude: (path) => path === ".git" || exclude(path) }),
    gitFiles: gitFilesOf(gitDir, excludeGit),
    head: readFileSync(join(gitDir, "HEAD"), "latin1"),
    refs: lines(ask("for-each-ref", "--format=%(objectname) %(objecttype) %(refname) %(symref)")),
    status: isBare ? [] : lines(ask("status", "--porcelain=v2", "--branch", "--untracked-files=all", "-z"), "\0"),
    index: isBare ? [] : lines(ask("ls-files", "-s", "-v", "-z"), "\0"),
    reflog: ask("log", "--walk-reflogs", "--all", "--format=%gD %H %gs"),
    fsck: lines(askGit(root, [...config, "fsck", "--full", "--no-dangling", "--no-progress"], true)).sort(),
  };
}

/** Every object that is there, reachable or not. */
export function allObjects(root: string): string[] {
  return askGit(root, ["cat-file", "--batch-all-objects", "--batch-check=%(objectname) %(objecttype)"]).split("\n").slice(0, -1).sort();
}

/** Names of `before` that `after` lacks. */
export function missingFrom(after: readonly string[], before: readonly string[]): string[] {
  const there = new Set(after);
  return before.filter((name) => !there.has(name));
}

function gitFilesOf(gitDir: string, exclude: (path: string) => boolean): Record<string, string> {
  if (!existsSync(gitDir)) return {};
  const elsewhere = /^(?:objects|refs|packed-refs|reftable|holdfast|holdfast-restored|hooks|config|config\.worktree|gitdir|commondir|worktrees)$/;
  const entries = snapshotTree(gitDir, { exclude: (path) => elsewhere.test(path) || exclude(path) });
  return Object.fromEntries(
    entries.filter(({ type }) => type !== "folder").map(({ path, mode, sha256, target }) => [path, `${mode} ${sha256 ?? target}`]),
  );
}

/** Output as latin1, so that no byte of a name is lost; what git refuses to say is an empty answer. */
function askGit(root: string, args: readonly string[], withErrors = false): string {
  const env = { ...process.env, LC_ALL: "C", GIT_OPTIONAL_LOCKS: "0", GIT_NO_LAZY_FETCH: "1" };
  const { stdout, stderr } = spawnSync("git", ["-c", "core.quotePath=false", ...args], { cwd: root, env, maxBuffer: 1 << 28 });
  return stdout.toString("latin1") + (withErrors ? stderr.toString("latin1") : "");
}
