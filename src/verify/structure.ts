/** What a store's listing and manifests alone show: nothing absent, every size right, every chain and the history whole, every signature good. */
import { checkHistory, type History, type HistoryFinding, type RememberedPoint, unsignedAfterSigned } from "../core/history.ts";
import { keyOf, type Manifest, manifestKey } from "../core/manifest.ts";
import type { PointSignature } from "../keys/signers.ts";
import type { CallOptions, Store } from "../stores/store.ts";
import { type Fault, fault } from "./finding.ts";
import type { Survey } from "./survey.ts";

export interface StructureRequest {
  readonly store: Store;
  readonly survey: Survey;
  /** Points to look at; the history is looked at as a whole. */
  readonly scope: readonly Manifest[];
  readonly remembered: readonly RememberedPoint[];
  readonly removed: History["removed"];
  readonly judge: (manifest: Manifest) => PointSignature;
  /** The store takes only what fits: older points are left out on purpose. */
  readonly hasBudget: boolean;
  readonly signal?: AbortSignal | undefined;
}

export async function checkStructure(request: StructureRequest): Promise<Fault[]> {
  const { survey, scope, judge } = request;
  const options: CallOptions = { signal: request.signal };
  const faults = survey.unreadable.map(({ id, key, error }) =>
    fault("manifest", error.code === "format_newer" ? "doubt" : "damage", id, key, error.message),
  );
  for (const manifest of scope) faults.push(...(await checkArtifacts(request, manifest, options)), ...checkChain(manifest, survey));
  const unsigned = new Set(unsignedAfterSigned([...survey.points.values()].map(({ manifest }) => manifest)));
  for (const manifest of scope) faults.push(...describeSignature(manifest, judge(manifest), unsigned.has(manifest.id)));
  return [...faults, ...checkPast(request)];
}

async function checkArtifacts({ store, survey }: StructureRequest, manifest: Manifest, options: CallOptions): Promise<Fault[]> {
  const faults: Fault[] = [];
  for (const artifact of manifest.artifacts) {
    const key = keyOf(manifest, artifact);
    if (survey.sizes.get(key) === artifact.size) continue;
    // A listing made while a point was published or deleted may show some of it: look again.
    const found = (await store.stat(key, options))?.size;
    if (found === artifact.size || (await store.stat(manifestKey(manifest.id), options)) === undefined) continue;
    const what = found === undefined ? "is missing" : `has ${found} bytes, its manifest says ${artifact.size}`;
    faults.push(fault("artifact", "damage", manifest.id, key, `${artifact.name} ${what}`));
  }
  return faults;
}

function checkChain({ id, base }: Manifest, { points, unreadable }: Survey): Fault[] {
  if (base === null || points.has(base) || unreadable.some((other) => other.id === base)) return [];
  return [fault("chain", "damage", id, null, `point ${id} builds on ${base}, which is not in the store`)];
}

function describeSignature({ id, machine }: Manifest, signature: PointSignature, isUnexpected: boolean): Fault[] {
  const about = (weight: Fault["weight"], message: string): Fault[] => [fault("signature", weight, id, manifestKey(id), message)];
  switch (signature.status) {
    case "trusted":
      return [];
    case "bad":
      return about("damage", `the signature of point ${id} does not hold: ${signature.reason}`);
    case "unknown_signer":
      return about("doubt", `point ${id} is signed with a key that this machine does not know: ${signature.fingerprint}`);
    case "unsigned":
      return isUnexpected ? about("doubt", `point ${id} is not signed, and ${machine} signed earlier ones`) : [];
    default:
      return signature satisfies never;
  }
}

function checkPast({ survey, remembered, removed, hasBudget }: StructureRequest): Fault[] {
  const findings = checkHistory({
    points: [...survey.points.values()],
    unreadable: new Set(survey.unreadable.map(({ id }) => id)),
    remembered,
    removed,
  });
  return findings.map((finding) => fault("history", weightOf(finding, hasBudget), finding.point, manifestKey(finding.point), wordsFor(finding)));
}

function weightOf({ kind }: HistoryFinding, hasBudget: boolean): Fault["weight"] {
  if (kind === "missing") return hasBudget ? "note" : "doubt";
  return kind === "disordered" || kind === "unproven" ? "doubt" : "damage";
}

function wordsFor(finding: HistoryFinding): string {
  switch (finding.kind) {
    case "missing":
      return `point ${finding.point} is not in the store, and ${finding.by} was made after it: it was deleted, or taken away`;
    case "unproven":
      return `point ${finding.point} is not in the store, and the record that it was pruned is not signed by a key that this machine trusts: it may have been taken away`;
    case "exchanged":
      return finding.by === null
        ? `the manifest of point ${finding.point} is not the one that was made on this machine: it was changed, or an old one was put back`
        : `the manifest of point ${finding.point} is not the one that ${finding.by} was made after: it was changed, or another was put in its place`;
    case "disordered":
      return `point ${finding.point} says that it was made after ${finding.by}, which is newer`;
    case "rolled_back":
      return `point ${finding.point} was in this store and is gone: the store was put back to an older state, or the point was taken away`;
    default:
      return finding satisfies never;
  }
}
