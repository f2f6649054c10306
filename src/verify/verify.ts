/** Verifies a store: structure always, bytes and what is inside when asked, and where good copies of what is damaged are. */
import { expectedSums, type History, type RememberedPoint } from "../core/history.ts";
import type { PointId } from "../core/ids.ts";
import { type Manifest, manifestKey, parseArtifactName } from "../core/manifest.ts";
import type { PointSignature } from "../keys/signers.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { checkBundles } from "./bundles.ts";
import { type Decoded, decodePiece } from "./decode.ts";
import type { Fault, Finding } from "./finding.ts";
import { checkPiece, inParallel, type Piece, pieceOf } from "./read.ts";
import type { VerifiedRecord } from "./record.ts";
import { isInShare, type Share } from "./share.ts";
import { checkStructure } from "./structure.ts";
import { Surroundings } from "./surroundings.ts";
import { type Survey, survey } from "./survey.ts";

export interface VerifyRequest {
  readonly store: Store;
  /** Stores that may hold good copies of what is damaged here. */
  readonly others: readonly Store[];
  /** The points that are asked about; the whole store when undefined. */
  readonly chooses: ((survey: Survey) => readonly Manifest[]) | undefined;
  /** structure: reads no artifact; bytes: compares sums; content: looks inside too. */
  readonly level: "structure" | "bytes" | "content";
  /** Which artifacts are read; all when undefined. */
  readonly share: Share | undefined;
  /** True when no more artifact is to be begun. */
  readonly isOver: () => boolean;
  /** Reads what earlier runs found damaged in any case: to mend it. */
  readonly rereads: boolean;
  readonly record: VerifiedRecord;
  readonly remembered: readonly RememberedPoint[];
  /** What was deleted on purpose leaves holes in the history that are none. */
  readonly removed: History["removed"];
  readonly judge: (manifest: Manifest) => PointSignature;
  readonly hasBudget: boolean;
  /** A folder for scratch repositories and databases. */
  readonly scratch: string;
  readonly now: () => Date;
  readonly onProgress?: (doneBytes: number, totalBytes: number) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface VerifyResult {
  /** Points that were looked at. */
  readonly points: number;
  readonly artifacts: {
    /** In what was asked for: a point, a share. */
    readonly asked: number;
    readonly read: number;
    readonly readBytes: number;
    /** Not read, because time was up. */
    readonly left: number;
  };
  /** Read, but not looked into for want of a key. */
  readonly undecoded: { readonly artifacts: number; readonly reason: string } | null;
  readonly signatures: Readonly<Record<PointSignature["status"], number>>;
  readonly findings: readonly Finding[];
}

/** What a repair needs to know beside the result. */
export interface Verification {
  readonly result: VerifyResult;
  readonly survey: Survey;
  /** Sums that manifests should have, by those who know. */
  readonly expected: ReadonlyMap<PointId, string>;
  /** The points that were asked about. */
  readonly scope: ReadonlySet<PointId>;
}

export async function verify(request: VerifyRequest): Promise<Verification> {
  const { store, remembered } = request;
  const judge = judgingOnce(request.judge);
  const options = optionsOf(request);
  const seen = await survey(store, options);
  const scope = request.chooses?.(seen) ?? [...seen.points.values()].map(({ manifest }) => manifest);
  const faults = await checkStructure({ ...request, judge, survey: seen, scope });
  const reading = new Reading(request, scope, faults);
  if (request.level !== "structure" || request.rereads) await reading.run();
  const expected = expectedSums({ points: [...seen.points.values()], remembered });
  const surroundings = new Surroundings({ store, others: request.others, survey: seen, expected, judge, options });
  const findings: Finding[] = [];
  const standing = await stillThere(reading.faults, store, options);
  for (const { key } of reading.faults.filter((one) => !standing.includes(one))) if (key !== null) request.record.forget(key);
  for (const found of [...faults, ...standing].filter((one) => request.chooses === undefined || isAbout(one, scope)))
    findings.push(await surroundings.describe(found));
  return {
    result: { points: scope.length, ...reading.summary(), signatures: countSignatures(scope, judge), findings },
    survey: seen,
    expected,
    scope: new Set(scope.map(({ id }) => id)),
  };
}

/** What was pruned while it was read is no damage. */
async function stillThere(faults: readonly Fault[], store: Store, options: CallOptions): Promise<Fault[]> {
  const standing: Fault[] = [];
  for (const found of faults) if ((await store.stat(manifestKey(found.point), options)) !== undefined) standing.push(found);
  return standing;
}

/** Of a single point: what is wrong with it, and with what it builds on. */
function isAbout({ point }: Fault, scope: readonly Manifest[]): boolean {
  return scope.some(({ id, base }) => id === point || base === point);
}

function optionsOf({ signal }: { readonly signal?: AbortSignal | undefined }): CallOptions {
  return { signal };
}

/** A signature is asked about more than once, and takes its time. */
function judgingOnce(judge: VerifyRequest["judge"]): VerifyRequest["judge"] {
  const judged = new Map<Manifest, PointSignature>();
  return (manifest) => {
    const signature = judged.get(manifest) ?? judge(manifest);
    judged.set(manifest, signature);
    return signature;
  };
}

function countSignatures(scope: readonly Manifest[], judge: VerifyRequest["judge"]): VerifyResult["signatures"] {
  const counts = { trusted: 0, unknown_signer: 0, bad: 0, unsigned: 0 };
  for (const manifest of scope) counts[judge(manifest).status] += 1;
  return counts;
}

/** What is done at one go, and counts as verified together. */
interface Job {
  readonly pieces: readonly Piece[];
  run(): Promise<void>;
}

/** Reads what was asked for: what was never verified first, the newest of it before the rest, then what was verified longest ago. */
class Reading {
  readonly faults: Fault[] = [];
  readonly #request: VerifyRequest;
  readonly #options: CallOptions;
  readonly #scope: readonly Manifest[];
  /** Known to be damaged by the structure alone. */
  readonly #skipped: ReadonlySet<string>;
  #asked = 0;
  #read = 0;
  #readBytes = 0;
  #totalBytes = 0;
  #undecoded = 0;
  #reason = "";

