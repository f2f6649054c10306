/**
 * A captured configuration may name commands (hooks, filters, fsmonitor, ssh, aliases): a restored repository gets the
 * settings that are only data. The whole file lies beside, for the owner to compare and take over.
 */
import { existsSync } from "node:fs";
import { copyFile, rename, rmdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { git } from "../git/run.ts";
import { inertFolder } from "./place.ts";

/** Keys that cannot start anything. Lower case, as `git config --list` prints section and name. */
const harmless: readonly RegExp[] = [
  /^user\.(name|email)$/,
  /^(author|committer)\.(name|email)$/,
  /^remote\..*\.(url|pushurl|fetch|push|tagopt|prune|prunetags|mirror|promisor|partialclonefilter)$/,
  /^remote\.pushdefault$/,
  /^branch\..*\.(remote|pushremote|merge|rebase|description)$/,
  /^branch\.(autosetupmerge|autosetuprebase|sort)$/,
  /^core\.(filemode|ignorecase|precomposeunicode|symlinks|autocrlf|eol|safecrlf|sparsecheckout|sparsecheckoutcone|logallrefupdates|quotepath|abbrev|checkstat|trustctime|splitindex|untrackedcache|compression|bigfilethreshold|preloadindex|sharedrepository)$/,
  /^extensions\.(partialclone|worktreeconfig)$/,
  /^submodule\.(.*\.)?(url|active|branch|ignore|recurse)$/,
  /^(pull|push|fetch|merge|rebase|status|color|gc|pack|index|feature|rerere|init|log|format|tag|advice|column|diff|stash|commit|maintenance)\.(rebase|ff|default|followtags|autosetupremote|prune|prunetags|parallel|conflictstyle|autosquash|autostash|updaterefs|showuntrackedfiles|short|branch|ui|auto|threads|version|manyfiles|enabled|defaultbranch|date|decorate|pretty|sort|gpgsign|algorithm|renames|context)$/,
];

export interface ConfigOutcome {
  /** Names of settings that were left out, for the report. */
  readonly leftOut: readonly string[];
}

/** Applies the harmless settings of the configuration that lies in the inert folder, and of that of these linked worktrees. */
export async function applyConfig(gitDir: string, worktrees: Iterable<string> = []): Promise<ConfigOutcome> {
  const captured = join(gitDir, inertFolder, "config");
  if (!existsSync(captured)) return { leftOut: [] };
  await applyWorktreeConfig(gitDir, worktrees);
  const settings = await readSettings(captured);
  // git cannot read all of it: what it would make of the rest is not known.
  if (settings === undefined) return { leftOut: ["config"] };
  const kept = settings.filter(({ key, value }) => isHarmless(key, value));
  if (kept.length === settings.filter(({ key }) => !isImplied(key)).length && !settings.some(({ key }) => isElsewhere(key))) {
    await copyFile(captured, join(gitDir, "config"));
    return { leftOut: [] };
  }
  const existing = (await git(["config", "--file", join(gitDir, "config"), "--list", "-z"])).stdout.toString("latin1");
  const own = existing.split("\0").flatMap((item) => {
    const [key = "", value] = [item.split("\n")[0] ?? "", item.slice(item.indexOf("\n") + 1)];
    return /^(core\.(repositoryformatversion|bare)|extensions\.(objectformat|refstorage))$/.test(key) ? [{ key, value }] : [];
  });
  const needsExtensions = kept.some(({ key }) => key.startsWith("extensions."));
  const base = own.map((item) => (item.key === "core.repositoryformatversion" && needsExtensions ? { ...item, value: "1" } : item));
  await writeFile(join(gitDir, "config"), [...base, ...kept].map(({ key, value }) => configLine(key, value)).join(""), "latin1");
  const applied = new Set([...base, ...kept].map(({ key }) => key));
  const left = new Set(settings.map(({ key }) => key).filter((key) => !applied.has(key) && !isImplied(key)));
  return { leftOut: [...left].map((key) => Buffer.from(key, "latin1").toString("utf8")) };
}

/**
 * The same for a nested repository or a submodule. Where all of it is harmless, the file itself takes its place.
 * Gives the names of settings that were left out.
 */
export async function applyNestedConfig(captured: string, live: string): Promise<string[]> {
  if (!existsSync(captured) || existsSync(live)) return [];
  const settings = await readSettings(captured);
  if (settings === undefined) return ["config"];
  const isKept = ({ key, value }: { key: string; value: string | undefined }): boolean =>
    isHarmless(key, value) || (isImplied(key) && key !== "core.worktree");
  const kept = settings.filter(isKept);
  if (kept.length === settings.length) {
    await rename(captured, live);
    await rmdir(dirname(captured)).catch(() => undefined); // hooks are kept there too
  } else {
    await writeFile(live, kept.map(({ key, value }) => configLine(key, value)).join(""), "latin1");
  }
  const left = settings.filter((setting) => !isKept(setting) && setting.key !== "core.worktree");
  return [...new Set(left.map(({ key }) => Buffer.from(key, "latin1").toString("utf8")))];
}

/** Some repositories keep settings for each worktree: `config.worktree`. (git-worktree(1), "Configuration file") */
async function applyWorktreeConfig(gitDir: string, worktrees: Iterable<string>): Promise<void> {
  for (const place of ["", ...[...worktrees].map((name) => `worktrees/${name}`)]) {
    const captured = join(gitDir, inertFolder, place, "config.worktree");
    const settings = existsSync(captured) ? await readSettings(captured) : undefined;
    const kept = (settings ?? []).filter(({ key, value }) => isHarmless(key, value));
    if (kept.length > 0)
      await writeFile(join(gitDir, place, "config.worktree"), kept.map(({ key, value }) => configLine(key, value)).join(""), "latin1");
  }
}

/** Undefined where git cannot read the file. Values are bytes: latin1 keeps them exact. */
async function readSettings(file: string): Promise<{ key: string; value: string | undefined }[] | undefined> {
  const { code, stdout } = await git(["config", "--file", file, "--no-includes", "--list", "-z"], { okCodes: [0, 1, 128] });
  if (code !== 0) return undefined;
  const items = stdout.toString("latin1").split("\0");
  return items
    .filter((item) => item !== "")
    .map((item) => {
      const line = item.indexOf("\n");
      return line === -1 ? { key: item, value: undefined } : { key: item.slice(0, line), value: item.slice(line + 1) };
    });
}

function isHarmless(key: string, value: string | undefined): boolean {
  if (/^(remote|submodule)\..*\.(url|pushurl)$/.test(key) && /^(ext|fd)::|^-/.test(value ?? "")) return false;
  const section = key.indexOf(".");
  const name = key.lastIndexOf(".");
  const lower = key.slice(0, section).toLowerCase() + key.slice(section, name) + key.slice(name).toLowerCase();
  return harmless.some((pattern) => pattern.test(lower));
}

/** Settings that the new repository decides for itself. */
function isImplied(key: string): boolean {
  return /^(core\.(repositoryformatversion|bare|worktree)|extensions\.(objectformat|refstorage))$/.test(key);
}

/** What would not hold in the new repository: it lies elsewhere, and keeps its refs as files. */
function isElsewhere(key: string): boolean {
  return key === "core.worktree" || key === "extensions.refstorage";
}

/** One setting in the file's syntax; sections may repeat. (git-config(1), "Syntax") */
function configLine(key: string, value: string | undefined): string {
  const first = key.indexOf(".");
  const last = key.lastIndexOf(".");
  const subsection = first === last ? "" : ` "${key.slice(first + 1, last).replace(/[\\"]/g, "\\$&")}"`;
  const text = value === undefined ? "" : ` = "${value.replace(/[\\"]/g, "\\$&").replace(/\n/g, "\\n").replace(/\t/g, "\\t")}"`;
  return `[${key.slice(0, first)}${subsection}]\n\t${key.slice(last + 1)}${text}\n`;
}
