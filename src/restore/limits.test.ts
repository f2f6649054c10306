import { expect, test } from "vitest";
import type { Manifest } from "../core/manifest.ts";
import { limitsWithoutGit } from "./limits.ts";

const mebibyte = 2 ** 20;
const id = "20261121T143005Z-a1b2c3";

function plan(result: "moment" | "commit", ...sizes: readonly number[]): Parameters<typeof limitsWithoutGit>[0] {
  const sum = "0".repeat(64);
  const objects = sizes.map((size) => ({
    artifacts: [
      { name: `${id}.bundle.age`, size: size + 200, sha256: sum, plainSize: size, plainSha256: sum },
      { name: `${id}.tar.zst.age`, size: 9e12, sha256: sum, plainSize: 9e12, plainSha256: sum },
    ],
  }));
  return { result, objects: objects as unknown as Manifest[] };
}

test("history that fits into memory can be restored", () => {
  expect(limitsWithoutGit(plan("moment", 300 * mebibyte, mebibyte), "sha1", 2 ** 30)).toEqual({ history: undefined, notes: [] });
});

test("the packs of the whole chain count, and a third of free memory or 1.5 GiB is the most", () => {
  expect(limitsWithoutGit(plan("moment", 300 * mebibyte, 100 * mebibyte), "sha1", 2 ** 30).history).toMatch(/400 MiB.* 342 MiB/);
  expect(limitsWithoutGit(plan("moment", 1537 * mebibyte), "sha1", 2 ** 40).history).toMatch(/1537 MiB.* 1536 MiB/);
  expect(limitsWithoutGit(plan("moment", 1536 * mebibyte), "sha1", 2 ** 40).history).toBeUndefined();
});

test("sha256 cannot be read, and a commit's line ends are said", () => {
  expect(limitsWithoutGit(plan("moment", 1), "sha256", 2 ** 30).history).toContain("sha256");
  expect(limitsWithoutGit(plan("commit", 1), "sha1", 2 ** 30).notes).toHaveLength(1);
});
