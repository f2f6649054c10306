/** The script in the state folder that the blocks source: hooks/trigger with this machine's paths in it. */
import { isAbsolute } from "node:path";
import { BackupError } from "../core/errors.ts";

/** What a hook starts: absolute paths, since a hook run by a desktop program has no useful PATH. */
export interface Runtime {
  readonly node: string;
  readonly main: string;
}

/** Writes the paths into the template, quoted for sh. Throws `internal` for relative ones or a template without places for them. */
export function bakeTrigger(template: string, runtime: Runtime): string {
  let text = template;
  for (const [place, path] of [
    ["node=@NODE@", runtime.node],
    ["main=@MAIN@", runtime.main],
  ] as const) {
    if (!isAbsolute(path) || path.includes("\0")) throw new BackupError("internal", `not an absolute path: ${path}`);
    if (text.split(place).length !== 2) throw new BackupError("internal", `the trigger's template has no single ${place}`);
    text = text.split(place).join(`${place.slice(0, 5)}${quoted(path)}`);
  }
  return text;
}

/** The paths that were written into a trigger, or undefined when it is none. */
export function parseTrigger(text: string): Runtime | undefined {
  const [node, main] = ["node", "main"].map((name) => new RegExp(`^${name}=('(?:[^']|'\\\\'')*')$`, "m").exec(text)?.[1]);
  return node === undefined || main === undefined ? undefined : { node: unquoted(node), main: unquoted(main) };
}

function quoted(path: string): string {
  return `'${path.split("'").join("'\\''")}'`;
}

function unquoted(word: string): string {
  return word.slice(1, -1).split("'\\''").join("'");
}
