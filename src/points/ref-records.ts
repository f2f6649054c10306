/** What points say about refs, without reading what they say about files. */
import type { RefEntry, WorktreeEntry } from "../core/contents.ts";
import { type ContentsRecord, checkFirst, parseRecords } from "../core/contents.ts";
import { BackupError } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { contentsOf, openArtifact } from "./catalogue.ts";

/** The state of refs and worktrees that a chain, base first, gives. */
export interface RefState {
  readonly refs: ReadonlyMap<string, RefEntry>;
  readonly worktrees: readonly WorktreeEntry[];
}

export async function readRefState(store: Store, chain: readonly Manifest[], options: CallOptions = {}): Promise<RefState> {
  const refs = new Map<string, RefEntry>();
  let worktrees: WorktreeEntry[] = [];
  for (const manifest of chain) {
    worktrees = [];
    for (const record of await readRefRecords(store, manifest, options)) {
      if (record.t === "ref") refs.set(record.name, record);
      else if (record.t === "ref-gone") refs.delete(record.name);
      else if (record.t === "worktree") worktrees.push(record);
    }
  }
  return { refs, worktrees };
}

/**
 * A point's own records up to the first file that is not git's own: its worktrees, its changes of refs, the files of its git
 * directory. They stand first, so that little is read. Throws `damaged` where that part cannot be understood.
 */
export async function readRefRecords(store: Store, manifest: Manifest, options: CallOptions = {}): Promise<ContentsRecord[]> {
  const artifact = contentsOf(manifest);
  const records: ContentsRecord[] = [];
  let rest = Buffer.alloc(0);
  for await (const piece of await openArtifact(store, manifest, artifact, options)) {
    const bytes = Buffer.concat([rest, piece]);
    const end = bytes.lastIndexOf("\n") + 1;
    rest = bytes.subarray(end);
    if (rest.length > lineLimit) throw new BackupError("damaged", `${artifact.name} has a line without an end`);
    for (const record of parseRecords(bytes.toString("utf8", 0, end), artifact.name)) {
      if (records.length === 0) checkFirst(record, artifact.name);
      if (isBeyond(record)) return records;
      records.push(record);
    }
  }
  checkFirst(records[0], artifact.name);
  return records;
}

/** Far more than any record has. */
const lineLimit = 1 << 20;

function isBeyond(record: ContentsRecord): boolean {
  return record.t === "left" || record.t === "problem" || (record.t === "file" && !record.path.startsWith("git/"));
}
