/**
 * What the hooks were before installation, in `<state>/hooks-before/`: a copy of each file that we changed, and
 * which files and folders are ours alone. Removal needs the copies only for people: taking the block out is exact.
 */
import { createHash } from "node:crypto";
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { systemCode } from "../core/errors.ts";
import { parseJson } from "../core/json.ts";

export interface HooksBefore {
  /** Every hook file that an installation touched, by absolute path: made by us, edited, or moved aside. */
  readonly files: Readonly<Record<string, "made" | "edited" | "aside">>;
  /** Folders that an installation made, absolute. */
  readonly folders: readonly string[];
}

const nothing: HooksBefore = { files: {}, folders: [] };

/** Empty when there is none, or none that can be read: the state folder can be deleted at any time. */
export function readHooksBefore(folder: string): HooksBefore {
  let text: string;
  try {
    text = readFileSync(recordOf(folder), "utf8");
  } catch (error) {
    if (systemCode(error) === "ENOENT") return nothing;
    throw error;
  }
  const value = parseJson(text);
  if (typeof value !== "object" || value === null) return nothing;
  const { files, folders } = value as Record<keyof HooksBefore, unknown>;
  return {
    files: typeof files === "object" && files !== null ? (files as HooksBefore["files"]) : {},
    folders: Array.isArray(folders) ? folders.filter((path) => typeof path === "string") : [],
  };
}

/** Adds to the record, before anything is changed. Files to be edited are copied. */
export function rememberBefore(folder: string, added: HooksBefore): void {
  const known = readHooksBefore(folder);
  const files = { ...known.files, ...added.files };
  const folders = [...new Set([...known.folders, ...added.folders])];
  mkdirSync(folder, { recursive: true });
  for (const [path, was] of Object.entries(added.files)) {
    if (was === "edited") copyFileSync(path, join(folder, copyName(path)));
  }
  writeFileSync(recordOf(folder), `${JSON.stringify({ files, folders }, null, 2)}\n`);
}

export function forgetBefore(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
}

/** Two worktrees have hooks of the same name. */
function copyName(path: string): string {
  return `${basename(path)}-${createHash("sha256").update(path).digest("hex").slice(0, 8)}`;
}

function recordOf(folder: string): string {
  return join(folder, "record.json");
}
