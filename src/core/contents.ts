/**
 * What is inside a point: `contents.zst`, one JSON record a line. An incremental's contents hold what
 * changed since its base; folding a chain, base first, gives the whole state (`foldContents`).
 *
 * Every file has one **entry path**, which is also its name in the tarball:
 *
 *   untracked/PATH           untracked and chosen ignored files
 *   modified/PATH            tracked files whose bytes a checkout would not give
 *   tracked/PATH             tracked files that git gives back; only their mode and mtime are kept here
 *   folder/PATH              folders: mode and mtime
 *   git/PATH                 files of the git directory (HEAD, index, logs, hooks, config, worktrees/NAME/…)
 *   worktrees/NAME/AREA/PATH the same four areas of a linked worktree
 */
import { BackupError } from "./errors.ts";
import type { PointId } from "./ids.ts";
import { parseJson } from "./json.ts";
import { isContained } from "./paths.ts";

export const contentsVersion = 1;

export type EntryKind = "file" | "symlink" | "hardlink" | "folder";

export interface FileEntry {
  readonly path: string;
  readonly kind: EntryKind;
  /** Permission bits, with setuid, setgid and sticky: 0 to 0o7777. */
  readonly mode: number;
  /** Nanoseconds since 1970 as a decimal string: beyond what a JSON number holds. */
  readonly mtime: string;
  /** Bytes; of a file only. */
  readonly size?: number;
  /** sha256 of the bytes; of a file that the tarball holds. */
  readonly sha256?: string;
  /** A symlink's text, or the entry path that a hardlink shares its bytes with. */
  readonly target?: string;
  /** True where the file was sparse: a restore leaves holes where it finds zeros. */
  readonly sparse?: true;
}

export interface RefEntry {
  readonly name: string;
  readonly oid: string;
  /** Where a symbolic ref points. */
  readonly symref?: string;
}

export interface WorktreeEntry {
  /** "" for the main worktree, else its name below `.git/worktrees`. */
  readonly name: string;
  /** Where it stood. */
  readonly path: string;
  readonly isBare: boolean;
  /** Branch that HEAD is on; null when detached. */
  readonly branch: string | null;
  /** Commit of HEAD; null when unborn. */
  readonly oid: string | null;
}

/** Something that is not in the point, and why. */
export interface LeftEntry {
  readonly path: string;
  readonly reason: string;
}

/** Something that makes the point partial: it should be in it and is not, or not surely. */
export interface Problem {
  readonly code: "changed" | "vanished" | "unreadable" | "special" | "missing_objects" | "corrupt_objects" | "unsupported";
  readonly path: string;
  readonly message: string;
}

/** Objects of the repository were missing or damaged: git finds no end of its history in what the point holds. */
export function lacksObjects({ code }: Problem): boolean {
  return code === "missing_objects" || code === "corrupt_objects";
}

/** Why a point was made, in its maker's words. */
export interface NoteEntry {
  readonly text: string | null;
  /** Of the change that it was made before. */
  readonly ticket: string | null;
}

/** The problem of a point whose repository never had all objects: a restore marks its packs so. */
export const partialClone = "a partial clone: objects that were never fetched are not in the point";

export interface ContentsHeader {
  readonly v: number;
  readonly id: PointId;
  readonly base: PointId | null;
  readonly objectFormat: "sha1" | "sha256";
  /** The name of the folder that was protected. */
  readonly name: string;
}

export type ContentsRecord =
  | ({ readonly t: "point" } & ContentsHeader)
  | ({ readonly t: "note" } & NoteEntry)
  | ({ readonly t: "worktree" } & WorktreeEntry)
  | ({ readonly t: "ref" } & RefEntry)
  | { readonly t: "ref-gone"; readonly name: string }
  | ({ readonly t: "file" } & FileEntry)
  | { readonly t: "gone"; readonly path: string }
  | ({ readonly t: "left" } & LeftEntry)
  | ({ readonly t: "problem" } & Problem);

