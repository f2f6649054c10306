import { existsSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { gitRepo } from "./repo.ts";

describe("gitRepo", () => {
  it("gives the same ids for the same content", () => {
    using one = gitRepo({ "notes/a.md": "a\n" });
    using other = gitRepo({ "notes/a.md": "a\n" });
    expect(one.git("rev-parse", "main")).toBe(other.git("rev-parse", "main"));
    expect(one.commit()).not.toBe(one.git("rev-parse", "HEAD~1"));
  });

  it("throws with git's own words", () => {
    using repo = gitRepo();
    expect(() => repo.git("rev-parse", "--verify", "nowhere")).toThrow("Needed a single revision");
  });

  it("is gone after its block", () => {
    let path: string;
    {
      using repo = gitRepo();
      path = repo.path;
      expect(existsSync(path)).toBe(true);
    }
    expect(existsSync(path)).toBe(false);
  });
});
