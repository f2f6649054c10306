/**
 * Runs every test on a fresh checkout: `npm test`. Flags go to vitest: `npm test -- --project fast src/core`.
 * Its last line is `N passed, N failed, N skipped`, counted from vitest's report, whatever happens.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, statfsSync } from "node:fs";
import { availableParallelism, freemem, tmpdir } from "node:os";
import { join } from "node:path";
import { makeReady, root } from "./lib/ready.mjs";

// The tests make hundreds of thousands of files: in memory that takes half the time, and a second worker pays.
const memory = memoryDisk();
const scratch = mkdtempSync(join(memory ?? tmpdir(), "holdfast-"));
const reportFile = join(scratch, "report.json");
const missingFile = join(scratch, "missing.ndjson");
try {
  const code = makeReady(import.meta.url);
  process.exitCode = code ?? (await test());
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = finish({ passed: 0, failed: 1, skipped: 0 });
} finally {
  rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
}

async function test() {
  const { build } = await import("./build.mjs");
  await build();
  const flags = process.argv.slice(2);
  const code = vitest(flags);
  listMissing();
  return finish(tally(code));
}

function vitest(flags) {
  const workers = memory === undefined ? [] : [`--maxWorkers=${Math.min(4, availableParallelism())}`];
  const chosen = flags.some((flag) => flag.startsWith("--reporter")) ? [] : ["--reporter=default"];
  const reporters = [...chosen, "--reporter=json", `--outputFile.json=${reportFile}`];
  const { status, signal, error } = spawnSync(
    process.execPath,
    [join(root, "node_modules/vitest/vitest.mjs"), "run", ...workers, ...reporters, ...flags],
    {
      cwd: root,
      stdio: ["ignore", "inherit", "inherit"],
      env: {
        ...process.env,
        HOLDFAST_TEST_MISSING: missingFile,
        HOLDFAST_TEST_OTHER_VOLUME: memory === undefined ? "/dev/shm" : tmpdir(),
        // What a crashed test leaves goes with the scratch folder.
        TMPDIR: scratch,
        TEMP: scratch,
        TMP: scratch,
        ...(process.stdout.isTTY ? {} : { NO_COLOR: "1" }),
      },
    },
  );
  if (status === null) process.stderr.write(`error: vitest ended early: ${error?.message ?? signal}\n`);
  return status ?? 1;
}

/** A disk in memory that has room, or undefined. */
function memoryDisk() {
  const path = "/dev/shm";
  const needed = 4 * 1024 ** 3;
  try {
    const { bavail, bsize } = statfsSync(path);
    return process.env.TMPDIR === undefined && bavail * bsize >= needed && freemem() >= needed ? path : undefined;
  } catch {
    return undefined; // not on this system
  }
}

/** A file that could not be loaded has no failed test, and an unhandled rejection belongs to none: both count as one failure. */
function tally(code) {
  const report = readJson(reportFile);
  if (report === undefined) {
    process.stderr.write("error: vitest left no report\n");
    return { passed: 0, failed: 1, skipped: 0 };
  }
  const brokenFiles = report.testResults.filter(
    (file) => file.status === "failed" && !file.assertionResults.some((result) => result.status === "failed"),
  );
  const failed = report.numFailedTests + brokenFiles.length;
  return {
    passed: report.numPassedTests,
    failed: code === 0 ? failed : Math.max(failed, 1),
    skipped: report.numPendingTests + report.numTodoTests,
  };
}

function listMissing() {
  const lines = new Set(readText(missingFile).split("\n").filter(Boolean));
  if (lines.size === 0) return;
  process.stdout.write("\nnot run on this machine:\n");
  for (const { part, purpose } of [...lines].map((line) => JSON.parse(line))) process.stdout.write(`  ${purpose}: no ${part} here\n`);
}

function finish({ passed, failed, skipped }) {
  process.stdout.write(`${passed} passed, ${failed} failed, ${skipped} skipped\n`);
  return failed === 0 ? 0 : 1;
}

function readJson(file) {
  try {
    return JSON.parse(readText(file));
  } catch {
    return undefined; // cut short: the same as absent
  }
}

function readText(file) {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return ""; // never written
  }
}
