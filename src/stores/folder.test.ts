import { closeSync, openSync, readdirSync, writeSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { tempDir } from "../../test/support/repo.ts";
import { FolderStore } from "./folder.ts";
import type { Source } from "./store.ts";

test("a disk that gives back other bytes than were written takes no key, and is told", async () => {
  using dir = tempDir();
  const store = new FolderStore("disk", dir.path);
  /** Changes a byte of the half-written file, as a failing disk would. */
  const rotting: Source = {
    size: 20,
    async *open() {
      yield Buffer.alloc(10, 1);
      for (const folder of [dir.path, join(dir.path, "20261121")]) {
        for (const name of readdirSync(folder).filter((name) => name.startsWith(".holdfast-"))) {
          const file = openSync(join(folder, name), "r+");
          writeSync(file, Buffer.of(9), 0, 1, 3);
          closeSync(file);
        }
      }
      yield Buffer.alloc(10, 2);
    },
  };
  const told = { code: "store_failed", message: expect.stringContaining("was not read back as it was written") };
  await expect(store.put("20261121/a", rotting)).rejects.toMatchObject(told);
  await expect(store.replace("20261121/a", rotting)).rejects.toMatchObject(told);
  expect(readdirSync(join(dir.path, "20261121"))).toEqual([]);
});
