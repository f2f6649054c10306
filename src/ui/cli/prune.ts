import { openApp } from "../../app.ts";
import { exitCodes } from "../../core/errors.ts";
import { storedSize } from "../../core/manifest.ts";
import type { PrunePlan } from "../../prune/plan.ts";
import { pruneNow, readDeleted, type StorePrune, undelete as undeletePoint } from "../../tasks/prune.ts";
import type { CommandContext } from "./context.ts";
import type { Output } from "./output.ts";
import { age, bytes, count, path, table } from "./words.ts";

interface PruneOptions {
  readonly dryRun?: boolean;
  readonly store?: string;
  readonly machine?: string;
  readonly force?: boolean;
}

export async function prune(
  { cwd, output, signal }: CommandContext,
  { dryRun = false, store, machine, force = false }: PruneOptions,
): Promise<number> {
  const app = await openApp(cwd);
  const outcomes = await pruneNow(app, {
    store,
    machine,
    force,
    dryRun,
    signal,
    onEvent: ({ store: name, done, total }) => output.progress(`${name}: point ${done} of ${total}`),
  });
  const { trashDays } = app.config.retention;
  for (const outcome of outcomes) report(outcome, trashDays, output);
  output.json({ dryRun, stores: outcomes.map(asDocument) });
  return outcomes.every(({ status }) => status === "done" || status === "planned") ? exitCodes.done : exitCodes.partial;
}

function report({ store, status, plan, removed, waiting, deleted, message, hint }: StorePrune, trashDays: number, output: Output): void {
  if (plan !== undefined) listVerdicts(store, plan, output);
  if (status === "planned") {
    const { removals = [], limit = 0 } = plan ?? {};
    const force = removals.length > limit ? "; more than half of this machine's points: that needs --force" : "";
    output.line(`store ${store}: ${count(removals.length, "point")} would go${force}.`);
  } else if (status === "done") {
    const grace = removed.length === 0 ? "" : `, until ${count(trashDays, "day")} have passed: holdfast undelete POINT`;
    output.line(`store ${store}: ${count(removed.length, "point")} moved into the trash${grace}.`);
    if (deleted.length > 0) output.line(`store ${store}: ${count(deleted.length, "point")} of the trash deleted for good.`);
    if (waiting > 0) output.line(`store ${store}: ${count(waiting, "more point")} will go with later runs.`);
  } else output.line(`store ${store}: ${status === "refused" ? "takes no deletions, and keeps everything" : "failed"} (${message ?? ""}).`);
  if (hint !== undefined) output.line(`  hint: ${hint}`);
  const future = plan?.verdicts.filter(({ reasons }) => reasons.includes("dated in the future")) ?? [];
  if (future.length > 0)
    output.warn(
      `${count(future.length, "point")} of the store ${store} ${future.length === 1 ? "is" : "are"} dated in the future: is the clock right?`,
    );
}

/** Newest last, where the eye is. */
function listVerdicts(store: string, { verdicts }: PrunePlan, output: Output): void {
  const now = new Date();
  output.line(`Store ${store}:`);
  const rows = verdicts
    .toReversed()
    .map(({ point, isKept, reasons }) => [
      isKept ? "keep" : "remove",
      point.id,
      age(new Date(point.createdAt), now),
      point.kind,
      bytes(storedSize(point)),
      reasons.map(path).join(", "),
    ]);
  for (const line of table(rows)) output.line(`  ${line}`);
}

function asDocument({ plan, ...outcome }: StorePrune): Readonly<Record<string, unknown>> {
  return { ...outcome, points: plan?.verdicts.map(({ id, isKept, reasons }) => ({ id, keep: isKept, reasons })) ?? null };
}

export async function undelete({ cwd, output, signal }: CommandContext, { store }: { readonly store?: string }, point = ""): Promise<number> {
  const back = await undeletePoint(await openApp(cwd), point, store, signal);
  const [asked, ...bases] = back.toReversed();
  const beside = bases.length === 0 ? "" : `, with ${count(bases.length, "point")} that it builds on`;
  output.line(`Point ${asked?.id} is back${beside}, and pinned: holdfast mark ${asked?.id} unpinned lets retention take it again.`);
  output.json({ points: back.map(({ id }) => id) });
  return exitCodes.done;
}

/** `points --deleted`: newest last. */
export async function deletedPoints({ cwd, output, signal }: CommandContext, nameOrUrl: string | undefined): Promise<number> {
  const { store, trash } = await readDeleted(await openApp(cwd), nameOrUrl, signal);
  const now = new Date();
  const rows = trash.map(({ manifest, folder }) => [
    manifest.id,
    age(new Date(manifest.createdAt), now),
    manifest.kind,
    bytes(storedSize(manifest)),
    folder,
  ]);
  for (const line of table(rows)) output.line(line);
  output.line(trash.length === 0 ? "The trash is empty." : "holdfast undelete POINT brings one back; restore-from-git POINT restores it as it is.");
  output.json({ store: store.name, deleted: trash.map(({ manifest, folder }) => ({ folder, point: manifest })) });
  return exitCodes.done;
}
