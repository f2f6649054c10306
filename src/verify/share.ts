/** Which part of a store is read this time: in `t` runs with `1/t` to `t/t` every artifact is read once. Pure. */
import { BackupError } from "../core/errors.ts";

export interface Share {
  /** From 1 to `of`. */
  readonly number: number;
  readonly of: number;
}

const limit = 10_000;
const dayMs = 24 * 60 * 60 * 1000;

/**
 * `2/7`, or `auto/7`: the number follows from the calendar day (UTC), so that seven daily runs read everything, whenever
 * they began. Throws `usage`.
 */
export function parseShare(text: string, now: Date): Share {
  const match = /^(auto|[1-9]\d{0,4})\/([1-9]\d{0,4})$/.exec(text);
  const of = Number(match?.[2]);
  const number = match?.[1] === "auto" ? (Math.floor(now.getTime() / dayMs) % of) + 1 : Number(match?.[1]);
  if (match === null || of > limit || number > of)
    throw new BackupError("usage", `${JSON.stringify(text)} is no share of the data`, {
      hint: "holdfast verify --read-data 1/7, or auto/7 in a daily run",
    });
  return { number, of };
}

/** By the artifact's sum alone, so that a share stays the same while points come and go. `sha256`: hexadecimal. */
export function isInShare({ number, of }: Share, sha256: string): boolean {
  return Number.parseInt(sha256.slice(0, 12), 16) % of === number - 1;
}
