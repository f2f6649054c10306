/** Whether the hooks are there, whether git runs them, and whether what they start exists. Reads only. */
import { existsSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import type { Repository } from "../git/repository.ts";
import { stateDirOf, stateLayout } from "../state/layout.ts";
import { readHooksBefore } from "./before.ts";
import { hasBlock } from "./block.ts";
import { type HookName, hookNames, refHook } from "./events.ts";
import { isExecutable } from "./executable.ts";
import { readHookFile } from "./hook-file.ts";
import { defaultFolder, type HooksPlace, hookPlace, readHooksPlace } from "./place.ts";
import { parseTrigger, type Runtime } from "./trigger.ts";

export interface HooksStatus {
  readonly place: HooksPlace;
  /** The six, and reference-transaction where it is installed. */
  readonly hooks: readonly HookStatus[];
  readonly trigger: TriggerStatus;
}

export interface HookStatus {
  readonly name: HookName;
  /** The file that carries our block; when missing, the one that should. */
  readonly path: string;
  /**
   * `shadowed`: our block is in a file that git does not reach, since core.hooksPath
   * points elsewhere, is relative and this is another worktree, or husky's own part is missing.
   */
  readonly state: "installed" | "missing" | "not_executable" | "shadowed";
}

export type TriggerStatus =
  | { readonly state: "missing"; readonly path: string }
  | { readonly state: "ready"; readonly path: string; readonly runtime: Runtime }
  /** A hook then looks for `node` or `holdfast` on PATH, which a desktop program may not have. */
  | { readonly state: "runtime_missing"; readonly path: string; readonly runtime: Runtime; readonly missing: readonly string[] };

export async function hooksStatus(repository: Repository): Promise<HooksStatus> {
  const state = stateLayout(stateDirOf(repository.commonDir));
  const place = await readHooksPlace(repository);
  const recorded = Object.keys(readHooksBefore(state.hooksBefore).files);
  const refs = statusOf(refHook, place, repository, recorded);
  const hooks = hookNames.map((name) => statusOf(name, place, repository, recorded));
  return { place, hooks: refs.state === "missing" ? hooks : [...hooks, refs], trigger: triggerStatus(state.hook) };
}

function statusOf(name: HookName, place: HooksPlace, repository: Repository, recorded: readonly string[]): HookStatus {
  const { path, runner } = hookPlace(place, name);
  if (carriesBlock(path)) {
    const isReached = runner === "git" || isExecutable(join(place.gitFolder, name));
    if (!isReached) return { name, path, state: "shadowed" };
    return { name, path, state: runner === "husky" || isExecutable(path) ? "installed" : "not_executable" };
  }
  if (readHookFile(path).isChained) return { name, path, state: "installed" };
  const elsewhere = [join(defaultFolder(repository), name), ...recorded.filter((file) => basename(file) === name)];
  const other = elsewhere.find((file) => file !== path && carriesBlock(file));
  return other === undefined ? { name, path, state: "missing" } : { name, path: other, state: "shadowed" };
}

function carriesBlock(path: string): boolean {
  const text = readHookFile(path).found?.text;
  return text !== undefined && text !== null && hasBlock(text);
}

function triggerStatus(path: string): TriggerStatus {
  const runtime = existsSync(path) ? parseTrigger(readFileSync(path, "utf8")) : undefined;
  if (runtime === undefined) return { state: "missing", path };
  const missing = [isExecutable(runtime.node) ? [] : [runtime.node], existsSync(runtime.main) ? [] : [runtime.main]].flat();
  return missing.length === 0 ? { state: "ready", path, runtime } : { state: "runtime_missing", path, runtime, missing };
}
