import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { needs } from "./needs.ts";
import { tempDir } from "./repo.ts";

afterEach(() => vi.unstubAllEnvs());

describe("needs", () => {
  it("finds a program on PATH and records nothing", () => {
    using dir = tempDir();
    const record = join(dir.path, "missing");
    vi.stubEnv("HOLDFAST_TEST_MISSING", record);
    expect(needs("git", "everything")).toBe(true);
    expect(existsSync(record)).toBe(false);
  });

  it("records what is missing and for what", () => {
    using dir = tempDir();
    const record = join(dir.path, "missing");
    vi.stubEnv("HOLDFAST_TEST_MISSING", record);
    vi.stubEnv("HOLDFAST_REQUIRE_ALL", undefined);
    expect(needs("no-such-program", "these tests")).toBe(false);
    expect(readFileSync(record, "utf8")).toBe('{"part":"no-such-program","purpose":"these tests"}\n');
  });

  it("throws when everything is required", () => {
    vi.stubEnv("HOLDFAST_REQUIRE_ALL", "1");
    expect(() => needs("moon", "tide tests", () => false)).toThrow("tide tests: no moon here");
  });
});
