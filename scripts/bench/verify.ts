/**
 * Times reading a store to its last byte: `holdfast verify --read-data` beside `restic check --read-data` of the same data, in the
 * same run; then `--decode`, which looks inside as well.
 *
 *   node scripts/bench/verify.ts [--mib N] [--runs N]
 *
 * --mib: so much that does not compress (default 1024), and a quarter of it as text, in a folder under TMPDIR.
 * Needs `npm run build`, and restic.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { appendFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";

const { values: options } = parseArgs({ options: { mib: { type: "string", default: "1024" }, runs: { type: "string", default: "3" } } });
const mib = Number(options.mib);
const root = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
const work = join(root, "work");
const restic = join(root, "restic");
const holdfast = join(import.meta.dirname, "../../dist/bin/holdfast.js");
const environment = {
  PATH: process.env["PATH"] ?? "",
  HOME: root,
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CONFIG_GLOBAL: "/dev/null",
  RESTIC_PASSWORD: "bench",
};

try {
  execFileSync("git", ["init", "-q", work], { env: environment });
  for (let file = 0; file < mib / 64; file += 1) appendFileSync(join(work, `noise-${file}.bin`), randomBytes(64 << 20));
  let line = 0;
  for (let written = 0; written < mib << 18; ) {
    const text = Array.from({ length: 10_000 }, (_, at) => `2026-11-21 INFO request ${line + at} took ${(line + at) % 977} ms\n`).join("");
    line += 10_000;
    appendFileSync(join(work, "agent.txt"), text);
    written += text.length;
  }
  execFileSync(process.execPath, [holdfast, "-C", work, "init", "--yes", "--no-hooks", "--store", join(root, "store")], {
    env: environment,
    stdio: "ignore",
  });
  execFileSync("restic", ["-q", "-r", restic, "init"], { env: environment });
  execFileSync("restic", ["-q", "-r", restic, "backup", work, "--exclude", ".git"], { env: environment });
  const ours = (...args: string[]): string[] => [process.execPath, holdfast, "-C", work, "verify", ...args];
  const commands: [string, string[]][] = [
    ["restic check --read-data", ["restic", "-q", "-r", restic, "check", "--read-data"]],
    ["holdfast verify --read-data", ours("--read-data")],
    ["holdfast verify --decode", ours("--decode")],
    ["holdfast verify", ours()],
  ];
  const times = new Map<string, number[]>(commands.map(([name]) => [name, []]));
  for (let run = 0; run < Number(options.runs); run += 1) for (const [name, command] of commands) times.get(name)?.push(secondsOf(command));
  for (const [name, seconds] of times) {
    const sorted = seconds.toSorted((a, b) => a - b);
    const [first = 0, median = 0, last = 0] = [sorted[0], sorted[sorted.length >> 1], sorted.at(-1)];
    process.stdout.write(`${name.padEnd(28)} ${median.toFixed(2)} s   (${first.toFixed(2)} to ${last.toFixed(2)})\n`);
  }
} finally {
  rmSync(root, { recursive: true, force: true });
}

function secondsOf([command = "", ...args]: readonly string[]): number {
  const startedAt = performance.now();
  const { status, stderr } = spawnSync(command, args, { env: environment, stdio: ["ignore", "ignore", "pipe"] });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}: ${stderr}`);
  return (performance.now() - startedAt) / 1000;
}
