/** Lists what one worktree gives to a point: tracked, untracked and chosen ignored files, folders, nested repositories. */

import { hash } from "node:crypto";
import { readFileSync } from "node:fs";
import { entryPath } from "../core/contents.ts";
import { encodePath, isGitName, parentOf } from "../core/paths.ts";
import type { Policy } from "../core/policy.ts";
import { listConverted, readConversionSettings } from "../git/conversions.ts";
import { type IndexEntry, listIgnored, listUntracked, readIndex, readWorktreeChanges, type WorktreeChange } from "../git/index-entries.ts";
import { type FileStat, type Finding, kindOf, type ObservedFile, statOf, whyHidden } from "./observed.ts";
import { readFolder, walk } from "./walk.ts";

export interface WorktreeRequest {
  /** "" for the main worktree. */
  readonly name: string;
  readonly root: string;
  readonly commonDir: string;
  readonly objectFormat: "sha1" | "sha256";
  readonly policy: Policy;
  /** Absolute folders that are never part of the worktree's own files: other worktrees, stores. */
  readonly foreign: ReadonlySet<string>;
  /** True for an untracked path that the last point held under the same policy: no need to judge it again. */
  isKnown(path: string): boolean;
  /** The same of anything in an untracked folder. */
  isKnownBelow(folder: string): boolean;
}

export interface ObservedWorktree extends Finding {
  readonly files: ObservedFile[];
  readonly index: readonly IndexEntry[];
  /** Tracked paths that have no file. */
  readonly absent: readonly string[];
}

export async function observeWorktree(request: WorktreeRequest): Promise<ObservedWorktree> {
  const { root, commonDir } = request;
  const [index, changes, untracked, ignored, settings] = await Promise.all([
    readIndex(root),
    readWorktreeChanges(root),
    listUntracked(root),
    listIgnored(root),
    readConversionSettings(root),
  ]);
  const converted = await listConverted({ root, commonDir, settings, index, others: [...untracked, ...ignored] });
  const collector = new Collector(request);
  const absent = collector.addTracked(index, changes, converted);
  for (const path of untracked) collector.addUntracked(path);
  for (const path of ignored) collector.addIgnored(path);
  collector.addClean();
  collector.addFolders();
  return { files: collector.files, left: collector.left, problems: collector.problems, index, absent };
}

class Collector implements Finding {
  readonly files: ObservedFile[] = [];
  readonly left: Finding["left"] = [];
  readonly problems: Finding["problems"] = [];
  readonly #request: WorktreeRequest;
  /** Folders that hold something of the point, relative; true where everything below is listed already. */
  readonly #folders = new Map<string, boolean>();
  /** Folders that are known and left out. */
  readonly #closed = new Set<string>();
  /** Tracked files that git calls unchanged. */
  readonly #clean: { readonly path: string; readonly stat: FileStat }[] = [];
  /** Names that were reported already. */
  readonly #reported = new Set<string>();

  constructor(request: WorktreeRequest) {
    this.#request = request;
  }

