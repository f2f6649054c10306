/**
 * A power cut drops what was not fsynced. Runs are recorded with what they made durable; then, for cuts at every step, the store
 * is built as a disk could have left it: every point that the program had said exists must be there whole, and whatever else looks like a point too.
 */
import { lstatSync, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { type Manifest, storedSize } from "../../src/core/manifest.ts";
import { openArtifact, readCatalogue } from "../../src/points/catalogue.ts";
import { FolderStore } from "../../src/stores/folder.ts";
import { countAccidents } from "../support/accidents.ts";
import { effort } from "../support/effort.ts";
import { PowerCut, tear } from "../support/power-cut.ts";
import { seededRandom } from "../support/random.ts";
import { tempDir } from "../support/repo.ts";
import { restorePoint } from "../support/restore-point.ts";
import { type Workspace, workspace } from "../support/workspace.ts";

const cuts = effort("HOLDFAST_POWER_CUTS", 300, 100);
const recorder = fileURLToPath(new URL("../support/power-cut-recorder.mjs", import.meta.url));

function change(work: Workspace, run: number): void {
  work.repo.write(`notes/${run}.md`, `${run}\n`.repeat(2000));
  work.repo.write("log.txt", Array.from({ length: 3000 * (run + 1) }, (_, line) => `line ${line}\n`).join(""));
  if (run % 2 === 0) work.repo.commit(`run ${run}`);
}

test(`after any of ${cuts} power cuts every acknowledged point is there, whole`, { timeout: 900_000 }, async () => {
  using work = await workspace({ isProtected: false, files: { "a.txt": "one\n" } });
  using dir = tempDir();
  const copy = join(dir.path, "copy");
  const random = seededRandom(11);
  const recorded = [work.store, copy].map((root, index) => {
    mkdirSync(root);
    const { dev, ino, birthtimeNs } = lstatSync(root, { bigint: true });
    const journal = join(dir.path, `journal-${index}`);
    return { root, journal, cut: new PowerCut(journal, `${dev}-${ino}-${birthtimeNs}`) };
  });
  // One run can be recorded for one folder: the primary in runs that make points, the copy in those that sync.
  const run = async (which: 0 | 1, args: readonly string[]): Promise<string> => {
    const { root, journal } = recorded[which] as (typeof recorded)[number];
    const env = { HOLDFAST_RECORD_ROOT: root, HOLDFAST_RECORD_JOURNAL: journal, NODE_OPTIONS: `--import=${recorder}` };
    const { code, stdout, stderr } = await work.run(args, { env });
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    return stdout;
  };
  const acknowledge = async (which: 0 | 1): Promise<void> => {
    const { root, cut } = recorded[which] as (typeof recorded)[number];
    for (const { id } of (await readCatalogue(new FolderStore("local", root))).points) cut.acknowledge(id);
  };
  await run(0, ["init", "--yes", "--no-hooks", "--store", work.store]);
  await acknowledge(0);
  await run(1, ["store", "add", "copy", copy]);
  await acknowledge(1);
  for (let number = 0; number < 6; number += 1) {
    change(work, number);
    await run(0, number === 4 ? ["backup", "--full"] : ["backup"]);
    await acknowledge(0);
    if (number % 2 === 0) continue;
    await run(1, ["sync"]);
    await acknowledge(1);
  }

  const counts = { cuts: 0, checked: 0 };
  for (const [which, { cut }] of recorded.entries()) {
    const records = cut.records();
    const known = new Map<string, "whole">();
    for (let number = 0; number < cuts / 2; number += 1) {
      const at = number === 0 ? records.length : 1 + Math.floor(random() * records.length);
      // Nothing that was not made durable survives; everything does; or each by lot.
      const luck = [0, 1, 0.5][number % 3] ?? 0;
      const place = join(dir.path, `after-${which}-${number}`);
      const acknowledged = cut.build(records, at, place, () => random() < luck);
      const store = new FolderStore("after", place);
      const { points, damaged } = await readCatalogue(store);
      const sound = new Set(points.map(({ id }) => id));
      for (const { id } of damaged) sound.delete(id);
      const lost = acknowledged.filter((id) => !sound.has(id));
      expect(lost, `cut ${number} after record ${at} of ${records.length} with luck ${luck}`).toEqual([]);
      // A manifest that stands there promises its artifacts, acknowledged or not.
      const promised = damaged.filter(({ id }) => points.some((point) => point.id === id));
      expect(
        promised.map(({ error }) => error.message),
        `cut ${number} after record ${at}`,
      ).toEqual([]);
      for (const point of points) {
        const key = `${point.id} ${storedSize(point)}`;
        if (known.has(key) && number % 10 !== 0) continue;
        await readWhole(store, point);
        known.set(key, "whole");
      }
      counts.cuts += 1;
      counts.checked += points.length;
      const last = points.at(-1);
      if (number < 6 && last !== undefined) await restorePoint(store, points, last, dir.path, () => undefined);
      rmSync(place, { recursive: true });
    }
  }
  countAccidents({ what: "power cuts", accidents: counts.cuts, points: counts.checked });
});

/** Reads every artifact to its end: its sums are checked on the way. */
async function readWhole(store: FolderStore, point: Manifest): Promise<void> {
  for (const artifact of point.artifacts) for await (const _ of await openArtifact(store, point, artifact)) void _;
}

test("whatever a power cut makes of the machine's own memory, the next run goes on without a hand", { timeout: 120_000 }, async () => {
  using work = await workspace({ init: ["--no-hooks"] });
  change(work, 0);
  await work.backup();
  const state = join(work.repo.path, ".git/holdfast");
  const files = readdirSync(state, { recursive: true, encoding: "utf8" }).filter((name) => statSync(join(state, name)).isFile());
  expect(files).toContain("capture/known");
  let run = 1;
  for (const name of files) {
    for (const isEmpty of [true, false]) {
      const file = join(state, name);
      if (statSync(file, { throwIfNoEntry: false }) === undefined) continue;
      tear(file, isEmpty);
      run += 1;
      change(work, run);
      const before = (await work.points()).length;
      const { code, stderr } = await work.run(["backup"]);
      expect({ name, isEmpty, code, stderr }).toEqual({ name, isEmpty, code: 0, stderr: "" });
      expect((await work.points()).length).toBe(before + 1);
      expect([0, 3], `status after ${name}`).toContain((await work.run(["status"])).code);
    }
  }
  const points = await work.points();
  const last = points.at(-1) as Manifest;
  using dir = tempDir();
  await restorePoint(new FolderStore("local", work.store), points, last, dir.path, () => undefined);
});
