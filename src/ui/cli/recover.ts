import { isAbsolute, join, resolve } from "node:path";
import type { App } from "../../app.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import { shellWord } from "../../core/words.ts";
import { chooseGit, openToRestore } from "../../tasks/git-choice.ts";
import { protect } from "../../tasks/protect.ts";
import { type Footing, findRecovery, readFooting, recoverTo } from "../../tasks/recover.ts";
import { takeSigners } from "../../tasks/signers.ts";
import { describePoint } from "./backup.ts";
import type { CommandContext } from "./context.ts";
import { environmentWith, type IdentityOption } from "./identity.ts";
import { sayIfMissing, sayLimits, tellRestore } from "./restore.ts";
import { tellNewSigners, tellSignature } from "./signatures.ts";
import { count } from "./words.ts";

interface RecoverOptions extends IdentityOption {
  readonly at?: string;
  readonly hooks?: boolean;
  readonly primary?: string;
  /** False: --no-git. */
  readonly git?: boolean;
  readonly force?: boolean;
}

/** A moment of a store, without a repository around: store and folder are all that is needed. */
export async function recover(context: CommandContext, options: RecoverOptions, url = "", dir = "", what?: string): Promise<number> {
  const { cwd, output, signal } = context;
  const choice = await chooseGit(options.git === false);
  sayIfMissing(choice, output);
  const isProtecting = options.hooks === true || options.primary !== undefined;
  if (isProtecting && !choice.git.isProgram) {
    throw new BackupError("usage", "--hooks and --primary need git: hooks are what git runs, and points are made with it", {
      hint: "recover without them; once there is git, in the folder: holdfast init --yes",
    });
  }
  const environment = environmentWith(options, cwd);
  await using recovery = await findRecovery({ url, what, at: options.at, git: choice.git, environment }, signal);
  const { found, identity } = recovery;
  for (const { error } of found.damaged) output.warn(error.message);
  output.note(`Store of ${identity.name}: ${found.explanation}.`);
  const { signature } = found;
  // Nothing here could know the key: what a person noted tells.
  if (signature.status === "unknown_signer") output.note(`Signed with the key ${signature.fingerprint}: is it the one that you noted?`);
  else tellSignature(signature, output, options.force === true);
  const startedAt = performance.now();
  const target = isAbsolute(dir) ? dir : join(cwd, dir);
  const result = await recoverTo(recovery, target, {
    signal,
    onLimits: (limits) => sayLimits(limits, output),
    onProgress: (step) => output.progress(`restoring: ${step} …`),
  });
  const { code, document } = tellRestore(result, found, { output, startedAt, where: result.target });
  if (code !== exitCodes.done) {
    output.json(document);
    return code;
  }
  const app = await openToRestore(result.target, choice, environment).catch(asInvalid);
  const newSigners = "status" in app ? [] : takeSigners(app, found.plan.chain, `recovered from ${found.store.name}`);
  tellNewSigners(newSigners, url, output);
  const footing: Footing = "status" in app ? app : await readFooting(app, identity);
  const isReady = footing.status === "ready" || (footing.status !== "settings_invalid" && options.primary !== undefined);
  if ("status" in app || !isProtecting || !isReady) {
    const key = options.identity === undefined ? "" : ` --identity ${shellWord(resolve(cwd, options.identity))}`;
    for (const line of nextSteps(footing, result.target, url, key)) output.line(line);
    output.json({ ...document, newSigners, footing, protected: null });
    return isProtecting ? exitCodes.partial : exitCodes.done;
  }
  const made = await goOn(app, { ...options, ...placed(options.primary, cwd) }, context);
  output.json({ ...document, newSigners, footing, protected: made });
  return exitCodes.done;
}

/** The repository is back, whatever its settings are. */
function asInvalid(error: unknown): Extract<Footing, { status: "settings_invalid" }> {
  if (error instanceof BackupError && error.code === "config_invalid") return { status: "settings_invalid", message: error.message };
  throw error;
}

/** A path that is typed here means a place from here; in backup.yaml it would count from the repository. */
function placed(primary: string | undefined, cwd: string): { primary?: string } {
  if (primary === undefined) return {};
  return { primary: /^~(?:\/|$)/.test(primary) || isAbsolute(primary) ? primary : join(cwd, primary) };
}

/** Hooks, settings and a first point, restored once to prove it. Throws `mismatch` where that differs. */
async function goOn(
  app: App,
  { hooks = false, primary }: RecoverOptions,
  { output, signal }: CommandContext,
): Promise<{ store: string; point: string }> {
  const wish = { stores: [], mirrors: [], hooks, ...(primary === undefined ? {} : { primary }) };
  const { point, proof, store } = await protect(app, wish, { signal, onStep: (step) => output.progress(`${step} …`) });
  output.line(describePoint(point));
  const length = proof?.comparison.differences.length ?? 0;
  if (length > 0) throw new BackupError("mismatch", `the first point here does not restore as it was captured: ${count(length, "difference")}`);
  output.line(`Protected again: points go into ${store}${hooks ? ", and the hooks are installed" : ". No hooks yet: holdfast hooks install"}.`);
  output.line("Copies and mirrors of the settings: holdfast status");
  return { store, point: point.id };
}

/** What is protected now and what is not, in plain words, with what to type. `key`: the option that named it, to prove the first point with. */
function nextSteps(footing: Footing, target: string, url: string, key: string): string[] {
  const protectIt = `cd ${shellWord(target)} && holdfast init --yes${key}`;
  const unprotected = "Not protected yet: no hooks are installed here, and no new points are made.";
  switch (footing.status) {
    case "ready":
      return [`The settings came back, and their primary store is here: ${footing.primary}`, unprotected, `  ${protectIt}`];
    case "no_settings":
      return ["The point holds no settings that name a store.", unprotected, `  ${protectIt} --store FOLDER`];
    case "settings_invalid":
      return [`The settings that came back cannot be read: ${footing.message}`, unprotected, `  mend the file, then: ${protectIt}`];
    case "primary_absent":
      return [
        `The settings came back. Their primary store is not on this machine: ${footing.primary}`,
        unprotected,
        "  if its disk is only not mounted, mount it first, then:",
        `    ${protectIt}`,
        "  if it stayed with the old machine, choose a folder of this one:",
        `    ${protectIt} --primary FOLDER`,
        `  What you recovered from stays as it is: ${url}`,
      ];
    case "primary_foreign":
      return [
        `The settings came back. At their primary store, ${footing.primary}, are points of another repository (${footing.owner}).`,
        unprotected,
        `  ${protectIt} --primary FOLDER`,
      ];
    default:
      return footing satisfies never;
  }
}
