/** Tries out a store of the user's: is it there and ours, does it keep what stores promise, what can the place do. */
import { AssertionError } from "node:assert";
import { randomBytes } from "node:crypto";
import type { App } from "../app.ts";
import { findStoreConfig, openScratch, openStore, refuseHiddenRef, type Scratch } from "../app-stores.ts";
import { branchRefOf, type StoreConfig } from "../core/config.ts";
import { BackupError, describeError } from "../core/errors.ts";
import { readCatalogue } from "../points/catalogue.ts";
import { findIdentity } from "../points/identity.ts";
import { refuseForeignStore } from "../state/repository-id.ts";
import { contractChecks } from "../stores/contract.ts";
import { bytesSource, type CallOptions, type Store, type StoreFact } from "../stores/store.ts";

export interface CheckOutcome {
  readonly name: string;
  readonly status: "ok" | "failed" | "skipped";
  readonly message?: string;
}

export interface StoreCheck {
  readonly store: string;
  readonly url: string;
  readonly checks: readonly CheckOutcome[];
  readonly facts: readonly StoreFact[];
  readonly isWell: boolean;
}

export interface StoreCheckOptions extends CallOptions {
  readonly onCheck?: (name: string) => void;
}

/** Throws where the store cannot be reached at all. What it wrote is cleared, unless the store does not let us. */
export async function checkStore(app: App, nameOrUrl: string, options: StoreCheckOptions): Promise<StoreCheck> {
  const config = findStoreConfig(app, nameOrUrl);
  const checks = [await checkPoints(app, await openStore(app, config), options)];
  const facts: StoreFact[] = [];
  const scratch = await openScratch(app, config, `.holdfast-check-${randomBytes(4).toString("hex")}`);
  if (scratch === undefined) checks.push(await checkBranch(app, config));
  else await tryOut(scratch, checks, facts, options);
  const isWell = checks.every(({ status }) => status !== "failed") && facts.every(({ isWrong }) => isWrong !== true);
  return { store: config.name, url: config.url, checks, facts, isWell };
}

/** By a listing and the manifests; `verify` reads the rest. */
async function checkPoints(app: App, store: Store, options: StoreCheckOptions): Promise<CheckOutcome> {
  options.onCheck?.("points");
  const identity = await findIdentity(store, options);
  if (identity === undefined) return { name: "there is no store yet: the first sync makes it", status: "skipped" };
  refuseForeignStore(app.state, identity, store.url);
  const { points, damaged } = await readCatalogue(store, options);
  const name = `${points.length} ${points.length === 1 ? "point has its" : "points have their"} manifest, and each file of it with its length`;
  const [first] = damaged;
  return first === undefined ? { name, status: "ok" } : { name, status: "failed", message: `${first.key}: ${first.error.message}` };
}

/** A hidden ref is pushed and taken back. On a branch whatever is pushed stays in its history, so nothing is. */
async function checkBranch(app: App, config: StoreConfig): Promise<CheckOutcome> {
  if (branchRefOf(config)?.startsWith("refs/heads/") !== false)
    return { name: "writing is not tried: what is pushed to a branch stays in its history", status: "skipped" };
  const name = "the remote takes a ref of this name";
  try {
    await refuseHiddenRef(app, config);
    return { name, status: "ok" };
  } catch (error) {
    if (!(error instanceof BackupError)) throw error;
    return { name, status: "failed", message: error.message };
  }
}

async function tryOut(scratch: Scratch, checks: CheckOutcome[], facts: StoreFact[], options: StoreCheckOptions): Promise<void> {
  let canDelete = true;
  try {
    canDelete = await tryDelete(await scratch.open("delete"), options);
    for (const check of contractChecks) {
      options.signal?.throwIfAborted();
      options.onCheck?.(check.name);
      const folder = `check-${checks.length}`;
      if (!canDelete && check.deletes === true) {
        checks.push({ name: check.name, status: "skipped", message: "these credentials may not delete" });
        continue;
      }
      const open = (): Promise<Store> => scratch.open(folder);
      const run = async (): Promise<void> =>
        check.run(async () => ({ store: await open(), reopen: open, [Symbol.asyncDispose]: async () => undefined }), 1000);
      checks.push(await outcomeOf(check.name, run));
    }
    options.onCheck?.("what the place can do");
    facts.push({
      what: "what is written can be deleted",
      answer: canDelete ? "yes" : "no",
      ...(canDelete ? {} : { note: "enough for backups: a thief of these credentials deletes nothing, and nor does pruning" }),
    });
    facts.push(...((await scratch.whole.inspect?.(options)) ?? []));
  } finally {
    // Also after an abort: what it leaves would be cleared only by a later run.
    if (canDelete) await scratch.clear();
  }
  if (!canDelete) facts.push({ what: "what this check wrote is gone", answer: "no", note: `delete ${scratch.prefix}/ with other credentials` });
}

async function tryDelete(store: Store, options: StoreCheckOptions): Promise<boolean> {
  await store.put("trial", bytesSource("x"), options);
  try {
    await store.delete("trial", options);
    return true;
  } catch (error) {
    if (error instanceof BackupError && error.code === "store_unwritable") return false;
    throw error;
  }
}

async function outcomeOf(name: string, run: () => Promise<void>): Promise<CheckOutcome> {
  try {
    await run();
    return { name, status: "ok" };
  } catch (error) {
    // Of an assertion the first line tells: what follows is a comparison for programmers.
    if (error instanceof AssertionError) return { name, status: "failed", message: error.message.split("\n")[0] ?? "" };
    return { name, status: "failed", message: describeError(error) };
  }
}
