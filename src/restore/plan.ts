/** Decides what a restore reads and gives. Pure; carried out by restore.ts. */

import ignore from "ignore";
import { type Catalogue, chainOf } from "../core/catalogue.ts";
import { placeOf } from "../core/contents.ts";
import type { Manifest } from "../core/manifest.ts";

interface CommonPlan {
  /** Point that the files come from, and its chain, base first. */
  readonly point: Manifest;
  readonly chain: readonly Manifest[];
  /** Chain whose bundles give the objects. */
  readonly objects: readonly Manifest[];
  /** Globs of --path; empty: everything, with the repository. */
  readonly paths: readonly string[];
  /** Whether an entry is asked for. */
  selects(entry: string): boolean;
}

export type RestorePlan =
  | (CommonPlan & { readonly result: "moment" })
  | (CommonPlan & {
      readonly result: "commit";
      readonly oid: string;
      /** Branch to be on: only where its tip is this commit. */
      readonly branch: string | undefined;
      /** False: no untracked state of that time is known, or none was asked for. */
      readonly withFiles: boolean;
    });

export function planMoment(point: Manifest, catalogue: Catalogue, paths: readonly string[]): RestorePlan {
  const chain = chainOf(point, catalogue);
  return { result: "moment", point, chain, objects: chain, paths, selects: selector(paths) };
}

export interface CommitFacts {
  readonly oid: string;
  readonly branch: string | undefined;
  /** The point with the untracked files of that time. */
  readonly files: Manifest | undefined;
  /** A point whose objects hold the commit. */
  readonly objects: Manifest;
}

export function planCommit({ oid, branch, files, objects }: CommitFacts, catalogue: Catalogue, paths: readonly string[]): RestorePlan {
  const point = files ?? objects;
  return {
    result: "commit",
    oid,
    branch,
    withFiles: files !== undefined,
    point,
    chain: chainOf(point, catalogue),
    objects: chainOf(objects, catalogue),
    paths,
    selects: selector(paths),
  };
}

/** Gitignore's patterns, matched against the path in its worktree (`.git/…` for the git directory). */
function selector(paths: readonly string[]): (entry: string) => boolean {
  if (paths.length === 0) return () => true;
  const matcher = ignore({ allowRelativePaths: true, ignorecase: false }).add(paths.map((path) => path.replace(/^\.\//, "")));
  return (entry) => {
    const { worktree, area, path } = placeOf(entry);
    // The index is read to find the chosen tracked files; the repository itself is not part of a choice of paths.
    if (area === "git") return /^(?:index|sharedindex\.[0-9a-f]+|shallow)$/.test(path);
    if (worktree !== "") return false;
    return area === "folder" ? matcher.ignores(`${path}/`) : matcher.ignores(path);
  };
}
