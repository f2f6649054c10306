/**
 * Stores that somebody else has written to, made by a seeded fuzzer: each of them changes a real store so that its sums fit, and
 * is restored by the built program. Nothing outside the target may change, nothing may run, nothing may hang, and no end is a bug's.
 * HOLDFAST_HOSTILE_STORES sets how many.
 */
import { execFileSync, spawn } from "node:child_process";
import { chmodSync, cpSync, existsSync, linkSync, mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { writeRecoveryFiles } from "../src/points/recovery-files.ts";
import { countAccidents } from "./support/accidents.ts";
import { programs } from "./support/cli.ts";
import { effort } from "./support/effort.ts";
import { hostileAttacks } from "./support/hostile-attacks.ts";
import { forger } from "./support/hostile-store.ts";
import { noise } from "./support/noise.ts";
import { type ProtectedRepository, protect } from "./support/protected.ts";
import { seededRandom } from "./support/random.ts";
import { gitRepo, type TestRepo, tempDir } from "./support/repo.ts";
import { recoveryTexts } from "./support/restore-script.ts";
import { snapshotTree, type TreeEntry } from "./support/tree.ts";

const stores = effort("HOLDFAST_HOSTILE_STORES", 90, 30);
const limitMs = 60_000;
/** A restore of the whole store takes 200 MiB. */
const heapMb = 512;

const scratch = tempDir();
const ground = join(scratch.path, "ground");
const canary = join(ground, "canary");
const marker = join(ground, "marker");
const target = join(ground, "area", "target");
const forged = join(scratch.path, "forged");
const attacks = hostileAttacks(canary, `touch ${marker}`);

let repo: TestRepo;
let safe: ProtectedRepository;
let untouched: TreeEntry[];

beforeAll(async () => {
  repo = gitRepo({ "a.txt": "one\n", "way/inner": "tracked\n", ".gitattributes": "*.x filter=x diff=x merge=x\n", "b.x": "filtered\n" });
  repo.write("large.bin", noise(200_000, 1));
  repo.write("untracked/note.md", "note\n");
  linkSync(join(repo.path, "untracked/note.md"), join(repo.path, "untracked/other.md"));
  symlinkSync("note.md", join(repo.path, "untracked/link"));
  writeFileSync(join(repo.path, ".git/hooks/post-checkout"), "#!/bin/sh\n");
  chmodSync(join(repo.path, ".git/hooks/post-checkout"), 0o755);
  execFileSync("git", ["init", "-q", "-b", "main", join(repo.path, "nested")]);
  repo.git("branch", "side");
  repo.git("worktree", "add", "-q", join(scratch.path, "linked"), "side");
  safe = await protect(repo.path);
  await writeRecoveryFiles(safe.store, recoveryTexts);
  await safe.point();
  repo.write("a.txt", "two\n");
  repo.git("commit", "-q", "-a", "-m", "second");
  repo.write("a.txt", "stashed\n");
  repo.git("stash");
  const large = noise(200_000, 1);
  large.fill(7, 1000, 1100);
  repo.write("large.bin", large);
  repo.write("untracked/second.md", "second\n");
  await safe.point();
  for (const folder of ["empty", "git/hooks", "home"]) mkdirSync(join(canary, folder), { recursive: true });
  mkdirSync(join(ground, "area"));
  writeFileSync(join(canary, "precious"), "mine\n", { mode: 0o600 });
  untouched = snapshotTree(ground, { exclude: ["area"] });
});
afterAll(() => {
  safe?.[Symbol.dispose]();
  repo?.[Symbol.dispose]();
  scratch[Symbol.dispose]();
});

interface Ending {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly output: string;
}

/** As a user would, on a machine of their own, whose home is part of the ground. */
function recover(): Promise<Ending> {
  const environment = {
    ...process.env,
    HOME: join(canary, "home"),
    XDG_CACHE_HOME: join(scratch.path, "cache"),
    NODE_OPTIONS: `--max-old-space-size=${heapMb}`,
  };
  return run(process.execPath, [programs.holdfast, "recover", forged, target], environment);
}

function run(program: string, args: readonly string[], environment: NodeJS.ProcessEnv): Promise<Ending> {
  const child = spawn(program, args, {
    cwd: join(ground, "area"),
    env: environment,
    stdio: ["ignore", "pipe", "pipe"],
    timeout: limitMs,
    killSignal: "SIGKILL",
  });
  const chunks: Buffer[] = [];
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal, output: Buffer.concat(chunks).toString("utf8") }));
  });
}

/** What people do next in a folder that they have just got back. */
async function useIt(): Promise<void> {
  if (!existsSync(join(target, ".git"))) return;
  const environment = { ...process.env, GIT_TERMINAL_PROMPT: "0", GIT_PAGER: "cat" };
  for (const args of [["status"], ["log", "-1"], ["diff", "--no-color"], ["stash", "list"], ["branch", "-a"]])
    await run("git", ["-C", target, ...args], environment);
  for (const folder of ["nested", "n", "nested/.git/x", ".git/x", "n/.git/hooks", "n/.git/holdfast-restored/hooks"])
    if (existsSync(join(target, folder))) await run("git", ["-C", join(target, folder), "status"], environment);
}

describe("a store that somebody else has written to", () => {
  const kinds = Object.keys(attacks);
  const counts = { refused: 0, restored: 0, stopped: 0 };
  const found: string[] = [];

  test(`${stores} of them: nothing outside changes, nothing runs, nothing hangs`, { timeout: 20 * 60_000 }, async () => {
    for (let seed = 0; seed < stores; seed += 1) {
      const kind = kinds[seed % kinds.length] ?? "";
      cpSync(safe.store.url, forged, { recursive: true });
      const random = seededRandom(seed + 1);
      await attacks[kind]?.(forger(forged, random));
      const ending = await recover();
      await useIt();
      if (ending.code === 0) counts.restored += 1;
      else if (existsSync(join(target, ".git"))) counts.stopped += 1;
      else counts.refused += 1;
      for (const made of [target, `${target}.worktrees`, forged]) rmSync(made, { recursive: true, force: true });
      const wrongs = [...judge(ending), ...look()];
      rmSync(marker, { force: true });
      if (wrongs.length > 0) found.push(`seed ${seed}, ${kind}: ${wrongs.join("; ")}\n${ending.output.slice(-1500)}`);
    }
    process.stdout.write(
      `hostile stores: ${stores}; refused ${counts.refused}, stopped on the way ${counts.stopped}, restored inside the target ${counts.restored}\n`,
    );
    expect(found.join("\n\n")).toBe("");
    countAccidents({ what: "restores from a hostile store", accidents: stores, points: counts.restored });
  });
});

function judge({ code, signal, output }: Ending): string[] {
  return [
    ...(signal === null ? [] : [`ended by ${signal}`]),
    ...(code === 1 && /this is a bug|\n\s+at .*\.js:\d|heap out of memory/.test(output) ? ["ended as a bug does"] : []),
    // biome-ignore lint/suspicious/noControlCharactersInRegex: what a terminal would obey
    ...(/[\x00-\x08\x0b-\x1f\x7f\x9b]/.test(output) ? ["spoke to the terminal"] : []),
  ];
}

/** What of the ground is not as it was. */
function look(): string[] {
  const isSame = isDeepStrictEqual(snapshotTree(ground, { exclude: ["area"] }), untouched);
  return [
    ...(existsSync(marker) ? ["a command has run"] : []),
    ...(isSame ? [] : ["something outside has changed"]),
    ...readdirSync(join(ground, "area")),
  ];
}
