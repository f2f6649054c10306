/**
 * LFS objects for a mirror: refs hold pointers only. What they point to is sent by git-lfs itself, as its pre-push hook
 * would do, before the refs. Where that does not work the refs go all the same, and the outcome has a note.
 *
 * git-lfs writes logs, locks and temporary files beside its objects: it is given a folder of ours whose `objects` is a
 * link to the user's.
 */

import { mkdir, readdir, readlink, rm, symlink } from "node:fs/promises";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";
import { mustWait } from "../core/backoff.ts";
import { type RemoteCall, talk } from "../git/porcelain.ts";
import type { Repository } from "../git/repository.ts";
import { git, gitFind, withoutCredentials } from "../git/run.ts";
import type { Tips } from "./layout.ts";

export interface LfsState {
  /** Tips of this repository all of whose LFS objects are on the remote, as far as they are here. */
  readonly done: Tips;
  /** What is not there, and why; null when nothing is known to be missing. */
  readonly note: string | null;
  /** In a row. */
  readonly failures: number;
  /** Not before this; null when nothing stands in the way. */
  readonly nextAttemptAt: Date | null;
}

export const freshLfs: LfsState = { done: new Map(), note: null, failures: 0, nextAttemptAt: null };

export interface LfsRun {
  readonly repository: Repository;
  /** The bare repository of ours; see objects.ts. */
  readonly gitDir: string;
  /** Tips of this repository by their names here. */
  readonly tips: Tips;
  readonly url: string;
  readonly call: RemoteCall;
  readonly now: Date;
  /** Try again although its time has not come. */
  readonly isForced: boolean;
  readonly delayMs: (failures: number) => number;
}

/** Sends what the remote lacks of the LFS objects of `tips`; gives what to remember. Costs nothing where no LFS object is. Throws `interrupted`. */
export async function pushLfs(before: LfsState, run: LfsRun): Promise<LfsState> {
  const objects = await findLfsObjects(run.repository, run.call);
  if (objects === undefined) return freshLfs;
  const pending = [...run.tips].filter(([ref, oid]) => before.done.get(ref) !== oid);
  if (pending.length === 0 && before.note === null) return before;
  if (!run.isForced && mustWait(before.nextAttemptAt, run.now)) return before;
  const note = await send(pending, objects, before.done, run);
  if (note === undefined) return { ...freshLfs, done: run.tips };
  const failures = before.failures + 1;
  const nextAttemptAt = new Date(run.now.getTime() + run.delayMs(failures));
  return { done: before.done, note: `LFS objects are missing there: ${note}`, failures, nextAttemptAt };
}

/** The folder of this repository's LFS objects; undefined where there are none. */
async function findLfsObjects({ commonDir }: Repository, { cwd }: RemoteCall): Promise<string | undefined> {
  const storage = await gitFind(["config", "lfs.storage"], { cwd });
  const folder = join(resolve(commonDir, storage ?? "lfs"), "objects");
  const names = await readdir(folder).catch(() => []);
  return names.length === 0 ? undefined : folder;
}

/** Undefined when all is there; else why not. */
async function send(pending: readonly [string, string][], objects: string, done: Tips, run: LfsRun): Promise<string | undefined> {
  const { url, call } = run;
  const { code: missing } = await git(["lfs", "version"], { cwd: call.cwd, okCodes: [0, 1] });
  if (missing !== 0) return "git-lfs is not installed on this machine (apt-get install git-lfs)";
  const fileUrl = findFileUrl(url, call.cwd);
  const elsewhere = fileUrl === undefined ? await findCentralUrl(run) : undefined;
  if (elsewhere !== undefined) return `lfs.url sends them to ${withoutCredentials(elsewhere)}`;
  const storage = join(run.gitDir, "lfs");
  await linkObjects(storage, objects);
  const [someDone] = done.values();
  const options = ["-c", "lfs.allowincompletepush=true", "-c", "lfs.locksverify=false"];
  const address = fileUrl ?? url;
  const answer = await talk(
    // A file remote's end is a git-lfs of its own, which would take our storage for the remote's: it is started where ours is the default.
    [...options, ...(fileUrl === undefined ? ["-c", `lfs.storage=${storage}`] : []), "lfs", "pre-push", address, address],
    {
      ...call,
      cwd: fileUrl === undefined ? call.cwd : run.gitDir,
      env: { ...call.env, GIT_LFS_FORCE_PROGRESS: "1" },
      silenceMs: call.silenceMs ?? scanningMs,
      // githooks(5), pre-push: LOCAL-REF LOCAL-OID REMOTE-REF REMOTE-OID. Of a new branch only what no other has is looked through.
      input: pending.map(([ref, oid]) => `${ref} ${oid} ${ref} ${done.get(ref) ?? someDone ?? "0".repeat(oid.length)}\n`).join(""),
    },
  );
  const absent = new Set(`${answer.stdout}\n${answer.stderr}`.match(/^ *\(missing\) .*$/gm)).size;
  if (answer.code === 0) return absent === 0 ? undefined : `${absent} of them not in this repository either (git lfs fetch --all)`;
  if (answer.isTimedOut) return "git-lfs did not finish in time";
  if (/git-lfs-authenticate|not found|404|501 not implemented/i.test(answer.stderr)) return "the remote has no LFS";
  const words = answer.stderr.split(/[\r\n]+/).filter((line) => line.trim() !== "" && !/^Uploading LFS objects/.test(line));
  return withoutCredentials(words.at(-1) ?? `git-lfs ended with exit ${answer.code}`);
}

/** It says nothing while it looks through the history. */
const scanningMs = 10 * 60_000;

/** A path is no address for git-lfs, its file: URL is. Undefined for an address of another kind. */
function findFileUrl(url: string, cwd: string): string | undefined {
  if (url.startsWith("file://")) return url;
  // As git tells them apart: a colon before the first slash means a host, but for a drive letter.
  const isPath = /^[a-z]:[\\/]/i.test(url) || !/^[^/\\]*:/.test(url);
  return isPath ? pathToFileURL(resolve(cwd, url)).href : undefined;
}

/** One LFS server for all remotes, by the user's settings or the project's `.lfsconfig`: not the mirror's, and not ours to write to. */
async function findCentralUrl({ repository, call }: LfsRun): Promise<string | undefined> {
  for (const key of ["lfs.pushurl", "lfs.url"]) {
    const set = await gitFind(["config", key], { cwd: call.cwd });
    if (set !== undefined && set !== "") return set;
    const root = repository.worktrees[0]?.root;
    const inProject = root == null ? undefined : await gitFind(["config", "--file", join(root, ".lfsconfig"), key], { cwd: call.cwd });
    if (inProject !== undefined && inProject !== "") return inProject;
  }
  return undefined;
}

async function linkObjects(storage: string, objects: string): Promise<void> {
  const link = join(storage, "objects");
  if ((await readlink(link).catch(() => undefined)) === objects) return;
  await rm(link, { recursive: true, force: true });
  await mkdir(storage, { recursive: true });
  await symlink(objects, link, "junction");
}
