/** What people say about points, and the catalogue that tells it. */
import { type App, now, randomSuffix } from "../app.ts";
import { chosenStore, primaryStore } from "../app-stores.ts";
import { newPointId } from "../core/ids.ts";
import { readIdentity } from "../points/identity.ts";
import { addMark, type Mark } from "../points/marks.ts";
import { writeMetadata } from "../points/metadata.ts";
import type { Store } from "../stores/store.ts";
import { readPoint } from "./points.ts";
import { lockStore } from "./store-lock.ts";

export interface MarkWish {
  /** An id, a beginning of one, or `latest`. */
  readonly point: string;
  readonly mark: Mark["mark"];
  readonly by: string | undefined;
  readonly note: string | undefined;
  /** A store by name or URL; the primary when undefined. Copies get it from there. */
  readonly store: string | undefined;
  readonly signal: AbortSignal;
}

export interface MarkResult {
  readonly mark: Omit<Mark, "format">;
  /** False where the store is for anyone's eyes: the name and the note stay in the log of this machine. */
  readonly isTextStored: boolean;
}

/** Throws `unknown_point`, `ambiguous`, and what the store throws. */
export async function markPoint(app: App, wish: MarkWish): Promise<MarkResult> {
  const { by, note, signal } = wish;
  const store = await chosenStore(app, wish.store);
  const said = await markLocked(app, store, wish);
  app.log.write("marked", { store: store.name, ...said, by: by ?? null, note: note ?? null });
  if (store.url === primaryStore(app).url) await writeCatalogue(app, undefined, signal);
  return { mark: said, isTextStored: isTextStored(app) };
}

/** Where nothing is pruned meanwhile: a point that is pinned must not go at that moment. */
async function markLocked(
  app: App,
  store: Store,
  { point: prefix, mark, by, note, store: nameOrUrl, signal }: MarkWish,
): Promise<Omit<Mark, "format">> {
  await using _lock = await lockStore(app, store, { purpose: "marking a point", signal });
  const { point } = await readPoint(app, prefix, nameOrUrl);
  const at = now();
  const [whose, why] = isTextStored(app) ? [by ?? null, note ?? null] : [null, null];
  const said = { point: point.id, mark, at: at.toISOString(), by: whose, note: why };
  await addMark(store, said, newPointId(at, randomSuffix()), { signal });
  await store.flush({ signal });
  return said;
}

/** Marks are not encrypted: where points are, names and notes do not go into the store. */
function isTextStored(app: App): boolean {
  return app.config.encryption === null;
}

/** Makes `backup_metadata.json` of a store anew. */
export async function writeCatalogue(
  app: App,
  nameOrUrl: string | undefined,
  signal: AbortSignal,
): Promise<{ readonly url: string; readonly points: number }> {
  const store = await chosenStore(app, nameOrUrl);
  const identity = await readIdentity(store, { signal });
  await using _lock = await lockStore(app, store, { purpose: "writing the catalogue", signal });
  const points = await writeMetadata(store, identity, { now: now(), policy: app.config.retention }, { signal });
  await store.flush({ signal });
  return { url: store.url, points };
}
