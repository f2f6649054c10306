import { openApp } from "../../app.ts";
import { BackupError, errorKinds, exitCodes } from "../../core/errors.ts";
import { thousands } from "../../core/words.ts";
import { type VerifyOutcome, type VerifyWish, verifyStore } from "../../tasks/verify.ts";
import type { Finding } from "../../verify/finding.ts";
import type { CommandContext } from "./context.ts";
import { environmentWith, type IdentityOption } from "./identity.ts";
import type { Output } from "./output.ts";
import { tellNewSigners } from "./signatures.ts";
import { bytes, count, path } from "./words.ts";

interface VerifyOptions extends IdentityOption {
  readonly readData?: string | true;
  readonly decode?: boolean;
  readonly repair?: boolean;
  readonly worktree?: boolean;
  readonly sample: string;
  readonly countTolerance: string;
  readonly store?: string;
  readonly maxDuration?: string;
}

/** Findings of one kind of weight that are shown; --json has all. */
const shown = 20;

export async function verify({ cwd, output, signal }: CommandContext, options: VerifyOptions, point?: string): Promise<number> {
  const app = await openApp(cwd, environmentWith(options, cwd));
  const { readData, decode, maxDuration } = options;
  const wish: VerifyWish = {
    point,
    store: options.store,
    level: decode === true ? "content" : readData === undefined ? "structure" : "bytes",
    share: typeof readData === "string" ? readData : undefined,
    maxDurationMs: maxDuration === undefined ? undefined : asNumber(maxDuration, "--max-duration", "seconds") * 1000,
    repairs: options.repair === true,
    worktree:
      options.worktree === true
        ? { samplePercent: asPercent(options.sample, "--sample"), countTolerancePercent: asPercent(options.countTolerance, "--count-tolerance") }
        : undefined,
  };
  const outcome = await verifyStore(app, wish, {
    signal,
    onProgress: (done, total) => output.progress(`read ${bytes(done)} of ${bytes(total)}`),
  });
  tellNewSigners(outcome.newSigners, outcome.store, output);
  report(outcome, wish, output);
  output.json({ ...outcome, level: wish.level });
  return exitCodeOf(outcome);
}

/** 13 for damage that is still there; 3 for doubts, and for what was not looked at though it was asked for. */
function exitCodeOf({ isDamaged, findings, artifacts, undecoded }: VerifyOutcome): number {
  if (isDamaged) return errorKinds.damaged.exit;
  const isWhole = findings.every(({ weight, isMended }) => weight !== "doubt" || isMended) && artifacts.left === 0 && undecoded === null;
  return isWhole ? exitCodes.done : exitCodes.partial;
}

function report(outcome: VerifyOutcome, { level, share }: VerifyWish, output: Output): void {
  const { store, points, artifacts, findings, undecoded, repair, worktree } = outcome;
  output.line(`Store ${store}: ${count(points, "point")}, ${describeSigners(outcome)}.`);
  if (level !== "structure") {
    const decoded = undecoded === null ? "read and decoded" : `read, ${thousands(artifacts.read - undecoded.artifacts)} of them decoded`;
    const what = level === "content" ? decoded : "read";
    const left = artifacts.left === 0 ? "" : `; time was up, ${count(artifacts.left, "artifact")} left for the next run`;
    output.line(
      `${share === undefined ? "" : `Share ${share}: `}${count(artifacts.read, "artifact")} (${bytes(artifacts.readBytes)}) ${what}${left}.`,
    );
  }
  if (undecoded !== null)
    output.warn(
      `${count(undecoded.artifacts, "artifact")} could be read, and not be looked into: ${undecoded.reason}; with the key: --identity FILE`,
    );
  if (worktree !== undefined)
    output.line(
      `Worktree against ${worktree.point}: ${count(worktree.files, "file")}, ${count(worktree.changed, "change")} since; ${thousands(worktree.sampled)} of the others read and compared.`,
    );
  const of = (weight: Finding["weight"]): Finding[] => findings.filter((finding) => finding.weight === weight);
  list("Damaged", of("damage"), output);
  listFoundBefore(outcome.foundBefore, output);
  list("To be looked at", of("doubt"), output);
  list("To know", of("note"), output);
  if (repair !== undefined) reportRepair(repair, output);
  if (outcome.isDamaged) output.line(nextStep(outcome));
  else if (of("damage").length + of("doubt").length === 0) output.line(health(outcome, level));
}

