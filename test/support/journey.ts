/**
 * A repository followed through its changes: each `mark` makes a point and remembers everything that stood there,
 * `verify` restores every point and compares.
 */
import { rmSync } from "node:fs";
import { expect } from "vitest";
import type { PointRequest } from "../../src/capture/make-point.ts";
import type { Problem } from "../../src/core/contents.ts";
import { withoutGit } from "../../src/restore/without-git.ts";
import { type MadePoint, type ProtectedRepository, protect } from "./protected.ts";
import { allObjects, missingFrom, type RepositoryState, repositoryState, type StateOptions } from "./repository-state.ts";

export interface JourneyOptions extends StateOptions {
  /** Codes of the problems that every point of this repository has; others fail the test. */
  readonly problems?: readonly Problem["code"][];
  /** Where damage makes the objects of a restore fewer. */
  readonly ignoreObjects?: boolean;
  /** Restores without the git program. */
  readonly isWithoutGit?: boolean;
}

export interface Journey extends Disposable {
  readonly safe: ProtectedRepository;
  mark(name: string, wish?: Partial<PointRequest>): Promise<MadePoint>;
  /** Restores every mark, or the named ones, and compares it with what stood there. */
  verify(...names: string[]): Promise<void>;
}

interface Mark {
  readonly name: string;
  readonly id: string;
  readonly state: RepositoryState;
  readonly objects: readonly string[];
}

export async function journey(root: string, options: JourneyOptions = {}): Promise<Journey> {
  const safe = await protect(root);
  const marks: Mark[] = [];
  return {
    safe,
    async mark(name, wish = {}) {
      const state = repositoryState(root, options);
      const objects = options.ignoreObjects === true ? [] : allObjects(root);
      const made = await safe.point(wish);
      expect([...new Set(made.problems.map(({ code }) => code))], `${name}: problems ${JSON.stringify(made.problems)}`).toEqual(
        options.problems ?? [],
      );
      expect(made.manifest.consistent).toBe(made.problems.length === 0);
      marks.push({ name, id: made.manifest.id, state, objects });
      return made;
    },
    async verify(...names) {
      for (const { name, id, state, objects } of marks.filter((mark) => names.length === 0 || names.includes(mark.name))) {
        const { target } = await safe.restore(id, options.isWithoutGit === true ? { git: withoutGit(), gitDir: undefined } : {});
        expect(repositoryState(target, options), name).toEqual(state);
        expect(missingFrom(allObjects(target), objects), `objects of ${name}`).toEqual([]);
        rmSync(target, { recursive: true, force: true });
      }
    },
    [Symbol.dispose]: () => safe[Symbol.dispose](),
  };
}
