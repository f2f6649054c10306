/** Commits that nothing reaches any more, in points and in the repository. */
import type { App } from "../app.ts";
import { KnownState } from "../capture/known.ts";
import { BackupError } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import { findLost, type LostRequest, type LostResult } from "../restore/lost.ts";
import { readPoints } from "./points.ts";

export interface LostView extends LostResult {
  readonly store: string;
}

/** Throws `no_points`, `not_protected`, `store_missing`. */
export async function readLost(app: App, from: string | undefined, signal: AbortSignal): Promise<LostView> {
  const { points, damaged, store } = await readPoints(app, from);
  if (points.length === 0) throw new BackupError("no_points", `the store ${store.name} holds no point yet`);
  const found = await findLost({ repository: app.repository, store, catalogue: points, held: heldBy(app, points), signal });
  const unread = [...found.unread, ...damaged.map(({ id, error }) => ({ id, message: error.message }))];
  return { ...found, store: store.name, unread: [...new Map(unread.map((point) => [point.id, point])).values()] };
}

/** The machine remembers what the newest rung was made from, reflogs included. */
function heldBy(app: App, points: readonly Manifest[]): LostRequest["held"] {
  const state = new KnownState(app.state.captureState);
  const rung = state.load()?.rungs.at(-1)?.id;
  const oids = rung === undefined ? undefined : state.readTips(rung);
  return rung === undefined || oids === undefined || !points.some(({ id }) => id === rung) ? undefined : { point: rung, oids: new Set(oids) };
}
