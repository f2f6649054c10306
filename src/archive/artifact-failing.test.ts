/** A volume that was full for a moment: what could not be written then is missing in the middle of the file. */
import { randomBytes } from "node:crypto";
import type * as fs from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { tempDir } from "../../test/support/repo.ts";
import { ArtifactWriter } from "./artifact-file.ts";

let failing = false;

vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof fs>();
  return {
    ...real,
    async open(...args: Parameters<typeof fs.open>) {
      const handle = await real.open(...args);
      const write = handle.write.bind(handle) as (...of: unknown[]) => Promise<unknown>;
      Object.assign(handle, {
        write: async (...of: unknown[]) => {
          if (failing) throw Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC", syscall: "write" });
          return write(...of);
        },
      });
      return handle;
    },
  };
});
afterEach(() => {
  failing = false;
});

test.each(["zstd", "none"] as const)("a write that failed makes no artifact, whoever goes on all the same (compression: %s)", async (compression) => {
  using dir = tempDir();
  const writer = await ArtifactWriter.create(join(dir.path, "a"), compression);
  const piece = randomBytes(9 << 20);
  const swallowed: string[] = [];
  for (const isFull of [false, true, false, false]) {
    failing = isFull;
    for (let round = 0; round < 3; round += 1) await writer.write(piece).catch((error: Error) => void swallowed.push(error.message));
  }
  expect(swallowed.length).toBeGreaterThan(0);
  await expect(writer.finish("a")).rejects.toMatchObject({ code: "ENOSPC" });
  await writer.abandon();
});
