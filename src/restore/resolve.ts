/** From what a person says (a commit, a branch, a date, a point) to a restore plan. */
import { join } from "node:path";
import { type Catalogue, chainOf, findPoint, nearestPoint, pointAt } from "../core/catalogue.ts";
import { BackupError } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import type { Revision } from "../git/revision.ts";
import { readContents, readRecords } from "../points/catalogue.ts";
import { makeScratch } from "../state/scratch.ts";
import type { Store } from "../stores/store.ts";
import type { RestoreGit } from "./git-port.ts";
import { limitsWithoutGit, noLimits } from "./limits.ts";
import { fetchObjects, writeHead, writeRefs } from "./objects.ts";
import { planCommit, planMoment, type RestorePlan } from "./plan.ts";
import { gitProgram } from "./with-git.ts";

export interface ResolveRequest {
  /** A commit, branch, tag, `HEAD~3`, a point's prefix, `latest`; undefined: the newest point. */
  readonly what: string | undefined;
  /** A date in any form that git understands. */
  readonly at: string | undefined;
  /** A point's prefix, `none`, or undefined for the point that fits best. */
  readonly filesFrom: string | undefined;
  readonly paths: readonly string[];
  readonly store: Store;
  readonly catalogue: Catalogue;
  /** Of the worktree that is asked in, where it is there: it knows names that no point has yet, and has a HEAD of its own. */
  readonly gitDir: string | undefined;
  /** Its name in points; the main one when absent. */
  readonly worktree?: string;
  /** The git program when absent. */
  readonly git?: RestoreGit;
  readonly signal?: AbortSignal | undefined;
}

export interface Resolved {
  readonly plan: RestorePlan;
  /** What was understood, in words for people. */
  readonly explanation: string;
}

export async function resolve(asked: ResolveRequest): Promise<Resolved> {
  const request = { ...asked, git: asked.git ?? gitProgram };
  const { what, at, catalogue, paths } = request;
  const newest = catalogue.at(-1);
  if (newest === undefined) throw new BackupError("no_points", `the store ${request.store.name} holds no point yet`);
  if (at !== undefined) {
    const moment = await parseMoment(at, request.git);
    const point = pointAt(moment, catalogue);
    if (point === undefined) {
      throw new BackupError("unknown_point", `there is no point at or before ${moment.toISOString()}; the first is ${catalogue[0]?.id}`);
    }
    if (what === undefined) return momentOf(point, request, `the moment ${describePoint(point)}, ${distance(point, moment)}`);
    return resolveCommit(request, what, point);
  }
  if (what === undefined || what === "latest") return momentOf(newest, request, `the moment ${describePoint(newest)}, the newest point`);
  const point = looksLikePoint(what) ? findPoint(what, catalogue) : undefined;
  if (point !== undefined) {
    if (request.filesFrom !== undefined) throw new BackupError("usage", "--files-from goes with a commit: a point has its own files");
    return { plan: planMoment(point, catalogue, paths), explanation: `the moment ${describePoint(point)}` };
  }
  return resolveCommit(request, what, newest);
}

type Request = ResolveRequest & { readonly git: RestoreGit };

/** Reads a date as git does ("yesterday 18:00", "2 days ago", ISO), in the machine's time zone; without git fewer forms. Throws `usage`. */
export async function parseMoment(text: string, git: RestoreGit = gitProgram): Promise<Date> {
  const exact = /^\d{4}-\d\d-\d\dT/.test(text) ? Date.parse(text) : Number.NaN;
  if (!Number.isNaN(exact)) return new Date(exact);
  const date = await git.parseDate(text);
  if (date !== undefined) return date;
  throw new BackupError("usage", `${JSON.stringify(text)} is not a date${git.isProgram ? "" : " that can be read without git"}`, {
    hint: 'for example: --at "yesterday 18:00", --at "2 hours ago", --at 2026-11-21T14:30',
  });
}

function momentOf(point: Manifest, { catalogue, paths, filesFrom }: ResolveRequest, explanation: string): Resolved {
  if (filesFrom !== undefined) throw new BackupError("usage", "--files-from goes with a commit: a point has its own files");
  return { plan: planMoment(point, catalogue, paths), explanation };
}

