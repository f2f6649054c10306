/** What a verification finds. */
import type { RefEntry } from "../core/contents.ts";
import type { PointId } from "../core/ids.ts";

/** damage: a restore would fail or give other bytes. doubt: it would not, but somebody should look. note: told, and no more. */
export type Weight = "damage" | "doubt" | "note";

export type FindingKind =
  /** A manifest that cannot be believed, or is of a newer format. */
  | "manifest"
  /** An artifact that is absent, of another size, or of other bytes. */
  | "artifact"
  /** Bytes that are as they were written, and do not decode. */
  | "content"
  /** A point that this one builds on is absent. */
  | "chain"
  /** Of the history of manifests: missing, exchanged, disordered, rolled back. */
  | "history"
  | "signature"
  | "database"
  | "worktree"
  /** Not looked at, and why. */
  | "unchecked";

export interface Finding {
  readonly kind: FindingKind;
  readonly weight: Weight;
  readonly point: PointId;
  /** Of the file in the store; null where it is about no file. */
  readonly key: string | null;
  readonly message: string;
  /** Points whose restore needs it, oldest first. */
  readonly hits: readonly PointId[];
  /** Where branches and tags stood when the point was made, of those that had moved: the commits that it brought. */
  readonly commits: readonly Pick<RefEntry, "name" | "oid">[];
  /** Stores that hold it as it should be. */
  readonly copies: readonly string[];
}

/** A finding before its surroundings are looked at. */
export type Fault = Pick<Finding, "kind" | "weight" | "point" | "key" | "message">;

export function fault(kind: FindingKind, weight: Weight, point: PointId, key: string | null, message: string): Fault {
  return { kind, weight, point, key, message };
}