function health({ undecoded }: VerifyOutcome, level: VerifyWish["level"]): string {
  if (level === "structure") return "Nothing is missing.";
  return undecoded === null ? "All is as it was written." : "Every byte is as it was written; what the bytes mean was not seen.";
}

function list(title: string, findings: readonly Finding[], output: Output): void {
  if (findings.length === 0) return;
  output.line(`${title} (${findings.length}):`);
  for (const { message, hits, commits, copies, weight } of findings.slice(0, shown)) {
    output.line(`- ${path(message)}`);
    if (hits.length > 0) output.line(`    hits ${describeHits(hits)}`);
    if (commits.length > 0) output.line(`    commits that came with it: ${describeCommits(commits)}`);
    if (weight === "damage") output.line(copies.length === 0 ? "    no other store has it" : `    good in ${copies.map(path).join(", ")}`);
  }
  if (findings.length > shown) output.line(`… and ${findings.length - shown} more: --json has all`);
}

function listFoundBefore(found: VerifyOutcome["foundBefore"], output: Output): void {
  if (found.length === 0) return;
  output.line(`Damaged when it was last read, and not read now (${found.length}):`);
  for (const { key } of found.slice(0, shown)) output.line(`- ${path(key)}`);
  if (found.length > shown) output.line(`… and ${found.length - shown} more: --json has all`);
}

function describeHits(hits: readonly string[]): string {
  const some = hits.slice(0, 3).join(", ");
  return `${count(hits.length, "point")}: ${some}${hits.length > 3 ? `, … ${hits.at(-1)}` : ""}`;
}

function describeCommits(commits: Finding["commits"]): string {
  const some = commits.slice(0, 4).map(({ name, oid }) => `${path(name.replace(/^refs\/(?:heads|tags|remotes)\//, ""))} ${oid.slice(0, 12)}`);
  return `${some.join(", ")}${commits.length > 4 ? `, … (${commits.length})` : ""}`;
}

function describeSigners({ signatures }: VerifyOutcome): string {
  const parts = [
    `${signatures.trusted} signed by trusted keys`,
    ...(signatures.unknown_signer > 0 ? [`${signatures.unknown_signer} by unknown ones (holdfast key trust lists them)`] : []),
    ...(signatures.unsigned > 0 ? [`${signatures.unsigned} unsigned`] : []),
    ...(signatures.bad > 0 ? [`${signatures.bad} with a BAD signature`] : []),
  ];
  return parts.join(", ");
}

function reportRepair({ mended, unmended, fullPoint }: NonNullable<VerifyOutcome["repair"]>, output: Output): void {
  for (const { key, by } of mended) output.line(`Mended ${path(key)}: ${by.startsWith("made") ? by : `from ${path(by)}`}.`);
  for (const { key, point, reason } of unmended) output.line(`NOT mended ${path(key ?? point)}: ${path(reason)}.`);
  if (fullPoint !== null)
    output.line(`New full point ${fullPoint}: the next ones build on nothing that is damaged. What only older points held stays lost.`);
}

function nextStep({ findings, foundBefore, repair, store }: VerifyOutcome): string {
  if (repair !== undefined) return "What is still damaged can be restored from no store; restore-from-git POINT of an older or newer point.";
  const others = [...new Set(findings.flatMap(({ copies }) => copies))];
  const isInside =
    findings.some(({ kind, weight }) => kind === "content" && weight === "damage") || foundBefore.some(({ damage }) => damage === "inside");
  const command = `holdfast verify --store ${path(store)}${isInside ? " --decode" : ""} --repair`;
  if (findings.every(({ weight }) => weight !== "damage")) return `Next: ${command} reads it again, and puts right what it can; nothing is deleted.`;
  return others.length === 0
    ? `Next: ${command} makes a new full point where it must; nothing is deleted.`
    : `Next: ${command} puts it right from ${others.map(path).join(" and ")}; nothing is deleted.`;
}

function asPercent(text: string, option: string): number {
  const percent = asNumber(text, option, "a percentage");
  if (percent > 100) throw new BackupError("usage", `${option} should be 100 at most`, { hint: `${option} 10` });
  return percent;
}

function asNumber(text: string, option: string, unit: string): number {
  if (!/^\d{1,7}(?:\.\d{1,3})?$/.test(text))
    throw new BackupError("usage", `${option} should be ${unit}: ${JSON.stringify(text)} is not`, { hint: `${option} 60` });
  return Number(text);
}
