/**
 * Forced history: a ref that was set to a commit which does not contain the old one, or was deleted while nothing else
 * reaches its tip. Seen by comparing the refs of two points.
 */
import type { PointId } from "./ids.ts";
import { printablePath } from "./paths.ts";
import { thousands } from "./words.ts";

export interface Rewrite {
  /** Its full name. */
  readonly ref: string;
  /** Its tip in the last point: a commit, or an annotated tag. */
  readonly old: string;
  /** Its tip when it was seen; null when it was deleted. */
  readonly new: string | null;
  /** Commits that the old tip reaches and no ref does any more, up to `lostLimit`; null when its objects are gone from the repository. */
  readonly lost: number | null;
  /** The last point whose ref was at the old tip. */
  readonly point: PointId;
  /** ISO 8601, UTC. */
  readonly seenAt: string;
  /** Done from here: on a branch of this worktree, by a push of ours, or with the whole remote. */
  readonly isOurs: boolean;
}

export const lostLimit = 100_000;

/** How long somebody else's rewrite of a remote is said. */
const alarmDays = 14;

/** Branches, what a fetch saw of remotes', and tags. Stashes and notes go their own ways every day. */
export function isWatched(ref: string): boolean {
  return /^refs\/(?:heads|remotes|tags)\//.test(ref);
}

/**
 * Those that people should hear of: others' rewrites of branches, at a remote or in a bare repository here, not seen yet and not too old, newest first.
 * `isExpected` says of a ref that it is rewritten by its nature, as our own backup branch is.
 */
export function alarming(rewrites: readonly Rewrite[], now: Date, isExpected: (ref: string) => boolean): Rewrite[] {
  const floor = now.getTime() - alarmDays * 24 * 60 * 60_000;
  return rewrites
    .filter(({ ref, isOurs, seenAt }) => !ref.startsWith("refs/tags/") && !isOurs && !isExpected(ref) && Date.parse(seenAt) >= floor)
    .toReversed();
}

/** One sentence for people: `origin/main was force-pushed: 14 commits are in no branch any more, point ID has them`. */
export function describeRewrite({ ref, new: now, lost, point, isOurs }: Rewrite): string {
  const name = printablePath(ref.replace(/^refs\/(?:heads|remotes|tags)\//, ""));
  const what = `${name} was ${now === null ? "deleted" : isOurs ? "rewritten" : "force-pushed"}`;
  if (lost === 0) return `${what}: other refs here still reach what it had, and so does point ${point}`;
  const commits =
    lost === null ? "what it had is gone here" : lost === 1 ? "1 commit is in no ref any more" : `${thousands(lost)} commits are in no ref any more`;
  return `${what}: ${commits}, point ${point} has ${lost === 1 || lost === null ? "it" : "them"}`;
}
