import { openApp } from "../../app.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import type { FoundVersion } from "../../points/find.ts";
import { findFiles } from "../../tasks/find.ts";
import type { CommandContext } from "./context.ts";
import { environmentWith, type IdentityOption } from "./identity.ts";
import { bytes, count, path, table } from "./words.ts";

interface FindOptions extends IdentityOption {
  readonly store?: string;
}

export async function find({ cwd, output, signal }: CommandContext, options: FindOptions, glob = ""): Promise<number> {
  const app = await openApp(cwd, environmentWith(options, cwd));
  const found = await findFiles(app, glob, {
    store: options.store,
    signal,
    onProgress: (done, total) => output.progress(`point ${done} of ${total}`),
  });
  const { versions, commits, unread } = found;
  if (versions.length + commits.length === 0)
    throw new BackupError("no_match", `no point and no commit holds a file that fits ${glob}`, {
      hint: 'globs are gitignore\'s: holdfast find "*.db"',
    });
  const rows = versions.map((version) => [
    version.worktree === "" ? path(version.path) : `${path(version.worktree)}:${path(version.path)}`,
    version.size === null ? version.kind : bytes(version.size),
    contentOf(version),
    version.area,
    version.first === version.last ? `in ${version.first}` : `in ${version.first} to ${version.last} (${count(version.points, "point")})`,
  ]);
  for (const { path: name, oid, commit, committedAt } of commits)
    rows.push([path(name), "", oid.slice(0, 12), "committed", `since ${commit.slice(0, 12)} of ${committedAt.slice(0, 10)}`]);
  for (const line of table(rows)) output.line(line);
  for (const id of unread) output.warn(`point ${id} cannot be read: it is not among these`);
  output.json({ store: found.store, versions, commits, unread });
  return unread.length === 0 ? exitCodes.done : exitCodes.partial;
}

function contentOf({ sha256, target }: FoundVersion): string {
  if (sha256 !== null) return sha256.slice(0, 12);
  return target === null ? "" : `-> ${path(target)}`;
}
