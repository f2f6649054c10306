/** Refs as files, for machines without git: all of them in packed-refs but symbolic ones, which have a file each. (gitrepository-layout(5)) */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { RefEntry } from "../core/contents.ts";
import { BackupError } from "../core/errors.ts";
import { type Head, readText } from "./refs.ts";

/** Into a repository without refs. The names must have been looked at. Throws `hostile` where one is the folder of another. */
export function writeRefFiles(gitDir: string, refs: readonly RefEntry[]): void {
  const names = new Set(refs.map(({ name }) => name));
  for (const { name } of refs)
    for (let above = dirname(name); above !== "refs"; above = dirname(above))
      if (names.has(above)) throw new BackupError("hostile", `the point has a ref ${JSON.stringify(above)} and one below it`);
  const packed = refs.filter(({ symref }) => symref === undefined).sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
  const lines = packed.map(({ oid, name }) => `${oid} ${name}\n`);
  if (packed.length > 0) writeFileSync(join(gitDir, "packed-refs"), `# pack-refs with: sorted \n${lines.join("")}`);
  for (const { name, symref } of refs) {
    if (symref === undefined) continue;
    mkdirSync(join(gitDir, dirname(name)), { recursive: true });
    writeFileSync(join(gitDir, name), `ref: ${symref}\n`);
  }
}

/** Every ref; a symbolic one with the id that it leads to, and not at all where it leads nowhere. */
export function readRefFiles(gitDir: string): RefEntry[] {
  const found = new Map<string, string>();
  for (const line of readText(join(gitDir, "packed-refs")).split("\n")) {
    const match = /^([0-9a-f]{40,64}) (refs\/.+)$/.exec(line);
    if (match !== null) found.set(match[2] as string, match[1] as string);
  }
  for (const entry of readdirSync(join(gitDir, "refs"), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    found.set(path.slice(gitDir.length + 1), readText(path).trim());
  }
  return [...found].flatMap(([name, text]): RefEntry[] => {
    const oid = follow(text, found);
    if (oid === undefined) return [];
    return [text.startsWith("ref: ") ? { name, oid, symref: text.slice(5) } : { name, oid }];
  });
}

export function readHeadFile(gitDir: string): Head {
  const text = readText(join(gitDir, "HEAD")).trim();
  const branch = text.startsWith("ref: ") ? text.slice(5) : null;
  const oid = branch === null ? text : (readRefFiles(gitDir).find(({ name }) => name === branch)?.oid ?? null);
  return { branch, oid: oid === "" ? null : oid };
}

/** git follows five of them. */
function follow(text: string, found: ReadonlyMap<string, string>, left = 5): string | undefined {
  if (!text.startsWith("ref: ")) return /^[0-9a-f]{40,64}$/.test(text) ? text : undefined;
  const next = found.get(text.slice(5));
  return next === undefined || left === 0 ? undefined : follow(next, found, left - 1);
}
