/** What a restore asks of git, answered by the git program. */
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { RefEntry } from "../core/contents.ts";
import { BackupError, fullHint, isFullVolume } from "../core/errors.ts";
import { pathBytes, splitPaths } from "../core/paths.ts";
import { parseSettings } from "../git/config-syntax.ts";
import { readIndex } from "../git/index-entries.ts";
import { listIndexed } from "../git/pack-index.ts";
import { findObjects, readHead, readRefs } from "../git/refs.ts";
import type { Revision } from "../git/revision.ts";
import { git, gitFind, gitText } from "../git/run.ts";
import type { CallOptions } from "../stores/store.ts";
import type { Place, RestoreGit, Settings } from "./git-port.ts";

export const gitProgram: RestoreGit = {
  isProgram: true,
  async initRepository(root, isBare, objectFormat) {
    const bare = isBare ? ["--bare"] : [];
    await git(["-c", "init.defaultBranch=main", "init", "-q", ...bare, "--template=", `--object-format=${objectFormat}`, root]);
  },
  indexPack,
  listPack: (gitDir, pack) => listIndexed(gitDir, join(gitDir, `objects/pack/${pack}.idx`)),
  async findObjects(gitDir, oids) {
    return new Set((await findObjects(gitDir, oids)).keys());
  },
  writeRefs,
  async readRefs(gitDir) {
    return (await readRefs(gitDir)).refs;
  },
  readHead,
  readSettings,
  readIndex: ({ gitDir, root }) => readIndex(root, ["--git-dir", gitDir, "--work-tree", root]),
  writeIndexed,
  async writeCommit({ gitDir, root }, oid, options) {
    await git(["--git-dir", gitDir, "--work-tree", root, "-c", "core.sparseCheckout=false", "read-tree", "--reset", "-u", oid], {
      cwd: root,
      ...options,
    });
  },
  async listChanged({ gitDir, root }, oid) {
    const args = ["--git-dir", gitDir, "--work-tree", root, "diff-index", "--ignore-submodules=all", "--name-only", "-z", oid];
    return splitPaths((await git(args, { cwd: root })).stdout);
  },
  findCommit,
  async readCommitTime(gitDir, oid) {
    return new Date(Number(await gitText(["--git-dir", gitDir, "show", "-s", "--format=%ct", oid])) * 1000);
  },
  parseDate,
};

async function indexPack(gitDir: string, pack: AsyncIterable<Buffer>, _isThin: boolean, options: CallOptions): Promise<string> {
  const answer = await gitText(["--git-dir", gitDir, "index-pack", "--stdin", "--fix-thin"], { input: pack, ...options }).catch((error: unknown) => {
    if (error instanceof BackupError && error.code === "git_failed")
      throw new BackupError("damaged", `git cannot read a pack of the point: ${error.message}`, { cause: error });
    throw error;
  });
  return `pack-${answer.trim().replace(/^(?:pack|keep)\s+/, "")}`;
}

async function writeRefs(gitDir: string, refs: readonly RefEntry[], options: CallOptions): Promise<void> {
  const quiet = ["--git-dir", gitDir, "-c", "core.logAllRefUpdates=false"];
  const input = refs.filter(({ symref }) => symref === undefined).map((ref) => `create ${ref.name}\0${ref.oid}\0`);
  if (input.length > 0) await git([...quiet, "update-ref", "-z", "--stdin"], { input: input.join(""), ...options });
  for (const { name, symref } of refs) if (symref !== undefined) await git([...quiet, "symbolic-ref", name, symref], options);
}

/** Undefined where git cannot read the file. Values are bytes: latin1 keeps them exact. */
async function readSettings(file: string): Promise<Settings | undefined> {
  const { code, stdout } = await git(["config", "--file", file, "--no-includes", "--list", "-z"], { okCodes: [0, 1, 128] });
  if (code !== 0) return undefined;
  return { list: parseSettings(stdout.toString("latin1")), isExact: true };
}

async function writeIndexed({ gitDir, root }: Place, commonDir: string, paths: readonly string[], options: CallOptions): Promise<void> {
  const input = Buffer.concat(paths.flatMap((path) => [pathBytes(path), Buffer.of(0)]));
  const raw = ["-c", "core.autocrlf=false", "-c", "core.eol=lf", "-c", "core.symlinks=true", "-c", "core.fileMode=true"];
  const args = ["--git-dir", gitDir, "--work-tree", root, ...raw, "checkout-index", "-q", "-f", "-z", "--stdin", "--ignore-skip-worktree-bits"];
  const { stderr } = await withoutAttributes(commonDir, () => git(args, { cwd: root, input, okCodes: [0, 1, 128], ...options }));
  // What the index names in vain shows in the comparison. What the volume does not take would look like damage there; git does not say why.
  const refused = /unable to write file .*/i.exec(stderr)?.[0] ?? stderr.split("\n").find(isFullVolume);
  if (refused !== undefined) throw new BackupError("io_failed", `cannot restore into ${root}: git was ${refused}`, { hint: fullHint });
}

/** Nothing in info/attributes overrules the worktree's .gitattributes but info/attributes, which comes last and wins. */
async function withoutAttributes<T>(commonDir: string, run: () => Promise<T>): Promise<T> {
  const file = join(commonDir, "info/attributes");
  const kept = join(commonDir, "info/attributes.holdfast");
  mkdirSync(join(commonDir, "info"), { recursive: true });
  const hadOne = existsSync(file);
  if (hadOne) renameSync(file, kept);
  writeFileSync(file, "* -text -crlf -eol -ident -filter -working-tree-encoding\n");
  try {
    return await run();
  } finally {
    rmSync(file);
    if (hadOne) renameSync(kept, file);
  }
}

async function findCommit(gitDir: string, what: string): Promise<Revision | undefined> {
  if (what.startsWith("-")) throw new BackupError("usage", `${what} is not a revision`);
  const oid = await gitFind(["--git-dir", gitDir, "rev-parse", "--verify", "--quiet", "--end-of-options", `${what}^{commit}`]).catch(() => undefined);
  if (oid === undefined) {
    const candidates = await gitFind(["--git-dir", gitDir, "rev-parse", `--disambiguate=${what}`]).catch(() => undefined);
    const count = /^[0-9a-f]{4,}$/.test(what) ? (candidates ?? "").split("\n").filter((line) => line !== "").length : 0;
    if (count > 1) throw new BackupError("ambiguous", `${what} fits ${count} objects`, { hint: "give more characters of the commit" });
    return undefined;
  }
  const name = await gitFind(["--git-dir", gitDir, "rev-parse", "--symbolic-full-name", "--verify", "--quiet", "--end-of-options", what]).catch(
    () => undefined,
  );
  return { oid, branch: name?.startsWith("refs/heads/") === true ? name : undefined };
}

/** As git reads dates ("yesterday 18:00", "2 days ago"), in the machine's time zone. */
async function parseDate(text: string): Promise<Date | undefined> {
  // git takes any word for "now"; a date has a digit or one of its few words.
  const isDate =
    /\d/.test(text) ||
    /\b(now|today|yesterday|noon|midnight|tea|never|last|ago|(mon|tues|wednes|thurs|fri|satur|sun)day|one|two|three)\b/i.test(text);
  const output = isDate && !text.startsWith("-") ? await gitText(["rev-parse", `--since=${text}`]) : "";
  const seconds = /--max-age=(\d+)/.exec(output)?.[1];
  return seconds === undefined ? undefined : new Date(Number(seconds) * 1000);
}
