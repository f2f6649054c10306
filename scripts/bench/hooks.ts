/**
 * What hooks cost a commit: `git commit --allow-empty`, with and without them in turn, so that noise of the
 * machine meets both. Prints medians and p90 in ms; asserts nothing. Run: node scripts/bench/hooks.ts [ROUNDS]
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openRepository } from "../../src/git/repository.ts";
import { installHooks } from "../../src/hooks/install.ts";
import { stateDirOf, stateLayout } from "../../src/state/layout.ts";

const rounds = Number(process.argv[2] ?? 50);
const environment = {
  PATH: process.env["PATH"] ?? "",
  GIT_CONFIG_GLOBAL: "/dev/null",
  GIT_CONFIG_NOSYSTEM: "1",
  ...Object.fromEntries(
    ["AUTHOR", "COMMITTER"].flatMap((who) => [
      [`GIT_${who}_NAME`, "bench"],
      [`GIT_${who}_EMAIL`, "bench@example.org"],
    ]),
  ),
};

const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
try {
  const bare = makeRepository("without");
  // A worker that ends at once: what is measured is the start, and Node's boot beside the commit.
  const main = join(folder, "main.mjs");
  writeFileSync(main, "");
  const triggerTemplate = readFileSync(new URL("../../hooks/trigger", import.meta.url), "utf8");
  for (const [title, hooked, everyRef] of [
    ["six hooks", makeRepository("with"), false],
    ["with --every-ref", makeRepository("every-ref"), true],
  ] as const) {
    const repository = await openRepository(hooked);
    await installHooks({ repository, runtime: { node: process.execPath, main }, triggerTemplate, everyRef });
    const { lease } = stateLayout(stateDirOf(repository.commonDir));
    report(`${title}, a worker is alive`, bare, hooked, () => {
      writeFileSync(lease, `${process.pid}\n`);
      const ahead = Date.now() / 1000 + 10;
      utimesSync(lease, ahead, ahead);
    });
    // In peace: the Node that the round before started must not slow this round's plain commit.
    report(`${title}, no worker: one is started`, bare, hooked, () => {
      rmSync(lease, { force: true });
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
    });
  }
} finally {
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
}

function makeRepository(name: string): string {
  const root = join(folder, name);
  execFileSync("git", ["init", "-q", root], { env: environment });
  return root;
}

function report(title: string, without: string, withHooks: string, before: () => void): void {
  const times: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    before();
    times[0].push(commitMs(without));
    before();
    times[1].push(commitMs(withHooks));
  }
  const [plain, hooked] = times.map((list) => ({ median: at(list, 0.5), p90: at(list, 0.9) })) as [Figures, Figures];
  const line = (label: string, { median, p90 }: Figures): string => `  ${label.padEnd(14)} median ${median.toFixed(1)}  p90 ${p90.toFixed(1)}`;
  console.log(
    [
      `${title} (${rounds} commits each, ms)`,
      line("without hooks", plain),
      line("with hooks", hooked),
      `  more by        median ${(hooked.median - plain.median).toFixed(1)}`,
    ].join("\n"),
  );
}

interface Figures {
  readonly median: number;
  readonly p90: number;
}

function commitMs(cwd: string): number {
  const startedAt = performance.now();
  const { status } = spawnSync("git", ["commit", "-q", "--allow-empty", "-m", "bench"], { cwd, env: environment, stdio: "ignore" });
  if (status !== 0) throw new Error(`git commit ended with ${status}`);
  return performance.now() - startedAt;
}

function at(list: readonly number[], share: number): number {
  return list.toSorted((a, b) => a - b)[Math.floor((list.length - 1) * share)] ?? Number.NaN;
}
