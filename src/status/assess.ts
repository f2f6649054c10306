/** What would be lost now? Facts in, judgement out. Pure. */
import type { PointId } from "../core/ids.ts";
import type { Manifest } from "../core/manifest.ts";
import { describeRewrite, type Rewrite } from "../core/rewrites.ts";
import { shellWord } from "../core/words.ts";

export interface StatusFacts {
  readonly now: Date;
  /** Points of the primary store, oldest first; undefined when the store cannot be read. */
  readonly points: readonly Manifest[] | undefined;
  /** Why the primary cannot be read. */
  readonly storeError?: { readonly message: string; readonly hint: string };
  /** Points of the primary that a listing shows to be damaged: a manifest that cannot be read, an artifact that is cut short or gone. */
  readonly damaged: readonly PointId[];
  /** Why the last attempt to make a point failed; null when it did not. */
  readonly lastFailure: string | null;
  /** Changes since the last point; undefined when they are not known. */
  readonly unsaved: { readonly files: number; readonly refs: number } | undefined;
  /** The settings are those of the last point: their file is gone. */
  readonly isConfigMissing: boolean;
  readonly hooks: "firing" | "partly" | "missing";
  /** Other worktrees, by their folder, in which git runs no hook of ours. */
  readonly silentWorktrees: readonly string[];
  readonly copies: readonly CopyFacts[];
  readonly mirrors: readonly MirrorFacts[];
  /** Others' rewrites of remotes that nobody has acknowledged, newest first. */
  readonly rewrites: readonly Rewrite[];
  /** Stores that take no deletions: retention does nothing there. */
  readonly refusals: readonly { readonly store: string; readonly message: string }[];
}

export interface CopyFacts {
  readonly name: string;
  readonly url: string;
  readonly kind: "folder" | "branch";
  /** Points of the primary that it was not seen to hold. */
  readonly missing: number;
  /** Points that its budget leaves out on purpose. */
  readonly beyond: { readonly points: number; readonly maxBytes: number; readonly hasNewest: boolean } | null;
  readonly lastOkAt: Date | null;
  readonly error: string | null;
  readonly hint: string | null;
}

export interface MirrorFacts {
  readonly remote: string;
  readonly status: "ok" | "behind" | "rejected" | "unauthorized" | "unreachable" | "never";
  readonly at: Date | null;
  readonly message: string | null;
  /** What to do about it, where more is known than to try again. */
  readonly hint?: string;
  /** What is not there although every ref is. */
  readonly notes?: readonly string[];
}

export type Protection = "protected" | "at_risk" | "unprotected";

export interface Remark {
  readonly what: string;
  readonly hint: string;
}

export interface Assessment {
  readonly protection: Protection;
  /** What is wrong, the worst first, each with what to do. */
  readonly findings: readonly Remark[];
  /** What people should know although nothing is at risk by it: points have what others have forced away. */
  readonly notices: readonly Remark[];
  /** By what was seen, not by what was configured. */
  readonly copies: { readonly whole: number; readonly elsewhere: number };
}

const hour = 3_600_000;

/** Seen to hold every point that its budget lets in, the newest among them, at its last attempt. */
function isWhole(copy: CopyFacts): boolean {
  return copy.error === null && copy.missing === 0 && copy.beyond?.hasNewest !== false && copy.lastOkAt !== null;
}

