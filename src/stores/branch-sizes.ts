/**
 * Sizes of files whose bytes are not on this machine: as the manifest of their point says, which is small and always
 * fetched. So a listing needs none of the large blobs. Pure.
 */
import { isPointId } from "../core/ids.ts";
import { parseJson } from "../core/json.ts";
import type { BranchFiles } from "./branch-files.ts";

/** Keys of the manifests that can tell the missing sizes. */
export function tellingManifests(files: BranchFiles): Set<string> {
  const wanted = new Set<string>();
  for (const [key, { size }] of files) {
    const manifest = size === null ? manifestOf(key) : undefined;
    if (manifest !== undefined && files.has(manifest)) wanted.add(manifest);
  }
  return wanted;
}

/** `manifests`: bytes by key. What they do not tell stays unknown. */
export function fillSizes(files: BranchFiles, manifests: ReadonlyMap<string, Buffer>): BranchFiles {
  const told = new Map<string, number>();
  for (const [key, bytes] of manifests) {
    const day = key.slice(0, key.lastIndexOf("/"));
    for (const [name, size] of artifactSizes(bytes)) told.set(`${day}/${name}`, size);
  }
  return new Map([...files].map(([key, file]) => [key, file.size === null ? { ...file, size: told.get(key) ?? null } : file]));
}

function manifestOf(key: string): string | undefined {
  const [, stem = "", id = ""] = /^((?:trash\/)?\d{8}\/([^./]+))\./.exec(key) ?? [];
  return isPointId(id) ? `${stem}.json` : undefined;
}

/** A manifest that cannot be believed tells nothing; who reads the point hears of it. */
function artifactSizes(manifest: Buffer): [string, number][] {
  const json = parseJson(manifest.toString("utf8"));
  const artifacts =
    typeof json === "object" && json !== null && "artifacts" in json && Array.isArray(json.artifacts) ? (json.artifacts as unknown[]) : [];
  return artifacts.flatMap((artifact): [string, number][] => {
    if (typeof artifact !== "object" || artifact === null || !("name" in artifact) || !("size" in artifact)) return [];
    const { name, size } = artifact;
    return typeof name === "string" && Number.isSafeInteger(size) && Number(size) >= 0 ? [[name, Number(size)]] : [];
  });
}
