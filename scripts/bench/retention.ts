/**
 * What many points cost: deciding about 10,000 of them, and on a store with 1,000, of which each holds a few changed files and every
 * hundredth is full with 2,000: the catalogue, a plan of prune, `find`, and a prune of half of them. Prints ms; asserts nothing.
 * Run: node scripts/bench/retention.ts [FOLDER]
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeRecords } from "../../src/capture/contents-file.ts";
import { type ContentsRecord, contentsVersion, type FileEntry } from "../../src/core/contents.ts";
import { newPointId } from "../../src/core/ids.ts";
import type { Manifest } from "../../src/core/manifest.ts";
import { defaultRetention, planRetention } from "../../src/core/retention.ts";
import { readCatalogue } from "../../src/points/catalogue.ts";
import { findVersions } from "../../src/points/find.ts";
import { publishPoint } from "../../src/points/publish.ts";
import { freshGrace } from "../../src/prune/grace.ts";
import { prune, readPrunePlan } from "../../src/prune/prune.ts";
import { createStoreFolder, FolderStore } from "../../src/stores/folder.ts";

const hourMs = 3_600_000;
const now = new Date();

async function timed<Value>(what: string, act: () => Value | Promise<Value>): Promise<Value> {
  const startedAt = performance.now();
  const value = await act();
  process.stdout.write(`${what.padEnd(56)}${(performance.now() - startedAt).toFixed(0).padStart(7)} ms\n`);
  return value;
}

for (const timeZone of ["UTC", "Europe/Zurich"]) {
  const points = Array.from({ length: 10_000 }, (_, at) => {
    const createdAt = new Date(now.getTime() - at * 0.9 * hourMs);
    return { id: newPointId(createdAt, at), createdAt: createdAt.toISOString(), base: null, retention: "policy" };
  });
  const what = `retention of 10,000 points, days of ${timeZone}`;
  await timed(what, () => planRetention(points, { ...defaultRetention, timeZone }, now));
}

const folder = mkdtempSync(join(process.argv[2] ?? tmpdir(), "holdfast-bench-"));
try {
  await createStoreFolder(folder);
  const store = new FolderStore("bench", folder);
  await timed("1,000 points are made up", () => fill(store));
  const { points } = await timed("the catalogue of 1,000 points", () => readCatalogue(store));
  const request = {
    store,
    policy: { ...defaultRetention, withinMs: 0, last: 500 },
    machine: "bench",
    rungs: new Set<string>(),
    now,
    grace: freshGrace,
  };
  await timed("the plan of a prune", () => readPrunePlan({ ...request, beyondHalf: "remove" }));
  const all = await timed("find a file of one version for each point", () => findVersions(store, points, (path) => path === "changed.txt"));
  await timed("find every file", () => findVersions(store, points, () => true));
  const { removed } = await timed("a prune", () => prune({ ...request, beyondHalf: "remove" }));
  process.stdout.write(`${all.versions.length} versions found, ${removed.length} points moved into the trash\n`);
} finally {
  rmSync(folder, { recursive: true, force: true });
}

async function fill(store: FolderStore): Promise<void> {
  let full = "";
  for (let number = 0; number < 1000; number += 1) {
    const at = new Date(now.getTime() - (1000 - number) * hourMs);
    const id = newPointId(at, number);
    const isFull = number % 100 === 0;
    if (isFull) full = id;
    const base = isFull ? null : full;
    const files = [
      entry("changed.txt", number),
      ...Array.from({ length: isFull ? 2000 : 5 }, (_, file) => entry(`folder/file-${file}.txt`, isFull ? 0 : number)),
    ];
    const records: ContentsRecord[] = [
      { t: "point", v: contentsVersion, id, base, objectFormat: "sha1", name: "bench" },
      ...files.map((file) => ({ t: "file" as const, ...file })),
    ];
    const spool = store.spool();
    const manifest: Manifest = {
      ...{ format: 1, id, kind: "commit", createdAt: at.toISOString(), repository: "11111111-2222-4333-8444-555555555555", machine: "bench" },
      ...{ base, full, step: number % 100, level: isFull ? 0 : 1, previous: null, previousSha256: null, tool: "bench" },
      artifacts: [await writeRecords(spool, id, records)],
      counts: { files: 0, bytes: 0, changed: 0, refs: 0, left: 0, problems: 0 },
      ...{ consistent: true, screened: false, expires: null, retention: "policy", signature: null },
    };
    await publishPoint(store, manifest, spool);
    rmSync(spool, { recursive: true, force: true });
  }
}

function entry(path: string, version: number): FileEntry {
  return { path: `untracked/${path}`, kind: "file", mode: 0o644, mtime: String(version), size: 10, sha256: version.toString(16).padStart(64, "0") };
}
