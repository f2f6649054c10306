import { expect, test } from "vitest";
import { MemoryStore } from "../stores/memory.ts";
import { bytesSource, readAll, type Store } from "../stores/store.ts";
import { findRepository } from "./find-repository.ts";
import { writeIdentity } from "./identity.ts";

const ids = ["6f1a9c52-3b77-4c0e-9d5f-0a4f5b8c7e21", "7e2b0d63-4c88-4d1f-8e60-1b5a6c9d8f32"] as const;
const url = "s3://bucket/backups/?endpoint=http://h";

/** A shared place: folders that are opened are made of one map each. */
function place(): { readonly openAt: (folder: string) => Store; readonly add: (folder: string, id: string, name: string) => Promise<void> } {
  const folders = new Map<string, Map<string, Buffer>>();
  const filesOf = (folder: string): Map<string, Buffer> => {
    const files = folders.get(folder) ?? new Map<string, Buffer>();
    folders.set(folder, files);
    return files;
  };
  const openAt = (folder: string): Store => {
    const store = new MemoryStore("shared", filesOf(folder));
    if (folder === "")
      store.folders = async () => ["trash", "not-a-uuid", ...[...folders.keys()].filter((name) => name !== "").map((name) => name.slice(0, -1))];
    return store;
  };
  const add = (folder: string, repository: string, name: string): Promise<void> =>
    writeIdentity(openAt(folder), { format: 1, repository, name, created: "2026-01-01T00:00:00.000Z" });
  return { openAt, add };
}

async function nameIn(store: Store): Promise<string> {
  return (JSON.parse((await readAll(store, "holdfast.json"))?.toString() ?? "{}") as { name: string }).name;
}

test("the place itself where it is a store", async () => {
  const { openAt, add } = place();
  await add("", ids[0], "here");
  await add(`${ids[1]}/`, ids[1], "below");
  expect(await nameIn(await findRepository(url, openAt))).toBe("here");
});

test("the only repository among its folders; one whose first file is damaged is none", async () => {
  const { openAt, add } = place();
  await add(`${ids[0]}/`, ids[0], "only");
  await openAt(`${ids[1]}/`).put("holdfast.json", bytesSource("not JSON"));
  expect(await nameIn(await findRepository(url, openAt))).toBe("only");
});

test("of several each is named with its newest day, and how to ask for one", async () => {
  const { openAt, add } = place();
  await add(`${ids[1]}/`, ids[1], "b\u001b[2J");
  await add(`${ids[0]}/`, ids[0], "a");
  for (const day of ["20261119", "20261121", "20261120"]) await openAt(`${ids[0]}/`).put(`${day}/x`, bytesSource("x"));
  await expect(findRepository(url, openAt)).rejects.toMatchObject({
    code: "usage",
    message: `there are 2 repositories at ${url}:\n  ${ids[0]}  a, newest point of 2026-11-21\n  ${ids[1]}  b\\u{1b}[2J, no point yet`,
    hint: `name one by its id: 's3://bucket/backups/${ids[0]}?endpoint=http://h'`,
  });
});

test("nothing there is store_missing", async () => {
  await expect(findRepository(url, place().openAt)).rejects.toMatchObject({ code: "store_missing", message: `there is no store at ${url}` });
});
