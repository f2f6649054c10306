/**
 * What git keeps in tables where `extensions.refStorage` is `reftable`, in the form of the files that it keeps
 * otherwise: HEAD and reflogs. (gitrepository-layout(5), gitformat-reftable)
 */
import { git, gitFind } from "./run.ts";

/** The text of a HEAD file. */
export async function headText(gitDir: string): Promise<string> {
  const branch = await gitFind(["--git-dir", gitDir, "symbolic-ref", "-q", "HEAD"]);
  if (branch !== undefined) return `ref: ${branch}\n`;
  return `${(await gitFind(["--git-dir", gitDir, "rev-parse", "--verify", "-q", "HEAD"])) ?? ""}\n`;
}

/** Ref names (HEAD is this git directory's own) to the text of their reflog files. What was before the oldest entry is not known. */
export async function reflogTexts(gitDir: string): Promise<Map<string, string>> {
  const format = "%gD%x00%H%x00%gN%x00%gE%x00%gs%x00";
  const { stdout } = await git(["--git-dir", gitDir, "log", "--walk-reflogs", "--all", "--date=raw", "-z", `--format=${format}`], {
    okCodes: [0, 128],
  });
  return parseReflogs(stdout.toString("latin1"));
}

/** Five fields and an empty one for each entry, newest first. Bytes as latin1. */
export function parseReflogs(output: string): Map<string, string> {
  const entries = new Map<string, { oid: string; rest: string }[]>();
  const fields = output.split("\0");
  for (let at = 0; at + 4 < fields.length; at += 6) {
    const [selector = "", oid = "", name = "", email = "", message = ""] = fields.slice(at, at + 5);
    const match = /^(.*)@\{(\d+ [+-]\d{4})\}$/s.exec(selector);
    if (match === null) continue;
    const ref = match[1] ?? "";
    const list = entries.get(ref) ?? [];
    list.push({ oid, rest: `${name} <${email}> ${match[2]}\t${message}` });
    entries.set(ref, list);
  }
  return new Map([...entries].map(([ref, list]) => [ref, textOf(list.toReversed())]));
}

/** Oldest first: a line has the entry's predecessor before it. */
function textOf(list: readonly { oid: string; rest: string }[]): string {
  return list.map(({ oid, rest }, at) => `${list[at - 1]?.oid ?? "0".repeat(oid.length)} ${oid} ${rest}\n`).join("");
}
