/** A file that cannot be read, such as one on a bad sector, says nothing of the files beside it. */
import { expect, test } from "vitest";
import { fakeManifest, putFakePoints } from "../../test/support/fake-points.ts";
import { dayMs } from "../core/calendar.ts";
import { BackupError } from "../core/errors.ts";
import { dayOf } from "../core/ids.ts";
import { type Manifest, manifestKey } from "../core/manifest.ts";
import { MemoryStore } from "../stores/memory.ts";
import type { CallOptions } from "../stores/store.ts";
import { survey } from "../verify/survey.ts";
import { hasPoint, readCatalogue } from "./catalogue.ts";
import { findNewest } from "./lookup.ts";
import { addMark, readMarks } from "./marks.ts";
import { moveToTrash, readTrash } from "./trash.ts";

const now = new Date("2026-11-21T12:00:00.000Z");
const points = [4, 3, 2, 1].map((days, at) => fakeManifest(new Date(now.getTime() - days * dayMs), at));
const [first, second, third, fourth] = points as [Manifest, Manifest, Manifest, Manifest];

/** Each read of `bad` fails, as on a disk that is going. */
class OnBadDisk extends MemoryStore {
  bad = new Set<string>();

  override async get(key: string, options?: CallOptions): Promise<AsyncIterable<Uint8Array> | undefined> {
    const found = await super.get(key, options);
    if (!this.bad.has(key)) return found;
    // biome-ignore lint/correctness/useYield: it fails before the first byte
    return (async function* () {
      throw new BackupError("damaged", `cannot read ${key}: EIO`);
    })();
  }
}

test("one unreadable manifest hides no other point", async () => {
  const store = new OnBadDisk("disk");
  await putFakePoints(store, points);
  await moveToTrash(store, first, now);
  await moveToTrash(store, second, now);
  const marks = [third, fourth].map(({ id }, at) => ({ id, stamp: `20261121T12000${at}Z-000001` }));
  for (const { id, stamp } of marks) await addMark(store, { point: id, mark: "unpinned", at: now.toISOString(), by: null, note: null }, stamp);
  store.bad = new Set([
    manifestKey(fourth.id),
    `trash/${dayOf("20261121T120000Z-000000")}/${first.id}.json`,
    `marks/${third.id}.${marks[0]?.stamp}.json`,
  ]);

  const { points: readable, damaged } = await readCatalogue(store);
  expect([readable.map(({ id }) => id), damaged.map(({ id }) => id)]).toEqual([[third.id], [fourth.id]]);
  expect((await readTrash(store)).map(({ manifest }) => manifest.id)).toEqual([second.id]);
  expect(await hasPoint(store, fourth.id)).toBe(false);
  expect((await findNewest(store))?.point.id).toBe(third.id);
  const seen = await survey(store);
  expect([[...seen.points.keys()], seen.unreadable.map(({ id }) => id)]).toEqual([[third.id], [fourth.id]]);
  // Perhaps it says that the point is pinned.
  expect([...(await readMarks(store))].map(([id, { isPinned }]) => [id, isPinned])).toEqual([
    [third.id, true],
    [fourth.id, false],
  ]);
});
