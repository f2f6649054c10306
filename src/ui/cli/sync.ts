import { setTimeout as delay } from "node:timers/promises";
import { openApp } from "../../app.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import type { MirrorCheck } from "../../mirror/check.ts";
import type { MirrorOutcome } from "../../mirror/outcome.ts";
import type { CopyOutcome } from "../../replicate/replicate.ts";
import { findLockOwner } from "../../state/lock.ts";
import { pruneWhenDue } from "../../tasks/prune.ts";
import { checkMirrorsNow, syncAll, syncMirrors } from "../../tasks/sync.ts";
import type { CommandContext } from "./context.ts";
import type { Output } from "./output.ts";
import { beyondBudget, count, path } from "./words.ts";

export async function sync({ cwd, output, signal }: CommandContext, options: { readonly wait?: boolean }): Promise<number> {
  const app = await openApp(cwd);
  if (options.wait === true) while (findLockOwner(app.state.workerLock) !== undefined) await delay(100, undefined, { signal });
  const { copies, mirrors } = await syncAll(app, {
    force: true,
    signal,
    onEvent: (event) => {
      if (event.kind === "copy") output.progress(`${event.store}: point ${event.done} of ${event.total}`);
    },
  });
  if (copies.length + mirrors.length === 0)
    output.line("There is no other store and no mirror: nothing to bring up to date. holdfast store add NAME URL adds one.");
  if (copies.length > 0) await pruneWhenDue(app, "copies", signal);
  for (const copy of copies) reportCopy(copy, output);
  for (const mirror of mirrors) reportMirror(mirror, output);
  output.json({ copies, mirrors });
  const isWhole = copies.every(({ status }) => status === "ok") && mirrors.every(({ status }) => status === "ok");
  return isWhole ? exitCodes.done : exitCodes.partial;
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

export function reportCopy({ store, status, sent, missing, beyond, message, hint }: CopyOutcome, output: Output): void {
  const state = beyond === undefined ? "whole" : beyondBudget(beyond);
  if (status === "ok") output.line(`copy ${store}: ${state}${sent > 0 ? `, ${count(sent, "point")} sent` : ""}`);
  else
    output.line(
      `copy ${store}: ${status}, ${count(missing, "point")} missing${message === undefined ? "" : `: ${message}`}${hint === undefined ? "" : `\n  hint: ${hint}`}`,
    );
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
