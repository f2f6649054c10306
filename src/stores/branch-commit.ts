/** What a commit of the branch says: to people, to later machines by trailers, and to git's index. Pure. */
import { isPointId } from "../core/ids.ts";
import { type BranchFiles, type BranchPart, type Changes, earlyPath, pathsOf } from "./branch-files.ts";

/** Bytes of files that the history below holds and the tree no longer does. */
export const garbageTrailer = "Holdfast-Garbage";
/** Of a root: the commit with the same tree that it stands for. */
export const replacesTrailer = "Holdfast-Replaces";

/** Input of `update-index -z --index-info`: the old paths of each changed key go, the new ones come. */
export function indexInfo(files: BranchFiles, changes: Changes, early: readonly BranchPart[], zero: string): string {
  const gone: string[] = [];
  const come: string[] = [];
  for (const [key, file] of changes) {
    for (const path of pathsOf(files.get(key))) gone.push(`0 ${zero}\t${path}\0`);
    const parts = file?.parts ?? [];
    if (parts.length > 1) for (const { path } of parts) gone.push(`0 ${zero}\t${earlyPath(path)}\0`);
    for (const { oid, path } of parts) come.push(`100644 ${oid}\t${path}\0`);
  }
  for (const { oid, path } of early) come.push(`100644 ${oid}\t${path}\0`);
  return [...gone, ...come].join("");
}

/** Bytes that a commit of these changes leaves to the history alone. A blob that only gets another name stays. */
export function goneBytes(files: BranchFiles, changes: Changes): number {
  const come = new Set([...changes.values()].flatMap((file) => file?.parts.map(({ oid }) => oid) ?? []));
  const gone = [...changes.keys()].flatMap((key) => files.get(key) ?? []).filter(({ parts }) => parts.some(({ oid }) => !come.has(oid)));
  return gone.reduce((sum, { size }) => sum + (size ?? 0), 0);
}

/** For people, and for `garbageTrailer`. */
export function commitMessage(changes: Changes, garbage: number): string {
  const keys = [...changes.keys()].sort();
  const ids = keys.map((key) => key.slice(key.lastIndexOf("/") + 1).replace(/\..*$/, "")).filter(isPointId);
  const points = [...new Set(ids)];
  const subject = points.length === 0 ? `${keys.length} files` : points.length === 1 ? `point ${points[0]}` : `${points.length} points`;
  const lines = keys.map((key) => `${changes.get(key) === null ? "-" : "+"} ${key}`);
  const trailer = garbage === 0 ? [] : ["", `${garbageTrailer}: ${garbage}`];
  return `${[`holdfast: ${subject}`, "", ...points.map((id) => `point ${id}`), "", ...lines, ...trailer].join("\n")}\n`;
}

export function rootMessage(replaced: string): string {
  return `holdfast: re-rooted\n\n${replacesTrailer}: ${replaced}\n`;
}
