/** Pushes of much data: in slices that a host takes, and going on where they were. */
import { randomBytes } from "node:crypto";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type BranchPlace, branchPlace, gitIn, keysOf, save } from "../../test/support/branch.ts";
import { bytesSource, readAll } from "./store.ts";

const ids = ["20261121T143005Z-a1b2c3", "20261121T153005Z-d4e5f6", "20261121T163005Z-0a0b0c"];
const points = Object.fromEntries(
  ids.flatMap((id) => [
    [`20261121/${id}.bundle`, randomBytes(4500)],
    [`20261121/${id}.tar.zst`, randomBytes(2500)],
    [`20261121/${id}.json`, Buffer.from(`{"id":"${id}"}`)],
  ]),
);

let place: BranchPlace;
beforeEach(() => {
  place = branchPlace();
});
afterEach(() => place[Symbol.dispose]());

/** Keys that a stranger sees, parts joined; nothing may be left of what was on its way. */
function shownKeys(): string[] {
  return [...new Set(place.shown().map((path) => path.replace(/\.part\d+$/, "")))];
}

/** A hook of the remote that notes what each push brings, and refuses one above the limit or beyond the given number. */
function watchPushes({ limit = 1e9, most = 1e9 } = {}): () => { bytes: number; paths: string[] }[] {
  const notes = join(place.path, "pushes");
  const hook = join(place.remote, "hooks", "pre-receive");
  const script = `#!/bin/sh
read -r old new ref
bytes=$(git rev-list --objects "$new" --not --all | cut -d' ' -f1 | git cat-file --batch-check='%(objecttype) %(objectsize)' | awk '$1 == "blob" { sum += $2 } END { print sum + 0 }')
[ "$bytes" -le ${limit} ] || { echo "a push may have ${limit} bytes, not $bytes" >&2; exit 1; }
[ "$(cat "${notes}" 2>/dev/null | wc -l)" -lt ${most} ] || { echo "the line is cut" >&2; exit 1; }
printf '%s\\t%s\\n' "$bytes" "$(git ls-tree -r --name-only "$new" | tr '\\n' ' ')" >> "${notes}"
`;
  writeFileSync(hook, script);
  chmodSync(hook, 0o755);
  return () => {
    const lines = readFileSync(notes, "utf8").trim().split("\n");
    return lines.map((line) => ({ bytes: Number(line.split("\t")[0]), paths: (line.split("\t")[1] ?? "").trim().split(" ") }));
  };
}

test("a first push of much data goes as several, none above the limit; after each the branch is whole", async () => {
  const pushes = watchPushes({ limit: 3000 });
  const store = place.open("a", { pushLimit: 3000 });
  await save(store, points);
  expect(shownKeys()).toEqual(Object.keys(points).sort());
  for (const [key, bytes] of Object.entries(points)) expect((await readAll(place.open("b"), key))?.equals(bytes), key).toBe(true);
  expect(pushes().length).toBeGreaterThan(7);
  for (const { paths } of pushes()) {
    const present = new Set(paths.map((path) => path.replace(/\.part\d+$/, "")));
    for (const id of ids) {
      if (!present.has(`20261121/${id}.json`)) continue;
      expect([present.has(`20261121/${id}.bundle`), present.has(`20261121/${id}.tar.zst`)]).toEqual([true, true]);
      expect(paths.filter((path) => path.startsWith(`20261121/${id}.bundle`))).toHaveLength(5);
    }
  }
});

test("half a file that is on its way is no key for anyone", async () => {
  watchPushes({ most: 2 });
  const store = place.open("a", { pushLimit: 2000 });
  await expect(save(store, points)).rejects.toMatchObject({ code: "remote_failed", message: expect.stringContaining("the line is cut") });
  expect(place.shown()).toEqual([1, 2, 3, 4].map((part) => `.holdfast-parts/20261121/${ids[0]}.bundle.part00${part}`));
  expect(await keysOf(place.open("b"))).toEqual([]);
});

test("an interrupted first push goes on where it was, in another process too", async () => {
  watchPushes({ most: 3 });
  await expect(save(place.open("a", { pushLimit: 3000 }), points)).rejects.toMatchObject({ code: "remote_failed" });
  const pushes = watchPushes({ limit: 3000 });
  await place.open("a", { pushLimit: 3000 }).flush();
  expect(shownKeys()).toEqual(Object.keys(points).sort());
  const total = Object.values(points).reduce((sum, bytes) => sum + bytes.length, 0);
  expect(pushes().reduce((sum, { bytes }) => sum + bytes, 0)).toBe(total);
});

test("where another machine was first, what it pushed stays and the rest still goes in slices", async () => {
  watchPushes({ most: 3 });
  const store = place.open("a", { pushLimit: 3000 });
  await expect(save(store, points)).rejects.toMatchObject({ code: "remote_failed" });
  const pushes = watchPushes({ limit: 3000 });
  await save(place.open("b"), { "from b": "b" });
  await store.flush();
  expect(shownKeys()).toEqual([...Object.keys(points), "from b"].sort());
  expect(pushes().every(({ bytes }) => bytes <= 3000)).toBe(true);
  expect(place.git("fsck", "--strict", "--no-dangling")).toBe("");
});

test("commits that waited go together, as many as one push may hold", async () => {
  const store = place.open("a", { remoteUrl: join(place.path, "away.git"), pushLimit: 3000 });
  for (let index = 0; index < 8; index += 1) {
    await store.put(`k${index}`, bytesSource(randomBytes(700)));
    await expect(store.flush()).rejects.toMatchObject({ code: "remote_failed" });
  }
  const pushes = watchPushes({ limit: 3000 });
  gitIn(place.path, "clone", "-q", "--bare", place.remote, "away.git");
  gitIn(place.path, "-C", "away.git", "config", "core.hooksPath", join(place.remote, "hooks"));
  await store.flush();
  expect(pushes().map(({ bytes }) => bytes)).toEqual([2800, 2800]);
});
