/** Pruning in the stores that people have: a folder, and a branch whose large files are only on its host. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { branchPlace, keysOf } from "../../test/support/branch.ts";
import { contentOf, fakeManifest, keysOfPoint, placesOf, putFakePoints } from "../../test/support/fake-points.ts";
import { faultyStore } from "../../test/support/faulty-store.ts";
import { tempDir } from "../../test/support/repo.ts";
import { dayMs } from "../core/calendar.ts";
import { defaultRetention } from "../core/retention.ts";
import { readCatalogue } from "../points/catalogue.ts";
import { findTrashed, moveFromTrash, readTrash, withTrashed } from "../points/trash.ts";
import { FolderStore } from "../stores/folder.ts";
import { readAll, type Store } from "../stores/store.ts";
import type { Grace } from "./grace.ts";
import { type PruneResult, prune } from "./prune.ts";

const now = new Date("2026-11-21T12:00:00.000Z");
const policy = { ...defaultRetention, withinMs: 0, daily: 1, weekly: 0, monthly: 0 };
const points = [3, 2, 1].map((days, at) => fakeManifest(new Date(now.getTime() - days * dayMs), at));

/** As if runs had seen every folder of the trash for a year. */
const waited: Grace = { elapsedMs: 365 * dayMs, seenAt: null, since: new Map([["trash/20261121", 0]]) };

function run(store: Store, at = now): Promise<PruneResult> {
  return prune({ store, policy, machine: "here", rungs: new Set(), now: at, grace: waited, beyondHalf: "remove" });
}

describe("a folder", () => {
  const filesOf = (root: string): Map<string, Buffer> =>
    new Map(
      readdirSync(root, { recursive: true, withFileTypes: true }).flatMap((entry): [string, Buffer][] => {
        const path = join(entry.parentPath, entry.name);
        return entry.isFile() ? [[path.slice(root.length + 1), readFileSync(path)]] : [];
      }),
    );
  const filled = async (root: string): Promise<Store> => {
    const store = new FolderStore("folder", root);
    await putFakePoints(store, points);
    return store;
  };

  test("keeps every point whole in one of two places, whatever step fails; an hour later the empty days are gone", async () => {
    using first = tempDir();
    const counting = faultyStore(await filled(first.path));
    await run(counting);
    for (let nth = 1; nth <= counting.calls.length; nth += 3) {
      using dir = tempDir();
      await run(faultyStore(await filled(dir.path), [{ nth, does: "after" }])).catch(() => undefined);
      for (const point of points) expect(placesOf(filesOf(dir.path), point).length, `call ${nth}`).toBeGreaterThan(0);
      await run(new FolderStore("folder", dir.path));
      expect(points.map((point) => placesOf(filesOf(dir.path), point))).toEqual([["trash"], ["trash"], ["living"]]);
      expect(points.map((point) => keysOfPoint(filesOf(dir.path), point.id).length)).toEqual([4, 4, 4]);
    }
    await run(new FolderStore("folder", first.path), new Date(Date.now() + 20 * dayMs));
    await new FolderStore("folder", first.path).clearLeftovers(new Date(Date.now() + 2 * 3_600_000));
    expect(readdirSync(first.path, { recursive: true, encoding: "utf8" }).filter((path) => /\d{8}$/.test(path))).toEqual(["20261120"]);
  });
});

describe("a branch", () => {
  test("moves blobs that are not on this machine without fetching them, and other machines see it", async () => {
    using place = branchPlace();
    const options = { blobLimit: 2000, partSize: 100_000 };
    const [a, b] = [place.open("a", options), place.open("b", options)];
    await putFakePoints(a, points);
    await a.flush();
    const [first, , last] = points.map(({ id }) => id);
    const bundle = `${first?.slice(0, 8)}/${first}.bundle`;
    expect(place.isHere("a", bundle)).toBe(false);
    expect((await readCatalogue(b)).points).toHaveLength(3);

    const again = place.open("a", options);
    expect(await run(again)).toMatchObject({ status: "done", removed: [points[1]?.id, first] });
    expect(place.isHere("a", `trash/20261121/${first}.bundle`)).toBe(false);
    expect(place.shown().filter((path) => path.includes(first ?? "?"))).toEqual(
      ["bundle", "contents.zst", "json", "tar.zst"].map((ending) => `trash/20261121/${first}.${ending}`),
    );
    await b.refresh();
    expect((await readCatalogue(b)).points.map(({ id }) => id)).toEqual([last]);
    const trash = await readTrash(b);
    expect((await readAll(withTrashed(b, trash), bundle))?.toString()).toBe(contentOf(`${first}.bundle`));

    // It comes back the same way; and when the grace is over, the rest goes.
    const found = findTrashed(first ?? "", await readTrash(again));
    if (found === undefined) throw new Error("it is not in the trash");
    await moveFromTrash(again, found);
    await again.flush();
    expect((await readAll(place.open("c", options), bundle))?.toString()).toBe(contentOf(`${first}.bundle`));
    await run(place.open("a", options), new Date(now.getTime() + 9 * dayMs));
    expect((await keysOf(place.open("d", options))).filter((key) => key.includes(points[1]?.id ?? "?"))).toEqual([]);
  });
});
