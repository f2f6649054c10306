/**
 * What drills have proven: one JSON document a line, appended. Evidence for people and auditors; the points need none of it.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import * as z from "zod";
import { parseJson } from "../core/json.ts";
import { textOf } from "../state/remembered.ts";

const ms = z.number().nonnegative();

const drilledSchema = z.object({
  id: z.string(),
  /** The newest point of the store, or an older one that was drawn by lot. */
  role: z.enum(["latest", "older"]),
  createdAt: z.iso.datetime(),
  /** From the first request to the store until the restored folder was compared. */
  restoreMs: ms,
  files: z.int().nonnegative(),
  refs: z.int().nonnegative(),
  bytes: z.int().nonnegative(),
  /** Whether git checked the repository: not where the point lacked objects when it was made. */
  fsck: z.boolean().default(true),
  /** SQLite databases that were checked. */
  databases: z.int().nonnegative(),
  /** The user's own command; null: none was given. */
  check: z.object({ command: z.string(), code: z.int().nullable(), ms }).nullable(),
  /** What was not as captured. Empty: proven. */
  findings: z.array(z.string()),
  /** What the point itself said that it could not hold. */
  problems: z.int().nonnegative(),
  /** The worst of the point's chain. Null: it could not be told. */
  signature: z
    .object({
      status: z.enum(["trusted", "unknown_signer", "bad", "unsigned"]),
      signer: z.string().nullable(),
      fingerprint: z.string().nullable(),
    })
    .nullable()
    .default(null),
});

const evidenceSchema = z.object({
  at: z.iso.datetime(),
  store: z.string(),
  isOffsite: z.boolean(),
  isProven: z.boolean(),
  points: z.array(drilledSchema),
  /** Recovery time: how long until the newest point stood there, whole and compared. Null: it never did. */
  recoveryMs: ms.nullable(),
  /** Recovery point: how old the newest point of the store was. Null: it holds none that can be read. */
  pointAgeMs: ms.nullable(),
  /** Why it could not be carried out. */
  error: z.string().nullable(),
});

export type Drilled = z.infer<typeof drilledSchema>;
export type DrillEvidence = z.infer<typeof evidenceSchema>;

/** Oldest first. A line that was cut short by a crash is left out. */
export function readEvidence(file: string): DrillEvidence[] {
  return textOf(file)
    .split("\n")
    .flatMap((line) => {
      const result = evidenceSchema.safeParse(parseJson(line));
      return result.success ? [result.data] : [];
    });
}

/** Durable when it returns: a drill that nobody can prove was for nothing. */
export function addEvidence(file: string, evidence: DrillEvidence): void {
  mkdirSync(dirname(file), { recursive: true });
  const descriptor = openSync(file, "a", 0o600);
  try {
    // The line end comes first as well: a half line of a killed run must not swallow ours.
    // Not writeSync: a volume that is nearly full takes a part, and says so only by the number.
    writeFileSync(descriptor, `\n${JSON.stringify(evidence)}\n`);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
