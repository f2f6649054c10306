import { openApp } from "../../app.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import { markKinds } from "../../points/marks.ts";
import { markPoint, writeCatalogue } from "../../tasks/mark.ts";
import type { CommandContext } from "./context.ts";
import { count } from "./words.ts";

interface MarkOptions {
  readonly by?: string;
  readonly note?: string;
  readonly store?: string;
}

const words = { verified: "verified", pinned: "pinned: retention keeps it", unpinned: "no longer pinned" } as const;

export async function mark({ cwd, output, signal }: CommandContext, { by, note, store }: MarkOptions, point = "", as = ""): Promise<number> {
  const kind = markKinds.find((known) => known === as);
  if (kind === undefined) throw new BackupError("usage", `a point cannot be marked ${as}`, { hint: `holdfast mark POINT ${markKinds.join("|")}` });
  if (kind === "verified" && by === undefined)
    throw new BackupError("usage", "verified by whom?", { hint: `holdfast mark ${point || "POINT"} verified --by NAME` });
  const result = await markPoint(await openApp(cwd), { point, mark: kind, by, note, store, signal });
  output.line(`Point ${result.mark.point} is ${words[kind]}.`);
  if (!result.isTextStored && (by !== undefined || note !== undefined))
    output.note("The name and the note stay in the log of this machine: points are encrypted, and marks are not.");
  output.json({ ...result.mark });
  return exitCodes.done;
}

export async function catalogue({ cwd, output, signal }: CommandContext, { store }: { readonly store?: string }): Promise<number> {
  const { url, points } = await writeCatalogue(await openApp(cwd), store, signal);
  output.line(`backup_metadata.json of ${url} names ${count(points, "point")}.`);
  output.json({ store: url, points });
  return exitCodes.done;
}
