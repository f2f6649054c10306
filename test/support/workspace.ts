/** A repository that is protected by the built program, in a folder of its own with its store beside it. */
import { join } from "node:path";
import { expect } from "vitest";
import type { Manifest } from "../../src/core/manifest.ts";
import { readCatalogue } from "../../src/points/catalogue.ts";
import { FolderStore } from "../../src/stores/folder.ts";
import { type CliOptions, type CliResult, runCli } from "./cli.ts";
import { gitRepo, type TempDir, type TestRepo, tempDir } from "./repo.ts";

export interface Workspace extends TempDir {
  readonly repo: TestRepo;
  /** The folder of the primary store. */
  readonly store: string;
  /** `holdfast ARGS` in the repository. */
  run(args: readonly string[], options?: CliOptions): Promise<CliResult>;
  /** The same, which must end with `code`; gives the one JSON document of its stdout. */
  // biome-ignore lint/suspicious/noExplicitAny: a test names the fields that it expects
  json(args: readonly string[], code?: number): Promise<any>;
  /** A point now; gives its id. */
  backup(...args: readonly string[]): Promise<string>;
  /** Points of the primary, oldest first, none of them damaged. */
  points(): Promise<readonly Manifest[]>;
}

export interface WorkspaceOptions {
  readonly files?: Readonly<Record<string, string | Uint8Array>>;
  /** More arguments of init; without hooks unless `--hooks` is among them. */
  readonly init?: readonly string[];
  /** False: not protected yet. */
  readonly isProtected?: boolean;
}

export async function workspace({
  files = { "a.txt": "one\n" },
  init = ["--no-hooks"],
  isProtected = true,
}: WorkspaceOptions = {}): Promise<Workspace> {
  const dir = tempDir();
  const repo = gitRepo(files);
  const store = join(dir.path, "store");
  const run = (args: readonly string[], options: CliOptions = {}): Promise<CliResult> => runCli(args, { cwd: repo.path, ...options });
  const self: Workspace = {
    path: dir.path,
    repo,
    store,
    run,
    async json(args, code = 0) {
      const result = await run([...args, "--json"]);
      expect({ code: result.code, stderr: result.code === code ? "" : result.stderr }).toEqual({ code, stderr: "" });
      const document = JSON.parse(result.stdout) as { v: number };
      expect(document.v).toBe(1);
      return document;
    },
    async backup(...args) {
      const result = await run(["backup", "--json", ...args]);
      if (result.code !== 0) throw new Error(`backup ended with ${result.code}: ${result.stderr}`);
      return (JSON.parse(result.stdout) as { point: Manifest }).point.id;
    },
    async points() {
      const { points, damaged } = await readCatalogue(new FolderStore("local", store));
      expect(damaged.map(({ error }) => error.message)).toEqual([]);
      return points;
    },
    [Symbol.dispose]() {
      dir[Symbol.dispose]();
      repo[Symbol.dispose]();
    },
  };
  if (!isProtected) return self;
  const { code, stderr } = await run(["init", "--yes", "--store", store, ...init]);
  if (code !== 0) throw new Error(`init ended with ${code}: ${stderr}`);
  return self;
}
