/**
 * Proves that the hooks fire: a throwaway commit, by the user's own git, in a new repository that has this one's
 * hook, trigger and hook manager, and the PATH of a desktop program. Code of the user's does not run.
 */
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { git, gitWithHooks } from "../git/run.ts";
import { stateDirOf, stateLayout } from "../state/layout.ts";
import { makeScratch } from "../state/scratch.ts";
import { block } from "./block.ts";
import type { HooksStatus } from "./status.ts";

/** `silent`: git did not run the hook. `no_worker`: it ran, and what it started did not answer. */
export type ProbeResult = "fired" | "silent" | "no_worker";

/** Asked of the worker by a file in the state folder. */
export function answerProbe(stateDir: string): boolean {
  const { probe, probeAnswer } = stateLayout(stateDir);
  if (!existsSync(probe)) return false;
  writeFileSync(probeAnswer, "");
  return true;
}

/** `status` must have a trigger. */
export async function probeHooks({ place, trigger }: HooksStatus, timeoutMs = 15_000): Promise<ProbeResult> {
  using scratch = makeScratch("probe");
  const root = scratch.path;
  await git(["init", "-q", "--template=", root]);
  const state = stateLayout(stateDirOf(join(root, ".git")));
  mkdirSync(state.root);
  writeFileSync(state.hook, readFileSync(trigger.path));
  writeFileSync(state.probe, "");
  if (place.manager === "husky") {
    cpSync(place.gitFolder, join(root, ".husky/_"), { recursive: true });
    writeFileSync(join(root, ".husky/post-commit"), `${block}\n`);
    await git(["config", "core.hooksPath", ".husky/_"], { cwd: root });
  } else {
    const hook = join(root, ".git/hooks/post-commit");
    mkdirSync(dirname(hook));
    writeFileSync(hook, `#!/bin/sh\n${block}\n`, { mode: 0o755 });
  }
  await gitWithHooks(["-c", "user.name=Holdfast", "-c", "user.email=probe@localhost", "commit", "-q", "--allow-empty", "-m", "probe"], {
    cwd: root,
    env: process.platform === "win32" ? {} : { PATH: desktopPath },
  });
  if (!existsSync(state.dirty)) return "silent";
  for (let waitedMs = 0; waitedMs < timeoutMs; waitedMs += pollMs) {
    if (existsSync(state.probeAnswer)) return "fired";
    await delay(pollMs);
  }
  return "no_worker";
}

/** What a program started from a desktop has: no nvm, no volta, no shell profile. */
const desktopPath = "/usr/local/bin:/usr/bin:/bin:/opt/homebrew/bin";
const pollMs = 20;
