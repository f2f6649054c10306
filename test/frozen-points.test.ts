/** Points that earlier versions wrote: every version restores them, by the program, without git, and by restore.sh. */
import { cpSync, existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { runCli } from "./support/cli.ts";
import { frozenState } from "./support/frozen-state.ts";
import { needs } from "./support/needs.ts";
import { tempDir } from "./support/repo.ts";
import { runScript } from "./support/restore-script.ts";

const frozen = fileURLToPath(new URL("./fixtures/frozen", import.meta.url));
const stockTools = needs("zstd", "frozen points by restore.sh") && needs("age", "frozen points by restore.sh");

describe.each(readdirSync(frozen))("%s", (name) => {
  const sample = join(frozen, name);
  const identity = join(sample, "identity.txt");
  const key = existsSync(identity) ? ["--identity", identity] : [];
  const expected = JSON.parse(readFileSync(join(sample, "expected.json"), "utf8")) as Record<string, unknown>;

  test("has a full point and incrementals", () => {
    const manifests = readdirSync(join(sample, "store"), { recursive: true, encoding: "utf8" }).filter((file) => /\d{8}T.*\.json$/.test(file));
    const bases = manifests.map((file) => (JSON.parse(readFileSync(join(sample, "store", file), "utf8")) as { base: string | null }).base);
    expect(bases.filter((base) => base === null)).toHaveLength(1);
    expect(bases.length).toBe(Object.keys(expected).length);
    expect(bases.length).toBeGreaterThanOrEqual(3);
  });

  for (const [point, state] of Object.entries(expected)) {
    test.each([[[]], [["--no-git"]]])(`restores ${point} %j`, async (options) => {
      using dir = tempDir();
      const target = join(dir.path, "restored");
      const { code, stderr } = await runCli(["recover", join(sample, "store"), target, point, ...options, ...key]);
      expect({ code, stderr: code === 0 ? "" : stderr }).toEqual({ code: 0, stderr: "" });
      expect(frozenState(target)).toEqual(state);
    });

    test.skipIf(!stockTools)(`restores ${point} by its own restore.sh`, () => {
      using dir = tempDir();
      const store = join(dir.path, "store");
      cpSync(join(sample, "store"), store, { recursive: true });
      expect(statSync(join(store, "restore.sh")).isFile()).toBe(true);
      const target = join(dir.path, "restored");
      const { status, stderr } = runScript(store, [...key, point, target], { with: key.length > 0 ? ["age"] : [] });
      expect({ status, stderr: status === 0 ? "" : stderr }).toEqual({ status: 0, stderr: "" });
      expect(frozenState(target)).toEqual(state);
    });
  }
});
