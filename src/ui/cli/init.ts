import { createInterface } from "node:readline/promises";
import { openApp } from "../../app.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import { refuseForeignSettings } from "../../tasks/foreign-settings.ts";
import { findLostPrimary, type ProtectResult, type ProtectWish, planSettings, protect } from "../../tasks/protect.ts";
import { readStatus } from "../../tasks/status.ts";
import { syncAll } from "../../tasks/sync.ts";
import { describePoint, reportProblems } from "./backup.ts";
import type { CommandContext } from "./context.ts";
import { environmentWith, type IdentityOption, reportKey } from "./identity.ts";
import type { Output } from "./output.ts";
import { hasNewest, reportCopy, reportMirror } from "./sync.ts";
import { count } from "./words.ts";

interface InitOptions extends IdentityOption {
  readonly yes?: boolean;
  readonly store: readonly string[];
  readonly primary?: string;
  readonly mirror: readonly string[];
  readonly hooks: boolean;
  readonly trustConfig?: boolean;
  readonly encrypt?: boolean;
}

export async function init({ cwd, output, signal }: CommandContext, options: InitOptions): Promise<number> {
  const app = await openApp(cwd, environmentWith(options, cwd));
  if (options.trustConfig !== true) await refuseForeignSettings(app);
  const { primary } = options;
  const wish: ProtectWish = {
    stores: options.store,
    mirrors: options.mirror,
    hooks: options.hooks,
    ...(primary === undefined ? {} : { primary }),
    ...(options.encrypt === undefined ? {} : { encrypt: options.encrypt }),
  };
  const plan = planSettings(app, wish);
  output.line(`Protecting ${app.name}.`);
  output.line(`  store    ${plan.stores.map(({ url }) => url).join("\n           ")}`);
  if (plan.mirrors.length > 0)
    output.line(`  mirrors  ${plan.mirrors.map(({ remote, mode }) => (mode === "branches-and-tags" ? remote : `${remote} (${mode})`)).join(", ")}`);
  output.line(`  hooks    ${options.hooks ? "after commit, merge, rewrite, checkout, am; before push" : "none"}`);
  output.line(`  settings ${app.configFile.path} (not committed)`);
  const lost = await findLostPrimary(app, plan);
  if (lost !== undefined)
    output.warn(`there is no store at ${lost}: a new one is begun there, without its points. Mount its disk, if it has one, and the old one goes on`);
  if (options.yes !== true) await askToGoOn();
  const result = await protect(app, wish, { signal, onStep: (step) => output.progress(`${step} …`) });
  if (result.key !== undefined) reportKey(result.key, output);
  output.line(describePoint(result.point));
  reportProblems(result.problems, output);
  const isProven = reportProof(result, output);
  const ready = await openApp(cwd, app.environment);
  const { copies, mirrors } = await syncAll(ready, { force: true, signal });
  for (const copy of copies) reportCopy(copy, output);
  for (const mirror of mirrors) reportMirror(mirror, output);
  const { assessment } = await readStatus(ready);
  if (assessment.findings.length > 0) output.line("What is still missing:");
  for (const { what, hint } of assessment.findings) output.line(`- ${what}\n    ${hint}`);
  output.line("Get it back at any time: restore-from-git latest");
  output.json({ ...result, copies, mirrors, findings: assessment.findings });
  if (isProven === false) {
    const error = new BackupError("mismatch", "the first point does not restore as it was captured", { hint: "holdfast doctor" });
    output.warn(`${error.message}; ${error.hint}`);
    return error.exitCode;
  }
  const isWhole = isProven === true && result.problems.length === 0 && copies.every(hasNewest) && mirrors.every(({ status }) => status === "ok");
  return isWhole ? exitCodes.done : exitCodes.partial;
}

/** Undefined where it could not be tried. */
function reportProof({ proof, unproven }: ProtectResult, output: Output): boolean | undefined {
  if (proof === undefined) {
    output.line(`NOT proven: ${unproven?.message ?? "it was not restored"}.`);
    output.line(`  ${unproven?.hint ?? ""}; then: restore-from-git latest --verify-only`);
    return undefined;
  }
  const { differences, files, refs } = proof.comparison;
  const isProven = differences.length === 0;
  output.line(
    isProven
      ? `Proven: restored it into a temporary folder and compared ${count(files, "file")} and ${count(refs, "ref")}, all as captured.`
      : `NOT proven: the restored copy has ${count(differences.length, "difference")}.`,
  );
  for (const { path, what } of differences.slice(0, 20)) output.line(`  ${path} ${what}`);
  return isProven;
}

async function askToGoOn(): Promise<void> {
  if (process.stdin.isTTY !== true) throw new BackupError("usage", "nobody is there to answer", { hint: "holdfast init --yes" });
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    const answer = await terminal.question("Go on? [Y/n] ");
    if (/^n/i.test(answer.trim())) throw new BackupError("interrupted", "nothing was changed");
  } finally {
    terminal.close();
  }
}
