/** What points say about refs, without reading what they say about files. */
import type { RefEntry, WorktreeEntry } from "../core/contents.ts";
import { type ContentsRecord, parseContents } from "../core/contents.ts";
import { BackupError } from "../core/errors.ts";
import { parseJson } from "../core/json.ts";
import { findArtifact, type Manifest } from "../core/manifest.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { openArtifact } from "./catalogue.ts";

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
  const artifact = findArtifact(manifest, "contents.zst");
  if (artifact === undefined) throw new BackupError("damaged", `point ${manifest.id} has no contents`);
  const lines: string[] = [];
  let rest = Buffer.alloc(0);
  for await (const piece of await openArtifact(store, manifest, artifact, options)) {
    const bytes = Buffer.concat([rest, piece]);
    const end = bytes.lastIndexOf("\n");
    rest = bytes.subarray(end + 1);
    for (const line of bytes.toString("utf8", 0, Math.max(end, 0)).split("\n")) {
      if (isBeyond(line)) return parseContents(lines.join("\n"), artifact.name);
      if (line !== "") lines.push(line);
    }
  }
  return parseContents(lines.join("\n"), artifact.name);
}

function isBeyond(line: string): boolean {
  const record = parseJson(line) as { readonly t?: unknown; readonly path?: unknown } | undefined;
  return record?.t === "left" || record?.t === "problem" || (record?.t === "file" && !String(record.path).startsWith("git/"));
}
