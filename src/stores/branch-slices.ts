/**
 * A large change as a row of commits, each with no more new bytes than a host takes in one push. After each of them the
 * branch is whole: a manifest comes after its artifacts, and parts of a file that does not fit into one slice lie
 * apart (`.holdfast-parts/`) until its last part comes. Pure.
 */
import { type BranchFile, type BranchPart, type Changes, earlyPath } from "./branch-files.ts";

export interface Slice {
  readonly changes: Changes;
  /** Parts of a file that a later slice completes, under the path where they wait. */
  readonly early: readonly BranchPart[];
}

/** `isThere`: blobs that the remote has already cost nothing. At least one slice; one part more than `limitBytes` is a slice of its own. */
export function planSlices(changes: Changes, isThere: (oid: string) => boolean, limitBytes: number): Slice[] {
  const slices: Slice[] = [];
  let open = { changes: new Map<string, BranchFile | null>(), early: [] as BranchPart[], bytes: 0 };
  const close = (): void => {
    if (open.changes.size + open.early.length > 0) slices.push({ changes: open.changes, early: open.early });
    open = { changes: new Map(), early: [], bytes: 0 };
  };
  const cost = (part: BranchPart): number => (isThere(part.oid) ? 0 : (part.size ?? 0));
  for (const [key, file] of inOrder(changes)) {
    const bytes = (file?.parts ?? []).reduce((sum, part) => sum + cost(part), 0);
    if (open.bytes + bytes > limitBytes) close();
    if (file !== null && bytes > limitBytes) {
      for (const part of file.parts) {
        if (open.bytes > 0 && open.bytes + cost(part) > limitBytes) close();
        open.bytes += cost(part);
        open.early.push({ ...part, path: earlyPath(part.path) });
      }
      // The slice of its last part holds the file itself. (A file that comes in slices is alone in them up to here.)
      open.early = [];
    } else open.bytes += bytes;
    open.changes.set(key, file);
  }
  close();
  return slices;
}

/** The files of a point together, its manifest last; points in their order; deletions all at once, at the end. */
function inOrder(changes: Changes): [string, BranchFile | null][] {
  const groups = new Map<string, [string, BranchFile | null][]>();
  for (const [key, file] of changes) {
    if (file === null) continue;
    const stem = stemOf(key);
    groups.set(stem, [...(groups.get(stem) ?? []), [key, file]]);
  }
  const isManifest = ([key]: [string, unknown]): boolean => key.endsWith(".json");
  const added = [...groups.values()].flatMap((group) => [...group.filter((item) => !isManifest(item)), ...group.filter(isManifest)]);
  return [...added, ...[...changes].filter(([, file]) => file === null)];
}

/** The point that a key belongs to, as far as a name can tell: `20261121/ID`. */
export function stemOf(key: string): string {
  const name = key.lastIndexOf("/") + 1;
  const dot = key.indexOf(".", name);
  return dot === -1 ? key : key.slice(0, dot);
}
