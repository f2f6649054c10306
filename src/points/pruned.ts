/**
 * Which points of a store were removed on purpose: `pruned/MONTH-MACHINE.ndjson`, a line each, written before the point goes. Manifests
 * name the one before them and its sha256; with these lines a hole in that chain can be told from a point that somebody took away.
 * Each machine writes files of its own, and signs each line as it signs manifests: whoever can write into the store could otherwise
 * take points away and explain it.
 */
import { createHash } from "node:crypto";
import { isPointId, type PointId } from "../core/ids.ts";
import { parseJson } from "../core/json.ts";
import { machineName } from "../core/machine-name.ts";
import { type Manifest, writeManifest } from "../core/manifest.ts";
import { bytesSource, type CallOptions, readAll, type Source, type Store } from "../stores/store.ts";

export interface PrunedPoint {
  readonly id: PointId;
  /** Of its manifest as stored. */
  readonly sha256: string;
  /** The machine's point before it. */
  readonly previous: PointId | null;
  /** Of `prunedText`, as in a manifest; null: of a machine whose key could not be used. */
  readonly signature: string | null;
}

/** What is signed of a record: no manifest begins like this, so neither passes for the other. */
export function prunedText({ id, sha256, previous }: Omit<PrunedPoint, "signature">): string {
  return `pruned point ${id}\nsha256 ${sha256}\nprevious ${previous ?? "none"}\n`;
}

const folder = "pruned/";

/**
 * By id, all that is said of each: anybody may have added a line. A point that is listed and still there was brought back, or its
 * removal did not get to its end.
 */
export async function readPruned(store: Store, options: CallOptions = {}): Promise<ReadonlyMap<PointId, readonly PrunedPoint[]>> {
  const pruned = new Map<PointId, PrunedPoint[]>();
  for await (const { key } of store.list(folder, options))
    for (const point of await readFile(store, key, options)) pruned.set(point.id, [...(pruned.get(point.id) ?? []), point]);
  return pruned;
}

export interface PrunedBy {
  readonly machine: string;
  readonly now: Date;
  /** Gives the signature of a text. Without it the records are unsigned. */
  readonly sign?: (text: string) => string;
}

/** Adds these points to the machine's file of this month. */
export async function recordPruned(
  store: Store,
  points: readonly Manifest[],
  { machine, now, sign }: PrunedBy,
  options: CallOptions = {},
): Promise<void> {
  const key = `${folder}${now.toISOString().slice(0, 7).replace("-", "")}${endingOf(machine)}`;
  const known = await readFile(store, key, options);
  // By what they say, not by their id: a line that somebody else put there first must not stand for ours.
  const said = new Set(known.map((point) => JSON.stringify(point)));
  const added = points.map((point) => recordOf(point, sign)).filter((point) => !said.has(JSON.stringify(point)));
  if (added.length === 0) return;
  await store.replace(key, linesSource([...known, ...added]), options);
}

/** Takes back what the machine's files say of points that are living: whoever takes one of them away later must not find it explained. */
export async function retractPruned(store: Store, machine: string, living: ReadonlySet<PointId>, options: CallOptions = {}): Promise<void> {
  for await (const { key } of store.list(folder, options)) {
    if (key.slice(`${folder}YYYYMM`.length) !== endingOf(machine)) continue;
    const known = await readFile(store, key, options);
    const still = known.filter(({ id }) => !living.has(id));
    if (still.length < known.length) await store.replace(key, linesSource(still), options);
  }
}

function endingOf(machine: string): string {
  return `-${machineName(machine)}.ndjson`;
}

function linesSource(points: readonly PrunedPoint[]): Source {
  return bytesSource(points.map((point) => `${JSON.stringify(point)}\n`).join(""));
}

function recordOf(manifest: Manifest, sign: PrunedBy["sign"]): PrunedPoint {
  const sha256 = createHash("sha256").update(writeManifest(manifest)).digest("hex");
  const record = { id: manifest.id, sha256, previous: manifest.previous };
  return { ...record, signature: sign?.(prunedText(record)) ?? null };
}

/** A line that cannot be understood says nothing. */
async function readFile(store: Store, key: string, options: CallOptions): Promise<PrunedPoint[]> {
  const text = (await readAll(store, key, options))?.toString("utf8") ?? "";
  return text.split("\n").flatMap((line): PrunedPoint[] => {
    const record = parseJson(line) as Partial<Record<keyof PrunedPoint, unknown>> | null | undefined;
    const { id, sha256, previous, signature } = record ?? {};
    if (typeof id !== "string" || !isPointId(id) || typeof sha256 !== "string") return [];
    const before = typeof previous === "string" && isPointId(previous) ? previous : null;
    return [{ id, sha256, previous: before, signature: typeof signature === "string" ? signature : null }];
  });
}
