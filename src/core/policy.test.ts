import { describe, expect, test } from "vitest";
import { Policy } from "./policy.ts";

const plain = new Policy({ include: [], exclude: [] });

describe("an untracked file", () => {
  test.each(["notes.md", "a/b/c", "dist/app.js", "build/x", "debug.log", "x.tmp", "vendor/bundle/x", "\udcff", "a b/ü"])("is in: %j", (path) => {
    expect(plain.judgeUntracked(path)).toEqual({ isIn: true, reason: "untracked" });
  });

  test.each(["node_modules/x/index.js", "a/node_modules/x", ".venv/bin/python", "src/__pycache__/x.pyc", ".DS_Store", "a/.cache/x"])(
    "is out where a command makes it again: %j",
    (path) => {
      expect(plain.judgeUntracked(path)).toMatchObject({ isIn: false, reason: expect.stringMatching(/^generated: /) });
    },
  );

  test("is out where the owner excludes it, and the reason names the pattern", () => {
    const policy = new Policy({ include: [], exclude: ["videos/", "*.iso"] });
    expect(policy.judgeUntracked("videos/a.mp4")).toEqual({ isIn: false, reason: "excluded by videos/" });
    expect(policy.judgeUntracked("deep/a.iso")).toEqual({ isIn: false, reason: "excluded by *.iso" });
    expect(policy.judgeUntracked("videos")).toMatchObject({ isIn: true });
  });
});

describe("an ignored file", () => {
  test.each([
    ".env",
    ".env.local",
    "prod.env",
    ".envrc",
    "data.db",
    "app.sqlite3",
    "a/b/app.sqlite-wal",
    ".claude/settings.json",
    ".mcp.json",
    ".vscode/launch.json",
    "config.local.json",
    "server.pem",
    "id.key",
    ".npmrc",
    "docker-compose.override.yml",
    "backup.yaml",
    "notes/x",
    "a/inbox/y",
    "TODO.md",
  ])("is in by default: %j", (path) => {
    // biome-ignore format: a list of words
    expect(plain.judgeIgnored(path)).toMatchObject({ isIn: true, reason: expect.stringMatching(/^ignored, chosen by /) });
  });

  test.each(["dist/app.js", "build/x", "debug.log", "x.pyc", "a.swp", "logs/x", "tmp/y"])("is never kept: %j", (path) => {
    expect(plain.judgeIgnored(path)).toMatchObject({ isIn: false, reason: expect.stringMatching(/^ignored, never kept: /) });
  });

  test("is out where nothing speaks for it", () => {
    expect(plain.judgeIgnored("secret.bin")).toEqual({ isIn: false, reason: "ignored, no include pattern chooses it" });
  });

  test("is in where the owner includes it", () => {
    const policy = new Policy({ include: ["secret.bin", "models/"], exclude: [] });
    expect(policy.judgeIgnored("secret.bin")).toEqual({ isIn: true, reason: "ignored, chosen by secret.bin" });
    expect(policy.judgeIgnored("models/a/b")).toMatchObject({ isIn: true });
  });

  test("is out where the owner takes a default back", () => {
    const policy = new Policy({ include: ["!*.db"], exclude: [] });
    expect(policy.judgeIgnored("data.db")).toMatchObject({ isIn: false });
    expect(policy.judgeIgnored(".env")).toMatchObject({ isIn: true });
  });
});

describe("of two patterns", () => {
  test("exclude wins over include", () => {
    const policy = new Policy({ include: ["*.bin"], exclude: ["big.bin"] });
    expect(policy.judgeIgnored("big.bin")).toEqual({ isIn: false, reason: "excluded by big.bin" });
    expect(policy.judgeIgnored("small.bin")).toMatchObject({ isIn: true });
  });

  test("generated trees win over include", () => {
    const policy = new Policy({ include: ["node_modules/", "*.js"], exclude: [] });
    expect(policy.judgeIgnored("node_modules/x.js")).toMatchObject({ isIn: false, reason: "generated: node_modules/" });
  });

  test("include wins over what is never kept", () => {
    const policy = new Policy({ include: ["dist/"], exclude: [] });
    expect(policy.judgeIgnored("dist/app.js")).toMatchObject({ isIn: true });
    expect(plain.judgeIgnored("dist/.env")).toMatchObject({ isIn: true });
  });

  test("a later exclude takes an earlier one back", () => {
    const policy = new Policy({ include: [], exclude: ["*.mp4", "!talk.mp4"] });
    expect(policy.judgeUntracked("talk.mp4")).toMatchObject({ isIn: true });
    expect(policy.judgeUntracked("other.mp4")).toMatchObject({ isIn: false });
  });

  test("a pattern with a leading slash stands for the top only", () => {
    const policy = new Policy({ include: [], exclude: ["/videos"] });
    expect(policy.judgeUntracked("videos/x")).toMatchObject({ isIn: false });
    expect(policy.judgeUntracked("a/videos/x")).toMatchObject({ isIn: true });
  });
});

describe("a folder that git ignores", () => {
  test("is not entered where nothing below it can be chosen", () => {
    expect(["node_modules/", "dist/", "a/.venv/", "tmp/"].map((folder) => plain.mayDescend(folder))).toEqual([false, false, false, false]);
    expect(new Policy({ include: [], exclude: ["private/"] }).mayDescend("private/")).toBe(false);
  });

  test("is entered where something may be", () => {
    expect(["private/", ".claude/", "notes/"].map((folder) => plain.mayDescend(folder))).toEqual([true, true, true]);
    expect(new Policy({ include: ["dist/"], exclude: [] }).mayDescend("dist/")).toBe(true);
  });
});
