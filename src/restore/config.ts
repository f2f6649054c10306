/**
 * A captured configuration may name commands (hooks, filters, fsmonitor, ssh, aliases): a restored repository gets the
 * settings that are only data. The whole file lies beside, for the owner to compare and take over. A link in its place is not
 * followed, and not put to work: it could lead to other settings than those that were looked at.
 */
import { copyFile, rename, rmdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { encodePath, parentOf } from "../core/paths.ts";
import type { ConfigSetting } from "../git/config-syntax.ts";
import type { RestoreGit } from "./git-port.ts";
import { inertFolder } from "./place.ts";
import { SafeFolder } from "./safe-folder.ts";

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
export async function applyConfig(git: RestoreGit, gitDir: string, worktrees: Iterable<string> = []): Promise<ConfigOutcome> {
  const folder = new SafeFolder(gitDir);
  const place = `${inertFolder}/config`;
  if (!folder.exists(place)) return { leftOut: [] };
  await applyWorktreeConfig(git, folder, worktrees);
  const captured = folder.findFile(place);
  const read = captured === undefined ? undefined : await git.readSettings(join(gitDir, place));
  // git cannot read all of it: what it would make of the rest is not known.
  if (captured === undefined || read === undefined) return { leftOut: ["config"] };
  const settings = read.list;
  const kept = settings.filter(({ key, value }) => isHarmless(key, value));
  const isWhole = kept.length === settings.filter(({ key }) => !isImplied(key)).length && !settings.some(({ key }) => isElsewhere(key));
  if (isWhole && read.isExact) {
    await copyFile(captured, join(gitDir, "config"));
    return { leftOut: [] };
  }
  const own = ((await git.readSettings(join(gitDir, "config")))?.list ?? []).filter(({ key }) =>
    /^(core\.(repositoryformatversion|bare)|extensions\.(objectformat|refstorage))$/.test(key),
  );
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
export async function applyNestedConfig(git: RestoreGit, folder: SafeFolder, place: string, live: string): Promise<string[]> {
  if (!folder.exists(place) || folder.exists(live)) return [];
  const captured = folder.findFile(place);
  const read = captured === undefined ? undefined : await git.readSettings(`${folder.root}/${place}`);
  if (captured === undefined || read === undefined) return ["config"];
  const settings = read.list;
  const isKept = ({ key, value }: ConfigSetting): boolean => isHarmless(key, value) || (isImplied(key) && key !== "core.worktree");
  const kept = settings.filter(isKept);
  if (kept.length === settings.length && read.isExact) {
    await rename(captured, folder.at(live));
    await rmdir(encodePath(`${folder.root}/${parentOf(place)}`)).catch(() => undefined); // hooks are kept there too
  } else {
    await writeFile(folder.at(live), kept.map(({ key, value }) => configLine(key, value)).join(""), "latin1");
  }
  const left = settings.filter((setting) => !isKept(setting) && setting.key !== "core.worktree");
  return [...new Set(left.map(({ key }) => Buffer.from(key, "latin1").toString("utf8")))];
}

/** Some repositories keep settings for each worktree: `config.worktree`. (git-worktree(1), "Configuration file") */
async function applyWorktreeConfig(git: RestoreGit, folder: SafeFolder, worktrees: Iterable<string>): Promise<void> {
  for (const live of ["config.worktree", ...[...worktrees].map((name) => `worktrees/${name}/config.worktree`)]) {
    const captured = `${inertFolder}/${live}`;
    const settings = folder.findFile(captured) === undefined ? undefined : await git.readSettings(join(folder.root, captured));
    const kept = (settings?.list ?? []).filter(({ key, value }) => isHarmless(key, value));
    if (kept.length > 0) await writeFile(folder.at(live), kept.map(({ key, value }) => configLine(key, value)).join(""), "latin1");
  }
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
