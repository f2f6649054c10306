/** One hook file: what is there, what has to be done so that it carries our block, and the way back. */
import { chmodSync, lstatSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { BackupError } from "../core/errors.ts";
import { addBlock, asideSuffix, block, hasBlock, isOwnHook, isShellScript, isWrapperHook, ownHook, removeBlock, wrapperHook } from "./block.ts";
import type { HooksPlace } from "./place.ts";

export interface HookFile {
  readonly path: string;
  /** Undefined when there is none. A link, a folder or a device has null text. */
  readonly found: { readonly text: string | null; readonly mode: number } | undefined;
  /** Whether a user's hook waits beside it under `asideSuffix`. */
  readonly hasAside: boolean;
}

export type HookPlan =
  | { readonly change: "none" }
  | { readonly change: "create" | "edit"; readonly text: string; readonly mode: number }
  /** Another language, a link, or switched off: it waits beside ours, which runs it. `strip`: it carried our block. */
  | { readonly change: "wrap"; readonly text: string; readonly mode: number; readonly strip: string | undefined };

const executable = 0o755;

export function readHookFile(path: string): HookFile {
  const stat = lstatSync(path, { throwIfNoEntry: false });
  const hasAside = lstatSync(path + asideSuffix, { throwIfNoEntry: false }) !== undefined;
  if (stat === undefined) return { path, found: undefined, hasAside };
  return { path, found: { text: stat.isFile() ? readFileSync(path, "latin1") : null, mode: stat.mode & 0o7777 }, hasAside };
}

/** Decides; changes nothing. Throws `usage` where the user has to decide. */
export function planHook(file: HookFile, manager: HooksPlace["manager"]): HookPlan {
  const { found } = file;
  if (manager === "husky") return planHuskyFile(file);
  if (found === undefined) return { change: "create", text: file.hasAside ? wrapperHook : ownHook, mode: executable };
  const { text, mode } = found;
  if (text !== null && (isOwnHook(text) || isWrapperHook(text))) return edited(text, mode, (mode & 0o111) === 0 ? mode | 0o111 : mode);
  const runs = process.platform === "win32" || (mode & 0o111) !== 0;
  if (text !== null && runs && isShellScript(text)) return edited(text, mode, mode);
  if (file.hasAside) {
    throw new BackupError("usage", `both ${file.path} and ${file.path}${asideSuffix} are hooks of yours`, {
      hint: `join the two in ${file.path}, remove the other, and run it again`,
    });
  }
  return { change: "wrap", text: wrapperHook, mode: executable, strip: text !== null && hasBlock(text) ? removeBlock(text) : undefined };
}

/** Carries out a plan. Each file appears whole: a shell that is running the old one keeps it. */
export function applyHook(path: string, plan: HookPlan): void {
  if (plan.change === "none") return;
  if (plan.change === "wrap") {
    if (plan.strip !== undefined) replaceFile(path, plan.strip, lstatSync(path).mode & 0o7777);
    // A crash from here to the end leaves the aside alone: the next installation or removal goes on from there.
    renameSync(path, path + asideSuffix);
  }
  replaceFile(path, plan.text, plan.mode);
}

/** Takes our part out of one hook file. `wasMade`: the file itself is ours; undefined when no record says. False when nothing was ours. */
export function restoreHook(file: HookFile, wasMade: boolean | undefined): boolean {
  const { path, found } = file;
  const text = found?.text ?? undefined;
  if (file.hasAside && (found === undefined || (text !== undefined && isWrapperHook(text)))) {
    renameSync(path + asideSuffix, path);
    return true;
  }
  if (found === undefined || text === undefined || !hasBlock(text)) return false;
  if (isWrapperHook(text) || (isOwnHook(text) && wasMade !== false)) rmSync(path);
  else replaceFile(path, removeBlock(text), found.mode);
  return true;
}

function planHuskyFile({ path, found }: HookFile): HookPlan {
  if (found === undefined) return { change: "create", text: `${block}\n`, mode: 0o644 };
  if (found.text === null)
    throw new BackupError("usage", `${path} is not a plain file`, { hint: "put a plain shell file in its place and run it again" });
  return edited(found.text, found.mode, found.mode);
}

function edited(text: string, modeBefore: number, mode: number): HookPlan {
  const after = isWrapperHook(text) ? wrapperHook : addBlock(text);
  return after === text && modeBefore === mode ? { change: "none" } : { change: "edit", text: after, mode };
}

function replaceFile(path: string, text: string, mode: number): void {
  const temporary = `${path}.holdfast-new`;
  writeFileSync(temporary, text, "latin1");
  // The mode given to open(2) is cut by the umask.
  chmodSync(temporary, mode);
  renameSync(temporary, path);
}
