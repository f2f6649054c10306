import { isAbsolute, join } from "node:path";
import { createInterface } from "node:readline/promises";
import type { App } from "../../app.ts";
import { placeOf } from "../../core/contents.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import { storedSize } from "../../core/manifest.ts";
import type { Comparison } from "../../restore/compare.ts";
import type { Limits } from "../../restore/limits.ts";
import { besideEnding } from "../../restore/place.ts";
import type { RestorePlan } from "../../restore/plan.ts";
import type { RestoreResult } from "../../restore/restore.ts";
import { chooseGit, type GitChoice, openToRestore } from "../../tasks/git-choice.ts";
import { makePointNow } from "../../tasks/point.ts";
import { type FoundRestore, findRestore, prepareInPlace, proveRestore, readFoundContents, restoreTo, temporaryTarget } from "../../tasks/restore.ts";
import type { CommandContext } from "./context.ts";
import { environmentWith, type IdentityOption, withIdentity } from "./identity.ts";
import type { Output } from "./output.ts";
import { points } from "./points.ts";
import { tellNewSigners, tellSignature } from "./signatures.ts";
import { bytes, count, path } from "./words.ts";

interface RestoreOptions extends IdentityOption {
  readonly at?: string;
  readonly to?: string;
  readonly path: readonly string[];
  readonly from?: string;
  readonly filesFrom?: string;
  readonly inPlace?: boolean;
  readonly dryRun?: boolean;
  readonly verifyOnly?: boolean;
  readonly list?: boolean;
  readonly lost?: boolean;
  readonly force?: boolean;
  /** False: --no-git. */
  readonly git?: boolean;
}

export async function restore(context: CommandContext, options: RestoreOptions, what?: string): Promise<number> {
  const { cwd, output, signal } = context;
  if (options.lost === true) return lostAlone(context, options, what);
  if (options.list === true && what === undefined && options.at === undefined)
    return points(context, { ...withIdentity(options), ...(options.from === undefined ? {} : { store: options.from }) });
  const chosen = [options.to !== undefined, options.inPlace === true, options.verifyOnly === true].filter(Boolean).length;
  if (chosen > 1) throw new BackupError("usage", "--to, --in-place and --verify-only exclude each other");
  const choice = await chooseGit(options.git === false);
  sayIfMissing(choice, output);
  if (!choice.git.isProgram && options.inPlace === true)
    throw new BackupError("usage", "--in-place needs git, which knows what is not committed yet", { hint: "restore-from-git --no-git --to DIR" });
  const app = await openToRestore(cwd, choice, environmentWith(options, cwd));
  const { git } = choice;
  const wish = { what, at: options.at, filesFrom: options.filesFrom, paths: options.path, from: options.from, git };
  const found = await findRestore(app, wish, signal);
  for (const { error } of found.damaged) output.warn(error.message);
  tellNewSigners(found.newSigners, found.store.name, output);
  output.note(`${capital(found.explanation)}.`);
  if (options.list === true) return listFiles(found, options, context);
  tellSignature(found.signature, output, options.force === true);
  if (options.inPlace === true) return inPlace(app, found, options, context);
  if (options.dryRun === true) return dryRun(found, options.to, output);
  const onProgress = (step: string): void => output.progress(`restoring: ${step} …`);
  const onLimits = (limits: Limits): void => sayLimits(limits, output);
  const startedAt = performance.now();
  if (options.verifyOnly === true) {
    const result = await proveRestore(found, { onLimits, onProgress, signal });
    return report(result, found, { output, startedAt, where: "a temporary folder (removed again)" });
  }
  const target = options.to === undefined ? temporaryTarget(app.name, found.plan.point) : isAbsolute(options.to) ? options.to : join(cwd, options.to);
  const result = await restoreTo(found, target, { onLimits, onProgress, signal });
  return report(result, found, { output, startedAt, where: result.target });
}

export function sayIfMissing({ isMissing }: GitChoice, output: Output): void {
  if (isMissing) output.note("There is no git on this machine: going on without it.");
}

/** Before anything is written: what will be missing or otherwise. */
export function sayLimits({ history, notes }: Limits, output: Output): void {
  if (history !== undefined) output.warn(`${history}; only the files that lay outside of it come back here`);
  for (const note of notes) output.note(`Without git: ${note}.`);
}

async function lostAlone(context: CommandContext, options: RestoreOptions, what: string | undefined): Promise<number> {
  const { at, to, path: paths, filesFrom, inPlace, dryRun: dry, verifyOnly, list, git } = options;
  if ([what, at, to, filesFrom, inPlace, dry, verifyOnly, list].some((option) => option !== undefined) || paths.length > 0 || git === false)
    throw new BackupError("usage", "--lost goes alone, or with --from", { hint: "restore-from-git --lost, then restore-from-git ID" });
  const { lost } = await import("./lost.ts");
  return lost(context, { ...withIdentity(options), from: options.from });
}

