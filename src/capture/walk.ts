/** Walks a folder tree, names of any bytes. */
import { type Dirent, readdirSync } from "node:fs";
import { systemCode } from "../core/errors.ts";
import { decodePath, encodePath } from "../core/paths.ts";

export interface WalkedEntry {
  /** Relative to the walk's root. */
  readonly path: string;
  readonly type: "file" | "folder" | "special";
}

export interface WalkOptions {
  /** False: the folder is not read. Called with its path relative to the root. */
  enter?(folder: string): boolean;
  unreadable?(folder: string, code: string): void;
}

/** Everything below `root`, folders before what is in them. Symlinks are files here: they are never followed. */
export function* walk(root: string, options: WalkOptions = {}): Generator<WalkedEntry> {
  const waiting = [""];
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    for (const { name, type } of readFolder(root, folder, options)) {
      const path = folder === "" ? name : `${folder}/${name}`;
      yield { path, type };
      if (type === "folder" && options.enter?.(path) !== false) waiting.push(path);
    }
  }
}

export function readFolder(root: string, folder: string, options: WalkOptions = {}): { name: string; type: WalkedEntry["type"] }[] {
  try {
    const path = folder === "" ? root : `${root}/${folder}`;
    return readdirSync(encodePath(path), { withFileTypes: true, encoding: "buffer" }).map((entry) => ({
      name: decodePath(entry.name),
      type: typeOf(entry),
    }));
  } catch (error) {
    const code = systemCode(error) ?? "unknown";
    // Gone between two looks is ordinary; anything else the caller hears about.
    if (code !== "ENOENT" && code !== "ENOTDIR") options.unreadable?.(folder, code);
    return [];
  }
}

function typeOf(entry: Dirent<Buffer>): WalkedEntry["type"] {
  if (entry.isDirectory()) return "folder";
  return entry.isFile() || entry.isSymbolicLink() ? "file" : "special";
}
