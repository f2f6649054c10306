import { type App, openApp } from "../../app.ts";
import { exitCodes } from "../../core/errors.ts";
import { storedSize } from "../../core/manifest.ts";
import { Policy } from "../../core/policy.ts";
import { describeRewrite } from "../../core/rewrites.ts";
import { thousands } from "../../core/words.ts";
import type { CopyFacts, Protection } from "../../status/assess.ts";
import { type DrillFacts, recoveryTimes, type VerifyFacts } from "../../status/proof.ts";
import { describeThreeTwoOne } from "../../status/three-two-one.ts";
import { explainFiles } from "../../status/unsaved.ts";
import { storeFoldersOf } from "../../tasks/point.ts";
import { acknowledgeAll, readStatus, type Status } from "../../tasks/status.ts";
import type { CommandContext } from "./context.ts";
import type { Output } from "./output.ts";
import { age, beyondBudget, bytes, count, localTime, path, span, stayHere, table } from "./words.ts";

const exitOf: Readonly<Record<Protection, number>> = { protected: exitCodes.done, at_risk: exitCodes.partial, unprotected: exitCodes.failed };
const wordsOf: Readonly<Record<Protection, string>> = { protected: "PROTECTED", at_risk: "AT RISK", unprotected: "UNPROTECTED" };

export async function status(
  { cwd, output }: CommandContext,
  options: { readonly files?: boolean; readonly acknowledge?: boolean },
): Promise<number> {
  const app = await openApp(cwd);
  if (options.files === true) return explain(app, output);
  if (options.acknowledge === true) acknowledge(app, output);
  const found = await readStatus(app);
  print(app, found, output);
  const { points, assessment, now, ...facts } = found;
  output.json({
    protection: assessment.protection,
    findings: assessment.findings,
    notices: assessment.notices,
    last: points?.at(-1) ?? null,
    points: points?.length ?? 0,
    stored: points?.reduce((sum, point) => sum + storedSize(point), 0) ?? 0,
    wholeCopies: assessment.threeTwoOne.copies,
    threeTwoOne: assessment.threeTwoOne,
    ...facts,
  });
  return exitOf[assessment.protection];
}

function print(app: App, facts: Status, output: Output): void {
  const { assessment, points, copies, mirrors, hooks, now, store } = facts;
  const last = points?.at(-1);
  output.line(`${wordsOf[assessment.protection]}  ${app.name}`);
  output.line();
  const rows: string[][] = [];
  if (last !== undefined) {
    const stored = points?.reduce((sum, point) => sum + storedSize(point), 0) ?? 0;
    rows.push(["last point", `${last.id}, ${age(new Date(last.createdAt), now)} (${last.kind}${last.consistent ? "" : ", partial"})`]);
    rows.push(["would be lost", wouldBeLost(facts)]);
    rows.push(["points", `${points?.length ?? 0} in ${store ?? "?"}, ${bytes(stored)}`]);
  }
  for (const copy of copies) {
    rows.push([`copy ${copy.name}`, `${copyState(copy, now)} (${path(copy.url)})`]);
  }
  for (const { remote, status: state, at, notes = [] } of mirrors) {
    rows.push([`mirror ${remote}`, at === null ? "never pushed" : `${state}, ${age(at, now)}${notes.map((note) => `; ${note}`).join("")}`]);
  }
  if (last !== undefined || copies.length > 0) rows.push(["3-2-1", describeThreeTwoOne(assessment.threeTwoOne)]);
  rows.push(...proofRows(facts, now));
  rows.push(["hooks", hooks === "firing" ? "installed" : hooks === "partly" ? "some do not fire" : "not installed"]);
  for (const line of table(rows)) output.line(`  ${line}`);
  const remarks = [...assessment.findings, ...assessment.notices];
  if (remarks.length > 0) output.line();
  for (const { what, hint } of remarks) output.line(`- ${what}\n    ${hint}`);
}