interface ReportOptions {
  readonly output: Output;
  readonly startedAt: number;
  readonly where: string;
}

/** What became of a restore, in words and as a document. Gives the exit code. */
function report(
  result: RestoreResult,
  found: Pick<FoundRestore, "plan" | "explanation" | "signature" | "newSigners">,
  options: ReportOptions,
): number {
  const { code, document } = tellRestore(result, found, options);
  options.output.json(document);
  return code;
}

/** In words; the document is the caller's to add to and to give. */
export function tellRestore(
  result: RestoreResult,
  found: Pick<FoundRestore, "plan" | "explanation" | "signature" | "newSigners">,
  { output, startedAt, where }: ReportOptions,
): { code: number; document: Record<string, unknown> } {
  const { comparison, problems, skipped, links, gitLinks, settings, hooks, worktrees, withheld } = result;
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
  const isSame = comparison.differences.length === 0;
  output.line(`Restored into ${where} in ${seconds} s.`);
  if (isSame) {
    const refs = comparison.refs > 0 ? ` and ${count(comparison.refs, "ref")}` : "";
    output.line(`Compared with the point: ${count(comparison.files, "file")}${refs}, all as captured.`);
  } else tellDifferences(comparison, output);
  for (const folder of worktrees) output.line(`Linked worktree: ${folder}`);
  tellSkipped(skipped, output);
  for (const name of links.slice(0, 10)) output.line(`Not restored, a link that leads out of .git: ${path(name)}`);
  for (const name of gitLinks.slice(0, 10))
    output.line(`Kept, not put to work, since it leads to a repository elsewhere: ${path(name + besideEnding)}`);
  if (withheld.length > 0) {
    output.line(`Not written, since the history could not be read without git: ${count(withheld.length, "tracked file")}:`);
    for (const name of withheld.slice(0, 20)) output.line(`  ${path(name)}`);
    if (withheld.length > 20) output.line(`  … and ${withheld.length - 20} more`);
  }
  if (hooks.length > 0) output.line(`Hooks are kept, not put to work: .git/holdfast-restored/hooks (${hooks.map(path).join(", ")})`);
  if (settings.length > 0)
    output.line(`Settings that can run commands are kept, not put to work: .git/holdfast-restored/config (${settings.map(path).join(", ")})`);
  tellProblems(problems, found.plan.point.id, output);
  const document = {
    explanation: found.explanation,
    point: found.plan.point.id,
    result: found.plan.result,
    signature: found.signature,
    newSigners: found.newSigners,
    target: result.target,
    comparison,
    worktrees,
    skipped,
    links,
    gitLinks,
    settings,
    hooks,
    withheld,
    problems,
  };
  if (isSame) return { code: withheld.length > 0 ? exitCodes.partial : exitCodes.done, document };
  const error = new BackupError("mismatch", `${count(comparison.differences.length, "difference")} between the restored files and the point`);
  output.warn(`${error.message}; ${error.hint}`);
  return { code: error.exitCode, document };
}

function tellDifferences({ differences, files }: Comparison, output: Output): void {
  output.line(`Compared with the point: ${count(differences.length, "difference")} in ${count(files, "file")}:`);
  for (const { path: name, what } of differences.slice(0, 20)) output.line(`  ${path(name)} ${what}`);
}

function tellSkipped(skipped: RestoreResult["skipped"], output: Output): void {
  for (const name of skipped.slice(0, 10)) output.line(`Not written, the commit has a file there: ${path(name)}`);
}

function tellProblems(problems: RestoreResult["problems"], id: string, output: Output): void {
  if (problems.length > 0) output.warn(`the point itself was partial: ${count(problems.length, "thing")} could not be captured; holdfast show ${id}`);
}

function dryRun({ plan, explanation, store }: FoundRestore, to: string | undefined, output: Output): number {
  const reads = readsOf(plan);
  output.line(
    `Would read ${count(reads.tarballs, "tarball")} and ${count(reads.bundles, "bundle")} (${bytes(reads.size)}) from the store ${store.name}.`,
  );
  output.line(
    `Would write ${plan.result === "moment" ? "the moment" : "a clean checkout of the commit"}${plan.paths.length > 0 ? ` (only ${plan.paths.join(", ")})` : ""} into ${to ?? "a new temporary folder"}.`,
  );
  output.json({
    dryRun: { explanation, point: plan.point.id, result: plan.result, chain: plan.chain.map(({ id }) => id), ...reads, target: to ?? null },
  });
  return exitCodes.done;
}

