import { openApp } from "../../app.ts";
import { exitCodes } from "../../core/errors.ts";
import { shellWord } from "../../core/words.ts";
import type { LostLine } from "../../restore/lost.ts";
import { readLost } from "../../tasks/lost.ts";
import type { CommandContext } from "./context.ts";
import { environmentWith, type IdentityOption } from "./identity.ts";
import { age, count, path } from "./words.ts";

/** Lines that are shown; --json has all. */
const shown = 20;

export async function lost(
  { cwd, output, signal }: CommandContext,
  { from, ...options }: IdentityOption & { readonly from: string | undefined },
): Promise<number> {
  const app = await openApp(cwd, environmentWith(options, cwd));
  const { lines, commits, unread, store } = await readLost(app, from, signal);
  const now = new Date();
  for (const line of lines.slice(0, shown)) {
    const what = line.isStash ? "a stash" : count(line.commits, "commit");
    const where = line.refs.length === 0 || line.isStash ? "" : `, was on ${line.refs.map(shortName).join(", ")}`;
    output.line(`${short(line)}  ${path(line.subject)}`);
    const point = line.point === null ? "in no point that is known" : `in point ${line.point}`;
    output.line(`    ${what}, ${age(new Date(line.authoredAt), now)}${where}, ${point}`);
    for (const command of commandsOf(line, from)) output.line(`    ${command}`);
  }
  if (lines.length > shown) output.line(`… and ${count(lines.length - shown, "older line")}: --json has all`);
  if (lines.length === 0) output.line("Nothing is lost: some branch, tag or stash reaches every commit that is known.");
  for (const { id, message } of unread) output.warn(`what point ${id} saw is not among these: ${message}`);
  output.json({
    store,
    lost: lines.map((line) => ({ ...line, commands: commandsOf(line, from) })),
    commits,
    unread,
  });
  return unread.length === 0 ? exitCodes.done : exitCodes.partial;
}

/** Each alone brings it back; the first that fits is the quickest. */
function commandsOf(line: LostLine, from: string | undefined): string[] {
  const oid = short(line);
  const here = line.isStash ? `git stash store -m rescued ${oid}` : `git branch rescue-${oid} ${oid}`;
  const store = from === undefined ? "" : ` --from ${shellWord(from)}`;
  return [...(line.isHere ? [here] : []), ...(line.point === null ? [] : [`restore-from-git ${oid}${store}`])];
}

function short({ oid }: LostLine): string {
  return oid.slice(0, 12);
}

function shortName(ref: string): string {
  return path(ref.replace(/^refs\/(?:heads|remotes|tags)\//, ""));
}
