/** Refs, HEADs and everything else in a git directory that names an object. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { RefEntry } from "../core/contents.ts";
import { headText } from "./reftable.ts";
import { git, gitFind, gitText } from "./run.ts";

/** Every ref of the repository and of its main worktree, symbolic ones included; broken ones are named apart. */
export async function readRefs(commonDir: string): Promise<{ refs: RefEntry[]; broken: string[] }> {
  const format = "%(objectname)%00%(refname)%00%(symref)";
  const { stdout, stderr } = await git(["--git-dir", commonDir, "for-each-ref", `--format=${format}`], { okCodes: [0, 1, 128] });
  const refs: RefEntry[] = [];
  for (const line of stdout.toString("utf8").split("\n")) {
    const [oid = "", name = "", symref = ""] = line.split("\0");
    if (name !== "") refs.push(symref === "" ? { name, oid } : { name, oid, symref });
  }
  const broken = [...stderr.matchAll(/(?:ignoring broken ref|missing object \S+ for|ignoring dangling symref) (\S+)/g)].map(
    (match) => match[1] as string,
  );
  return { refs, broken };
}

export interface Head {
  readonly branch: string | null;
  readonly oid: string | null;
}

/** HEAD of the worktree with this git directory. */
export async function readHead(gitDir: string): Promise<Head> {
  const file = readText(join(gitDir, "HEAD")).trim();
  // The reftable format keeps it elsewhere, and leaves this for programs that look for a repository.
  const text = file === "ref: refs/heads/.invalid" ? (await headText(gitDir)).trim() : file;
  const branch = text.startsWith("ref: ") ? text.slice(5).trim() : null;
  const oid = (await gitFind(["--git-dir", gitDir, "rev-parse", "--verify", "--quiet", "HEAD"])) ?? null;
  return { branch, oid };
}

/** Object ids in reflog text: old and new of every line. */
export function oidsInReflog(text: string): string[] {
  const oids: string[] = [];
  for (const match of text.matchAll(/^([0-9a-f]{40,64}) ([0-9a-f]{40,64}) /gm)) oids.push(match[1] as string, match[2] as string);
  return oids.filter((oid) => !/^0+$/.test(oid));
}

/** Object ids in the small files of an operation in progress (MERGE_HEAD, rebase-merge/done, BISECT_LOG, …). */
export function oidsInState(text: string): string[] {
  return [...text.matchAll(/\b[0-9a-f]{40}(?:[0-9a-f]{24})?\b/g)].map((match) => match[0]).filter((oid) => !/^0+$/.test(oid));
}

/** The type of each object that is there; those that are not are absent from the map. No lazy fetching. */
export async function findObjects(
  commonDir: string,
  oids: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Map<string, string>> {
  if (oids.length === 0) return new Map();
  const input = `${oids.join("\n")}\n`;
  const output = await gitText(["--git-dir", commonDir, "cat-file", "--batch-check=%(objectname) %(objecttype)"], { input, env });
  const found = new Map<string, string>();
  for (const line of output.split("\n")) {
    const [oid = "", type = ""] = line.split(" ");
    if (["commit", "tree", "blob", "tag"].includes(type)) found.set(oid, type);
  }
  return found;
}

export function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // Absent or unreadable: says nothing. A file that belongs into the point is reported where it is read for it.
    return "";
  }
}
