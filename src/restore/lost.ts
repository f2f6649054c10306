/**
 * Finds commits that no ref, HEAD or stash entry reaches any more: in the repository itself (reflog, dangling) and in points.
 * What points hold is looked up by what their contents say about refs; only packs with tips that the repository no longer
 * has are opened, in a temporary repository that borrows the user's objects. Writes nothing into the user's.
 */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Catalogue, chainOf } from "../core/catalogue.ts";
import { BackupError } from "../core/errors.ts";
import type { PointId } from "../core/ids.ts";
import { type CommitFacts, drawLines, looksLikeStash } from "../core/lost-lines.ts";
import type { Manifest } from "../core/manifest.ts";
import { listCommits, listReached, peelToCommits, readCommits, readReflogNames } from "../git/commits.ts";
import { findObjects } from "../git/refs.ts";
import type { Repository } from "../git/repository.ts";
import { makeScratch, type ScratchFolder } from "../state/scratch.ts";
import type { Store } from "../stores/store.ts";
import { fetchObjects } from "./objects.ts";
import { readSightings, type Sighting } from "./sightings.ts";
import { gitProgram } from "./with-git.ts";

export interface LostRequest {
  readonly repository: Pick<Repository, "commonDir" | "objectFormat">;
  readonly store: Store;
  /** At least one point. */
  readonly catalogue: Catalogue;
  /** A point and ids that its chain is known to hold beside those that its contents name. */
  readonly held: { readonly point: PointId; readonly oids: ReadonlySet<string> } | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A commit that nothing stands on but stashes, and how much is lost with it. */
export interface LostLine {
  readonly oid: string;
  readonly subject: string;
  /** ISO 8601, UTC. */
  readonly authoredAt: string;
  /** Lost commits that it reaches, itself included; of a stash 1. */
  readonly commits: number;
  readonly isStash: boolean;
  /** Full names of the refs that were at it, by the newest point that says so, else by a reflog. `HEAD`: only HEAD was. */
  readonly refs: readonly string[];
  /** A point that has it; null where none is known to. */
  readonly point: PointId | null;
  /** The repository still has the object. */
  readonly isHere: boolean;
}

export interface LostResult {
  /** Newest first. */
  readonly lines: readonly LostLine[];
  /** All of them, in no order. */
  readonly commits: readonly (CommitFacts & { readonly isHere: boolean })[];
  /** Points whose part of the answer is missing. */
  readonly unread: readonly { readonly id: PointId; readonly message: string }[];
}

export async function findLost(request: LostRequest): Promise<LostResult> {
  const { repository, held } = request;
  const { commonDir } = repository;
  const [{ sightings, unread }, here, reached] = await Promise.all([
    readSightings(request.store, request.catalogue, request),
    listCommits(commonDir),
    listReached(commonDir),
  ]);
  using borrowed = new Borrowed(request, sightings, here);
  const { gitDir, all } = await borrowed.open();
  const lost = await readCommits(
    gitDir,
    [...all].filter((oid) => !reached.has(oid)),
  );
  const seen = await peelSightings(gitDir, sightings);
  const reflogs = readReflogNames(commonDir);
  const refsOf = (oid: string): readonly string[] => seen.get(oid)?.refs ?? reflogs.get(oid) ?? [];
  const drawn = drawLines(lost, (commit) => refsOf(commit.oid).includes("refs/stash") || looksLikeStash(commit));
  const lines = drawn.map(
    ({ tip: { oid, subject, authoredAt }, ...line }): LostLine => ({
      oid,
      subject,
      authoredAt,
      ...line,
      refs: refsOf(oid),
      point: seen.get(oid)?.point ?? (held?.oids.has(oid) === true ? held.point : null),
      isHere: here.has(oid),
    }),
  );
  const commits = lost.map((commit) => ({ ...commit, isHere: here.has(commit.oid) }));
  return { lines, commits, unread: [...unread, ...borrowed.unread] };
}

/** What was seen of an annotated tag counts for its commit. */
async function peelSightings(gitDir: string, sightings: ReadonlyMap<string, Sighting>): Promise<Map<string, Sighting>> {
  const seen = new Map<string, Sighting>();
  for (const [oid, commit] of await peelToCommits(gitDir, [...sightings.keys()])) {
    const sighting = sightings.get(oid);
    if (sighting !== undefined && (oid === commit || !seen.has(commit))) seen.set(commit, sighting);
  }
  return seen;
}

/** A temporary repository with the packs of points that have what the user's repository lacks. */
class Borrowed implements Disposable {
  readonly unread: { id: PointId; message: string }[] = [];
  readonly #request: LostRequest;
  readonly #sightings: ReadonlyMap<string, Sighting>;
  readonly #here: ReadonlySet<string>;
  readonly #fetched = new Set<Manifest>();
  #scratch: ScratchFolder | undefined;

