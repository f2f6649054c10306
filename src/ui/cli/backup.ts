import { openApp } from "../../app.ts";
import { primaryStore } from "../../app-stores.ts";
import type { Problem } from "../../core/contents.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import { type Manifest, type PointKind, storedSize } from "../../core/manifest.ts";
import { thousands } from "../../core/words.ts";
import { makePointNow, planPoint } from "../../tasks/point.ts";
import { pruneWhenDue } from "../../tasks/prune.ts";
import type { CommandContext } from "./context.ts";
import type { Output } from "./output.ts";
import { bytes, count, path } from "./words.ts";

interface BackupOptions {
  readonly kind: "manual" | "daily" | "pre-change";
  readonly message?: string;
  readonly ticket?: string;
  readonly retain?: string;
  readonly full?: boolean;
  readonly dryRun?: boolean;
}

export async function backup({ cwd, output, signal }: CommandContext, options: BackupOptions): Promise<number> {
  const app = await openApp(cwd);
  const retention = options.retain ?? (options.kind === "pre-change" ? "until_verified" : "policy");
  if (!/^(?:policy|permanent|until_verified|days_[1-9]\d{0,4})$/.test(retention))
    throw new BackupError("usage", `${retention} is not a retention`, { hint: "days_N, until_verified or permanent" });
  if (options.dryRun === true) {
    const plan = await planPoint(app);
    output.line(
      plan.known
        ? `${count(plan.files, "file")} and ${count(plan.refs, "ref")} changed since the last point.`
        : "There is no point yet: everything would be stored.",
    );
    for (const example of plan.examples) output.line(`  ${path(example)}`);
    output.json({ dryRun: plan });
    return exitCodes.done;
  }
  const result = await makePointNow(app, {
    kind: options.kind.replace("-", "_") as PointKind,
    isAsked: true,
    isFull: options.full === true,
    retention,
    ...(options.message === undefined && options.ticket === undefined
      ? {}
      : { note: { text: options.message ?? null, ticket: options.ticket ?? null } }),
    signal,
    onProgress: (done, total) => output.progress(`${count(done, "file")} of ${thousands(total)}`),
  });
  if (result.status === "unchanged") throw new BackupError("internal", "a point that was asked for was not made");
  const { manifest, problems, left, unsigned } = result;
  output.line(describePoint(manifest));
  if (left.length > 0) output.line(`Left out: ${count(left.length, "path")} (holdfast status --files explains each).`);
  reportProblems(problems, output);
  if (unsigned !== undefined) output.warn(`the point is not signed: ${unsigned}`);
  await pruneWhenDue(app, primaryStore(app).name, signal);
  output.json({ point: manifest, problems, left, ...(unsigned === undefined ? {} : { unsigned }) });
  return problems.length === 0 ? exitCodes.done : exitCodes.partial;
}

export function describePoint(manifest: Manifest): string {
  const what = manifest.base === null ? "full" : manifest.artifacts.length === 1 ? "nothing changed" : `${count(manifest.counts.changed, "change")}`;
  return `Point ${manifest.id} (${manifest.kind}, ${what}): ${count(manifest.counts.files, "file")}, ${count(manifest.counts.refs, "ref")}; ${bytes(storedSize(manifest))} stored.`;
}

/** What should be in the point and is not, or not surely. */
export function reportProblems(problems: readonly Problem[], output: Output): void {
  const shown = 10;
  for (const problem of problems.slice(0, shown)) output.warn(`${path(problem.path)}: ${problem.message}`);
  if (problems.length > shown) output.warn(`and ${problems.length - shown} more; holdfast show POINT lists them`);
}