function proofRows(facts: Status, now: Date): string[][] {
  const drill = facts.drills.at(-1);
  const verified = facts.verifications.at(-1);
  return [
    ...(drill === undefined ? [] : [["last drill", describeDrill(drill, recoveryTimes(facts), now)]]),
    ...(verified === undefined ? [] : [["last verify", describeVerify(verified, now)]]),
  ];
}

/** "proven 3 days ago from bucket (off-site) in 4.2 s, before 4.0 s, 3.9 s". */
function describeDrill({ at, store, isOffsite, isProven }: DrillFacts, [last, ...before]: readonly number[], now: Date): string {
  const from = `${age(at, now)} from ${path(store)}${isOffsite ? " (off-site)" : ""}`;
  if (!isProven) return `FAILED ${from}${last === undefined ? "" : `; it took ${span(last)} when it last went well`}`;
  return `proven ${from}${last === undefined ? "" : ` in ${span(last)}`}${before.length === 0 ? "" : `, before ${before.map(span).join(", ")}`}`;
}

function describeVerify({ at, store, level, points, read, left, damaged }: VerifyFacts, now: Date): string {
  const what = level === "structure" ? `${count(points, "point")} looked through` : `${count(read, "artifact")} read`;
  const rest = left === 0 ? "" : ` and ${thousands(left)} left`;
  const found = damaged === 0 ? "nothing damaged" : `${thousands(damaged)} DAMAGED`;
  return `${age(at, now)} of ${path(store)}: ${what}${rest}, ${found}`;
}

function copyState(copy: CopyFacts, now: Date): string {
  const waiting = `${count(copy.missing, "point")}${copy.missing === 0 ? "" : ` (${bytes(copy.missingBytes)})`}`;
  const lastWhole = copy.lastOkAt === null ? "never whole" : `last whole ${age(copy.lastOkAt, now)}`;
  if (copy.sendingSince !== null && copy.missing > 0) return `being sent to since ${localTime(copy.sendingSince)}, ${waiting} to go`;
  if (copy.awaySince !== null) return `away since ${localTime(copy.awaySince)}, ${waiting} waiting, ${lastWhole}`;
  if (copy.error !== null || copy.lastOkAt === null) {
    if (copy.lastOkAt === null) return "nothing copied yet";
    return `${copy.missing > 0 ? `${waiting} missing` : "not reached"}, ${lastWhole}`;
  }
  const notes = [...(copy.beyond === null ? [] : [beyondBudget(copy.beyond)]), ...(copy.withheld === null ? [] : [stayHere(copy.withheld)])];
  if (copy.missing > 0) return [`${waiting} waiting`, ...notes, lastWhole].join(", ");
  return `${notes.length === 0 ? "whole" : notes.join(", ")}, seen ${age(copy.lastOkAt, now)}`;
}

function wouldBeLost({ unsaved, unsavedError, unsavedExamples: examples }: Status): string {
  if (unsavedError !== undefined) return "not known: what changed since cannot be told";
  if (unsaved === undefined) return "not known: the machine does not remember the last point (holdfast backup)";
  if (unsaved.files + unsaved.refs === 0) return "nothing: the last point holds all of it";
  const names = examples.length === 0 ? "" : `: ${examples.map(path).join(", ")}${unsaved.files > examples.length ? ", …" : ""}`;
  return `${count(unsaved.files, "file")} and ${count(unsaved.refs, "ref")} changed since${names}`;
}

/** What was said about forced history is not said again; what comes later is. */
function acknowledge(app: App, output: Output): void {
  for (const rewrite of acknowledgeAll(app)) output.note(`Seen: ${describeRewrite(rewrite)}.`);
}

async function explain(app: App, output: Output): Promise<number> {
  const { include, exclude } = app.config;
  const verdicts = await explainFiles({ repository: app.repository, policy: new Policy({ include, exclude }), storeFolders: storeFoldersOf(app) });
  for (const { path: name, isIn, reason } of verdicts) output.line(`${isIn ? "in " : "out"}  ${path(name)}  (${reason})`);
  output.json({ files: verdicts });
  return exitCodes.done;
}
