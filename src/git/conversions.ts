/**
 * Tracked files whose bytes on disk are not what git would write into a fresh worktree without conversions,
 * although git calls them unchanged: line ends, `$Id$`, encodings, filters such as LFS. (gitattributes(5))
 */
import { existsSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { decodePath, encodePath, pathBytes } from "../core/paths.ts";
import { parseSettings } from "./config-syntax.ts";
import type { IndexEntry } from "./index-entries.ts";
import { git, gitText } from "./run.ts";

const attributes = ["text", "crlf", "eol", "filter", "ident", "working-tree-encoding"];

/** What the configuration says of conversions in a worktree. */
export interface ConversionSettings {
  /** core.autocrlf: every text file may be converted. */
  readonly isEverywhere: boolean;
  /** core.attributesFile is set. */
  readonly hasFile: boolean;
}

export async function readConversionSettings(root: string): Promise<ConversionSettings> {
  const names = "^core\\.(autocrlf|attributesfile)$";
  const { stdout } = await git(["config", "-z", "--get-regexp", names], { cwd: root, okCodes: [0, 1] });
  const settings = new Map(parseSettings(stdout.toString("utf8")).map(({ key, value }) => [key, value ?? "true"]));
  const autocrlf = settings.get("core.autocrlf") ?? "false";
  return { isEverywhere: autocrlf.toLowerCase() !== "false", hasFile: settings.has("core.attributesfile") };
}

export interface ConversionRequest {
  readonly root: string;
  readonly commonDir: string;
  readonly settings: ConversionSettings;
  readonly index: readonly IndexEntry[];
  /** Untracked and ignored paths. */
  readonly others: readonly string[];
}

/** Paths that must be kept as raw bytes. Empty, and without a process, in a repository that converts nothing. */
export async function listConverted(request: ConversionRequest): Promise<Set<string>> {
  const { root, index, settings } = request;
  const { isEverywhere } = settings;
  if (!isEverywhere && !hasAttributes(request)) return new Set();
  const tracked = [...new Set(index.map(({ path }) => path))];
  const input = Buffer.concat(tracked.map((path) => Buffer.concat([pathBytes(path), Buffer.of(0)])));
  const { stdout } = await git(["check-attr", "-z", "--stdin", ...attributes], { cwd: root, input });
  const fields = decodePath(stdout).split("\0");
  const byPath = new Map<string, { isForeign: boolean; mayConvert: boolean }>();
  for (let i = 0; i + 2 < fields.length; i += 3) {
    const [path, name, value] = fields.slice(i, i + 3) as [string, string, string];
    const seen = byPath.get(path) ?? { isForeign: false, mayConvert: isEverywhere };
    const isSet = value !== "unspecified" && value !== "unset";
    byPath.set(path, { isForeign: seen.isForeign || (isSet && hasAnySize.has(name)), mayConvert: seen.mayConvert || isSet });
  }
  const converted = new Set<string>();
  const candidates: string[] = [];
  for (const [path, { isForeign, mayConvert }] of byPath) {
    if (isForeign) converted.add(path);
    else if (mayConvert) candidates.push(path);
  }
  for (const path of await withOtherSize(request, candidates)) converted.add(path);
  return converted;
}

/** Conversions to other bytes that may be as many: an encoding together with line ends, an LFS pointer for a file of its own size. */
const hasAnySize = new Set(["filter", "working-tree-encoding"]);

/** The others either change the size or change nothing: line ends add or drop a byte each, an expanded `$Id$` is longer. */
async function withOtherSize({ root, index }: ConversionRequest, paths: readonly string[]): Promise<string[]> {
  if (paths.length === 0) return [];
  const wanted = new Set(paths);
  const entries = index.filter(({ path, mode }) => wanted.has(path) && mode !== "160000" && mode !== "120000");
  const input = `${entries.map(({ oid }) => oid).join("\n")}\n`;
  const sizes = (await gitText(["cat-file", "--batch-check=%(objectsize)"], { cwd: root, input })).split("\n");
  return entries.flatMap(({ path }, at) => {
    const stat = statSync(encodePath(`${root}/${path}`), { throwIfNoEntry: false });
    return stat?.isFile() === true && String(stat.size) !== sizes[at] ? [path] : [];
  });
}

/** The files that git reads attributes from; gitattributes(5) says where it looks. An ignored folder has no tracked file below it. */
function hasAttributes({ commonDir, settings, index, others }: ConversionRequest): boolean {
  const isAttributes = (path: string): boolean => path === ".gitattributes" || path.endsWith("/.gitattributes");
  if (settings.hasFile || others.some(isAttributes) || index.some(({ path }) => isAttributes(path))) return true;
  const users = join(process.env["XDG_CONFIG_HOME"] || join(homedir(), ".config"), "git/attributes");
  return [join(commonDir, "info/attributes"), users, "/etc/gitattributes"].some((path) => existsSync(path));
}
