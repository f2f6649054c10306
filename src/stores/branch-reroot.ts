/**
 * Re-rooting: the branch begins anew with one commit that holds what its last one held, so that the host can free what
 * was deleted. It deletes nothing itself: deletions are commits of their own, pushed before. The new root names the tip
 * that it replaces (`Holdfast-Replaces`), and has the very same tree (docs/adr/0013).
 */
import { randomBytes } from "node:crypto";
import { BackupError } from "../core/errors.ts";
import type { BranchRemote } from "./branch-remote.ts";
import type { Author, BranchRepository } from "./branch-repository.ts";
import type { CallOptions } from "./store.ts";

export interface RerootRule {
  /** Less garbage than this is never worth it. */
  readonly garbageBytes: number;
}

export interface HistoryWeight {
  /** Bytes of the files of the tree. */
  readonly live: number;
  /** Bytes of files that only the history holds. */
  readonly garbage: number;
  /** The garbage when the host last refused; 0: it never did. */
  readonly refusedAt: number;
}

/** Pure. More garbage than life, and enough of it; where the host refused, not again before it has doubled. */
export function shouldReroot({ live, garbage, refusedAt }: HistoryWeight, { garbageBytes }: RerootRule): boolean {
  return garbage >= garbageBytes && garbage > live && garbage >= 2 * refusedAt;
}

export type RerootOutcome =
  | { readonly status: "done"; readonly root: string }
  /** Another machine has pushed meanwhile. */
  | { readonly status: "moved" }
  | { readonly status: "refused"; readonly error: BackupError };

export interface RerootRequest {
  readonly repository: BranchRepository;
  readonly remote: BranchRemote;
  /** The tip here and, as far as we know, there. */
  readonly tip: string;
  readonly author: Author;
  readonly at: Date;
}

/**
 * The branch moves only after the new root was pushed beside it and read back there: the same tree, and every blob of
 * it present. The lease on the old tip keeps what another machine pushed meanwhile.
 */
export async function reroot({ repository, remote, tip, author, at }: RerootRequest, options: CallOptions): Promise<RerootOutcome> {
  for (const ref of (await remote.tips(`${besideSuffix}*`, options)).keys()) {
    const left = ref.lastIndexOf(besideSuffix);
    if (left !== -1) await remote.deleteBeside(ref.slice(left), options); // by a run that was killed
  }
  const root = await repository.commitRoot(tip, author, at);
  // git then knows for a push of an unrelated commit, too, that the remote has the blobs of the old tip (pack-objects --objects-edge-aggressive).
  await repository.endHistoryAt([tip]);
  const suffix = `${besideSuffix}${randomBytes(4).toString("hex")}`;
  const refusal = await remote.push(root, null, { ...options, suffix });
  if (refusal !== undefined) return { status: "refused", error: refusal.error };
  try {
    await readBack(repository, remote, { root, suffix }, options);
    const moved = await remote.push(root, tip, options);
    if (moved === undefined) return { status: "done", root };
    return (await remote.tip(options)) === tip ? { status: "refused", error: moved.error } : { status: "moved" };
  } finally {
    await remote.deleteBeside(suffix, options);
  }
}

const besideSuffix = "-rerooted-";

/** Throws `remote_failed` when the host cannot give the root with all that it holds. */
async function readBack(
  repository: BranchRepository,
  remote: BranchRemote,
  { root, suffix }: { root: string; suffix: string },
  options: CallOptions,
): Promise<void> {
  await using scratch = await repository.openScratch();
  const ref = "refs/heads/root";
  // With a limit the host has to look at each blob; it fails where one is missing. Almost none of them travels.
  const isThere = await remote.fetch(ref, { ...options, from: remote.refWith(suffix), blobLimit: 1, scratch });
  if (isThere && (await repository.holdsSame(scratch, root))) return;
  throw new BackupError("remote_failed", `${remote}: what was pushed to re-root it does not read back; it stays as it was`);
}

/**
 * Is `theirs` a re-rooted continuation of `known`? By facts that nobody can forge: the tip that its root names
 * follows `known` and has the root's own tree. So whoever wants to delete by a re-root must have deleted by a commit
 * on top of what we know. `fetchCommit` brings a commit of the remote that is here no more, if it still gives it.
 */
export async function isReplacement(
  { repository, theirs, known }: { readonly repository: BranchRepository; readonly theirs: string; readonly known: string },
  fetchCommit: (commit: string) => Promise<boolean>,
): Promise<boolean> {
  let at = theirs;
  for (let generation = 0; generation < mostGenerations; generation += 1) {
    const claim = await repository.replacedBy(at);
    if (claim === null) return false;
    const { root, replaced } = claim;
    if ((await repository.treeOf(replaced)) === null && !(await fetchCommit(replaced))) return false;
    if ((await repository.treeOf(replaced)) !== (await repository.treeOf(root))) return false;
    if (await repository.follows(replaced, known)) return true;
    at = replaced;
  }
  return false;
}

/** Re-roots since we last looked. */
const mostGenerations = 20;