function readsOf(plan: RestorePlan): { tarballs: number; bundles: number; size: number } {
  const all = [...new Set([...plan.chain, ...plan.objects])];
  const having = (kind: string): number => all.filter((manifest) => manifest.artifacts.some(({ name }) => name.endsWith(kind))).length;
  return { tarballs: having(".tar.zst"), bundles: having(".bundle"), size: all.reduce((sum, manifest) => sum + storedSize(manifest), 0) };
}

async function listFiles(found: FoundRestore, options: RestoreOptions, { output, signal }: CommandContext): Promise<number> {
  const contents = await readFoundContents(found, signal);
  const isListed = (entry: string): boolean => {
    const { area } = placeOf(entry);
    return area !== "folder" && (area !== "git" || options.path.length === 0) && found.plan.selects(entry);
  };
  const entries = [...contents.files.values()].filter((entry) => isListed(entry.path));
  for (const entry of entries) {
    const { worktree, area, path: name } = placeOf(entry.path);
    const shown = area === "git" ? `.git/${name}` : name;
    output.line(`${area.padEnd(9)}  ${bytes(entry.size ?? 0).padStart(9)}  ${path(worktree === "" ? shown : `${worktree}:${shown}`)}`);
  }
  output.json({ explanation: found.explanation, point: found.plan.point.id, files: entries });
  return exitCodes.done;
}

async function inPlace(app: App, found: FoundRestore, options: RestoreOptions, { output, signal }: CommandContext): Promise<number> {
  await using prepared = await prepareInPlace(app, found, signal);
  const { plan, root, result } = prepared;
  const { comparison, skipped, problems } = result;
  const overwrite = plan.files.filter(({ action }) => action === "overwrite");
  const create = plan.files.filter(({ action }) => action === "create");
  output.line(
    `In ${root}: ${count(overwrite.length, "file")} overwritten, ${count(create.length, "file")} created, ${count(plan.same, "file")} already as wanted. Nothing is deleted; branches and HEAD stay.`,
  );
  const limit = options.dryRun === true ? undefined : 20;
  for (const { path: name, action } of plan.files.slice(0, limit)) output.line(`  ${action}  ${path(name)}`);
  if (limit !== undefined && plan.files.length > limit) output.line(`  … and ${plan.files.length - limit} more (--dry-run lists all)`);
  if (plan.conflicts.length > 0) {
    output.line(`Uncommitted changes that would be overwritten (${plan.conflicts.length}):`);
    for (const name of plan.conflicts.slice(0, limit)) output.line(`  ${path(name)}`);
  } else if (plan.uncommitted.length > 0) output.line(`${count(plan.uncommitted.length, "uncommitted change")} here, none in the way.`);
  if (plan.kept.length > 0) output.line(`Nested repositories keep their own .git as it is: ${plan.kept.map(path).join(", ")}`);
  tellSkipped(skipped, output);
  tellProblems(problems, found.plan.point.id, output);
  const document = {
    explanation: found.explanation,
    point: found.plan.point.id,
    signature: found.signature,
    root,
    files: plan.files,
    same: plan.same,
    conflicts: plan.conflicts,
    uncommitted: plan.uncommitted,
    kept: plan.kept,
    comparison,
    skipped,
    problems,
  };
  if (comparison.differences.length > 0) {
    tellDifferences(comparison, output);
    output.json({ inPlace: { ...document, executed: false } });
    const error = new BackupError("mismatch", "the files are not as the point has them, and nothing was written over yours", {
      hint: "look at them first: restore-from-git --to DIR; or choose others: --path GLOB",
    });
    output.warn(`${error.message}; ${error.hint}`);
    return error.exitCode;
  }
  if (options.dryRun === true || plan.files.length === 0) {
    output.json({ inPlace: { ...document, executed: false } });
    return exitCodes.done;
  }
  if (options.force !== true) await askConsent();
  const safety = await makePointNow(app, { kind: "pre_change", isAsked: true, retention: "until_verified", signal });
  const id = safety.status === "made" ? safety.manifest.id : safety.last;
  output.line(`Safety point: ${id} (restore-from-git ${id} --in-place takes this back).`);
  prepared.execute(signal);
  output.line(`Done: ${count(plan.files.length, "file")} written.`);
  output.json({ inPlace: { ...document, executed: true, safetyPoint: id } });
  return exitCodes.done;
}

async function askConsent(): Promise<void> {
  if (process.stdin.isTTY !== true)
    throw new BackupError("consent_missing", "writing over the worktree needs consent, and nobody is there to type it");
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question("Type RESTORE to go on: ");
    if (answer.trim() !== "RESTORE") throw new BackupError("consent_missing", "nothing was changed: RESTORE was not typed");
  } finally {
    terminal.close();
  }
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
