import { openApp } from "../../app.ts";
import { exitCodes } from "../../core/errors.ts";
import { diffPoints } from "../../tasks/diff.ts";
import type { CommandContext } from "./context.ts";
import { environmentWith, type IdentityOption } from "./identity.ts";
import { count, path, table } from "./words.ts";

const signs = { added: "+", removed: "-", changed: "M" } as const;

interface DiffOptions extends IdentityOption {
  readonly store?: string;
}

export async function diff({ cwd, output, signal }: CommandContext, options: DiffOptions, from = "", to = "worktree"): Promise<number> {
  const app = await openApp(cwd, environmentWith(options, cwd));
  const result = await diffPoints(app, { from, to, store: options.store, signal });
  const { files, refs, uncompared } = result;
  for (const { worktree, path: name, change, what } of files) {
    const place = worktree === "" ? path(name) : `${path(worktree)}:${path(name)}`;
    output.line(`${signs[change]} ${place}${what.length === 0 ? "" : `  (${what.join(", ")})`}`);
  }
  const rows = refs.map(({ name, before, after }) => [path(name), short(before), "->", short(after)]);
  for (const line of table(rows)) output.line(line);
  output.line(
    files.length + refs.length === 0
      ? `Nothing differs between ${result.from} and ${result.to}.`
      : `${count(files.length, "file")} and ${count(refs.length, "ref")} differ between ${result.from} and ${result.to}.`,
  );
  for (const name of uncompared)
    output.warn(`tracked files${name === "" ? "" : ` of the worktree ${path(name)}`} are not compared: this repository lacks one of the two commits`);
  output.json({ ...result });
  return exitCodes.done;
}

function short(tip: string | null): string {
  if (tip === null) return "(none)";
  return /^[0-9a-f]{40,64}$/.test(tip) ? tip.slice(0, 12) : path(tip);
}