async function resolveCommit(request: Request, what: string, asOf: Manifest): Promise<Resolved> {
  const { catalogue, gitDir, paths, at, git } = request;
  using scratch = new Scratch(request);
  const living = gitDir === undefined || at !== undefined ? undefined : await git.findCommit(gitDir, what);
  const known = await scratch.find(living?.oid ?? what, asOf, living === undefined);
  if (known === undefined) {
    if (living !== undefined) {
      throw new BackupError("unknown_revision", `commit ${living.oid} is not in any point yet`, {
        hint: "holdfast backup, then ask again; it is still in this repository",
      });
    }
    throw new BackupError("unknown_revision", `nothing in the repository or in the store ${request.store.name} is called ${what}`);
  }
  const committed = await git.readCommitTime(known.gitDir, known.oid);
  const { files, words } = await filesFor(request, known.oid, committed, at === undefined ? undefined : asOf);
  const plan = planCommit({ oid: known.oid, branch: living?.branch ?? known.branch, files, objects: known.point }, catalogue, paths);
  return { plan, explanation: `commit ${known.oid.slice(0, 12)} of ${committed.toISOString()}; ${words}` };
}

/** Which point's untracked files belong to a commit: where HEAD was at it, else the nearest in time, never before the first point. */
async function filesFor(
  request: ResolveRequest,
  oid: string,
  committed: Date,
  asked: Manifest | undefined,
): Promise<{ files: Manifest | undefined; words: string }> {
  const { filesFrom, catalogue } = request;
  if (filesFrom === "none") return { files: undefined, words: "tracked files alone, as asked" };
  if (filesFrom !== undefined) {
    const point = findPoint(filesFrom, catalogue);
    if (point === undefined) throw new BackupError("unknown_point", `there is no point ${filesFrom}`);
    return { files: point, words: `untracked files of point ${describePoint(point)}, as asked` };
  }
  if (asked !== undefined)
    return { files: asked, words: `untracked files of point ${describePoint(asked)}, ${distance(asked, committed)} the commit` };
  const nearest = nearestPoint(committed, catalogue);
  const first = catalogue[0];
  if (nearest === undefined || first === undefined) return { files: undefined, words: "no untracked state is known" };
  const atHead = await pointAtHead(request, oid, nearest);
  if (atHead !== undefined)
    return {
      files: atHead,
      words: `untracked files of point ${describePoint(atHead)}, when HEAD was at it, ${distance(atHead, committed)} the commit`,
    };
  // A commit's time is that of its whole second.
  if (committed.getTime() + 999 < Date.parse(first.createdAt)) {
    return { files: undefined, words: `no untracked state is known: it is older than the first point (${describePoint(first)})` };
  }
  return {
    files: nearest,
    words: `untracked files of point ${describePoint(nearest)}, the nearest in time: ${distance(nearest, committed)} the commit`,
  };
}

/** The first point whose main HEAD was at the commit; looked for around the nearest in time, and at the first point. */
async function pointAtHead({ store, catalogue, signal }: ResolveRequest, oid: string, nearest: Manifest): Promise<Manifest | undefined> {
  const at = catalogue.indexOf(nearest);
  const around = catalogue.slice(Math.max(0, at - headSearch), at + headSearch + 1);
  const first = catalogue[0];
  for (const point of first === undefined || around.includes(first) ? around : [first, ...around]) {
    const records = await readRecords(store, point, { signal });
    if (records.some((record) => record.t === "worktree" && record.name === "" && record.oid === oid)) return point;
  }
  return undefined;
}

const headSearch = 3;

/** Of a worktree that was not there yet: a branch that no point has. */
const noHead = { branch: "refs/holdfast/no-head", oid: null };

/** Temporary repositories with the objects of a point, to find names and commits in. */
class Scratch implements Disposable {
  readonly #request: Request;
  readonly #folder = makeScratch("resolve");

  constructor(request: Request) {
    this.#request = request;
  }

