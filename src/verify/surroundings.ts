/** What a fault means: the points and commits that it hits, and the stores that hold what is damaged here as it should be. */

import { BackupError } from "../core/errors.ts";
import type { StoredManifest } from "../core/history.ts";
import type { PointId } from "../core/ids.ts";
import { keyOf, type Manifest, manifestKey } from "../core/manifest.ts";
import type { PointSignature } from "../keys/signers.ts";
import { readRefRecords } from "../points/ref-records.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import type { Fault, Finding } from "./finding.ts";
import { holdsPiece, type Piece, pieceOf } from "./read.ts";
import { dependents, readStoredManifest, type Survey } from "./survey.ts";

export interface Place {
  readonly store: Store;
  readonly others: readonly Store[];
  readonly survey: Survey;
  readonly expected: ReadonlyMap<PointId, string>;
  readonly judge: (manifest: Manifest) => PointSignature;
  readonly options: CallOptions;
}

/** Commits that a finding names at most. */
const commitsShown = 50;

export class Surroundings {
  readonly #place: Place;
  readonly #commits = new Map<PointId, Finding["commits"]>();

  constructor(place: Place) {
    this.#place = place;
  }

  async describe(found: Fault): Promise<Finding> {
    const isOfStore = found.weight === "damage" || (found.kind === "history" && found.weight === "doubt");
    if (!isOfStore) return { ...found, hits: [], commits: [], copies: [] };
    const hits = dependents(found.point, this.#place.survey.points);
    return { ...found, hits, commits: await this.#commitsOf(found.point), copies: (await this.#copiesOf(found)).map(({ name }) => name) };
  }

  async #copiesOf(found: Fault): Promise<Store[]> {
    const piece = pieceAt(this.#place.survey, found);
    const good: Store[] = [];
    for (const other of this.#place.others) {
      const holds =
        piece === undefined
          ? (await findGoodManifest(this.#place, other, wantedPoint(this.#place.survey, found))) !== undefined
          : await holdsPiece(other, piece, this.#place.options);
      if (holds) good.push(other);
    }
    return good;
  }

  async #commitsOf(id: PointId): Promise<Finding["commits"]> {
    const known = this.#commits.get(id) ?? (await this.#readCommits(id));
    this.#commits.set(id, known);
    return known;
  }

  /** From this store, or from another where this one cannot say. */
  async #readCommits(id: PointId): Promise<Finding["commits"]> {
    const { store, others, survey, options } = this.#place;
    for (const place of [store, ...others]) {
      try {
        const manifest = survey.points.get(id)?.manifest ?? (await findGoodManifest(this.#place, place, id))?.manifest;
        if (manifest === undefined) continue;
        const records = await readRefRecords(place, manifest, options);
        return records
          .flatMap((record) => (record.t === "ref" && record.symref === undefined ? [{ name: record.name, oid: record.oid }] : []))
          .slice(0, commitsShown);
      } catch (error) {
        if (!(error instanceof BackupError) || options.signal?.aborted === true) throw error; // it cannot say: another may
      }
    }
    return [];
  }
}

/** The artifact that a fault is about; undefined where it is about a manifest. */
export function pieceAt({ points }: Survey, { point, key }: Pick<Fault, "point" | "key">): Piece | undefined {
  const manifest = points.get(point)?.manifest;
  const artifact = manifest?.artifacts.find((one) => keyOf(manifest, one) === key);
  return manifest === undefined || artifact === undefined ? undefined : pieceOf(manifest, artifact);
}

/** The point whose manifest is wanted: of a broken chain the one that is not there. */
export function wantedPoint({ points }: Survey, { kind, point }: Pick<Fault, "kind" | "point">): PointId {
  return kind === "chain" ? (points.get(point)?.manifest.base ?? point) : point;
}

/**
 * The manifest of a point in another store, if it can be believed: with the sum that the point's successor or this machine
 * knows; else with a signature that is trusted, or without one where there is no other. A store that does not answer has none.
 */
export async function findGoodManifest({ survey, expected, judge, options }: Place, other: Store, id: PointId): Promise<StoredManifest | undefined> {
  try {
    const found = await readStoredManifest(other, manifestKey(id), options);
    if (found === undefined || "error" in found) return undefined;
    const sum = expected.get(id);
    if (sum !== undefined) return found.sha256 === sum ? found : undefined;
    const { status } = judge(found.manifest);
    const own = survey.points.get(id);
    if (own === undefined) return status === "trusted" || status === "unsigned" ? found : undefined;
    return status === "trusted" && judge(own.manifest).status !== "trusted" ? found : undefined;
  } catch (error) {
    if (error instanceof BackupError && options.signal?.aborted !== true) return undefined;
    throw error;
  }
}
