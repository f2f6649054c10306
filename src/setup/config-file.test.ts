import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import { type Config, emptyConfig } from "../core/config.ts";
import type { Repository, Worktree } from "../git/repository.ts";
import { configFolder, readConfigFile, rememberConfig, settings, writeConfigFile } from "./config-file.ts";

let dir: TempDir;
let root = "";
let repository: Repository;
beforeEach(() => {
  dir = tempDir();
  root = dir.path;
  mkdirSync(join(root, ".git/info"), { recursive: true });
  const main: Worktree = { name: "", root, gitDir: join(root, ".git") };
  const side: Worktree = { name: "side", root: join(root, "side"), gitDir: join(root, ".git/worktrees/side") };
  repository = { commonDir: join(root, ".git"), worktrees: [main, side], here: side } as unknown as Repository;
});
afterEach(() => dir[Symbol.dispose]());

const config: Config = { ...emptyConfig, stores: [{ name: "disk", url: "/mnt/disk" }], exclude: ["*.iso"] };
const path = () => join(root, "backup.yaml");
const exclude = () => readFileSync(join(root, ".git/info/exclude"), "utf8");

describe("writeConfigFile", () => {
  test("writes what readConfigFile reads, and leaves nothing beside", () => {
    writeConfigFile(repository, path(), config);
    expect(readConfigFile(repository, {})).toEqual({ path: path(), exists: true, config, isRemembered: false });
    expect(readdirSync(root).sort()).toEqual([".git", "backup.yaml"]);
  });

  test.each<[string, string | undefined, string]>([
    ["where there is none", undefined, "/backup.yaml\n"],
    ["into an empty file", "", "/backup.yaml\n"],
    ["after what is there", "# mine\n*.iso\n", "# mine\n*.iso\n/backup.yaml\n"],
    ["after a last line without its end", "*.iso", "*.iso\n/backup.yaml\n"],
    ["not a second time", "/backup.yaml\n*.iso\n", "/backup.yaml\n*.iso\n"],
  ])("lists the file in info/exclude: %s", (_, before, after) => {
    if (before !== undefined) writeFileSync(join(root, ".git/info/exclude"), before);
    for (let times = 0; times < 3; times += 1) writeConfigFile(repository, path(), config);
    expect(exclude()).toBe(after);
  });

  test("makes the info folder where git made none", () => {
    repository = { ...repository, commonDir: join(root, "other.git") };
    mkdirSync(repository.commonDir);
    writeConfigFile(repository, path(), config);
    expect(readFileSync(join(root, "other.git/info/exclude"), "utf8")).toBe("/backup.yaml\n");
  });

  test("says nothing to git about a file that lies elsewhere", () => {
    writeConfigFile(repository, join(root, "elsewhere.yaml"), config);
    expect(existsSync(join(root, ".git/info/exclude"))).toBe(false);
  });

  test("leaves the old file whole when it cannot write the new one", () => {
    writeConfigFile(repository, path(), config);
    const before = readFileSync(path(), "utf8");
    mkdirSync(`${path()}.new`);
    expect(() => writeConfigFile(repository, path(), emptyConfig)).toThrow();
    expect(readFileSync(path(), "utf8")).toBe(before);
  });
});

describe("readConfigFile", () => {
  test("gives the empty settings where there is no file", () => {
    expect(readConfigFile(repository, {})).toEqual({ path: path(), exists: false, config: emptyConfig, isRemembered: false });
  });

  test("names the file and the line of a mistake", () => {
    writeFileSync(path(), "version: 1\nstors: []\n");
    expect(() => readConfigFile(repository, {})).toThrow(
      expect.objectContaining({ code: "config_invalid", message: `${path()}:2: unknown setting "stors"; did you mean stores?` }),
    );
  });

  test("takes the file that the environment names before the one that .env names", () => {
    for (const name of ["a", "b"]) writeFileSync(join(root, `${name}.yaml`), `exclude: [${name}]\n`);
    writeFileSync(join(root, ".env"), `HOLDFAST_CONFIG=${root}/a.yaml\n`);
    expect(readConfigFile(repository, {}).config.exclude).toEqual(["a"]);
    expect(readConfigFile(repository, { HOLDFAST_CONFIG: join(root, "b.yaml") }).config.exclude).toEqual(["b"]);
  });

  test("falls back to the settings that were remembered when the file is gone, and says so", () => {
    rememberConfig(repository, config);
    expect(readConfigFile(repository, {})).toEqual({ path: path(), exists: false, config, isRemembered: true });
    writeConfigFile(repository, path(), emptyConfig);
    expect(readConfigFile(repository, {})).toMatchObject({ exists: true, config: emptyConfig, isRemembered: false });
  });

  test("does not take a file that cannot be read for none", () => {
    mkdirSync(path());
    expect(() => readConfigFile(repository, {})).toThrow(expect.objectContaining({ code: "io_failed" }));
  });
});

test("settings are Holdfast's own variables, those of the process before those of .env", () => {
  writeFileSync(join(root, ".env"), "HOLDFAST_A=file\nHOLDFAST_B='quoted # text'\nSECRET=x\nexport HOLDFAST_C=exported\nnot a line\n");
  expect(settings(root, { HOLDFAST_A: "process", HOLDFAST_D: undefined, HOME: "/h", MY_HOLDFAST_X: "x" })).toEqual({
    HOLDFAST_A: "process",
    HOLDFAST_B: "quoted # text",
    HOLDFAST_C: "exported",
  });
  expect(settings(join(root, "nowhere"), { HOLDFAST_A: "process" })).toEqual({ HOLDFAST_A: "process" });
});

test("the main worktree's file counts in all worktrees, the git directory's in a bare repository", () => {
  expect(configFolder(repository)).toBe(root);
  expect(configFolder({ ...repository, worktrees: [{ name: "", root: null, gitDir: root }] })).toBe(join(root, ".git"));
});
