import { placeOf } from "../../core/contents.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import { type Manifest, pointKinds, storedSize } from "../../core/manifest.ts";
import type { PointSignature } from "../../keys/signers.ts";
import { parseMoment } from "../../restore/resolve.ts";
import { chooseGit, openToRead } from "../../tasks/git-choice.ts";
import { readPoints, viewPoint } from "../../tasks/points.ts";
import type { CommandContext } from "./context.ts";
import { environmentWith, type IdentityOption } from "./identity.ts";
import type { Output } from "./output.ts";
import { describeSignature, signatureMark, tellNewSigners } from "./signatures.ts";
import { age, bytes, count, localTime, path, table } from "./words.ts";

export async function points(
  context: CommandContext,
  options: IdentityOption & { readonly kind?: string; readonly since?: string; readonly store?: string; readonly deleted?: boolean },
): Promise<number> {
  const { cwd, output } = context;
  if (options.deleted === true) return (await import("./prune.ts")).deletedPoints(context, options.store);
  const kind = options.kind?.replace("-", "_");
  if (kind !== undefined && !pointKinds.some((known) => known === kind)) {
    throw new BackupError("usage", `${options.kind} is not a kind of point`, { hint: `--kind ${pointKinds.join("|").replace("_", "-")}` });
  }
  const since = options.since === undefined ? undefined : await parseMoment(options.since, (await chooseGit(false)).git);
  const app = await openToRead(cwd, environmentWith(options, cwd));
  const { points: all, damaged, store, judge, newSigners } = await readPoints(app, options.store);
  tellNewSigners(newSigners, store.name, output);
  const chosen = all.filter(
    (point) => (kind === undefined || point.kind === kind) && (since === undefined || Date.parse(point.createdAt) >= since.getTime()),
  );
  const signatures = chosen.map((point) => ({ id: point.id, ...judge(point) }));
  listPoints(chosen, signatures, output);
  if (chosen.length === 0) output.line(all.length === 0 ? "No points yet. holdfast backup makes one." : "No point fits.");
  for (const { error } of damaged) output.warn(error.message);
  output.json({
    store: store.name,
    points: chosen,
    signatures,
    damaged: damaged.map(({ key, error }) => ({ key, code: error.code, message: error.message })),
  });
  return damaged.length === 0 ? exitCodes.done : exitCodes.partial;
}

/** Newest last, where the eye is. */
function listPoints(all: readonly Manifest[], signatures: readonly PointSignature[], output: Output): void {
  const now = new Date();
  const rows = all.map((point, index) => [
    point.id,
    age(new Date(point.createdAt), now),
    point.kind,
    point.base === null ? "full" : `+${point.level}`,
    bytes(storedSize(point)),
    count(point.counts.files, "file"),
    [point.consistent ? "" : "partial", ...signatures.slice(index, index + 1).map(signatureMark)].filter((mark) => mark !== "").join(", "),
  ]);
  for (const line of table(rows)) output.line(line);
}

export async function show(
  { cwd, output, signal }: CommandContext,
  options: IdentityOption & { readonly files?: boolean; readonly store?: string },
  prefix = "",
): Promise<number> {
  const app = await openToRead(cwd, environmentWith(options, cwd));
  const { point, contents, chain, signature, newSigners } = await viewPoint(app, prefix, options.store, signal);
  tellNewSigners(newSigners, options.store ?? "primary", output);
  output.line(`Point ${point.id}`);
  const rows: string[][] = [
    ["made", `${localTime(new Date(point.createdAt))} (${age(new Date(point.createdAt), new Date())}) on ${point.machine} by ${point.tool}`],
    ["kind", `${point.kind}, ${point.base === null ? "full" : `incremental on ${point.base}`}; a restore reads ${count(chain.length, "point")}`],
    ...(contents.note?.text == null ? [] : [["message", path(contents.note.text)]]),
    ...(contents.note?.ticket == null ? [] : [["ticket", path(contents.note.ticket)]]),
    ["signed", `${describeSignature(signature)}${signature.point === point.id ? "" : ` (${signature.point}, which it builds on)`}`],
    ["kept", point.retention],
    ["stored", point.artifacts.map((artifact) => `${artifact.name.slice(point.id.length + 1)} ${bytes(artifact.size)}`).join(", ")],
    ["holds", `${count(contents.refs.size, "ref")}, ${count(contents.files.size, "entry", "entries")}, ${bytes(point.counts.bytes)}`],
  ];
  for (const { name, path: place, branch, oid } of contents.worktrees) {
    rows.push([
      name === "" ? "worktree" : `worktree ${path(name)}`,
      `${path(place)} at ${oid?.slice(0, 12) ?? "no commit"}${branch === null ? " (detached)" : ` on ${path(branch)}`}`,
    ]);
  }
  for (const line of table(rows)) output.line(`  ${line}`);
  if (options.files === true) for (const entry of contents.files.keys()) if (placeOf(entry).area !== "folder") output.line(path(entry));
  if (contents.left.length > 0) output.line(`Left out (${contents.left.length}):`);
  for (const { path: name, reason } of contents.left.slice(0, options.files === true ? undefined : 20)) output.line(`  ${path(name)}: ${reason}`);
  if (contents.problems.length > 0) output.line(`Missing or not sure (${contents.problems.length}):`);
  for (const problem of contents.problems) output.line(`  ${path(problem.path)}: ${problem.message}`);
  output.json({
    point,
    chain: chain.map(({ id }) => id),
    signature,
    newSigners,
    note: contents.note ?? null,
    worktrees: contents.worktrees,
    refs: [...contents.refs.values()],
    left: contents.left,
    problems: contents.problems,
    ...(options.files === true ? { files: [...contents.files.values()] } : {}),
  });
  return exitCodes.done;
}