  constructor(request: VerifyRequest, scope: readonly Manifest[], known: readonly Fault[]) {
    this.#request = request;
    this.#options = optionsOf(request);
    this.#scope = scope;
    this.#skipped = new Set(known.flatMap(({ kind, key }) => (kind === "artifact" && key !== null ? [key] : [])));
  }

  async run(): Promise<void> {
    const { record, level, isOver } = this.#request;
    const jobs = this.#order(level === "content" ? this.#contentJobs() : this.#pieces().map((piece) => this.#byteJob(piece)));
    for (const { pieces } of jobs) for (const { artifact } of pieces) this.#totalBytes += artifact.size;
    this.#asked = jobs.reduce((sum, { pieces }) => sum + pieces.length, 0);
    try {
      await inParallel(jobs, level === "content" ? 2 : 4, (job) => job.run(), isOver);
    } finally {
      record.flush();
    }
  }

  summary(): Pick<VerifyResult, "artifacts" | "undecoded"> {
    return {
      artifacts: { asked: this.#asked, read: this.#read, readBytes: this.#readBytes, left: this.#asked - this.#read },
      undecoded: this.#undecoded === 0 ? null : { artifacts: this.#undecoded, reason: this.#reason },
    };
  }

  #pieces(): Piece[] {
    const all = this.#scope.flatMap((manifest) => manifest.artifacts.map((artifact) => pieceOf(manifest, artifact)));
    return all.filter((piece) => !this.#skipped.has(piece.key) && this.#isAsked(piece));
  }

  #isAsked({ artifact, key }: Piece): boolean {
    const { level, share, rereads, record } = this.#request;
    if (rereads && record.damageOf(key, artifact.sha256) !== undefined) return true;
    return level !== "structure" && (share === undefined || isInShare(share, artifact.sha256));
  }

