/** What a restore cannot do on a machine without git. Pure. */
import { findArtifact } from "../core/manifest.ts";
import type { RestorePlan } from "./plan.ts";

export interface Limits {
  /** Why the history cannot be restored; then only the files that lay outside of it come back. Undefined: it can. */
  readonly history: string | undefined;
  /** What is otherwise than git would do it. */
  readonly notes: readonly string[];
}

export const noLimits: Limits = { history: undefined, notes: [] };

/** isomorphic-git reads a pack whole, and Node reads no file of 2 GiB at once. */
const largestPacks = 1.5 * 2 ** 30;
/** Measured with 1.44.11 on git's own history: 500 MB of packs took 1.2 GB, what it unpacks included. */
const memoryForEach = 3;

/** `freeBytes`: memory that the process may still take. */
export function limitsWithoutGit(plan: Pick<RestorePlan, "result" | "objects">, objectFormat: "sha1" | "sha256", freeBytes: number): Limits {
  const packs = plan.objects.reduce((sum, manifest) => sum + (findArtifact(manifest, "bundle")?.plainSize ?? 0), 0);
  const most = Math.min(largestPacks, freeBytes / memoryForEach);
  const history =
    objectFormat === "sha256"
      ? "the repository names its objects by sha256, and without git only sha1 can be read"
      : packs > most
        ? `the history has ${inMebibytes(packs)} MiB, and without git at most ${inMebibytes(most)} MiB can be read on this machine`
        : undefined;
  const notes =
    plan.result === "commit" ? ["tracked files get the bytes of the commit: line ends and filters of .gitattributes are not applied"] : [];
  return { history, notes };
}

function inMebibytes(size: number): number {
  return Math.ceil(size / 2 ** 20);
}
