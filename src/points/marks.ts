/**
 * What people say about points afterwards: `marks/POINT.STAMP.json`. A manifest never changes; a mark is a small file of its own that
 * never changes either, so every store takes it like any other, and copies of several machines grow together. The later
 * mark counts. (docs/adr/0023-marks.md)
 */
import * as z from "zod";
import { isOfOneFile } from "../core/errors.ts";
import { isPointId, type PointId } from "../core/ids.ts";
import { parseJson } from "../core/json.ts";
import { bytesSource, type CallOptions, readAll, type Store } from "../stores/store.ts";

export const markKinds = ["verified", "pinned", "unpinned"] as const;

const markSchema = z.strictObject({
  format: z.literal(1),
  point: z.string().refine(isPointId),
  mark: z.enum(markKinds),
  at: z.iso.datetime({ precision: 3 }),
  /** Who says it, and why; null where nobody may read it in the store. */
  by: z.string().max(256).nullable(),
  note: z.string().max(4096).nullable(),
});

export type Mark = z.infer<typeof markSchema>;

/** All that is said of one point. */
export interface PointMarks {
  readonly isPinned: boolean;
  /** The newest such mark. */
  readonly verified: Mark | undefined;
}

const folder = "marks/";

/** By point. A mark that cannot be read keeps its point: perhaps it says so. */
export async function readMarks(store: Store, options: CallOptions = {}): Promise<ReadonlyMap<PointId, PointMarks>> {
  const marks = new Map<PointId, PointMarks>();
  const keys = await keysOf(store, options);
  // Stamps sort by time.
  for (const { key, point } of keys.toSorted((a, b) => (a.stamp < b.stamp ? -1 : 1))) {
    const before = marks.get(point) ?? { isPinned: false, verified: undefined };
    const result = markSchema.safeParse(parseJson(await readText(store, key, options)));
    if (!result.success || result.data.point !== point) marks.set(point, { ...before, isPinned: true });
    else if (result.data.mark === "verified") marks.set(point, { ...before, verified: result.data });
    else marks.set(point, { ...before, isPinned: result.data.mark === "pinned" });
  }
  return marks;
}

/** "" where it cannot be read. */
async function readText(store: Store, key: string, options: CallOptions): Promise<string> {
  try {
    return (await readAll(store, key, options))?.toString("utf8") ?? "";
  } catch (error) {
    if (!isOfOneFile(error)) throw error;
    return "";
  }
}

/** `stamp`: a new id for this moment; of two marks the one with the later stamp counts. */
export async function addMark(store: Store, mark: Omit<Mark, "format">, stamp: PointId, options: CallOptions = {}): Promise<void> {
  const text = `${JSON.stringify({ format: 1, ...mark }, undefined, 2)}\n`;
  await store.put(`${folder}${mark.point}.${stamp}.json`, bytesSource(text), options);
}

/** Brings marks that `to` lacks there. Does not flush. */
export async function copyMarks(from: Store, to: Store, options: CallOptions = {}): Promise<void> {
  const ours = await keysOf(from, options);
  if (ours.length === 0) return;
  const theirs = new Set((await keysOf(to, options)).map(({ key }) => key));
  for (const { key } of ours) {
    const bytes = theirs.has(key) ? undefined : await readAll(from, key, options);
    if (bytes !== undefined) await to.put(key, bytesSource(bytes), options);
  }
}

/** With a point that is gone for good go its marks. */
export async function deleteMarks(store: Store, points: ReadonlySet<PointId>, options: CallOptions = {}): Promise<void> {
  if (points.size === 0) return;
  for (const { key, point } of await keysOf(store, options)) if (points.has(point)) await store.delete(key, options);
}

async function keysOf(store: Store, options: CallOptions): Promise<{ key: string; point: PointId; stamp: string }[]> {
  const keys: { key: string; point: PointId; stamp: string }[] = [];
  for await (const { key } of store.list(folder, options)) {
    const [, point = "", stamp = ""] = /^marks\/([^./]+)\.([^./]+)\.json$/.exec(key) ?? [];
    if (isPointId(point) && isPointId(stamp)) keys.push({ key, point, stamp });
  }
  return keys;
}
