/** Looks at the whole repository and lists what a point of this moment would hold. Reads no file's contents. */
import { hash } from "node:crypto";
import { realpathSync } from "node:fs";
import { entryPath, type LeftEntry, type Problem, type RefEntry, type WorktreeEntry } from "../core/contents.ts";
import type { Policy } from "../core/policy.ts";
import { type IndexEntry, listStaged } from "../git/index-entries.ts";
import { oidsInReflog, readHead, readRefs } from "../git/refs.ts";
import { headText, reflogTexts } from "../git/reftable.ts";
import type { Repository } from "../git/repository.ts";
import { type ObservedGitDir, observeGitDir } from "./observe-git-dir.ts";
import { observeWorktree } from "./observe-worktree.ts";
import { type ObservedFile, statOf } from "./observed.ts";

export interface Observation {
  readonly worktrees: readonly WorktreeEntry[];
  readonly refs: readonly RefEntry[];
  /** Every object that something of the repository names: refs, HEADs, reflogs, operations in progress, staged blobs. */
  readonly tips: ReadonlySet<string>;
  readonly files: readonly ObservedFile[];
  readonly left: readonly LeftEntry[];
  readonly problems: readonly Problem[];
  /** Per worktree: digest of what its index means. */
  readonly indexes: ReadonlyMap<string, string>;
}

export interface ObserveRequest {
  readonly repository: Repository;
  readonly policy: Policy;
  /** Absolute folders to stay out of: stores. */
  readonly storeFolders: readonly string[];
  /** By entry path, what the last point held under the same policy. */
  readonly known: ReadonlyMap<string, unknown> | undefined;
}

export async function observe({ repository, policy, storeFolders, known }: ObserveRequest): Promise<Observation> {
  const { commonDir, objectFormat } = repository;
  const roots = repository.worktrees.flatMap(({ root }) => (root === null ? [] : [root]));
  const foreign = new Set([...roots, commonDir, ...storeFolders.map(realPath)]);
  const [{ refs, broken }, ...observed] = await Promise.all([
    readRefs(commonDir),
    ...repository.worktrees.map(async ({ name, root, gitDir }) => {
      const head = await readHead(gitDir);
      if (root === null) return { name, root, head, files: [], left: [], problems: [], index: [], absent: [], staged: [] };
      const request = {
        name,
        root,
        commonDir,
        objectFormat,
        policy,
        foreign,
        isKnown: (path: string) => known?.has(entryPath(name, "untracked", path)) === true,
        isKnownBelow: (folder: string) => hasBelow(known, entryPath(name, "untracked", folder)),
      };
      const worktree = await observeWorktree(request);
      return { name, root, head, ...worktree, staged: await listStaged(root, head.oid, worktree.index) };
    }),
  ]);
  const gitDir = repository.usesReftable ? await withTables(repository, observeGitDir(commonDir)) : observeGitDir(commonDir);
  const heads = observed.flatMap(({ head }) => (head.oid === null ? [] : [head.oid]));
  return {
    worktrees: observed.map(({ name, root, head }) => ({ name, path: root ?? commonDir, isBare: root === null, branch: head.branch, oid: head.oid })),
    refs,
    tips: new Set([...refs.map((ref) => ref.oid), ...heads, ...gitDir.oids, ...observed.flatMap(({ staged }) => staged)]),
    files: [...gitDir.files, ...virtualFiles(commonDir, refs, observed), ...observed.flatMap(({ files }) => files)],
    left: [...gitDir.left, ...observed.flatMap(({ left }) => left)],
    problems: [...repositoryProblems(repository, broken), ...gitDir.problems, ...observed.flatMap(({ problems }) => problems)],
    indexes: new Map(observed.map(({ name, index }) => [name, digestIndex(index)])),
  };
}

function hasBelow(known: ReadonlyMap<string, unknown> | undefined, folder: string): boolean {
  for (const entry of known?.keys() ?? []) if (entry.startsWith(`${folder}/`)) return true;
  return false;
}

/** Of the reftable format: HEADs and reflogs as files, so that a point restores into a repository of either format. */
async function withTables(repository: Repository, gitDir: ObservedGitDir): Promise<ObservedGitDir> {
  const { commonDir, worktrees } = repository;
  const stat = statOf(commonDir);
  if (stat === undefined) return gitDir;
  const texts = new Map<string, string>();
  for (const worktree of worktrees) texts.set(worktree.name === "" ? "HEAD" : `worktrees/${worktree.name}/HEAD`, await headText(worktree.gitDir));
  for (const [ref, text] of await reflogTexts(commonDir)) texts.set(ref.replace(/^(worktrees\/[^/]+\/)?/, "$1logs/"), text);
  const files = [...texts].map(
    ([path, text]): ObservedFile => ({ path: entryPath("", "git", path), file: "", kind: "file", stat, content: Buffer.from(text, "latin1") }),
  );
  const taken = new Set(files.map(({ path }) => path));
  // A linked worktree's own tables, and the file that keeps older programs away from them.
  const isTable = (path: string): boolean => /^git\/worktrees\/[^/]+\/(?:reftable\/|refs\/heads$)/.test(path);
  const oids = [...texts.values()].flatMap(oidsInReflog);
  return {
    ...gitDir,
    files: [...gitDir.files.filter(({ path }) => !taken.has(path) && !isTable(path)), ...files],
    oids: new Set([...gitDir.oids, ...oids]),
  };
}

/** Facts that git has no file for, written as files so that restore.sh needs no JSON. */
function virtualFiles(
  commonDir: string,
  refs: readonly RefEntry[],
  worktrees: readonly { readonly name: string; readonly absent: readonly string[] }[],
): ObservedFile[] {
  const stat = statOf(commonDir);
  if (stat === undefined) return [];
  const virtual = (path: string, text: string): ObservedFile => ({ path, file: "", kind: "file", stat, content: Buffer.from(text, "utf8") });
  const symrefs = refs.filter((ref) => ref.symref !== undefined).map((ref) => `${ref.name} ${ref.symref}\n`);
  const files = symrefs.length === 0 ? [] : [virtual(entryPath("", "git", "holdfast-symrefs"), symrefs.join(""))];
  for (const { name, absent } of worktrees) {
    if (absent.length === 0) continue;
    files.push(virtual(entryPath(name, "git", "holdfast-absent"), absent.map((path) => `${path}\0`).join("")));
  }
  return files;
}

function repositoryProblems(repository: Repository, broken: readonly string[]): Problem[] {
  const problems: Problem[] = broken.map((name) => ({ code: "missing_objects", path: name, message: "the ref points to nothing" }));
  if (repository.worktrees[0]?.root === null && !repository.isBare) {
    problems.push({
      code: "unsupported",
      path: ".",
      message: "the main worktree lies apart from its git directory and is not found from here; make points from inside it",
    });
  }
  return problems;
}

function digestIndex(index: readonly IndexEntry[]): string {
  return hash("sha256", index.map((entry) => `${entry.tag} ${entry.mode} ${entry.oid} ${entry.stage} ${entry.path}`).join("\0"), "hex");
}

function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return path; // a store that is not there has nothing to stay out of
  }
}
