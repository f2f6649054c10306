/** Questions about many commits at once: one process each. */
import { readdirSync } from "node:fs";
import { join } from "node:path";
import type { CommitFacts } from "../core/lost-lines.ts";
import { oidsInReflog, readText } from "./refs.ts";
import { git, gitText } from "./run.ts";

/** Every commit that the repository has, reached or not, its alternates' too. */
export async function listCommits(gitDir: string): Promise<Set<string>> {
  const listing = await gitText([
    "--git-dir", gitDir, "cat-file", "--batch-all-objects", "--unordered", "--batch-check=%(objecttype) %(objectname)",
  ]); // biome-ignore format: one command
  return new Set(listing.split("\n").flatMap((line) => (line.startsWith("commit ") ? [line.slice(7)] : [])));
}

/** Every commit that a ref, a worktree's HEAD or a stash entry reaches. A ref whose object is gone reaches nothing. */
export async function listReached(commonDir: string): Promise<Set<string>> {
  // Exit 128: there is no stash.
  const stash = await git(["--git-dir", commonDir, "rev-list", "--walk-reflogs", "refs/stash"], { okCodes: [0, 128] });
  const listing = await gitText(["--git-dir", commonDir, "rev-list", "--ignore-missing", "--all", "--stdin"], { input: stash.stdout });
  return new Set(listing.split("\n").filter((line) => line !== ""));
}

/** The commits themselves, in no order. Needs none of their parents. */
export async function readCommits(gitDir: string, oids: readonly string[]): Promise<CommitFacts[]> {
  if (oids.length === 0) return [];
  const format = "--format=%H%x00%P%x00%at%x00%s";
  const text = await gitText(["--git-dir", gitDir, "rev-list", "--no-walk=unsorted", "--encoding=UTF-8", format, "--stdin"], {
    input: `${oids.join("\n")}\n`,
  });
  return text.split("\n").flatMap((line) => {
    const [oid = "", parents, seconds, subject] = line.split("\0");
    // The other lines are rev-list's own headings.
    if (parents === undefined || subject === undefined) return [];
    return [{ oid, parents: parents.split(" ").filter((parent) => parent !== ""), authoredAt: isoTime(Number(seconds)), subject }];
  });
}

/** For each id the commit that it is, or that the annotated tag leads to; what is absent or leads to none is not in the map. */
export async function peelToCommits(gitDir: string, oids: readonly string[]): Promise<Map<string, string>> {
  if (oids.length === 0) return new Map();
  const answers = await gitText(["--git-dir", gitDir, "cat-file", "--batch-check=%(objectname)"], {
    input: oids.map((oid) => `${oid}^{commit}\n`).join(""),
  });
  // The answers come in the order of the questions; a "no" is more than one word.
  const commits = answers.split("\n");
  return new Map(
    oids.flatMap((oid, at): [string, string][] => {
      const commit = commits[at] ?? "";
      return /^[0-9a-f]+$/.test(commit) ? [[oid, commit]] : [];
    }),
  );
}

/** Full names of the refs whose reflogs name a commit; `HEAD` where no other does. Reflogs in the reftable format are not read. */
export function readReflogNames(commonDir: string): Map<string, string[]> {
  const names = new Map<string, string[]>();
  const logs = join(commonDir, "logs");
  const files = listFiles(join(logs, "refs")).map((path) => `refs/${path}`);
  for (const name of [...files, "HEAD"]) {
    for (const oid of new Set(oidsInReflog(readText(join(logs, name))))) {
      const known = names.get(oid) ?? [];
      if (name !== "HEAD" || known.length === 0) names.set(oid, [...known, name]);
    }
  }
  return names;
}

/** A commit may bear a time that no clock shows. */
function isoTime(seconds: number): string {
  const time = new Date(seconds * 1000);
  return Number.isNaN(time.getTime()) ? new Date(0).toISOString() : time.toISOString();
}

function listFiles(folder: string): string[] {
  try {
    const entries = readdirSync(folder, { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
  } catch {
    return []; // no reflogs
  }
}
