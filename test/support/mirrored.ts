/** A repository, bare remotes beside it, and mirror runs from one to the other with a clock that tests turn. */
import { join } from "node:path";
import { type MirrorConfig, mirrorOf } from "../../src/core/config.ts";
import { openRepository } from "../../src/git/repository.ts";
import { checkMirrors, type MirrorCheck } from "../../src/mirror/check.ts";
import { mirrorAll } from "../../src/mirror/mirror.ts";
import type { MirrorOutcome } from "../../src/mirror/outcome.ts";
import type { MirrorOptions } from "../../src/mirror/targets.ts";
import { gitRepo, type TestRepo, tempDir } from "./repo.ts";

export interface Mirrored extends Disposable {
  readonly user: TestRepo;
  /** Where the mirror's memory lies. */
  readonly state: string;
  clock: Date;
  /** Every ref of the user's to its oid. */
  tips(): Record<string, string>;
  /** An empty bare repository, also known as remote `name`. */
  bare(name: string, folder?: string): Bare;
  /** One run to one remote, whatever its turn: a name or URL, or all that may be configured. */
  run(mirror: string | Partial<MirrorConfig>, more?: Partial<MirrorOptions>): Promise<MirrorOutcome>;
  check(mirror: string | Partial<MirrorConfig>, more?: Partial<MirrorOptions>): Promise<MirrorCheck>;
  /** Amends the last commit of the user's `main`. Gives the old tip. */
  amend(): string;
}

export interface Bare {
  readonly path: string;
  git(...args: readonly string[]): string;
  /** Every ref to its oid. */
  tips(): Record<string, string>;
}

const listing = ["for-each-ref", "--format=%(refname) %(objectname)"];

export function mirrored(): Mirrored {
  const user = gitRepo({ one: "one" });
  const dirs = [tempDir()];
  const root = dirs[0]?.path ?? "";
  const state = join(user.path, ".git", "holdfast");
  let amended = 0;
  const options = async (mirror: string | Partial<MirrorConfig>, more: Partial<MirrorOptions>): Promise<MirrorOptions> => ({
    repository: await openRepository(user.path),
    mirrors: [typeof mirror === "string" ? mirrorOf(mirror) : { ...mirrorOf(mirror.remote ?? "a"), ...mirror }],
    machine: "box",
    reserved: [],
    stateDir: state,
    now: () => self.clock,
    random: () => 0.5,
    force: true,
    ...more,
  });
  const self: Mirrored = {
    user,
    state,
    clock: new Date("2026-11-21T14:30:05Z"),
    tips: () => parse(user.git(...listing)),
    bare(name, folder = `${name}.git`) {
      const path = join(root, folder);
      user.git("init", "--quiet", "--bare", "--initial-branch=main", path);
      user.git("remote", "add", name, path);
      const run = (...args: readonly string[]): string => user.git("--git-dir", path, ...args);
      return { path, git: run, tips: () => parse(run(...listing)) };
    },
    run: async (mirror, more = {}) => only(await mirrorAll(await options(mirror, more))),
    check: async (mirror, more = {}) => only(await checkMirrors(await options(mirror, more))),
    amend() {
      const old = user.git("rev-parse", "main");
      amended += 1;
      user.git("commit", "--quiet", "--amend", "--allow-empty", "--message", `amended ${amended}`);
      return old;
    },
    [Symbol.dispose]: () => [user, ...dirs].forEach((dir) => void dir[Symbol.dispose]()),
  };
  return self;
}

function parse(text: string): Record<string, string> {
  const lines = text.split("\n").filter((line) => line !== "");
  return Object.fromEntries(lines.map((line) => line.split(" ") as [string, string]));
}

function only<T>(items: readonly T[]): T {
  if (items.length !== 1) throw new Error(`one was expected, not ${items.length}`);
  return items[0] as T;
}
