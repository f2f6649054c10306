/** What a revision means, for machines without git: names, ids and their beginnings, with `~N`, `^N` and `^{commit}`. (gitrevisions(7)) */
import { BackupError } from "../core/errors.ts";
import type { ObjectReader } from "./object-reader.ts";
import { readHeadFile, readRefFiles } from "./ref-files.ts";

export interface Revision {
  /** Of a commit. */
  readonly oid: string;
  /** Full name, where a branch was named, by HEAD too. */
  readonly branch: string | undefined;
}

/** Undefined where nothing is called so. Throws `ambiguous`, and `usage` for a form that only git reads. */
export async function findRevision(gitDir: string, objects: ObjectReader, what: string): Promise<Revision | undefined> {
  const [, name = "", steps = ""] = /^(.*?)((?:[~^]\d*|\^\{(?:commit)?\})*)$/s.exec(what) ?? [];
  if (/@\{|[:^?*[\\\s]|\.\./.test(name) || what.startsWith("-"))
    throw new BackupError("usage", `${what} is a revision that only git can read`, {
      hint: "name a commit, a branch or a tag, with ~N or ^N behind it; or a point: restore-from-git --list",
    });
  const found = await findName(gitDir, objects, name);
  let oid = found === undefined ? undefined : await peel(objects, found.oid);
  for (const [, sign, count] of steps.matchAll(/([~^])(?:\{(?:commit)?\}|(\d*))/g)) {
    if (oid === undefined) return undefined;
    const number = count === undefined ? 0 : count === "" ? 1 : Number(count);
    if (sign === "^") oid = number === 0 ? oid : (await readParents(objects, oid))[number - 1];
    else for (let left = number; left > 0 && oid !== undefined; left -= 1) oid = (await readParents(objects, oid))[0];
  }
  if (oid === undefined) return undefined;
  return { oid, branch: steps === "" && found?.ref?.startsWith("refs/heads/") === true ? found.ref : undefined };
}

/** When the commit was made, by its committer's clock. Throws `damaged`. */
export async function readCommitTime(objects: ObjectReader, oid: string): Promise<Date> {
  const seconds = /^committer .* (\d+) [+-]\d+$/m.exec(await readText(objects, oid))?.[1];
  if (seconds === undefined) throw new BackupError("damaged", `commit ${oid} does not say when it was made`);
  return new Date(Number(seconds) * 1000);
}

interface Named {
  readonly oid: string;
  readonly ref?: string;
}

/** git's order: a whole id, HEAD, refs, the beginning of an id. */
async function findName(gitDir: string, objects: ObjectReader, name: string): Promise<Named | undefined> {
  if (/^[0-9a-f]{40}$/.test(name) && (await objects.find(name)) !== undefined) return { oid: name };
  if (name === "HEAD" || name === "@") {
    const { oid, branch } = readHeadFile(gitDir);
    return oid === null ? undefined : { oid, ...(branch === null ? {} : { ref: branch }) };
  }
  const refs = new Map(readRefFiles(gitDir).map((ref) => [ref.name, ref.oid]));
  for (const ref of [name, `refs/${name}`, `refs/tags/${name}`, `refs/heads/${name}`, `refs/remotes/${name}`, `refs/remotes/${name}/HEAD`]) {
    const oid = refs.get(ref);
    if (oid !== undefined) return { oid, ref };
  }
  if (!/^[0-9a-f]{4,40}$/.test(name)) return undefined;
  const commits = new Set<string>();
  for (const oid of objects.listIds(name)) if ((await peel(objects, oid)) !== undefined) commits.add(oid);
  if (commits.size > 1) throw new BackupError("ambiguous", `${name} fits ${commits.size} objects`, { hint: "give more characters of the commit" });
  const [only] = commits;
  return only === undefined ? undefined : { oid: only };
}

/** The commit itself, or the one that a tag leads to. */
async function peel(objects: ObjectReader, oid: string): Promise<string | undefined> {
  const object = await objects.find(oid);
  if (object?.type === "commit") return oid;
  const next = object?.type === "tag" ? /^object ([0-9a-f]{40})$/m.exec(Buffer.from(object.bytes).toString("latin1"))?.[1] : undefined;
  return next === undefined ? undefined : peel(objects, next);
}

async function readParents(objects: ObjectReader, oid: string): Promise<string[]> {
  return [...(await readText(objects, oid)).matchAll(/^parent ([0-9a-f]{40})$/gm)].map(([, parent = ""]) => parent);
}

/** The head of a commit: what a message may say does not count. */
async function readText(objects: ObjectReader, oid: string): Promise<string> {
  const text = Buffer.from((await objects.read(oid, "commit")).bytes).toString("latin1");
  return text.slice(0, text.indexOf("\n\n") + 1 || text.length);
}
