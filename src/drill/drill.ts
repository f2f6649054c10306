/** Restores points of one store into a scratch folder and proves each: every file compared, git's own check, databases, the user's command. */
import { join } from "node:path";
import { checkDatabase } from "../archive/sqlite.ts";
import type { Catalogue } from "../core/catalogue.ts";
import { chainOf } from "../core/catalogue.ts";
import { BackupError, describeError } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import { printablePath } from "../core/paths.ts";
import { checkRepository } from "../git/fsck.ts";
import type { PointSignature } from "../keys/signers.ts";
import { planMoment } from "../restore/plan.ts";
import { type RestoreResult, restore } from "../restore/restore.ts";
import { listTree } from "../restore/tree.ts";
import { discardTree } from "../state/remove-tree.ts";
import type { Store } from "../stores/store.ts";
import { type RunCheck, runCheck } from "./check.ts";
import { choosePoints } from "./choose.ts";
import { isDatabase } from "./databases.ts";
import type { Drilled } from "./evidence.ts";

export interface DrillRequest {
  readonly store: Store;
  readonly points: Catalogue;
  /** A folder of this drill alone; what is restored is removed from it again. */
  readonly scratch: string;
  /** Whose signature a chain has. */
  readonly judge: (chain: Catalogue) => PointSignature;
  /** In [0, 1): which older point. */
  readonly random: number;
  /** The user's own command, run by a shell in the folder of the newest point. */
  readonly check: string | undefined;
  readonly onStep?: (step: string) => void;
  readonly signal?: AbortSignal | undefined;
}

/** One outcome a point: a finding is no exception. Throws on abort, and `key_missing` or `key_wrong`, which say nothing about the store. */
export async function drill(request: DrillRequest): Promise<Drilled[]> {
  const drilled: Drilled[] = [];
  for (const { role, point } of choosePoints(request.points, request.random)) drilled.push(await drillPoint(request, role, point));
  return drilled;
}

async function drillPoint(request: DrillRequest, role: Drilled["role"], point: Manifest): Promise<Drilled> {
  const { store, points, scratch, signal, onStep, judge } = request;
  const target = join(scratch, point.id);
  const startedAt = performance.now();
  const common = { id: point.id, role, createdAt: point.createdAt };
  let signature: Drilled["signature"] = null;
  try {
    const judged = judge(chainOf(point, points));
    signature = summaryOf(judged);
    // As a restore does: what somebody changed is not brought onto this machine.
    if (judged.status === "bad") throw new BackupError("signature_bad", `the signature of point ${point.id} does not hold: ${judged.reason}`);
    onStep?.(`restoring ${point.id}`);
    const result = await restore({ plan: planMoment(point, points, []), store, target, signal });
    const restoreMs = performance.now() - startedAt;
    const { files, bytes, refs, differences } = result.comparison;
    const findings = differences.map(({ path, what }) => `${printablePath(path)} ${what}`);
    onStep?.("checking with git");
    // What lacked objects when it was made lacks them now: git would only say again what the point says itself.
    const fsck = !result.lacksObjects;
    if (fsck) findings.push(...(await checkRepository(result.gitDir, signal)));
    onStep?.("checking databases");
    const databases = await checkDatabases(result, findings);
    // What tells that today's work is usable may rightly fail on that of last year.
    const command = role === "older" ? undefined : request.check;
    // A check runs what it finds, a test or a script: whoever can write into the store shall not run commands here.
    const check = command === undefined || judged.status !== "trusted" ? null : await ownCheck(command, result, request);
    if (check?.finding !== undefined) findings.push(check.finding);
    if (check === null && command !== undefined)
      findings.push(`your check was not run: no key that this machine trusts has signed point ${point.id}`);
    return {
      ...common,
      restoreMs,
      files,
      refs,
      bytes,
      fsck,
      databases,
      check: check?.outcome ?? null,
      findings: findings.slice(0, mostFindings),
      problems: result.problems.length,
      signature,
    };
  } catch (error) {
    // Without the key nothing was tried, so nothing was shown.
    if (signal?.aborted === true || isAboutKey(error)) throw error;
    const empty = { files: 0, refs: 0, bytes: 0, fsck: false, databases: 0, check: null, problems: 0 };
    return { ...common, ...empty, signature, restoreMs: performance.now() - startedAt, findings: [describeError(error)] };
  } finally {
    for (const folder of [target, `${target}.worktrees`]) discardTree(folder);
  }
}

function summaryOf(signature: PointSignature): Drilled["signature"] {
  return {
    status: signature.status,
    signer: signature.status === "trusted" ? signature.signer : null,
    fingerprint: signature.status === "unsigned" ? null : signature.fingerprint,
  };
}

const mostFindings = 50;

function isAboutKey(error: unknown): boolean {
  return error instanceof BackupError && (error.code === "key_missing" || error.code === "key_wrong");
}

async function checkDatabases({ target, worktrees }: RestoreResult, findings: string[]): Promise<number> {
  let count = 0;
  for (const root of [target, ...worktrees]) {
    // The list is made first: SQLite may write files beside a database.
    for (const path of [...listTree(root)].filter((name) => isDatabase(`${root}/${name}`))) {
      count += 1;
      for (const finding of await checkDatabase(`${root}/${path}`)) findings.push(`database ${printablePath(path)}: ${finding}`);
    }
  }
  return count;
}

async function ownCheck(command: string, { target }: RestoreResult, { signal, onStep }: DrillRequest): Promise<RunCheck> {
  onStep?.(`running ${command}`);
  return runCheck({ command, folder: target, signal });
}

/** Throws `no_points` for a store that holds none. */
export function refuseEmpty(store: Store, points: Catalogue): void {
  if (points.length === 0) throw new BackupError("no_points", `the store ${store.name} holds no point yet`, { hint: "holdfast sync --wait" });
}
