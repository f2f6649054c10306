/** Looking for a file in every point, and in the commits that this repository has. */
import ignore from "ignore";
import type { App } from "../app.ts";
import { BackupError } from "../core/errors.ts";
import { type CommittedVersion, listVersions } from "../git/file-history.ts";
import { type FoundVersions, findVersions } from "../points/find.ts";
import { readPoints } from "./points.ts";

export interface FindResult extends FoundVersions {
  readonly store: string;
  /** Tracked files as commits have them; a point that holds the commit holds these bytes too. */
  readonly commits: readonly CommittedVersion[];
}

/** `glob`: a gitignore pattern, matched against paths in their worktree. */
export async function findFiles(
  app: App,
  glob: string,
  {
    store: nameOrUrl,
    signal,
    onProgress,
  }: { readonly store: string | undefined; readonly signal: AbortSignal; readonly onProgress?: (done: number, total: number) => void },
): Promise<FindResult> {
  if (glob.trim() === "") throw new BackupError("usage", "there is nothing to look for", { hint: 'holdfast find "*.db"' });
  const matcher = ignore({ allowRelativePaths: true, ignorecase: false }).add(glob.replace(/^\.\//, ""));
  const matches = (path: string): boolean => matcher.ignores(path);
  const { points, store } = await readPoints(app, nameOrUrl);
  const found = await findVersions(store, points, matches, { signal, ...(onProgress === undefined ? {} : { onProgress }) });
  return { ...found, store: store.name, commits: await listVersions(app.repository.commonDir, matches, { signal }) };
}
