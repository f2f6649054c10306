/** What is in a pack, by its index file. */
import { createReadStream } from "node:fs";
import { gitText } from "./run.ts";

/** The ids of its objects. `gitDir`: of a repository with the same object format. Throws `git_failed`, and where the file cannot be read. */
export async function listIndexed(gitDir: string, index: string): Promise<Set<string>> {
  const listing = await gitText(["--git-dir", gitDir, "show-index"], { input: createReadStream(index) });
  return new Set([...listing.matchAll(/^\d+ ([0-9a-f]+)/gm)].map(([, oid = ""]) => oid));
}
