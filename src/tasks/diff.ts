/** Two moments side by side: two points, or a point and the worktree as it stands. */
import { createHash } from "node:crypto";
import { createReadStream, readlinkSync } from "node:fs";
import type { App } from "../app.ts";
import { modeOf, type ObservedFile } from "../capture/observed.ts";
import type { FileEntry } from "../core/contents.ts";
import { encodePath } from "../core/paths.ts";
import { Policy } from "../core/policy.ts";
import { diffTrees, type PathChange, sumOfCommitted } from "../git/file-history.ts";
import { diffFiles, diffRefs, type FileChange, halfCommitted, type Moment, type RefChange } from "../points/diff.ts";
import { storeFoldersOf } from "./point.ts";
import { viewPoint } from "./points.ts";

export interface DiffResult {
  /** Ids of points, or `worktree`. */
  readonly from: string;
  readonly to: string;
  readonly files: readonly FileChange[];
  readonly refs: readonly RefChange[];
  /** Worktrees ("" is the main one) whose tracked files could not be compared: this repository lacks one of the two commits. */
  readonly uncompared: readonly string[];
}

/** `to`: a point, or `worktree`. Throws `unknown_point`, `ambiguous`. */
export async function diffPoints(
  app: App,
  { from, to, store, signal }: { readonly from: string; readonly to: string; readonly store: string | undefined; readonly signal: AbortSignal },
): Promise<DiffResult> {
  const first = await viewPoint(app, from, store, signal);
  const second = to === "worktree" ? undefined : await viewPoint(app, to, store, signal);
  const before: Moment = first.contents;
  const after: Moment = second?.contents ?? (await momentNow(app, before, signal));
  const gitDir = app.repository.commonDir;
  const commits = new Map<string, ReadonlyMap<string, PathChange>>();
  const uncompared: string[] = [];
  for (const { name, oid } of after.worktrees) {
    const last = before.worktrees.find((worktree) => worktree.name === name);
    if (last === undefined || last.oid === oid) continue;
    const changes = await diffTrees(gitDir, last.oid, oid);
    if (changes === undefined) uncompared.push(name);
    else commits.set(name, changes);
  }
  const sums = new Map<string, string>();
  for (const { side, worktree, path } of halfCommitted(before, after)) {
    const { oid } = (side === "before" ? before : after).worktrees.find(({ name }) => name === worktree) ?? {};
    const sum = oid === undefined || oid === null ? undefined : await sumOfCommitted(gitDir, oid, path);
    if (sum !== undefined) sums.set(JSON.stringify([side, worktree, path]), sum);
  }
  const files = diffFiles(before, after, {
    changes: (worktree) => commits.get(worktree),
    sum: (side, worktree, path) => sums.get(JSON.stringify([side, worktree, path])),
  });
  return { from: first.point.id, to: second?.point.id ?? "worktree", files, refs: diffRefs(before, after), uncompared };
}

/** Reads only files whose size, time or mode is another than the point says. */
async function momentNow(app: App, before: Moment, signal: AbortSignal): Promise<Moment> {
  const { observe } = await import("../capture/observe.ts");
  const { include, exclude } = app.config;
  const observation = await observe({
    repository: app.repository,
    policy: new Policy({ include, exclude }),
    storeFolders: storeFoldersOf(app),
    known: before.files,
  });
  const files = new Map<string, FileEntry>();
  for (const file of observation.files) {
    signal.throwIfAborted();
    files.set(file.path, await entryNow(file, before));
  }
  return { files, refs: new Map(observation.refs.map((ref) => [ref.name, ref])), worktrees: observation.worktrees };
}

async function entryNow({ path, file, kind, stat }: ObservedFile, before: Moment): Promise<FileEntry> {
  const entry = { path, kind, mode: modeOf(stat), mtime: String(stat.mtimeNs), size: Number(stat.size) };
  if (kind === "symlink") return { ...entry, target: readlinkSync(encodePath(file)) };
  if (kind === "folder" || !/^(?:worktrees\/[^/]+\/)?(?:untracked|modified)\//.test(path)) return entry;
  const known = before.files.get(path);
  const bytes = known?.kind === "hardlink" ? before.files.get(known.target ?? "") : known;
  const isAsKnown = known !== undefined && known.mtime === entry.mtime && bytes?.size === entry.size && bytes.sha256 !== undefined;
  return { ...entry, sha256: isAsKnown ? (bytes.sha256 ?? "") : await sumOf(file) };
}

async function sumOf(file: string): Promise<string> {
  const sum = createHash("sha256");
  for await (const chunk of createReadStream(encodePath(file))) sum.update(chunk as Buffer);
  return sum.digest("hex");
}