  /** Looks into `asOf`, then back through the newest point of every earlier full; an object id then in every other point. */
  async find(what: string, asOf: Manifest, isName: boolean): Promise<(Revision & { point: Manifest; gitDir: string }) | undefined> {
    const { catalogue } = this.#request;
    const upTo = catalogue.slice(0, catalogue.indexOf(asOf) + 1);
    const newestOfFull = new Map(upTo.map((manifest) => [manifest.full, manifest]));
    const candidates = [asOf, ...[...newestOfFull.values()].reverse().filter((manifest) => manifest !== asOf)];
    for (const point of candidates) {
      const gitDir = await this.#open(point);
      const found = await this.#request.git.findCommit(gitDir, what);
      if (found !== undefined) return { ...found, branch: isName ? found.branch : undefined, point, gitDir };
      // A name means what it meant then; only an object id is worth looking for in older points.
      if (isName && !/^[0-9a-f]{4,64}$/.test(what)) return undefined;
    }
    for (const newest of candidates) {
      const found = await this.#findBeside(what, newest, upTo);
      if (found !== undefined) return found;
    }
    return undefined;
  }

  /**
   * A point need not hold what an earlier one on the same full held: it builds on a lower rung, and a gc came between.
   * Looks into the packs of those earlier ones, each read once; the point is the first whose own pack has the commit.
   */
  async #findBeside(what: string, newest: Manifest, upTo: Catalogue): Promise<(Revision & { point: Manifest; gitDir: string }) | undefined> {
    const { store, catalogue, git, signal } = this.#request;
    const gitDir = join(this.#folder.path, newest.id);
    const known = new Set(chainOf(newest, catalogue));
    const others = upTo.filter((manifest) => manifest.full === newest.full && !known.has(manifest));
    const packs = new Map<Manifest, string>();
    for (const point of others) {
      const [pack] = await fetchObjects(git, gitDir, store, [point], { signal });
      if (pack !== undefined) packs.set(point, pack);
    }
    const found = packs.size === 0 ? undefined : await git.findCommit(gitDir, what);
    if (found === undefined) return undefined;
    for (const [point, pack] of packs)
      if ((await git.listPack(gitDir, pack)).has(found.oid)) return { oid: found.oid, branch: undefined, point, gitDir };
    return undefined;
  }

  async #open(point: Manifest): Promise<string> {
    const { store, catalogue, git, worktree = "", signal } = this.#request;
    const options = { signal };
    const chain = chainOf(point, catalogue);
    const contents = await readContents(store, chain, options);
    const gitDir = join(this.#folder.path, point.id);
    const { objectFormat } = contents.header;
    const { history } = git.isProgram ? noLimits : limitsWithoutGit({ result: "commit", objects: chain }, objectFormat, process.availableMemory());
    if (history !== undefined)
      throw new BackupError("git_missing", `a commit cannot be looked for: ${history}`, {
        hint: "install git 2.31 or newer, or name a point: restore-from-git --list",
      });
    await git.initRepository(gitDir, true, objectFormat);
    await fetchObjects(git, gitDir, store, chain, options);
    await writeRefs(git, gitDir, contents, options);
    await writeHead(gitDir, contents.worktrees.find(({ name }) => name === worktree) ?? noHead);
    return gitDir;
  }

  [Symbol.dispose](): void {
    this.#folder[Symbol.dispose]();
  }
}

/** Ids begin with the day. Four to seven digits may be a commit, too. */
export function looksLikePoint(what: string): boolean {
  return /^\d{8}(?:T[0-9TZa-f-]*)?$/.test(what) || /^\d{4,7}$/.test(what);
}

export function describePoint(point: Manifest): string {
  return `${point.id} (${point.kind})`;
}

/** "3 minutes after", "2 days before": from the moment to the point. */
export function distance(point: Manifest, moment: Date): string {
  const seconds = Math.round((Date.parse(point.createdAt) - moment.getTime()) / 1000);
  const size = Math.abs(seconds);
  const [unit, name] = size < 90 ? [1, "second"] : size < 5400 ? [60, "minute"] : size < 129600 ? [3600, "hour"] : [86400, "day"];
  const count = Math.round(size / unit);
  if (count === 0) return "at the time of";
  return `${count} ${name}${count === 1 ? "" : "s"} ${seconds < 0 ? "before" : "after"}`;
}
