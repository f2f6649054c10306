/**
 * Every commit that a point ever saw can be restored: whatever git does afterwards, and whatever it did between two points.
 * HOLDFAST_HISTORY_SEEDS and HOLDFAST_HISTORY_STEPS set how many lives of how many operations (3 of 60, or 2 of 40 where not everything is required).
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { chainOf } from "../src/core/catalogue.ts";
import type { Manifest } from "../src/core/manifest.ts";
import { listReached } from "../src/git/commits.ts";
import { openRepository } from "../src/git/repository.ts";
import { findLost } from "../src/restore/lost.ts";
import { fetchObjects } from "../src/restore/objects.ts";
import { gitProgram } from "../src/restore/with-git.ts";
import { effort } from "./support/effort.ts";
import { type GitLife, gitLife } from "./support/git-life.ts";
import { type ProtectedRepository, protect } from "./support/protected.ts";
import { gitRepo } from "./support/repo.ts";

const seeds = effort("HOLDFAST_HISTORY_SEEDS", 3, 2);
const steps = effort("HOLDFAST_HISTORY_STEPS", 60, 40);

test.each(Array.from({ length: seeds }, (_, at) => at + 1))(`life %i of ${steps} operations`, { timeout: 60_000 + steps * 3000 }, async (seed) => {
  using life = gitLife(seed);
  using safe = await protect(life.repo);
  const unpacked = new UnpackedChains(safe);
  const trees = new Map<string, string>();
  const tips = new Set<string>();
  const done: string[] = [];
  let points = 0;
  const check = async (): Promise<void> => {
    const seen = commitsNow(life);
    const { manifest } = await safe.point({ isFullAsked: life.random() < 0.03 });
    points += 1;
    const missing = await unpacked.missing(manifest, seen);
    expect(missing, `missing from the point after ${done.slice(-15).join(", ")}`).toEqual([]);
    for (const { oid, tree } of seen) trees.set(oid, tree);
    for (const oid of tipsNow(life)) tips.add(oid);
  };
  await check();
  for (let step = 0; step < steps; step += 1) {
    done.push(life.step());
    const chance = life.random();
    if (chance < 0.02) rmSync(safe.stateFolder, { recursive: true, force: true });
    if (chance < 0.35) await check();
  }
  await check();

  // What a ref or the stash was at in any point is reached now, or named as lost.
  const repository = await openRepository(life.repo);
  const lost = await findLost({ repository, store: safe.store, catalogue: await safe.points(), held: undefined });
  const reached = await listReached(repository.commonDir);
  const named = new Set([...reached, ...lost.commits.map(({ oid }) => oid)]);
  expect([...tips].filter((oid) => !named.has(oid))).toEqual([]);
  expect(lost.commits.filter(({ oid }) => reached.has(oid))).toEqual([]);
  expect(lost.unread).toEqual([]);

  // Those that only few points hold are the hard ones to find.
  const rare = unpacked.rarest([...trees.keys()], 6);
  const some = [...trees.keys()].filter(() => life.random() < 4 / trees.size);
  for (const oid of new Set([...rare, ...some])) {
    const { target } = await safe.restore(oid);
    expect(gitIn(target, ["rev-parse", "HEAD", "HEAD^{tree}"]), oid).toBe(`${oid}\n${trees.get(oid)}`);
    expect(gitIn(target, ["write-tree"])).toBe(trees.get(oid));
    expect(gitIn(target, ["diff-files", "--name-only"])).toBe("");
    rmSync(target, { recursive: true });
  }
  console.log(`life ${seed}: ${done.length} operations, ${points} points, ${trees.size} commits seen`);
});

test("a commit that gc took and that no newer point builds on is found by its id", async () => {
  using repo = gitRepo({ a: "1\n" });
  using safe = await protect(repo.path);
  await safe.point();
  let doomed = "";
  // The eighth builds on the full one again.
  for (let step = 1; step <= 8; step += 1) {
    repo.write("a", `${step}\n`);
    if (step === 3) doomed = repo.commit("doomed");
    const { manifest } = await safe.point();
    expect(manifest.step).toBe(step);
    if (step !== 3) continue;
    repo.git("reset", "-q", "--hard", "HEAD~1");
    repo.git("reflog", "expire", "--expire=now", "--all");
    repo.git("gc", "-q", "--prune=now");
  }
  const points = await safe.points();
  expect(chainOf(points.at(-1) as Manifest, points)).toHaveLength(2);
  for (const what of [doomed, doomed.slice(0, 12)]) expect(readFileSync(join((await safe.restore(what)).target, "a"), "utf8")).toBe("3\n");
  await expect(safe.restore("0123456789")).rejects.toMatchObject({ code: "unknown_revision" });
});

interface Seen {
  readonly oid: string;
  readonly tree: string;
}

/** What any ref, HEAD, stash entry or reflog of any worktree reaches. */
function commitsNow({ ask }: GitLife): Seen[] {
  const heads = ask(["worktree", "list", "--porcelain"]).matchAll(/^HEAD ([0-9a-f]{40})$/gm);
  const tips = [...heads].map(([, oid = ""]) => oid).filter((oid) => !/^0+$/.test(oid));
  const listed = ask(["rev-list", "--all", "--reflog", "--stdin", "--format=%H %T"], `${tips.join("\n")}\n`);
  return [...listed.matchAll(/^([0-9a-f]{40}) ([0-9a-f]{40})$/gm)].map(([, oid = "", tree = ""]) => ({ oid, tree }));
}

