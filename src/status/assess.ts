/** What would be lost now? Facts in, judgement out. Pure. */
import type { PointId } from "../core/ids.ts";
import type { Manifest } from "../core/manifest.ts";
import { describeRewrite, type Rewrite } from "../core/rewrites.ts";
import { shellWord } from "../core/words.ts";
import { drillNotices, type ProofFacts, proofFindings } from "./proof.ts";
import { countPlaces, describeThreeTwoOne, nextPlace, type Place, type ThreeTwoOne } from "./three-two-one.ts";

export interface StatusFacts extends ProofFacts {
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
  /** Why they cannot be told, where there is a last point to tell them from. */
  readonly unsavedError?: { readonly message: string; readonly hint: string };
  /** The settings are those of the last point: their file is gone. */
  readonly isConfigMissing: boolean;
  readonly hooks: "firing" | "partly" | "missing";
  /** Other worktrees, by their folder, in which git runs no hook of ours. */
  readonly silentWorktrees: readonly string[];
  /** Where the primary stands. */
  readonly primary: Place | null;
  readonly copies: readonly CopyFacts[];
  readonly mirrors: readonly MirrorFacts[];
  /** Others' rewrites of remotes that nobody has acknowledged, newest first. */
  readonly rewrites: readonly Rewrite[];
  /** The secret key; null where points are not encrypted. */
  readonly key: KeyFacts | null;
  /** Stores that take no deletions: retention does nothing there. */
  readonly refusals: readonly { readonly store: string; readonly message: string }[];
}

export interface CopyFacts {
  readonly name: string;
  readonly url: string;
  readonly kind: "folder" | "branch" | "s3" | "rclone";
  readonly isOffsite: boolean;
  /** What it stands on; null where nothing is known of it. */
  readonly medium: string | null;
  /** Points of the primary, and their bytes, that it was not seen to hold and that belong there. */
  readonly missing: number;
  readonly missingBytes: number;
  /** When the oldest of them was made. */
  readonly missingSince: Date | null;
  /** Points that are not encrypted and may not go there. `hasNewest`: the newest point is in the copy all the same. */
  readonly withheld: { readonly points: number; readonly hasNewest: boolean } | null;
  /** Since when the place is not there, such as a disk that is not mounted. */
  readonly awaySince: Date | null;
  /** Since when a run has been sending to it. */
  readonly sendingSince: Date | null;
  /** Points that its budget leaves out on purpose. */
  readonly beyond: { readonly points: number; readonly maxBytes: number; readonly hasNewest: boolean } | null;
  readonly lastOkAt: Date | null;
  readonly error: string | null;
  readonly hint: string | null;
}

export interface KeyFacts {
  readonly path: string;
  readonly state: "here" | "protected" | "missing";
  /** Others of this machine may read it. */
  readonly isOpenToOthers: boolean;
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
  readonly threeTwoOne: ThreeTwoOne;
}

const hour = 3_600_000;
/** So long a place may be away before it counts no more: a disk that is plugged in once a week is as it should be. */
const longestAwayMs = 7 * 24 * hour;

/** Seen to hold every point that belongs there, the newest among them; what was made in the last hour may be on its way. */
function isWhole(copy: CopyFacts, now: Date): boolean {
  if (copy.error !== null || copy.lastOkAt === null || copy.beyond?.hasNewest === false || copy.withheld?.hasNewest === false) return false;
  return copy.awaySince === null ? !isLate(copy, now) : !isLongAway(copy, now);
}

function isLate({ missing, missingSince }: CopyFacts, now: Date): boolean {
  return missing > 0 && (missingSince === null || now.getTime() - missingSince.getTime() > hour);
}

function isLongAway({ lastOkAt }: CopyFacts, now: Date): boolean {
  return lastOkAt === null || now.getTime() - lastOkAt.getTime() > longestAwayMs;
}

/** What to do where points stay here because others could read them there. */
export function withheldHint(store: string): string {
  return `holdfast key new encrypts new points; if others may read them there: encrypt: false at ${store} in backup.yaml`;
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
  if (facts.unsavedError !== undefined)
    find(`what changed since the last point cannot be told: ${facts.unsavedError.message}`, facts.unsavedError.hint);
  const unsaved = (facts.unsaved?.files ?? 0) + (facts.unsaved?.refs ?? 0);
  if (last !== undefined && unsaved > 0 && facts.now.getTime() - Date.parse(last.createdAt) > hour) {
    find("changes of more than an hour are in no point", "holdfast backup");
  }
  for (const copy of facts.copies) findings.push(...judgeCopy(copy, facts.now));
  for (const mirror of facts.mirrors) {
    if (mirror.status !== "ok")
      find(
        `mirror ${mirror.remote}: ${mirror.status === "never" ? "never pushed" : mirror.status}${mirror.message === null ? "" : ` (${mirror.message})`}`,
        mirror.hint ?? "holdfast mirror",
      );
  }
  findings.push(...proofFindings(facts));
  const threeTwoOne = countPlaces(placesOf(facts));
  if (last !== undefined && threeTwoOne.copies < 2)
    find("there is one copy only: a lost disk loses everything but what is pushed", "holdfast store add NAME branch:REMOTE/holdfast/backup");
  const protection = last === undefined ? "unprotected" : findings.length === 0 ? "protected" : "at_risk";
  return { protection, findings, notices: noticesOf(facts, threeTwoOne), threeTwoOne };
}

