/** Where a repository's parts lie on disk. */
import { realpathSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { BackupError } from "../core/errors.ts";
import { parseSettings } from "./config-syntax.ts";
import { git, gitFind, gitText } from "./run.ts";

export interface Worktree {
  /** "" for the main worktree, else its name below `worktrees/` in the common directory. */
  readonly name: string;
  /** Absolute; null for a bare repository's main place. */
  readonly root: string | null;
  /** Its own git directory: HEAD and index live there. */
  readonly gitDir: string;
}

export interface Repository {
  /** The git directory that all worktrees share, absolute. */
  readonly commonDir: string;
  readonly objectFormat: "sha1" | "sha256";
  readonly isBare: boolean;
  readonly isShallow: boolean;
  readonly isPartial: boolean;
  readonly usesReftable: boolean;
  /** The main worktree first. Worktrees whose folder is gone have a null root. */
  readonly worktrees: readonly Worktree[];
  /** The worktree that the command was run in. */
  readonly here: Worktree;
}

/** Throws `not_a_repository` where git finds none. */
export async function openRepository(cwd: string): Promise<Repository> {
  const names = ["--git-common-dir", "--absolute-git-dir", "--is-bare-repository", "--is-shallow-repository", "--show-object-format"];
  const { code, stdout, stderr } = await git(["rev-parse", "--path-format=absolute", ...names], { cwd, okCodes: [0, 128] }).catch(
    (error: unknown) => {
      // Node gives a folder's name as text, whatever its bytes are.
      if (cwd.includes("\ufffd") && isMissing(cwd)) {
        throw new BackupError("not_a_repository", `the name of this folder is not UTF-8: ${cwd}`, { hint: "rename the folder", cause: error });
      }
      throw isMissing(cwd) ? new BackupError("not_a_repository", `there is no folder ${cwd}`, { cause: error }) : error;
    },
  );
  if (code !== 0) throw notARepository(cwd, stderr);
  const lines = stdout.toString("utf8").split("\n");
  const [isBare, isShallow, format] = lines.slice(-4);
  // A folder's name may hold a line end: then each path is asked for alone.
  const isPlain = lines.length === names.length + 1;
  const common = isPlain ? (lines[0] ?? "") : await askPath(cwd, "--git-common-dir");
  const gitDir = realpathSync(isPlain ? (lines[1] ?? "") : await askPath(cwd, "--absolute-git-dir"));
  const commonDir = realpathSync(common);
  const [config, top, linked] = await Promise.all([
    readConfig(commonDir),
    gitDir === commonDir ? topLevel(cwd) : undefined,
    linkedWorktrees(cwd, commonDir),
  ]);
  const isBareMain = config.get("core.bare") === "true" || (isBare === "true" && config.get("core.bare") !== "false");
  const main = { name: "", root: isBareMain ? null : await mainRoot(cwd, commonDir, top, config), gitDir: commonDir };
  const worktrees = [main, ...linked];
  const here = worktrees.find((worktree) => worktree.gitDir === gitDir) ?? main;
  return {
    commonDir,
    objectFormat: format === "sha256" ? "sha256" : "sha1",
    isBare: isBareMain,
    isShallow: isShallow === "true",
    isPartial: config.has("extensions.partialclone") || [...config.keys()].some((key) => /^remote\..*\.promisor$/.test(key)),
    usesReftable: config.get("extensions.refstorage") === "reftable",
    worktrees,
    here,
  };
}

async function askPath(cwd: string, question: string): Promise<string> {
  return (await gitText(["rev-parse", "--path-format=absolute", question], { cwd })).replace(/\n$/, "");
}

/** The repository's own configuration (not the user's or the system's): lower-case key to its last value. */
async function readConfig(commonDir: string): Promise<Map<string, string>> {
  const text = (await gitFind(["config", "--file", join(commonDir, "config"), "--list", "-z"])) ?? "";
  return new Map(parseSettings(text).map(({ key, value }) => [key, value ?? "true"]));
}

/** Those whose folder is there. */
async function linkedWorktrees(cwd: string, commonDir: string): Promise<Worktree[]> {
  const worktrees: Worktree[] = [];
  for (const root of (await listRoots(cwd)).slice(1)) {
    const gitDir = await gitFind(["rev-parse", "--absolute-git-dir"], { cwd: root }).catch(() => undefined);
    const name = gitDir === undefined ? undefined : nameBelow(commonDir, realpathSync(gitDir));
    if (gitDir !== undefined && name !== undefined) worktrees.push({ name, root, gitDir: realpathSync(gitDir) });
  }
  return worktrees;
}

/** As git lists them, the main one first. */
async function listRoots(cwd: string): Promise<string[]> {
  const blocks = (await gitText(["worktree", "list", "--porcelain", "-z"], { cwd })).split("\0\0").filter((block) => block !== "");
  return blocks.map((block) => {
    const line = block.split("\0").find((candidate) => candidate.startsWith("worktree "));
    return line?.slice(9) ?? "";
  });
}

/**
 * `git worktree list` names the git directory's parent, which is wrong for a separate git directory and for submodules.
 * Only the main worktree itself knows where its git directory is when that lies apart: asked from there, it is found.
 */
async function mainRoot(cwd: string, commonDir: string, here: string | undefined, config: ReadonlyMap<string, string>): Promise<string | null> {
  if (here !== undefined && here !== "") return here;
  const configured = config.get("core.worktree");
  if (configured !== undefined) return realpathSync(resolve(commonDir, configured));
  return (await topLevel((await listRoots(cwd))[0] ?? commonDir)) ?? null;
}

function topLevel(place: string): Promise<string | undefined> {
  return gitFind(["rev-parse", "--show-toplevel"], { cwd: place }).catch(() => undefined);
}

function nameBelow(commonDir: string, gitDir: string): string | undefined {
  const prefix = join(commonDir, "worktrees/");
  return gitDir.startsWith(prefix) ? gitDir.slice(prefix.length) : undefined;
}

function isMissing(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false }) === undefined;
}

function notARepository(cwd: string, stderr: string): BackupError {
  if (stderr.includes("dubious ownership")) {
    return new BackupError("not_a_repository", `git refuses ${cwd}: it belongs to another user`, {
      hint: `git config --global --add safe.directory ${cwd}`,
    });
  }
  return new BackupError("not_a_repository", `${cwd} is not in a git repository`);
}
