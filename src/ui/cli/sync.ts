import { openApp } from "../../app.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import { thousands } from "../../core/words.ts";
import type { MirrorCheck } from "../../mirror/check.ts";
import type { MirrorOutcome } from "../../mirror/outcome.ts";
import type { CopyOutcome, CopyProgress } from "../../replicate/replicate.ts";
import { withheldHint } from "../../status/assess.ts";
import { pruneWhenDue } from "../../tasks/prune.ts";
import { checkMirrorsNow, syncAll, syncMirrors } from "../../tasks/sync.ts";
import { syncPatiently } from "../../tasks/sync-wait.ts";
import type { CommandContext } from "./context.ts";
import type { Output } from "./output.ts";
import { beyondBudget, bytes, count, localTime, path, stayHere } from "./words.ts";

export async function sync({ cwd, output, signal }: CommandContext, options: { readonly wait?: boolean }): Promise<number> {
  const app = await openApp(cwd);
  const onProgress = ({ store, done, total, doneBytes, totalBytes }: CopyProgress): void =>
    output.progress(`${store}: ${thousands(done)} of ${count(total, "point")}, ${bytes(doneBytes)} of ${bytes(totalBytes)}`);
  const { copies, mirrors } =
    options.wait === true
      ? await syncPatiently(app, { signal, onProgress, onWait: output.progress })
      : await syncAll(app, { force: true, isThorough: true, signal, onProgress });
  if (copies.length + mirrors.length === 0)
    output.line("There is no other store and no mirror: nothing to bring up to date. holdfast store add NAME URL adds one.");
  for (const { store, status } of copies) if (status === "ok") await pruneWhenDue(app, store, signal);
  for (const copy of copies) reportCopy(copy, output);
  for (const mirror of mirrors) reportMirror(mirror, output);
  output.json({ copies, mirrors });
  // Whoever waits wants all of it there; otherwise a disk that is in its drawer is as it should be.
  const isWell = (copy: CopyOutcome): boolean => hasNewest(copy) || (copy.status === "away" && (options.wait !== true || copy.missing === 0));
  return copies.every(isWell) && mirrors.every(({ status }) => status === "ok") ? exitCodes.done : exitCodes.partial;
}

export async function mirror({ cwd, output, signal }: CommandContext, options: { readonly check?: boolean }): Promise<number> {
  const app = await openApp(cwd);
  if (app.config.mirrors.length === 0)
    throw new BackupError("usage", "no mirrors are configured", { hint: `name remotes under mirrors: in ${app.configFile.path}` });
  if (options.check !== true) {
    const outcomes = await syncMirrors(app, { force: true, signal });
    for (const outcome of outcomes) reportMirror(outcome, output);
    output.json({ mirrors: outcomes });
    return outcomes.every(({ status }) => status === "ok") ? exitCodes.done : exitCodes.partial;
  }
  const checks = await checkMirrorsNow(app, signal);
  for (const check of checks) reportCheck(check, output);
  output.json({ mirrors: checks });
  return checks.every(({ status }) => status === "same") ? exitCodes.done : exitCodes.partial;
}

/** It has every point that belongs there, the newest among them where that is for it to have. */
export function hasNewest({ status, withheld }: CopyOutcome): boolean {
  return status === "ok" && withheld?.hasNewest !== false;
}

export function reportCopy(copy: CopyOutcome, output: Output): void {
  const { store, status, sent, missing, missingBytes = 0, beyond, withheld, kept, awaySince, message, hint } = copy;
  const waiting = `${count(missing, "point")}${missing === 0 ? "" : ` (${bytes(missingBytes)})`}`;
  const because = `${message === undefined ? "" : `: ${message}`}${hint === undefined ? "" : `\n  hint: ${hint}`}`;
  if (status === "ok") {
    const state = beyond !== undefined ? beyondBudget(beyond) : withheld === undefined ? "whole" : stayHere(withheld);
    output.line(`copy ${store}: ${state}${sent > 0 ? `, ${count(sent, "point")} sent` : ""}`);
    if (withheld?.hasNewest === false) output.line(`  hint: ${withheldHint(store)}`);
  } else if (status === "away")
    output.line(`copy ${store}: away${awaySince === undefined ? "" : ` since ${localTime(new Date(awaySince))}`}, ${waiting} waiting${because}`);
  else output.line(`copy ${store}: ${status}, ${waiting} missing${because}`);
  if (kept !== undefined)
    output.warn(`copy ${store}: ${count(kept.length, "artifact")} for older keys could not be deleted, and can still be read with one`);
}

function reportCheck({ remote, status, refs, kept, message, hint }: MirrorCheck, output: Output): void {
  const other = refs.filter(({ state }) => state !== "same");
  const old = kept === 0 ? "" : `, ${count(kept, "old tip")} kept`;
  if (status === "same") output.line(`${remote}: all ${count(refs.length, "tip")} the same${old}`);
  else if (status === "differs") output.line(`${remote}: ${count(other.length, "ref")} of ${refs.length} not the same${old}`);
  else output.line(`${remote}: ${status}${message === undefined ? "" : ` (${message})`}${hint === undefined ? "" : `\n  hint: ${hint}`}`);
  for (const { ref, state } of other) output.line(`  ${path(ref)}: ${state}`);
}

export function reportMirror({ remote, status, refs, kept, expired, notes, message, hint }: MirrorOutcome, output: Output): void {
  const moved = refs.filter(({ action }) => !["unchanged", "ahead", "foreign", "spared"].includes(action)).length;
  output.line(`mirror ${remote}: ${status}${moved > 0 ? `, ${count(moved, "ref")} pushed` : ""}${message === undefined ? "" : `: ${message}`}`);
  for (const { ref, keptAs } of kept) output.line(`  the old tip of ${path(ref)} is kept as ${path(keptAs)}`);
  if (expired.length > 0) output.line(`  ${count(expired.length, "old tip")} deleted: kept for as long as keep_days says`);
  for (const note of notes) output.line(`  note: ${note}`);
  if (hint !== undefined) output.line(`  hint: ${hint}`);
}