/** Commits that refs, through annotated tags too, and stash entries are at. */
function tipsNow({ ask }: GitLife): string[] {
  const refs = ask(["for-each-ref", "--format=%(objecttype) %(objectname)%0a%(*objecttype) %(*objectname)"]);
  return [...refs.matchAll(/^commit ([0-9a-f]{40})$/gm)]
    .map(([, oid = ""]) => oid)
    .concat(ask(["stash", "list", "--format=%H"]).split("\n").filter(Boolean));
}

/** Each bundle unpacked once, into a repository that borrows from those of its chain and from nothing else. */
class UnpackedChains {
  readonly #safe: ProtectedRepository;
  readonly #folders: string[] = [];

  constructor(safe: ProtectedRepository) {
    this.#safe = safe;
  }

  /** Commits, and what they need, that the chain of the point does not hold. */
  async missing(point: Manifest, seen: readonly Seen[]): Promise<string[]> {
    const chain = chainOf(point, await this.#safe.points());
    const gitDir = this.#folder(point);
    mkdirSync(join(gitDir, "objects/info"), { recursive: true });
    mkdirSync(join(gitDir, "objects/pack"));
    mkdirSync(join(gitDir, "refs"));
    writeFileSync(join(gitDir, "HEAD"), "ref: refs/heads/main\n");
    writeFileSync(
      join(gitDir, "objects/info/alternates"),
      chain
        .slice(0, -1)
        .map((below) => `${this.#folder(below)}/objects\n`)
        .join(""),
    );
    await fetchObjects(gitProgram, gitDir, this.#safe.store, [point]);
    this.#folders.push(gitDir);
    const absent = absentFrom(
      gitDir,
      seen.map(({ oid }) => oid),
    );
    if (absent.length === 0)
      gitIn(
        gitDir,
        ["rev-list", "--objects", "--quiet", "--stdin"],
        seen.map(({ oid }) => oid),
      );
    return absent;
  }

  /** The commits that the fewest chains hold. */
  rarest(oids: readonly string[], count: number): string[] {
    const holders = new Map(oids.map((oid) => [oid, 0]));
    for (const folder of this.#folders) {
      const absent = new Set(absentFrom(folder, oids));
      for (const oid of oids) if (!absent.has(oid)) holders.set(oid, (holders.get(oid) ?? 0) + 1);
    }
    return [...holders]
      .sort(([, a], [, b]) => a - b)
      .slice(0, count)
      .map(([oid]) => oid);
  }

  #folder({ id }: Manifest): string {
    return join(this.#safe.scratch, "unpacked", id);
  }
}

function absentFrom(gitDir: string, oids: readonly string[]): string[] {
  return [...gitIn(gitDir, ["cat-file", "--batch-check"], oids).matchAll(/^(\S+) missing$/gm)].map(([, oid = ""]) => oid);
}

function gitIn(cwd: string, args: readonly string[], input?: readonly string[]): string {
  const options = input === undefined ? {} : { input: `${input.join("\n")}\n` };
  return execFileSync("git", args, { cwd, ...options, encoding: "utf8", maxBuffer: 1 << 28 }).trimEnd();
}
