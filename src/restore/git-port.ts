/**
 * What a restore asks of git. The git program answers (with-git.ts), or isomorphic-git and our own readers of git's files where
 * there is no program (without-git.ts). Everything else of a restore is the same for both.
 */
import type { RefEntry } from "../core/contents.ts";
import type { ConfigSetting } from "../git/config-syntax.ts";
import type { IndexEntry } from "../git/index-entries.ts";
import type { Head } from "../git/refs.ts";
import type { Revision } from "../git/revision.ts";
import type { CallOptions } from "../stores/store.ts";

/** A worktree and its own git directory. */
export interface Place {
  readonly gitDir: string;
  readonly root: string;
}

export interface Settings {
  /** Their bytes as latin1. */
  readonly list: readonly ConfigSetting[];
  /** Every git reads the file so: then it may take its place as it is. */
  readonly isExact: boolean;
}

export interface RestoreGit {
  /** False: limits.ts says what it cannot do. */
  readonly isProgram: boolean;
  /** A new repository without hooks, templates or branches. `root`: the folder above .git, or a bare repository itself. */
  initRepository(root: string, isBare: boolean, objectFormat: "sha1" | "sha256"): Promise<void>;
  /** Adds a pack that may be thin; gives its name (`pack-SUM`). Throws `damaged`. */
  indexPack(gitDir: string, pack: AsyncIterable<Buffer>, isThin: boolean, options: CallOptions): Promise<string>;
  /** The ids of the objects of a pack that was added. */
  listPack(gitDir: string, pack: string): Promise<ReadonlySet<string>>;
  /** Those of `oids` that are there. */
  findObjects(gitDir: string, oids: readonly string[]): Promise<ReadonlySet<string>>;
  /** New refs, whose names and objects were looked at; no reflog is written. */
  writeRefs(gitDir: string, refs: readonly RefEntry[], options: CallOptions): Promise<void>;
  readRefs(gitDir: string): Promise<readonly RefEntry[]>;
  readHead(gitDir: string): Promise<Head>;
  /** Undefined where the file cannot be read as git's. */
  readSettings(file: string): Promise<Settings | undefined>;
  readIndex(place: Place): Promise<IndexEntry[]>;
  /** Writes these paths of the index as the blobs hold them; the index stays as it is. The paths were looked at. */
  writeIndexed(place: Place, commonDir: string, paths: readonly string[], options: CallOptions): Promise<void>;
  /** A clean checkout with an index of its own; HEAD is the caller's. */
  writeCommit(place: Place, oid: string, options: CallOptions): Promise<void>;
  /** Tracked paths that are not as the commit has them. */
  listChanged(place: Place, oid: string): Promise<string[]>;
  /** Undefined where nothing is called so. Throws `ambiguous`, and `usage` for what it cannot read. */
  findCommit(gitDir: string, what: string): Promise<Revision | undefined>;
  readCommitTime(gitDir: string, oid: string): Promise<Date>;
  /** Undefined for what is no date. */
  parseDate(text: string): Promise<Date | undefined>;
}