/** The whole state of one point. */
export interface Contents {
  readonly header: ContentsHeader;
  /** Of the newest point of the chain only. */
  readonly note: NoteEntry | undefined;
  readonly worktrees: readonly WorktreeEntry[];
  readonly refs: ReadonlyMap<string, RefEntry>;
  readonly files: ReadonlyMap<string, FileEntry>;
  /** Of the newest point of the chain only. */
  readonly left: readonly LeftEntry[];
  readonly problems: readonly Problem[];
  /** The point lacked objects when it was made, or one that it builds on did, and does not say so again. */
  readonly lacksObjects: boolean;
}

export function writeRecord(record: ContentsRecord): string {
  return `${JSON.stringify(record)}\n`;
}

/** Parses one artifact's text. Throws `damaged` (or `format_newer`) with the line where it goes wrong. */
export function parseContents(text: string, name: string): ContentsRecord[] {
  const records = [...parseRecords(text, name)];
  checkFirst(records[0], name);
  return records;
}

/** Line by line: of a text that is none, however many lines it has, no more is looked at than the first. Throws `damaged`. */
export function* parseRecords(text: string, name: string): Generator<ContentsRecord> {
  for (let at = 0, number = 1; at < text.length; number += 1) {
    const end = text.indexOf("\n", at);
    const record = asRecord(parseJson(text.slice(at, end === -1 ? text.length : end)));
    if (record === undefined) throw new BackupError("damaged", `${name} line ${number} is not a record of a contents file`);
    yield record;
    at = end === -1 ? text.length : end + 1;
  }
}

/** Throws `damaged` (or `format_newer`) where the first record is not that of a point. */
export function checkFirst(first: ContentsRecord | undefined, name: string): void {
  if (first?.t !== "point") throw new BackupError("damaged", `${name} does not begin with its point`);
  if (first.v > contentsVersion)
    throw new BackupError("format_newer", `${name} has version ${first.v}, this holdfast reads up to ${contentsVersion}`);
}

/** The state after a chain of contents, base first. Throws `chain_broken` when a link does not fit. */
export function foldContents(chain: readonly (readonly ContentsRecord[])[]): Contents {
  const refs = new Map<string, RefEntry>();
  const files = new Map<string, FileEntry>();
  let worktrees: WorktreeEntry[] = [];
  let left: LeftEntry[] = [];
  let problems: Problem[] = [];
  let lacks = false;
  let note: NoteEntry | undefined;
  let header: ContentsHeader | undefined;
  for (const records of chain) {
    note = undefined;
    worktrees = [];
    left = [];
    problems = [];
    for (const record of records) {
      switch (record.t) {
        case "point":
          if (record.base !== (header?.id ?? null)) {
            throw new BackupError("chain_broken", `point ${record.id} builds on ${record.base ?? "nothing"}, not on ${header?.id ?? "nothing"}`);
          }
          header = withoutTag(record);
          break;
        case "note":
          note = withoutTag(record);
          break;
        case "worktree":
          worktrees.push(withoutTag(record));
          break;
        case "ref":
          refs.set(record.name, record);
          break;
        case "ref-gone":
          refs.delete(record.name);
          break;
        case "file":
          files.set(record.path, record);
          break;
        case "gone":
          files.delete(record.path);
          break;
        case "left":
          left.push(withoutTag(record));
          break;
        case "problem":
          problems.push(withoutTag(record));
          lacks ||= lacksObjects(record);
          break;
        default:
          record satisfies never;
      }
    }
  }
  if (header === undefined) throw new BackupError("chain_broken", "a chain without a point");
  return { header, note, worktrees, refs, files, left, problems, lacksObjects: lacks };
}

function withoutTag<Tagged extends { readonly t: string }>({ t: _, ...entry }: Tagged): Omit<Tagged, "t"> {
  return entry;
}

/** The parts of an entry path: the worktree ("" is the main one), the area, and the path in it. */
export interface EntryPlace {
  readonly worktree: string;
  readonly area: "untracked" | "modified" | "tracked" | "folder" | "git";
  readonly path: string;
}

