/** Finds forced history: the refs of the last point against those of now. Reads the repository, writes nothing. */
import { join } from "node:path";
import type { RefEntry } from "../core/contents.ts";
import { isWatched, lostLimit, type Rewrite } from "../core/rewrites.ts";
import { peelToCommits } from "../git/commits.ts";
import { readText } from "../git/refs.ts";
import type { Repository } from "../git/repository.ts";
import { git, gitText } from "../git/run.ts";

export interface RewriteRequest {
  readonly repository: Pick<Repository, "commonDir" | "isShallow" | "isBare">;
  /** Refs of the last point. */
  readonly before: ReadonlyMap<string, Omit<RefEntry, "name">>;
  readonly after: readonly RefEntry[];
  /** True where a push from here, that git keeps no reflog of, put the ref there. */
  isPushed?(ref: string, oid: string): Promise<boolean>;
}

const askLimit = 200;

export type FoundRewrite = Omit<Rewrite, "point" | "seenAt">;

interface Move {
  readonly ref: string;
  readonly old: string;
  readonly new: string | null;
}

/**
 * Asks git about refs that moved and about nothing else: one process for each, and three more when one of them was forced.
 * Of a shallow repository nothing is said: there an old tip seems to be no ancestor whenever the boundary moves.
 */
export async function findRewrites(request: RewriteRequest): Promise<FoundRewrite[]> {
  const { repository, before, after } = request;
  if (repository.isShallow) return [];
  const moves = listMoves(before, after);
  // Of so many each is not worth a process: then those count whose commits are lost, which one process tells of all.
  const isEachAsked = moves.length <= askLimit;
  const suspects: Move[] = [];
  for (const move of moves)
    if (move.new === null || !isEachAsked || !(await isAncestor(repository.commonDir, move.old, move.new))) suspects.push(move);
  if (suspects.length === 0) return [];
  const lost = await countLost(repository.commonDir, suspects);
  const remotes = (await gitText(["--git-dir", repository.commonDir, "remote"])).split("\n").filter((name) => name !== "");
  const rewrites = suspects.map(async (move) => ({ ...move, lost: lost(move.old), isOurs: await isOurs(request, move, remotes) }));
  return (await Promise.all(rewrites)).filter((rewrite) => (rewrite.new !== null && isEachAsked) || rewrite.lost !== 0);
}

/** Watched refs that are no longer where they were. */
function listMoves(before: RewriteRequest["before"], after: readonly RefEntry[]): Move[] {
  const tips = new Map(after.map(({ name, oid }) => [name, oid]));
  return [...before].flatMap(([ref, { oid: old, symref }]): Move[] => {
    const tip = tips.get(ref) ?? null;
    return tip === old || symref !== undefined || !isWatched(ref) ? [] : [{ ref, old, new: tip }];
  });
}

/** False too where git cannot tell: an object is gone, or is no commit. */
async function isAncestor(commonDir: string, old: string, tip: string): Promise<boolean> {
  return (await git(["--git-dir", commonDir, "merge-base", "--is-ancestor", old, tip], { okCodes: [0, 1, 128] })).code === 0;
}

/** For an old tip the number of commits that it reaches and no ref or HEAD does; null when it is gone. */
async function countLost(commonDir: string, suspects: readonly Move[]): Promise<(old: string) => number | null> {
  const olds = [...new Set(suspects.map(({ old }) => old))];
  const commitOf = await peelToCommits(commonDir, olds);
  const listed = await git(
    ["--git-dir", commonDir, "rev-list", "--parents", "--ignore-missing", `--max-count=${lostLimit}`, "--stdin", "--not", "--all"],
    {
      input: [...commitOf.values(), ""].join("\n"),
      okCodes: [0, 128],
    },
  );
  const parents = new Map(
    listed.stdout
      .toString("latin1")
      .split("\n")
      .map((line): [string, string[]] => [line.split(" ", 1)[0] ?? "", line.split(" ").slice(1)]),
  );
  return (old) => {
    const commit = commitOf.get(old);
    if (commit === undefined || listed.code !== 0) return null;
    const seen = new Set<string>();
    const open = [commit];
    for (let oid = open.pop(); oid !== undefined; oid = open.pop()) {
      if (seen.has(oid) || !parents.has(oid)) continue;
      seen.add(oid);
      open.push(...(parents.get(oid) ?? []));
    }
    return seen.size;
  };
}

async function isOurs({ repository, isPushed }: RewriteRequest, { ref, old, new: tip }: Move, remotes: readonly string[]): Promise<boolean> {
  // Into a bare repository others push.
  if (!ref.startsWith("refs/remotes/")) return !repository.isBare;
  if (!remotes.some((name) => ref.startsWith(`refs/remotes/${name}/`))) return true;
  if (tip !== null && (await isPushed?.(ref, tip)) === true) return true;
  // As git notes it in the ref's own reflog (builtin/send-pack.c); a deleted ref has none.
  const moves = readText(join(repository.commonDir, "logs", ref)).split("\n");
  return moves.some((line) => line.startsWith(`${old} `) && line.endsWith("\tupdate by push"));
}
