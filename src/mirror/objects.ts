/**
 * A bare repository of our own that borrows the user's objects. Old tips that are no longer here are fetched into it,
 * so that they can be kept on the mirror; git runs in the user's repository (for its configuration) but with this
 * object folder, and so cannot write into the user's. May be deleted at any time.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type RemoteCall, talk } from "../git/porcelain.ts";
import type { Repository } from "../git/repository.ts";
import { git } from "../git/run.ts";

export function mirrorGitDir(stateDir: string): string {
  return join(stateDir, "mirror.git");
}

/** Makes it where it is missing. Gives the variables that every git call of a mirror run carries. */
export async function openObjects(repository: Repository, stateDir: string): Promise<Record<string, string>> {
  const gitDir = mirrorGitDir(stateDir);
  const objects = join(gitDir, "objects");
  const alternates = join(objects, "info", "alternates");
  const borrowed = `${join(repository.commonDir, "objects")}\n`;
  if ((await readFile(alternates, "utf8").catch(() => undefined)) !== borrowed) {
    await git(["init", "--quiet", "--bare", "--template=", `--object-format=${repository.objectFormat}`, gitDir]);
    await mkdir(join(objects, "info"), { recursive: true });
    await writeFile(alternates, borrowed);
  }
  // A replace ref would show an ancestor that is none, and what a push overwrites would not be kept.
  return { GIT_OBJECT_DIRECTORY: objects, GIT_NO_REPLACE_OBJECTS: "1" };
}

/** Which of `oids` are known here. */
export async function knownObjects(oids: readonly string[], call: RemoteCall): Promise<Set<string>> {
  if (oids.length === 0) return new Set();
  const { stdout } = await git(["cat-file", "--batch-check=%(objectname) %(objecttype)"], { ...local(call), input: `${oids.join("\n")}\n` });
  const lines = stdout.toString("utf8").split("\n");
  return new Set(lines.filter((line) => /^[0-9a-f]+ (commit|tag|tree|blob)$/.test(line)).map((line) => line.slice(0, line.indexOf(" "))));
}

/** Brings what stands at `refs` of `url` here; writes no ref. A remote that does not give them is not an error: they stay unknown. */
export async function fetchTips(refs: readonly string[], url: string, call: RemoteCall): Promise<void> {
  if (refs.length === 0) return;
  const flags = ["--quiet", "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no", "--progress", "--stdin"];
  await talk(["fetch", ...flags, "--", url], { ...call, input: `${refs.join("\n")}\n` });
}

/** Undefined when one of them is not known here. */
export async function isAncestor(ancestor: string, descendant: string, call: RemoteCall): Promise<boolean | undefined> {
  const { code } = await git(["merge-base", "--is-ancestor", ancestor, descendant], { ...local(call), okCodes: [0, 1, 128] });
  return code === 128 ? undefined : code === 0;
}

/** Every tip that the local `ref` had, by its reflog. Empty where there is none. */
export async function formerTips(ref: string, call: RemoteCall): Promise<Set<string>> {
  const { stdout } = await git(["log", "--walk-reflogs", "--format=%H", ref, "--"], { ...local(call), okCodes: [0, 128] });
  return new Set(
    stdout
      .toString("utf8")
      .split("\n")
      .filter((line) => line !== ""),
  );
}

/** Short calls in this repository; the run looks at its signal when it talks to the remote next. */
function local({ cwd, env = {} }: RemoteCall): { cwd: string; env: Readonly<Record<string, string>> } {
  return { cwd, env };
}
