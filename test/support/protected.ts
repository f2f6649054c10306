/**
 * A repository with a store of its own: points and restores through the use cases themselves, without a process each.
 *
 *     using safe = await protect(repo.path);
 *     const before = repositoryState(repo.path);
 *     await safe.point();
 *     expect(repositoryState((await safe.restore()).target)).toEqual(before);
 */
import { join } from "node:path";
import { KnownState } from "../../src/capture/known.ts";
import { makePoint, type PointRequest, type PointResult } from "../../src/capture/make-point.ts";
import type { Manifest } from "../../src/core/manifest.ts";
import { openRepository } from "../../src/git/repository.ts";
import { readCatalogue } from "../../src/points/catalogue.ts";
import { writeIdentity } from "../../src/points/identity.ts";
import { type ResolveRequest, resolve } from "../../src/restore/resolve.ts";
import { type RestoreResult, restore } from "../../src/restore/restore.ts";
import { createStoreFolder, FolderStore } from "../../src/stores/folder.ts";
import { type TempDir, tempDir } from "./repo.ts";

export type MadePoint = Extract<PointResult, { status: "made" }>;

export interface ProtectedRepository extends Disposable {
  /** A folder of this test's own, removed with it. */
  readonly scratch: string;
  readonly store: FolderStore;
  /** The capture's memory: may be deleted at any time. */
  readonly stateFolder: string;
  /** A point even when nothing changed. */
  point(wish?: Partial<PointRequest>): Promise<MadePoint>;
  /** A point only when something changed. */
  pointIfChanged(wish?: Partial<PointRequest>): Promise<PointResult>;
  points(): Promise<readonly Manifest[]>;
  /** Restores `what` (the newest point) into a new folder. Throws where the restored files differ from the point's inventory. */
  restore(what?: string, wish?: Partial<ResolveRequest>): Promise<Restored>;
}

export interface Restored extends RestoreResult {
  readonly explanation: string;
}

/**
 * `root`: a worktree, or a bare repository. Opened anew for every point, as each run of the program does.
 * `storeFolder`: where the store shall be; the caller removes it.
 */
export async function protect(root: string, storeFolder?: string): Promise<ProtectedRepository> {
  const dir = tempDir();
  return protectInto(root, dir, storeFolder ?? join(dir.path, "store"));
}

async function protectInto(root: string, dir: TempDir, storeFolder: string): Promise<ProtectedRepository> {
  await createStoreFolder(storeFolder);
  const store = new FolderStore("local", storeFolder);
  await writeIdentity(store, { format: 1, repository: "6f1a9c52-3b77-4c0e-9d5f-0a4f5b8c7e21", name: "test", created: "2026-01-01T00:00:00.000Z" });
  const stateFolder = join(dir.path, "state");
  let restores = 0;
  let suffix = 0;
  const make = async (wish: Partial<PointRequest>): Promise<PointResult> =>
    makePoint({
      repository: await openRepository(root),
      name: "test",
      patterns: { include: [], exclude: [] },
      store,
      storeFolders: [storeFolder],
      state: new KnownState(stateFolder),
      kind: "manual",
      isAsked: true,
      isFullAsked: false,
      retention: "policy",
      machine: "test",
      tool: "holdfast test",
      now: () => new Date(),
      random: () => {
        suffix += 1;
        return suffix;
      },
      ...wish,
    });
  const points = async (): Promise<readonly Manifest[]> => {
    const { points: found, damaged } = await readCatalogue(store);
    if (damaged[0] !== undefined) throw damaged[0].error;
    return found;
  };
  return {
    scratch: dir.path,
    store,
    stateFolder,
    async point(wish = {}) {
      const result = await make(wish);
      if (result.status !== "made") throw new Error("no point was made");
      return result;
    },
    pointIfChanged: (wish = {}) => make({ isAsked: false, ...wish }),
    points,
    async restore(what, wish = {}) {
      const { here } = await openRepository(root);
      const place = { gitDir: here.gitDir, worktree: here.name };
      const request: ResolveRequest = { what, at: undefined, filesFrom: undefined, paths: [], store, catalogue: await points(), ...place, ...wish };
      const { plan, explanation } = await resolve(request);
      restores += 1;
      const { git } = request;
      const result = await restore({ plan, store, target: join(dir.path, `restored-${restores}`), ...(git === undefined ? {} : { git }) });
      const differences = result.comparison.differences.map(({ path, what: how }) => `${path} ${how}`);
      if (differences.length > 0) throw new Error(`restored otherwise than captured: ${differences.slice(0, 10).join(", ")}`);
      return { ...result, explanation };
    },
    [Symbol.dispose]: () => dir[Symbol.dispose](),
  };
}
