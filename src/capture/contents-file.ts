/** Writes the contents artifact of a point: what is inside, as changes to its base. */
import { join } from "node:path";
import { ArtifactWriter } from "../archive/artifact-file.ts";
import { type ContentsRecord, contentsVersion, type NoteEntry, type Problem, writeRecord } from "../core/contents.ts";
import type { PointId } from "../core/ids.ts";
import type { Artifact } from "../core/manifest.ts";
import type { Repository } from "../git/repository.ts";
import type { CapturedFiles } from "./capture-files.ts";
import type { Observation } from "./observe.ts";
import type { FilePlan, Footing, RefPlan } from "./plan.ts";

export interface ContentsRequest {
  readonly repository: Pick<Repository, "objectFormat">;
  readonly name: string;
  readonly id: PointId;
  readonly spool: string;
  readonly footing: Footing;
  readonly observation: Observation;
  readonly filePlan: FilePlan;
  readonly refPlan: RefPlan;
  readonly files: CapturedFiles;
  readonly problems: readonly Problem[];
  readonly note: NoteEntry | undefined;
}

export async function writeContents({ footing, observation, filePlan, refPlan, files, problems, ...point }: ContentsRequest): Promise<Artifact> {
  const base = footing.kind === "full" ? null : footing.base.id;
  // What could not be read this time is not in the point, whatever the base held.
  const lost = footing.kind === "full" ? [] : files.lost;
  return writeRecords(point.spool, point.id, [
    { t: "point", v: contentsVersion, id: point.id, base, objectFormat: point.repository.objectFormat, name: point.name },
    ...noteRecords(point.note),
    ...observation.worktrees.map((worktree) => ({ t: "worktree" as const, ...worktree })),
    ...refPlan.gone.map((name) => ({ t: "ref-gone" as const, name })),
    ...refPlan.changed.map((ref) => ({ t: "ref" as const, ...ref })),
    ...[...filePlan.gone, ...lost].map((path) => ({ t: "gone" as const, path })),
    ...files.entries.map((entry) => ({ t: "file" as const, ...entry })),
    ...observation.left.map((left) => ({ t: "left" as const, ...left })),
    ...problems.map((problem) => ({ t: "problem" as const, ...problem })),
  ]);
}

export function noteRecords(note: NoteEntry | undefined): ContentsRecord[] {
  return note === undefined ? [] : [{ t: "note", ...note }];
}

/** Writes `ID.contents.zst` into the spool folder. */
export async function writeRecords(spool: string, id: PointId, records: readonly ContentsRecord[]): Promise<Artifact> {
  const name = `${id}.contents.zst`;
  const writer = await ArtifactWriter.create(join(spool, name), "zstd");
  for (const record of records) {
    writer.push(Buffer.from(writeRecord(record)));
    if (writer.isFull) await writer.relieve();
  }
  return writer.finish(name);
}