export function assess(facts: StatusFacts): Assessment {
  const findings: Remark[] = [];
  const find = (what: string, hint: string): void => void findings.push({ what, hint });
  const last = facts.points?.at(-1);
  if (facts.points === undefined)
    find(
      facts.storeError?.message ?? "the store cannot be read",
      facts.storeError?.hint ?? "is the disk mounted? restore-from-git --from STORE reads another copy",
    );
  else if (last === undefined) find("there is no point yet", "holdfast backup");
  const [damaged, ...others] = facts.damaged;
  if (damaged !== undefined) find(`point ${damaged}${others.length === 0 ? " is" : ` and ${others.length} more are`} damaged`, "holdfast points");
  if (facts.points !== undefined && facts.lastFailure !== null) find(`the last point could not be made: ${facts.lastFailure}`, "holdfast backup");
  if (last !== undefined && !last.consistent) find("the last point is partial: something could not be read", `holdfast show ${last.id}`);
  if (facts.isConfigMissing) find("backup.yaml is gone; the settings of the last point are used", "holdfast doctor writes it again");
  if (facts.hooks !== "firing")
    find(facts.hooks === "missing" ? "no hooks are installed: nothing happens by itself" : "some hooks do not fire", "holdfast hooks install");
  const [silent, ...alsoSilent] = facts.hooks === "missing" ? [] : facts.silentWorktrees;
  if (silent !== undefined) {
    find(
      `hooks do not fire in the worktree ${silent}${alsoSilent.length === 0 ? "" : ` and ${alsoSilent.length} more`}`,
      `holdfast -C ${shellWord(silent)} hooks install`,
    );
  }
  const unsaved = (facts.unsaved?.files ?? 0) + (facts.unsaved?.refs ?? 0);
  if (last !== undefined && unsaved > 0 && facts.now.getTime() - Date.parse(last.createdAt) > hour) {
    find("changes of more than an hour are in no point", "holdfast backup");
  }
  for (const copy of facts.copies) {
    if (copy.error !== null) find(`copy ${copy.name}: ${copy.error}`, copy.hint ?? "holdfast sync --wait");
    else if (copy.missing > 0) find(`copy ${copy.name} lacks ${copy.missing} points`, "holdfast sync --wait");
    else if (copy.beyond?.hasNewest === false)
      find(`copy ${copy.name}: the newest point does not fit into its budget`, "raise max_bytes in backup.yaml, or delete old points there");
  }
  for (const mirror of facts.mirrors) {
    if (mirror.status !== "ok")
      find(
        `mirror ${mirror.remote}: ${mirror.status === "never" ? "never pushed" : mirror.status}${mirror.message === null ? "" : ` (${mirror.message})`}`,
        mirror.hint ?? "holdfast mirror",
      );
  }
  const whole = (last === undefined ? 0 : 1) + facts.copies.filter((copy) => isWhole(copy)).length;
  const elsewhere = facts.copies.filter((copy) => copy.kind === "branch" && isWhole(copy)).length;
  if (last !== undefined && whole < 2)
    find("there is one copy only: a lost disk loses everything but what is pushed", "holdfast store add NAME branch:REMOTE/holdfast/backup");
  const protection = last === undefined ? "unprotected" : findings.length === 0 ? "protected" : "at_risk";
  return { protection, findings, notices: noticesOf(facts), copies: { whole, elsewhere } };
}

function noticesOf(facts: StatusFacts): Remark[] {
  return [...rewriteNotices(facts), ...futureNotices(facts), ...refusalNotices(facts)];
}

/** A clock may differ a little from machine to machine. */
const skewMs = 10 * 60_000;

/** Retention leaves them alone, and they pass for the newest. */
function futureNotices({ points = [], now }: StatusFacts): Remark[] {
  const future = points.filter(({ createdAt }) => Date.parse(createdAt) - now.getTime() > skewMs);
  if (future.length === 0) return [];
  return [
    {
      what: `${future.length} of the points ${future.length === 1 ? "is" : "are"} dated in the future, up to ${future.at(-1)?.createdAt}: is the clock right?`,
      hint: "set the clock; retention leaves them alone until it has reached them",
    },
  ];
}

function refusalNotices({ refusals }: StatusFacts): Remark[] {
  return refusals.map(({ store, message }) => ({
    what: `the store ${store} takes no deletions, and keeps everything: ${message}`,
    hint: "if it should: give this machine the right to delete there, then holdfast prune",
  }));
}

function rewriteNotices({ rewrites: [newest, ...older] }: StatusFacts): Remark[] {
  if (newest === undefined) return [];
  const more = older.length === 0 ? "" : ` (and ${older.length} more)`;
  const hint = "restore-from-git --lost brings it back; when you have seen it: holdfast status --acknowledge";
  return [{ what: `${describeRewrite(newest)}${more}`, hint }];
}