  addTracked(index: readonly IndexEntry[], changes: ReadonlyMap<string, WorktreeChange>, converted: ReadonlySet<string>): string[] {
    const absent: string[] = [];
    let last = "";
    for (const entry of index) {
      if (entry.path === last) continue; // the other stages of a conflict
      last = entry.path;
      if (entry.mode === "160000") {
        this.#addNested(entry.path);
        continue;
      }
      const stat = statOf(this.#at(entry.path));
      const kind = stat === undefined ? undefined : kindOf(stat);
      if (stat === undefined || kind === undefined || kind === "folder") {
        if (stat === undefined && entry.tag !== "S" && this.#isHidden(entry.path)) continue;
        if (entry.tag !== "S") absent.push(entry.path);
        if (stat !== undefined && kind === undefined) this.#special(entry.path);
        continue;
      }
      this.#touchParents(entry.path);
      const isRaw = changes.has(entry.path) || converted.has(entry.path) || (isHidden(entry) && this.#differs(entry, stat));
      if (isRaw) this.#add("modified", entry.path, stat);
      else this.#clean.push({ path: entry.path, stat });
    }
    return absent;
  }

  /** Unchanged tracked files, when all others are listed: one that shares its inode with another of the point is kept as bytes, to be linked again. */
  addClean(): void {
    const linked = linkedInodes(this.files, this.#clean);
    for (const { path, stat } of this.#clean) this.#add(linked.has(inodeOf(stat)) ? "modified" : "tracked", path, stat);
  }

  addUntracked(path: string): void {
    if (this.#isUnsafe(path)) return;
    if (path.endsWith("/")) {
      const folder = path.slice(0, -1);
      const verdict = this.#request.policy.judgeUntracked(path);
      if (verdict.isIn) this.#addNested(folder);
      else this.#leave(path, verdict.reason);
      return;
    }
    if (!this.#request.isKnown(path)) {
      const verdict = this.#request.policy.judgeUntracked(path);
      if (!verdict.isIn) return this.#leave(path, verdict.reason);
    }
    this.#addIfThere(path);
  }

  addIgnored(path: string): void {
    if (this.#isUnsafe(path)) return;
    const { policy } = this.#request;
    if (!path.endsWith("/")) {
      const verdict = policy.judgeIgnored(path);
      if (verdict.isIn) this.#addIfThere(path);
      else this.#leave(path, verdict.reason);
      return;
    }
    const folder = path.slice(0, -1);
    this.#closed.add(folder);
    if (this.#request.foreign.has(this.#at(folder))) return this.#leave(path, "another worktree or a store");
    if (!policy.mayDescend(path)) return this.#leave(path, policy.judgeIgnored(path).reason);
    let leftOut = 0;
    const enter = (below: string): boolean => policy.mayDescend(`${folder}/${below}/`) && !this.#request.foreign.has(this.#at(`${folder}/${below}`));
    for (const entry of walk(this.#at(folder), { enter, unreadable: (below, code) => this.#unreadableIgnored(joined(folder, below), code) })) {
      const found = `${folder}/${entry.path}`;
      if (entry.type === "folder") {
        // Only folders that are chosen as such are kept empty; the others come with what is chosen in them.
        if (!policy.judgeIgnored(`${found}/`).isIn) continue;
        this.#touchParents(found);
        this.#folders.set(found, true);
      } else if (policy.judgeIgnored(found).isIn) {
        if (entry.type === "special") this.#special(found);
        else this.#addIfThere(found);
      } else leftOut += 1;
    }
    if (leftOut > 0) this.#leave(path, `ignored, no include pattern chooses it (${leftOut} files)`);
  }

  /** Folders of everything listed so far, the empty ones below them, and what git does not list at all. */
  addFolders(): void {
    const waiting = ["", ...this.#folders.keys()];
    for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
      if (this.#folders.get(folder) === true) continue;
      for (const { name, type } of readFolder(this.#request.root, folder, { unreadable: (path, code) => this.#unreadable(path, code) })) {
        const path = folder === "" ? name : `${folder}/${name}`;
        if (type === "special") this.#special(path);
        if (type !== "folder" || this.#folders.has(path) || this.#closed.has(path)) continue;
        if (name === ".git") {
          // A repository without a commit: git lists its files as ours, but not its .git.
          if (folder !== "") this.#addNested(path);
          continue;
        }
        if (this.#isUnsafe(path)) continue;
        if (this.#request.foreign.has(this.#at(path))) continue;
        if (!this.#request.policy.judgeUntracked(`${path}/`).isIn) continue;
        this.#folders.set(path, false);
        waiting.push(path);
      }
    }
    for (const folder of this.#folders.keys()) {
      const stat = statOf(this.#at(folder));
      if (stat?.isDirectory() === true) this.#add("folder", folder, stat);
    }
  }

  /** A nested repository or submodule: all of it as files, its own git directory included, generated trees left out. */
  #addNested(folder: string): void {
    const { policy, foreign } = this.#request;
    const root = this.#at(folder);
    if (foreign.has(root)) return this.#leave(`${folder}/`, "another worktree or a store");
    if (statOf(root)?.isDirectory() !== true) return;
    this.#touchParents(folder);
    this.#folders.set(folder, true);
    const enter = (below: string): boolean => below.includes(".git/") || policy.judgeUntracked(`${folder}/${below}/`).isIn;
    for (const entry of walk(root, { enter, unreadable: (below, code) => this.#unreadable(joined(folder, below), code) })) {
      const path = `${folder}/${entry.path}`;
      if (entry.type === "folder") {
        if (enter(entry.path)) this.#folders.set(path, true);
        else this.#leave(`${path}/`, policy.judgeUntracked(`${path}/`).reason);
      } else if (entry.type === "special") this.#special(path);
      else if (!entry.path.endsWith(".lock")) this.#addIfThere(path);
    }
  }

  #addIfThere(path: string): void {
    const stat = statOf(this.#at(path));
    const kind = stat === undefined ? undefined : kindOf(stat);
    if (stat === undefined && this.#isHidden(path)) return;
    if (stat === undefined || kind === "folder") return; // gone since git listed it: deleted, no more
    if (kind === undefined) return this.#special(path);
    this.#touchParents(path);
    this.#add("untracked", path, stat);
  }

  /** There may be a file, and we may not even look: that is no deletion. */
  #isHidden(path: string): boolean {
    const code = whyHidden(this.#at(path));
    if (code !== undefined) this.problems.push({ code: "unreadable", path: this.#named(path), message: `cannot be looked at: ${code}` });
    return code !== undefined;
  }

  #add(area: "untracked" | "modified" | "tracked" | "folder", path: string, stat: FileStat): void {
    const kind = kindOf(stat);
    if (kind !== undefined) this.files.push({ path: entryPath(this.#request.name, area, path), file: this.#at(path), kind, stat });
  }

  #touchParents(path: string): void {
    for (let folder = parentOf(path); folder !== "" && !this.#folders.has(folder); folder = parentOf(folder))
      this.#folders.set(folder, this.#isBelowClosed(folder));
  }

  /** Of an ignored folder only what was chosen is in the point: it is not looked into for more. */
  #isBelowClosed(folder: string): boolean {
    for (let at = folder; at !== ""; at = parentOf(at)) if (this.#closed.has(at)) return true;
    return false;
  }

  /** A name that some file system takes for `.git`: no restore may write it. */
  #isUnsafe(path: string): boolean {
    const top = path.split("/", 1)[0] ?? "";
    if (!isGitName(top)) return false;
    if (!this.#reported.has(top))
      this.problems.push({ code: "unsupported", path: this.#named(top), message: "a name that stands for .git on other systems is not restored" });
    this.#reported.add(top);
    return true;
  }

  #differs(entry: IndexEntry, stat: FileStat): boolean {
    if (!stat.isFile()) return true;
    try {
      const bytes = readFileSync(encodePath(this.#at(entry.path)));
      const blob = Buffer.concat([Buffer.from(`blob ${bytes.length}\0`), bytes]);
      return hash(this.#request.objectFormat, blob, "hex") !== entry.oid;
    } catch {
      return true; // the capture will say why it cannot be read
    }
  }

  #leave(path: string, reason: string): void {
    this.left.push({ path: this.#named(path), reason });
  }

  #special(path: string): void {
    if (this.#reported.has(path)) return;
    this.#reported.add(path);
    this.problems.push({ code: "special", path: this.#named(path), message: "a socket, fifo or device: there is nothing to keep" });
  }

  /** A database server's own folder, say: no problem, where nothing says that it matters. */
  #unreadableIgnored(folder: string, code: string): void {
    const { policy, isKnownBelow } = this.#request;
    if (policy.judgeIgnored(`${folder}/`).isIn || isKnownBelow(folder)) return this.#unreadable(folder, code);
    this.#leave(`${folder}/`, `ignored, cannot be listed: ${code}`);
  }

  #unreadable(path: string, code: string): void {
    this.problems.push({ code: "unreadable", path: this.#named(path), message: `cannot be listed: ${code}` });
  }

  #named(path: string): string {
    return this.#request.name === "" ? path : `${this.#request.name}:${path}`;
  }

  #at(path: string): string {
    return `${this.#request.root}/${path}`;
  }
}

/** `below`: as a walk of the folder names what is in it, "" for the folder itself. */
function joined(folder: string, below: string): string {
  return below === "" ? folder : `${folder}/${below}`;
}

/** assume-unchanged and skip-worktree: git itself does not look at the file any more. */
function isHidden(entry: IndexEntry): boolean {
  return entry.tag === "S" || entry.tag !== entry.tag.toUpperCase();
}

function linkedInodes(...lists: readonly (readonly { readonly stat: FileStat }[])[]): Set<string> {
  const seen = new Set<string>();
  const linked = new Set<string>();
  for (const list of lists) {
    for (const { stat } of list) {
      if (stat.nlink < 2n || !stat.isFile()) continue;
      const inode = inodeOf(stat);
      if (seen.has(inode)) linked.add(inode);
      seen.add(inode);
    }
  }
  return linked;
}

function inodeOf(stat: FileStat): string {
  return `${stat.dev}:${stat.ino}`;
}
