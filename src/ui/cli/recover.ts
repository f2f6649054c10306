import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { openBareStore } from "../../app-stores.ts";
import { BackupError } from "../../core/errors.ts";
import { readCatalogue } from "../../points/catalogue.ts";
import { readIdentity } from "../../points/identity.ts";
import { resolve } from "../../restore/resolve.ts";
import { stateDirOf, stateLayout } from "../../state/layout.ts";
import { rememberRepositoryId } from "../../state/repository-id.ts";
import { type FoundRestore, restoreTo } from "../../tasks/restore.ts";
import { judgeChain, meetStore, readTrust } from "../../tasks/signers.ts";
import type { CommandContext } from "./context.ts";
import { report } from "./restore.ts";
import { tellNewSigners, tellSignature } from "./signatures.ts";

/** The newest moment of a store, without a repository around: store and folder are all that is needed. */
export async function recover({ cwd, output, signal }: CommandContext, options: { readonly force?: boolean }, url = "", dir = ""): Promise<number> {
  const scratch = mkdtempSync(join(tmpdir(), "holdfast-recover-"));
  try {
    const store = await openBareStore(url, scratch);
    const identity = await readIdentity(store);
    const { points, damaged } = await readCatalogue(store);
    for (const { error } of damaged) output.warn(error.message);
    if (points.length === 0) throw new BackupError("no_points", `the store ${url} holds no point`, { hint: "look for another copy" });
    output.note(`Store of ${identity.name}: ${points.length} points.`);
    const startedAt = performance.now();
    const resolved = await resolve({
      what: undefined,
      at: undefined,
      filesFrom: undefined,
      paths: [],
      store,
      catalogue: points,
      commonDir: undefined,
      signal,
    });
    const judge = readTrust({ environment: process.env, state: stateLayout(stateDirOf(scratch)) });
    const signature = judgeChain([...resolved.plan.objects, ...resolved.plan.chain], judge);
    // Nothing here could know the key: what a person noted tells.
    if (signature.status === "unknown_signer") output.note(`Signed with the key ${signature.fingerprint}: is it the one that you noted?`);
    else tellSignature(signature, output, options.force === true);
    let found: FoundRestore = { ...resolved, store, points, damaged, signature, newSigners: [] };
    const result = await restoreTo(found, isAbsolute(dir) ? dir : join(cwd, dir), {
      signal,
      onProgress: (step) => output.progress(`restoring: ${step} …`),
    });
    // The recovered repository goes on with its stores: they know it by this id.
    if (result.comparison.differences.length === 0) {
      const state = stateLayout(stateDirOf(result.gitDir));
      rememberRepositoryId(state, identity.repository);
      found = { ...found, newSigners: meetStore({ state }, store, points) };
      tellNewSigners(found.newSigners, url, output);
    }
    return report(result, found, { output, startedAt, where: result.target });
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
}