  #byteJob(piece: Piece): Job {
    const run = async (): Promise<void> => {
      const found = await checkPiece(this.#request.store, piece, this.#options);
      this.#note(piece, { faults: found === undefined ? [] : [found] }, false);
    };
    return { pieces: [piece], run };
  }

  #contentJobs(): Job[] {
    const { store, scratch } = this.#request;
    const pieces = this.#pieces();
    const alone = pieces.filter(({ artifact }) => !isOfGit(artifact.name));
    const jobs = alone.map((piece) => ({
      pieces: [piece],
      run: async () => this.#note(piece, await decodePiece(store, piece, scratch, this.#options), true),
    }));
    return [...jobs, ...this.#groupJobs(pieces.filter(({ artifact }) => isOfGit(artifact.name)))];
  }

  /** Packs build on each other: those on one full point are looked at together, whole groups of them when the full one's turn has come. */
  #groupJobs(pieces: readonly Piece[]): Job[] {
    const { store, scratch, share } = this.#request;
    const groups = Map.groupBy(this.#scope, ({ full }) => full);
    const jobs: Job[] = [];
    for (const [full, points] of groups) {
      const sum = points.find(({ id }) => id === full)?.artifacts[0]?.sha256;
      // Without its turn, or without the full point: the bytes of what is in the share.
      if (sum === undefined || (share !== undefined && !isInShare(share, sum))) {
        jobs.push(...pieces.filter(({ manifest }) => manifest.full === full).map((piece) => this.#byteJob(piece)));
        continue;
      }
      const inside = points.flatMap((manifest) =>
        manifest.artifacts.filter(({ name }) => isOfGit(name)).map((artifact) => pieceOf(manifest, artifact)),
      );
      const run = async (): Promise<void> => {
        const request = { store, scratch, group: { points: points.toSorted((a, b) => (a.id < b.id ? -1 : 1)) }, ...this.#options };
        const onPiece = (piece: Piece, decoded: Decoded): void => {
          if (!this.#skipped.has(piece.key)) this.#note(piece, decoded, true);
        };
        const found = await checkBundles({ ...request, onPiece });
        this.faults.push(...found);
        this.#remember(inside, found);
      };
      jobs.push({ pieces: inside.filter(({ key }) => !this.#skipped.has(key)), run });
    }
    return jobs;
  }

  #order(jobs: readonly Job[]): Job[] {
    const { record } = this.#request;
    const keyed = jobs.map((job) => ({
      job,
      at: job.pieces.map(({ key, artifact }) => record.lastOf(key, artifact.sha256) ?? "").sort()[0] ?? "",
      id: job.pieces.at(-1)?.manifest.id ?? "",
    }));
    return keyed.sort((a, b) => (a.at === b.at ? (a.id > b.id ? -1 : 1) : a.at < b.at ? -1 : 1)).map(({ job }) => job);
  }

  #note(piece: Piece, { faults, undecoded }: Decoded, looksInside: boolean): void {
    const { key, artifact } = piece;
    const { record, now, onProgress } = this.#request;
    this.faults.push(...faults);
    this.#read += 1;
    this.#readBytes += artifact.size;
    if (undecoded !== undefined) {
      this.#undecoded += 1;
      this.#reason = undecoded;
    }
    if (!faults.some(({ weight }) => weight === "damage")) record.add(key, artifact.sha256, now(), looksInside && undecoded === undefined);
    this.#remember([piece], faults);
    onProgress?.(this.#readBytes, this.#totalBytes);
  }

  /** Of what is about no single file the first one of its point is remembered. */
  #remember(pieces: readonly Piece[], faults: readonly Fault[]): void {
    const { record, now } = this.#request;
    for (const { point, key: about, kind } of faults.filter(({ weight }) => weight === "damage")) {
      const piece = pieces.find(({ manifest, key }) => (about === null ? manifest.id === point : key === about));
      if (piece !== undefined) record.addDamage(piece.key, piece.artifact.sha256, now(), kind === "artifact" ? "bytes" : "inside");
    }
  }
}

function isOfGit(name: string): boolean {
  const kind = parseArtifactName(name)?.kind;
  return kind === "bundle" || kind === "idx";
}
