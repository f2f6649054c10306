/** What changed since the last point: counted by looking, without reading contents. */

import type { KnownPoint } from "../capture/known.ts";
import { observe } from "../capture/observe.ts";
import { isIndexFile, isSameRef, planFiles } from "../capture/plan.ts";
import { type LeftEntry, placeOf } from "../core/contents.ts";
import type { Policy } from "../core/policy.ts";
import type { Repository } from "../git/repository.ts";

export interface Unsaved {
  readonly files: number;
  readonly refs: number;
  /** Some of the files, for people. */
  readonly examples: readonly string[];
}

export interface UnsavedRequest {
  readonly repository: Repository;
  readonly policy: Policy;
  readonly storeFolders: readonly string[];
  readonly known: KnownPoint;
}

export async function readUnsaved({ repository, policy, storeFolders, known }: UnsavedRequest): Promise<Unsaved> {
  const observation = await observe({ repository, policy, storeFolders, known: known.files });
  const plan = planFiles(observation.files, known, { kind: "full" });
  const changed = plan.files.filter(({ file, status }) => status === "changed" && !isIndexFile(file.path)).map(({ file }) => file.path);
  const worktree = [...changed, ...plan.newlyGone].map(placeOf).filter(({ area }) => area !== "git" && area !== "folder");
  const names = new Set(observation.refs.map((ref) => ref.name));
  const moved = observation.refs.filter((ref) => !isKnownRef(ref, known)).length + [...known.refs.keys()].filter((name) => !names.has(name)).length;
  return { files: worktree.length, refs: moved, examples: worktree.slice(0, 5).map(({ path }) => path) };
}

export interface FileVerdict {
  readonly path: string;
  readonly isIn: boolean;
  readonly reason: string;
}

/** For each path of the worktrees why it is in a point or out of it. Tracked files without changes are not listed. */
export async function explainFiles({ repository, policy, storeFolders }: Omit<UnsavedRequest, "known">): Promise<FileVerdict[]> {
  const observation = await observe({ repository, policy, storeFolders, known: undefined });
  const verdicts = observation.files.flatMap(({ path: entry, kind }): FileVerdict[] => {
    const { worktree, area, path } = placeOf(entry);
    if (area === "git" || area === "tracked" || area === "folder" || kind === "folder") return [];
    const reason =
      area === "modified" ? "tracked, with bytes of its own" : policy.judgeUntracked(path).isIn ? reasonOf(policy, path) : "in a nested repository";
    return [{ path: worktree === "" ? path : `${worktree}:${path}`, isIn: true, reason }];
  });
  return [...verdicts, ...observation.left.map(asVerdict)].sort((a, b) => (a.path < b.path ? -1 : 1));
}

/** Git lists a path as ignored or not; only for ignored ones has a pattern chosen them. */
function reasonOf(policy: Policy, path: string): string {
  const ignored = policy.judgeIgnored(path);
  return ignored.isIn ? `untracked, or ${ignored.reason}` : "untracked";
}

function asVerdict({ path, reason }: LeftEntry): FileVerdict {
  return { path, isIn: false, reason };
}

function isKnownRef(ref: { readonly name: string; readonly oid: string; readonly symref?: string }, known: KnownPoint): boolean {
  const before = known.refs.get(ref.name);
  return before !== undefined && isSameRef(ref, before);
}