function judgeCopy(copy: CopyFacts, now: Date): Remark[] {
  const points = `${copy.missing} point${copy.missing === 1 ? "" : "s"}`;
  if (copy.error !== null) return [{ what: `copy ${copy.name}: ${copy.error}`, hint: copy.hint ?? "holdfast sync --wait" }];
  if (copy.awaySince !== null) {
    if (!isLongAway(copy, now)) return [];
    const days = copy.lastOkAt === null ? undefined : Math.floor((now.getTime() - copy.lastOkAt.getTime()) / (24 * hour));
    const lastSeen = days === undefined ? "was never whole" : `was last whole ${days} days ago`;
    return [
      { what: `copy ${copy.name} is away and ${lastSeen}; ${points} waiting`, hint: "bring it back (is the disk mounted?), then: holdfast sync" },
    ];
  }
  if (copy.withheld?.hasNewest === false) {
    const which = copy.withheld.points === 1 ? "a point is" : `${copy.withheld.points} points are`;
    return [{ what: `copy ${copy.name}: ${which} not encrypted, and not sent there`, hint: withheldHint(copy.name) }];
  }
  if (isLate(copy, now)) return [{ what: `copy ${copy.name} lacks ${points}`, hint: "holdfast sync --wait" }];
  if (copy.beyond?.hasNewest !== false) return [];
  const hint = "raise max_bytes in backup.yaml, or delete old points there";
  return [{ what: `copy ${copy.name}: the newest point does not fit into its budget`, hint }];
}

/** The primary counts while it can be read; of a copy nothing counts but that it was seen whole. */
function placesOf({ points, primary, copies, now }: StatusFacts): Place[] {
  const whole = copies.filter((copy) => isWhole(copy, now));
  // One of which nothing is known is taken to stand where the primary does.
  const places = whole.map(({ medium, isOffsite }) => ({ medium: medium ?? primary?.medium ?? "", isOffsite }));
  return points === undefined || points.length === 0 || primary === null ? places : [primary, ...places];
}

function noticesOf(facts: StatusFacts, threeTwoOne: ThreeTwoOne): Remark[] {
  const { copies, points } = facts;
  const notices = [...rewriteNotices(facts), ...futureNotices(facts), ...refusalNotices(facts), ...keyNotices(facts)];
  for (const { name, withheld } of copies) {
    if (withheld?.hasNewest !== true) continue;
    const which = withheld.points === 1 ? "an older point is" : `${withheld.points} older points are`;
    const hint = `newer ones are there; to send these too, for others to read: encrypt: false at ${name} in backup.yaml`;
    notices.push({ what: `copy ${name}: ${which} not encrypted, and not sent there`, hint });
  }
  const holding = copies.filter(({ lastOkAt }) => lastOkAt !== null).map(({ name }) => name);
  notices.push(...drillNotices(facts, points === undefined || points.length === 0 ? [] : holding, facts.now));
  const next = nextPlace(threeTwoOne);
  if (next !== undefined && points !== undefined && threeTwoOne.copies >= 2)
    notices.push({ what: `not yet 3-2-1: ${describeThreeTwoOne(threeTwoOne)}`, hint: next });
  return notices;
}

/** A clock may differ a little from machine to machine. */
const skewMs = 10 * 60_000;

/** Retention leaves them alone; beside points of other machines they pass for the newest. */
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

/** A key that is kept elsewhere, as it may be, puts nothing at risk; that it is lost must not be learnt on the bad day. */
export function keyNotices({ key }: Pick<StatusFacts, "key">): Remark[] {
  if (key === null) return [];
  if (key.state === "missing") {
    const hint = "is it kept elsewhere? prove it: holdfast drill --identity FILE; if it is lost: holdfast key rotate";
    return [{ what: `points are encrypted, and their key is not here: ${key.path} is missing, or cannot be read`, hint }];
  }
  if (!key.isOpenToOthers || key.state === "protected") return [];
  return [{ what: `other users of this machine can read the key ${key.path}`, hint: `chmod 600 ${shellWord(key.path)}` }];
}

function rewriteNotices({ rewrites: [newest, ...older] }: StatusFacts): Remark[] {
  if (newest === undefined) return [];
  const more = older.length === 0 ? "" : ` (and ${older.length} more)`;
  const hint = "restore-from-git --lost brings it back; when you have seen it: holdfast status --acknowledge";
  return [{ what: `${describeRewrite(newest)}${more}`, hint }];
}
