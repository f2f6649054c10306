/** Makes the artifacts of one point in a spool folder: observe, plan, bundle and tarball side by side, contents, read back. */
import { hash } from "node:crypto";
import type { NoteEntry, Problem } from "../core/contents.ts";
import type { PointId } from "../core/ids.ts";
import type { Artifact, Manifest } from "../core/manifest.ts";
import type { Policy } from "../core/policy.ts";
import type { Repository } from "../git/repository.ts";
import { packEverything, writeBundle } from "./bundle.ts";
import { type CapturedFiles, captureFiles } from "./capture-files.ts";
import { writeContents } from "./contents-file.ts";
import type { KnownPoint, KnownState } from "./known.ts";
import { type Observation, observe } from "./observe.ts";
import { type FilePlan, type Footing, isIndexFile, isSameRef, planFiles, planRefs, type RefPlan } from "./plan.ts";

export interface CaptureRequest {
  readonly repository: Repository;
  /** The protected folder's name, for people. */
  readonly name: string;
  readonly policy: Policy;
  readonly policyDigest: string;
  /** Absolute folders that no point holds. */
  readonly storeFolders: readonly string[];
  readonly state: KnownState;
  readonly known: KnownPoint | undefined;
  readonly footing: Footing;
  readonly id: PointId;
  /** The pack index of the full point that this one stands on, where there is one. */
  readonly fullIndex: string | undefined;
  /** A new empty folder that takes the artifacts. */
  readonly spool: string;
  readonly startedAt: Date;
  readonly note: NoteEntry | undefined;
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal | undefined;
}

export type CaptureResult = { readonly status: "unchanged" } | ({ readonly status: "captured" } & Captured);

export interface Captured {
  readonly artifacts: readonly Artifact[];
  readonly observation: Observation;
  readonly filePlan: FilePlan;
  readonly refPlan: RefPlan;
  readonly files: CapturedFiles;
  readonly facts: string;
  readonly problems: readonly Problem[];
  readonly counts: Manifest["counts"];
}

/** `unchanged` when the repository is as the last point held it. A full footing always captures. */
export async function capture(request: CaptureRequest): Promise<CaptureResult> {
  const beside: Promise<unknown>[] = [];
  try {
    return await captureBeside(request, (work) => {
      // Its failure is thrown where it is awaited, and must not count as unobserved until then.
      work.catch(() => undefined);
      beside.push(work);
      return work;
    });
  } finally {
    // Nothing goes on writing into the spool folder after a failure: the caller removes it.
    await Promise.allSettled(beside);
  }
}

async function captureBeside(request: CaptureRequest, startBeside: <Value>(work: Promise<Value>) => Promise<Value>): Promise<CaptureResult> {
  const { repository, known, footing, policy, storeFolders } = request;
  const limits = { signal: request.signal };
  const pack = footing.kind === "full" ? startBeside(packEverything({ repository, ...limits })) : undefined;
  const knownFiles = known?.policy === request.policyDigest ? known.files : undefined;
  const observation = await observe({ repository, policy, storeFolders, known: knownFiles });
  const filePlan = planFiles(observation.files, known, footing);
  const refPlan = planRefs(observation.refs, known, footing);
  const facts = factsDigest(observation);
  const mayBeUnchanged =
    footing.kind !== "full" && known !== undefined && facts === known.facts && filePlan.newlyGone.length === 0 && areRefsAsKnown(observation, known);
  if (mayBeUnchanged && filePlan.files.every(({ file, status }) => status !== "changed" || isIndexFile(file.path))) return { status: "unchanged" };
  const bundle = startBeside(
    writeBundle({
      repository,
      folder: request.spool,
      id: request.id,
      refs: observation.refs,
      head: observation.worktrees[0]?.oid ?? null,
      tips: observation.tips,
      base: pack === undefined ? baseOf(request) : { pack },
      refsChanged: refPlan.changed.length + refPlan.gone.length > 0,
      ...limits,
    }),
  );
  const files = await captureFiles({ ...request, plan: filePlan });
  const git = await bundle;
  if (mayBeUnchanged && files.changed === 0) return { status: "unchanged" };
  const problems = [...observation.problems, ...files.problems, ...git.problems];
  const contents = await writeContents({ ...request, observation, filePlan, refPlan, files, problems });
  const artifacts = [...git.artifacts, ...files.artifacts, contents];
  let bytes = 0;
  for (const file of files.files.values()) if (file.kind === "file") bytes += file.size;
  const counts = {
    files: files.files.size,
    bytes,
    changed: files.entries.length + filePlan.gone.length,
    refs: observation.refs.length,
    left: observation.left.length,
    problems: problems.length,
  };
  // What is missing now is looked for again by the next point, and said again.
  const tips = new Set([...observation.tips].filter((oid) => !git.missing.includes(oid)));
  return { status: "captured", artifacts, observation: { ...observation, tips }, filePlan, refPlan, files, facts, problems, counts };
}

function baseOf({ footing, state, fullIndex }: CaptureRequest): { tips: readonly string[]; since: Date; fullIndex: string | undefined } {
  if (footing.kind === "full") throw new RangeError("a full point has no base");
  return { tips: state.readTips(footing.base.id) ?? [], since: new Date(footing.base.createdAt), fullIndex };
}

/** Worktrees, HEADs, what the indexes mean, and what could not be captured: these too make a moment what it is. */
function factsDigest({ worktrees, problems, indexes }: Observation): string {
  return hash("sha256", JSON.stringify([worktrees, problems, [...indexes]]), "hex");
}

function areRefsAsKnown(observation: Observation, known: KnownPoint): boolean {
  if (observation.refs.length !== known.refs.size) return false;
  return observation.refs.every((ref) => {
    const before = known.refs.get(ref.name);
    return before !== undefined && isSameRef(ref, before);
  });
}
