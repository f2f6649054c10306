/**
 * Tracked files whose bytes on disk are not what git would write into a fresh worktree without conversions,
 * although git calls them unchanged: line ends, `$Id$`, encodings, filters such as LFS. (gitattributes(5))
 */
import { statSync } from "node:fs";
import { decodePath, encodePath, pathBytes, splitPaths } from "../core/paths.ts";
import { git, gitFind, gitText } from "./run.ts";

const attributes = ["text", "crlf", "eol", "filter", "ident", "working-tree-encoding"];

/** Paths that must be kept as raw bytes. Empty, and cheap, in a repository that converts nothing. */
export async function listConverted(root: string): Promise<Set<string>> {
  const isEverywhere = await convertsByConfig(root);
  if (!isEverywhere && !(await hasAttributes(root))) return new Set();
  const tracked = splitPaths((await git(["ls-files", "-z"], { cwd: root })).stdout);
  const input = Buffer.concat(tracked.map((path) => Buffer.concat([pathBytes(path), Buffer.of(0)])));
  const { stdout } = await git(["check-attr", "-z", "--stdin", ...attributes], { cwd: root, input });
  const fields = decodePath(stdout).split("\0");
  const byPath = new Map<string, { isFiltered: boolean; mayConvert: boolean }>();
  for (let i = 0; i + 2 < fields.length; i += 3) {
    const [path, name, value] = fields.slice(i, i + 3) as [string, string, string];
    const seen = byPath.get(path) ?? { isFiltered: false, mayConvert: isEverywhere };
    const isSet = value !== "unspecified" && value !== "unset";
    byPath.set(path, { isFiltered: seen.isFiltered || (name === "filter" && isSet && value !== "lfs"), mayConvert: seen.mayConvert || isSet });
  }
  const converted = new Set<string>();
  const candidates: string[] = [];
  for (const [path, { isFiltered, mayConvert }] of byPath) {
    if (isFiltered) converted.add(path);
    else if (mayConvert) candidates.push(path);
  }
  for (const path of await withOtherSize(root, candidates)) converted.add(path);
  return converted;
}

/**
 * Every built-in conversion either changes the size or changes nothing: line ends add or drop a byte each,
 * an expanded `$Id$` is longer, an encoding of pure ASCII in the same width is the same bytes, LFS puts a pointer.
 */
async function withOtherSize(root: string, paths: readonly string[]): Promise<string[]> {
  if (paths.length === 0) return [];
  const wanted = new Set(paths);
  const { stdout } = await git(["ls-files", "-z", "--stage"], { cwd: root });
  const oids: string[] = [];
  const entries = splitPaths(stdout).flatMap((line) => {
    const tab = line.indexOf("\t");
    const path = line.slice(tab + 1);
    const [mode, oid = ""] = line.slice(0, tab).split(" ");
    if (!wanted.has(path) || mode === "160000" || mode === "120000") return [];
    oids.push(oid);
    return [path];
  });
  const sizes = (await gitText(["cat-file", "--batch-check=%(objectsize)"], { cwd: root, input: `${oids.join("\n")}\n` })).split("\n");
  return entries.filter((path, index) => {
    const stat = statSync(encodePath(`${root}/${path}`), { throwIfNoEntry: false });
    return stat?.isFile() === true && String(stat.size) !== sizes[index];
  });
}

async function convertsByConfig(root: string): Promise<boolean> {
  const autocrlf = await gitFind(["config", "core.autocrlf"], { cwd: root });
  return autocrlf !== undefined && autocrlf.toLowerCase() !== "false";
}

async function hasAttributes(root: string): Promise<boolean> {
  const tracked = await gitText(["ls-files", "-z", "--", ":(glob)**/.gitattributes"], { cwd: root });
  const untracked = tracked === "" ? await gitText(["ls-files", "-z", "--others", "--", ":(glob)**/.gitattributes"], { cwd: root }) : "";
  if (tracked !== "" || untracked !== "") return true;
  const info = await gitText(["rev-parse", "--path-format=absolute", "--git-path", "info/attributes"], { cwd: root });
  const custom = await gitFind(["config", "core.attributesFile"], { cwd: root });
  return custom !== undefined || statSync(info.replace(/\n$/, ""), { throwIfNoEntry: false }) !== undefined;
}
