/**
 * Which points of a store were removed on purpose: `pruned/MONTH-MACHINE.ndjson`, a line each, written before the point goes. Manifests
 * name the one before them and its sha256; with these lines a hole in that chain can be told from a point that somebody took away.
 * Each machine writes files of its own.
 */
import { createHash } from "node:crypto";
import { isPointId, type PointId } from "../core/ids.ts";
import { parseJson } from "../core/json.ts";
import { machineName } from "../core/machine-name.ts";
import { type Manifest, writeManifest } from "../core/manifest.ts";
import { bytesSource, type CallOptions, readAll, type Store } from "../stores/store.ts";

export interface PrunedPoint {
  readonly id: PointId;
  /** Of its manifest as stored. */
  readonly sha256: string;
  /** The machine's point before it. */
  readonly previous: PointId | null;
}

const folder = "pruned/";

/** By id. A point that is listed and still there was brought back, or its removal did not get to its end. */
export async function readPruned(store: Store, options: CallOptions = {}): Promise<ReadonlyMap<PointId, PrunedPoint>> {
  const pruned = new Map<PointId, PrunedPoint>();
  for await (const { key } of store.list(folder, options)) for (const point of await readFile(store, key, options)) pruned.set(point.id, point);
  return pruned;
}

/** Adds these points to the machine's file of this month. */
export async function recordPruned(
  store: Store,
  points: readonly Manifest[],
  { machine, now }: { readonly machine: string; readonly now: Date },
  options: CallOptions = {},
): Promise<void> {
  const key = `${folder}${now.toISOString().slice(0, 7).replace("-", "")}-${machineName(machine)}.ndjson`;
  const known = await readFile(store, key, options);
  const added = points.filter(({ id }) => !known.some((point) => point.id === id)).map(recordOf);
  if (added.length === 0) return;
  await store.replace(key, bytesSource([...known, ...added].map((point) => `${JSON.stringify(point)}\n`).join("")), options);
}

function recordOf(manifest: Manifest): PrunedPoint {
  return { id: manifest.id, sha256: createHash("sha256").update(writeManifest(manifest)).digest("hex"), previous: manifest.previous };
}

/** A line that cannot be understood says nothing. */
async function readFile(store: Store, key: string, options: CallOptions): Promise<PrunedPoint[]> {
  const text = (await readAll(store, key, options))?.toString("utf8") ?? "";
  return text.split("\n").flatMap((line): PrunedPoint[] => {
    const record = parseJson(line) as Partial<Record<keyof PrunedPoint, unknown>> | null | undefined;
    const { id, sha256, previous } = record ?? {};
    if (typeof id !== "string" || !isPointId(id) || typeof sha256 !== "string") return [];
    return [{ id, sha256, previous: typeof previous === "string" && isPointId(previous) ? previous : null }];
  });
}