  constructor(request: LostRequest, sightings: ReadonlyMap<string, Sighting>, here: ReadonlySet<string>) {
    this.#request = request;
    this.#sightings = sightings;
    this.#here = here;
  }

  /** Where every commit can be read, and all that are there. The user's own repository when it has them all. */
  async open(): Promise<{ gitDir: string; all: ReadonlySet<string> }> {
    const { commonDir, objectFormat } = this.#request.repository;
    const unsure = [...this.#sightings.keys()].filter((oid) => !this.#here.has(oid));
    const present = await findObjects(commonDir, unsure);
    const missing = unsure.filter((oid) => !present.has(oid));
    if (missing.length === 0) return { gitDir: commonDir, all: this.#here };
    this.#scratch = makeScratch("lost");
    const gitDir = join(this.#scratch.path, "lost.git");
    await gitProgram.initRepository(gitDir, true, objectFormat);
    await writeFile(join(gitDir, "objects/info/alternates"), `${join(commonDir, "objects")}\n`);
    const points = this.#pointsOf(missing);
    // Mostly the tip is in the point's own pack, and what it stands on is still here.
    for (const point of points) {
      await this.#fetch(gitDir, [point]).catch((error: unknown) => {
        if (!isDamage(error)) throw error;
        // A thin pack whose base is gone from here needs its chain; a damaged one says so again.
        return this.#fetchChain(gitDir, point);
      });
    }
    const found = await findObjects(gitDir, missing);
    const all = await listCommits(gitDir);
    if (missing.every((oid) => found.has(oid)) && (await this.#isWhole(gitDir, all))) return { gitDir, all };
    for (const point of points) await this.#fetchChain(gitDir, point);
    return { gitDir, all: await listCommits(gitDir) };
  }

  /** False where a commit that came from a pack stands on one that is nowhere yet. */
  async #isWhole(gitDir: string, all: ReadonlySet<string>): Promise<boolean> {
    const fresh = await readCommits(
      gitDir,
      [...all].filter((oid) => !this.#here.has(oid)),
    );
    return fresh.every(({ parents }) => parents.every((oid) => all.has(oid)));
  }

  #pointsOf(oids: readonly string[]): Manifest[] {
    const ids = new Set(oids.map((oid) => this.#sightings.get(oid)?.point));
    return this.#request.catalogue.filter(({ id }) => ids.has(id));
  }

  /** What cannot be read is named, and the rest goes on. */
  async #fetchChain(gitDir: string, point: Manifest): Promise<void> {
    try {
      await this.#fetch(gitDir, chainOf(point, this.#request.catalogue));
    } catch (error) {
      if (!isDamage(error)) throw error;
      this.unread.push({ id: point.id, message: error.message });
    }
  }

  async #fetch(gitDir: string, points: readonly Manifest[]): Promise<void> {
    const { store, signal } = this.#request;
    for (const point of points) {
      if (this.#fetched.has(point)) continue;
      await fetchObjects(gitProgram, gitDir, store, [point], { signal });
      this.#fetched.add(point);
    }
  }

  [Symbol.dispose](): void {
    this.#scratch?.[Symbol.dispose]();
  }
}

function isDamage(error: unknown): error is BackupError {
  return error instanceof BackupError && (error.code === "damaged" || error.code === "chain_broken");
}