/** Throws `hostile` for a path that no capture writes. */
export function placeOf(entryPath: string): EntryPlace {
  let rest = entryPath;
  let worktree = "";
  if (rest.startsWith("worktrees/")) {
    const end = rest.indexOf("/", 10);
    worktree = rest.slice(10, end);
    rest = rest.slice(end + 1);
    if (end === -1 || worktree === "") throw new BackupError("hostile", `the point holds an entry named ${JSON.stringify(entryPath)}`);
  }
  const slash = rest.indexOf("/");
  const area = rest.slice(0, slash);
  const path = rest.slice(slash + 1);
  if (slash === -1 || !isArea(area) || !isContained(worktree === "" ? path : `${worktree}/${path}`)) {
    throw new BackupError("hostile", `the point holds an entry named ${JSON.stringify(entryPath)}`);
  }
  return { worktree, area, path };
}

export function entryPath(worktree: string, area: EntryPlace["area"], path: string): string {
  return worktree === "" ? `${area}/${path}` : `worktrees/${worktree}/${area}/${path}`;
}

function isArea(text: string): text is EntryPlace["area"] {
  return text === "untracked" || text === "modified" || text === "tracked" || text === "folder" || text === "git";
}

/** Checks by hand: a full point has one record a file, and a schema library takes a second for 100,000 of them. */
function asRecord(value: unknown): ContentsRecord | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const r = value as Record<string, unknown>;
  const isOptional = (field: unknown, type: "string" | "number"): boolean => field === undefined || typeof field === type;
  switch (r["t"]) {
    case "file":
      return isText(r["path"]) &&
        isKind(r["kind"]) &&
        isNatural(r["mode"]) &&
        r["mode"] <= 0o7777 &&
        isText(r["mtime"]) &&
        /^-?\d{1,20}$/.test(r["mtime"]) &&
        (r["size"] === undefined || isNatural(r["size"])) &&
        isOptional(r["sha256"], "string") &&
        isOptional(r["target"], "string")
        ? (value as ContentsRecord)
        : undefined;
    case "note":
      return (r["text"] === null || isText(r["text"])) && (r["ticket"] === null || isText(r["ticket"])) ? (value as ContentsRecord) : undefined;
    case "gone":
      return isText(r["path"]) ? (value as ContentsRecord) : undefined;
    case "ref":
      return isText(r["name"]) && isOid(r["oid"]) && isOptional(r["symref"], "string") ? (value as ContentsRecord) : undefined;
    case "ref-gone":
      return isText(r["name"]) ? (value as ContentsRecord) : undefined;
    case "left":
      return isText(r["path"]) && isText(r["reason"]) ? (value as ContentsRecord) : undefined;
    case "problem":
      return isText(r["path"]) && isText(r["code"]) && isText(r["message"]) ? (value as ContentsRecord) : undefined;
    case "worktree":
      return isText(r["name"]) &&
        isText(r["path"]) &&
        typeof r["isBare"] === "boolean" &&
        (r["branch"] === null || isText(r["branch"])) &&
        (r["oid"] === null || isOid(r["oid"]))
        ? (value as ContentsRecord)
        : undefined;
    case "point":
      return isNatural(r["v"]) &&
        isText(r["id"]) &&
        (r["base"] === null || isText(r["base"])) &&
        isObjectFormat(r["objectFormat"]) &&
        isText(r["name"])
        ? (value as ContentsRecord)
        : undefined;
    default:
      return undefined;
  }
}

function isText(value: unknown): value is string {
  return typeof value === "string";
}

function isNatural(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isKind(value: unknown): value is EntryKind {
  return value === "file" || value === "symlink" || value === "hardlink" || value === "folder";
}

function isOid(value: unknown): value is string {
  return typeof value === "string" && /^(?:[0-9a-f]{40}|[0-9a-f]{64})$/.test(value);
}

function isObjectFormat(value: unknown): value is "sha1" | "sha256" {
  return value === "sha1" || value === "sha256";
}
