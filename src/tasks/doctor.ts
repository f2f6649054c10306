/** Looks for what is wrong with a repository's protection and mends what can be mended without asking. */
import { accessSync, chmodSync, constants, existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { type App, now, recoveryTexts } from "../app.ts";
import { primaryStore } from "../app-stores.ts";
import { BackupError, describeError } from "../core/errors.ts";
import { shellWord } from "../core/words.ts";
import { gitText } from "../git/run.ts";
import { probeHooks } from "../hooks/probe.ts";
import { hooksStatus } from "../hooks/status.ts";
import { readSigners } from "../keys/signers.ts";
import { findSigningKey } from "../keys/signing-key.ts";
import { readCatalogue } from "../points/catalogue.ts";
import { readIdentity } from "../points/identity.ts";
import { writeMetadata } from "../points/metadata.ts";
import { writeRecoveryFiles } from "../points/recovery-files.ts";
import { writeConfigFile } from "../setup/config-file.ts";
import { findLockOwner } from "../state/lock.ts";
import { removeTree } from "../state/remove-tree.ts";
import { keyNotices } from "../status/assess.ts";
import { installHere } from "./protect.ts";
import { signingKeyFile } from "./signers.ts";
import { readKey } from "./status.ts";

export interface Check {
  readonly name: string;
  readonly status: "ok" | "mended" | "wrong";
  readonly detail: string;
  readonly hint?: string;
}

export async function examine(app: App, mend: boolean): Promise<Check[]> {
  const checks: Check[] = [];
  for (const check of [checkGit, checkConfig, checkStore, checkKey, checkSigning, checkHooks, checkLocks, checkLeftovers]) {
    try {
      checks.push(...(await check(app, mend)));
    } catch (error) {
      const hint = error instanceof BackupError ? error.hint : "holdfast doctor again shows whether it passes";
      checks.push({ name: check.name.slice("check".length).toLowerCase(), status: "wrong", detail: describeError(error), hint });
    }
  }
  return checks;
}

async function checkGit(): Promise<Check[]> {
  const text = (await gitText(["version"])).trim();
  const [major = 0, minor = 0] = (/(\d+)\.(\d+)/.exec(text) ?? []).slice(1).map(Number);
  const isOld = major < 2 || (major === 2 && minor < 31);
  return [{ name: "git", status: isOld ? "wrong" : "ok", detail: text, ...(isOld ? { hint: "install git 2.31 or newer" } : {}) }];
}

async function checkConfig(app: App, mend: boolean): Promise<Check[]> {
  const { path, exists, isRemembered } = app.configFile;
  if (!isRemembered) return [{ name: "config", status: "ok", detail: exists ? path : `there is no ${path}` }];
  if (mend) writeConfigFile(app.repository, path, app.config);
  return [{ name: "config", status: mend ? "mended" : "wrong", detail: `${path} was gone`, ...(mend ? {} : { hint: "holdfast doctor" }) }];
}

async function checkStore(app: App, mend: boolean): Promise<Check[]> {
  const store = primaryStore(app);
  const identity = await readIdentity(store);
  accessSync(store.url, constants.W_OK);
  if (mend) {
    await writeRecoveryFiles(store, recoveryTexts());
    await writeMetadata(store, identity, { now: now(), policy: app.config.retention });
  }
  const { points, damaged } = await readCatalogue(store);
  const checks: Check[] = [{ name: "store", status: "ok", detail: `${points.length} points in ${store.url}` }];
  for (const { error } of damaged) checks.push({ name: "store", status: "wrong", detail: error.message, hint: error.hint });
  return checks;
}

/** Reads no secret. A key that lies elsewhere is no fault: whether it is there a drill tells. */
async function checkKey(app: App, mend: boolean): Promise<Check[]> {
  const key = readKey(app);
  if (key === null) return [];
  const [notice] = keyNotices({ key });
  if (notice === undefined) return [{ name: "key", status: "ok", detail: key.path }];
  if (key.state === "missing") return [{ name: "key", status: "ok", detail: notice.what, hint: notice.hint }];
  if (mend) chmodSync(key.path, 0o600);
  return [{ name: "key", status: mend ? "mended" : "wrong", detail: notice.what, ...(mend ? {} : { hint: notice.hint }) }];
}

async function checkSigning({ environment, state }: App): Promise<Check[]> {
  readSigners(state.signers);
  const file = signingKeyFile(environment);
  const found = findSigningKey(file);
  if (found?.status === "unusable")
    return [
      {
        name: "signing",
        status: "wrong",
        detail: found.reason,
        hint: `mv ${shellWord(file)} ${shellWord(`${file}.old`)}: the next point makes a new one`,
      },
    ];
  return [{ name: "signing", status: "ok", detail: found === undefined ? "the first point makes a key" : `${found.key.fingerprint} (${file})` }];
}

async function checkHooks(app: App, mend: boolean): Promise<Check[]> {
  const look = async (): Promise<{ isWell: boolean; detail: string }> => {
    const { hooks, trigger } = await hooksStatus(app.repository);
    const wrong = hooks.filter(({ state }) => state !== "installed");
    const detail = [
      ...wrong.map(({ name, state }) => `${name} ${state.replace("_", " ")}`),
      ...(trigger.state === "ready" ? [] : [`trigger ${trigger.state.replace("_", " ")}`]),
    ];
    return { isWell: detail.length === 0, detail: detail.length === 0 ? `${hooks.length} hooks installed` : detail.join(", ") };
  };
  const before = await look();
  if (before.isWell) return [{ name: "hooks", status: "ok", detail: before.detail }, await checkFiring(app)];
  if (!mend) return [{ name: "hooks", status: "wrong", detail: before.detail, hint: "holdfast hooks install" }];
  await installHere(app.repository);
  const after = await look();
  return [
    {
      name: "hooks",
      status: after.isWell ? "mended" : "wrong",
      detail: after.isWell ? `were not well: ${before.detail}` : after.detail,
      ...(after.isWell ? {} : { hint: "holdfast hooks status" }),
    },
    ...(after.isWell ? [await checkFiring(app)] : []),
  ];
}

async function checkFiring(app: App): Promise<Check> {
  const result = await probeHooks(await hooksStatus(app.repository));
  const name = "hooks fire";
  if (result === "fired") return { name, status: "ok", detail: "a throwaway commit in a copy of the setup reached the worker" };
  if (result === "silent")
    return { name, status: "wrong", detail: "git ran no hook at a throwaway commit", hint: "git config --show-origin core.hooksPath" };
  return {
    name,
    status: "wrong",
    detail: "the hook ran, but nothing answered it",
    hint: "is the package still where it was? holdfast hooks install",
  };
}

async function checkLocks(app: App): Promise<Check[]> {
  const owner = findLockOwner(app.state.lock);
  return [
    {
      name: "lock",
      status: "ok",
      detail: owner === undefined ? "free" : `held for ${owner.purpose} by process ${owner.pid} on ${owner.host} since ${owner.startedAt}`,
    },
  ];
}

/** Folders of in-place restores that were killed. One that is at work is younger than a day. */
async function checkLeftovers(app: App, mend: boolean): Promise<Check[]> {
  const names = existsSync(app.state.root) ? readdirSync(app.state.root) : [];
  const leftovers = names.filter(
    (name) => name.startsWith("restoring-") && now().getTime() - statSync(join(app.state.root, name)).mtimeMs > 24 * 60 * 60_000,
  );
  if (mend) for (const name of leftovers) removeTree(join(app.state.root, name));
  return leftovers.map((name) => ({
    name: "leftovers",
    status: mend ? "mended" : "wrong",
    detail: `an unfinished restore: ${join(app.state.root, name)}`,
    ...(mend ? {} : { hint: "holdfast doctor" }),
  }));
}
