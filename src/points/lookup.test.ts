import { beforeAll, describe, expect, test } from "vitest";
import { type FaultyStore, faultyStore } from "../../test/support/faulty-store.ts";
import { chainOf, findPoint, pointAt } from "../core/catalogue.ts";
import { type Manifest, manifestKey, writeManifest } from "../core/manifest.ts";
import { MemoryStore } from "../stores/memory.ts";
import { bytesSource } from "../stores/store.ts";
import { readCatalogue } from "./catalogue.ts";
import { findAt, findByPrefix, findNewest, findOldestId } from "./lookup.ts";

const dayCount = 150;
const perDay = 20;

/** Three thousand points: twenty a day, one an hour, each on the one before it, the first of a day full. */
function manifests(): Manifest[] {
  return Array.from({ length: dayCount * perDay }, (_, number) => {
    const step = number % perDay;
    const idOf = (at: number): string => {
      const time = new Date(Date.UTC(2026, 0, 1 + Math.floor(at / perDay), at % perDay)).toISOString();
      return `${time.slice(0, 19).replace(/[-:]/g, "")}Z-${at.toString(16).padStart(6, "0")}`;
    };
    const createdAt = new Date(Date.UTC(2026, 0, 1 + Math.floor(number / perDay), step, 0, 0, 500)).toISOString();
    return {
      format: 1, id: idOf(number), kind: "commit", createdAt, repository: "6f1a9c52-3b77-4c0e-9d5f-0a4f5b8c7e21", machine: "m",
      base: step === 0 ? null : idOf(number - 1), full: idOf(number - step), step, level: Math.min(step, 7), previous: null, previousSha256: null,
      tool: "t", artifacts: [], counts: { files: 1, bytes: 1, changed: 1, refs: 1, left: 0, problems: 0 }, consistent: true, screened: false,
      expires: null, retention: "policy", signature: null,
    }; // biome-ignore format: groups
  });
}

const files = new Map<string, Buffer>();
let all: readonly Manifest[] = [];

beforeAll(async () => {
  const store = new MemoryStore("far", files);
  for (const manifest of manifests()) await store.put(manifestKey(manifest.id), bytesSource(writeManifest(manifest)));
  all = (await readCatalogue(store)).points;
});

function counted(change: (place: Map<string, Buffer>) => void = () => undefined): FaultyStore {
  const place = new Map(files);
  change(place);
  return faultyStore(new MemoryStore("far", place));
}

function requests(store: FaultyStore): Record<string, number> {
  return Object.fromEntries([...Map.groupBy(store.calls, ({ method }) => method)].map(([method, calls]) => [method, calls.length]));
}

describe(`in a store of ${dayCount * perDay} points`, () => {
  test("the newest costs a listing of the days, one of its day, and its chain", async () => {
    const store = counted();
    const found = await findNewest(store);
    expect(found?.point).toEqual(all.at(-1));
    expect(found?.chain).toEqual(chainOf(all.at(-1) as Manifest, all));
    expect(requests(store)).toEqual({ folders: 1, list: 1, get: perDay });
  });

  test("a point by a whole id, or by enough of one, reads its day and its chain", async () => {
    const wanted = all[1234] as Manifest;
    for (const prefix of [wanted.id, wanted.id.slice(0, 11)]) {
      const store = counted();
      expect((await findByPrefix(store, prefix))?.chain).toEqual(chainOf(wanted, all));
      expect(requests(store)).toEqual({ folders: 1, list: 1, get: wanted.step + 1 });
    }
  });

  test.each([
    [777, 0],
    [777, 3_599_000],
    [777, -1],
    [780, 0],
    [780, -1],
    [2999, 1e12],
  ])("the point at a time (%i, %i ms later) is the one that the whole catalogue gives", async (number, laterMs) => {
    const store = counted();
    const moment = new Date(Date.parse(all[number]?.createdAt ?? "") + laterMs);
    const found = await findAt(store, moment);
    expect(found?.point).toEqual(pointAt(moment, all));
    expect(found?.chain).toEqual(chainOf(found?.point as Manifest, all));
    const { folders, list = 0, get = 0 } = requests(store);
    expect(folders).toBe(1);
    // The day before, where the moment is earlier than the first point of its day; a manifest, where it is in the same second.
    expect(list).toBeLessThanOrEqual(2);
    expect(get).toBeLessThanOrEqual((found?.chain.length ?? 0) + 1);
  });

  test("a time before the first point costs no more, and the first is named by its day alone", async () => {
    const store = counted();
    expect(await findAt(store, new Date(Date.UTC(2026, 0, 1)))).toBeUndefined();
    expect(await findOldestId(store)).toBe(all[0]?.id);
    expect(store.calls.length).toBeLessThanOrEqual(5);
  });

  test("several points are ambiguous before many are looked at; none is undefined", async () => {
    const store = counted();
    await expect(findByPrefix(store, "2026")).rejects.toMatchObject({ code: "ambiguous" });
    expect(requests(store)).toEqual({ folders: 1, list: 1 });
    expect(await findByPrefix(counted(), "20270101")).toBeUndefined();
    expect(findPoint("20270101", all)).toBeUndefined();
  });

  test("a damaged manifest is passed over and named; asked for, it says so", async () => {
    const [newest = "", before] = [all.at(-1)?.id, all.at(-2)];
    const store = counted((place) => place.set(manifestKey(newest), Buffer.from("{}")));
    const found = await findNewest(store);
    expect(found?.point).toEqual(before);
    expect(found?.damaged).toMatchObject([{ id: newest, key: manifestKey(newest), error: { code: "damaged" } }]);
    await expect(findByPrefix(store, newest)).rejects.toMatchObject({ code: "damaged" });
  });

  test("a chain that lacks a link is broken, and one with a damaged link is damaged", async () => {
    const link = manifestKey(all.at(-5)?.id ?? "");
    await expect(findNewest(counted((place) => place.delete(link)))).rejects.toMatchObject({ code: "chain_broken" });
    await expect(findNewest(counted((place) => place.set(link, Buffer.from("nonsense"))))).rejects.toMatchObject({ code: "damaged" });
  });

  test("a chain that goes round in a circle ends", async () => {
    const [last, other] = [all.at(-1) as Manifest, all.at(-2) as Manifest];
    const store = counted((place) => place.set(manifestKey(other.id), Buffer.from(writeManifest({ ...other, base: last.id }))));
    await expect(findNewest(store)).rejects.toMatchObject({ code: "chain_broken" });
  });

  test("an empty store, and folders that are no days, hold no point", async () => {
    const empty = faultyStore(new MemoryStore("empty"));
    await empty.put("trash/20260101/20260101T000000Z-000000.json", bytesSource("{}"));
    expect(await findNewest(empty)).toBeUndefined();
    expect(await findOldestId(empty)).toBeUndefined();
  });
});
