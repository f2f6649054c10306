/** `npm start`: protects this very checkout, restores it into a new folder and shows where things stand. */
import { spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { makeReady, root } from "./lib/ready.mjs";

class StepFailed extends Error {
  constructor(code) {
    super(`exit ${code}`);
    this.code = code;
  }
}

try {
  process.exitCode = makeReady(import.meta.url) ?? (await start());
} catch (error) {
  if (!(error instanceof StepFailed)) process.stderr.write(`error: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = error instanceof StepFailed ? error.code : 1;
}

async function start() {
  await step("build", async () => {
    const { build } = await import("./build.mjs");
    await build();
  });
  // What is there already stays: init takes the store, settings and hooks that it finds.
  await command("holdfast", "init", "--yes");
  const folder = mkdtempSync(join(tmpdir(), "holdfast-restored-"));
  await command("restore-from-git", "latest", "--to", folder);
  await command("holdfast", "status", { accept: [0, 3] });
  process.stdout.write(`\nThe restored repository stands in ${folder}\n`);
  return 0;
}

/** A last argument that is an object says which exit codes are answers: `status` exits 3 while anything is left to do. */
async function command(name, ...given) {
  const args = given.filter((arg) => typeof arg === "string");
  const { accept = [0] } = given.find((arg) => typeof arg === "object") ?? {};
  await step([name, ...args].join(" "), () => {
    const code = run(name, args, "inherit");
    if (!accept.includes(code)) throw new StepFailed(code);
  });
}

async function step(title, work) {
  process.stdout.write(`\n==> ${title}\n`);
  const startedAt = performance.now();
  const tell = (outcome) => process.stdout.write(`<== ${outcome} after ${((performance.now() - startedAt) / 1000).toFixed(2)} s\n`);
  try {
    await work();
  } catch (error) {
    tell(`failed (${error instanceof Error ? error.message.split("\n")[0] : error})`);
    throw error;
  }
  tell("done");
}

function run(name, args, output) {
  const { status, error } = spawnSync(process.execPath, [join(root, "dist/bin", `${name}.js`), ...args], {
    cwd: root,
    stdio: ["ignore", output, output],
  });
  if (error !== undefined) throw error;
  return status ?? 130;
}
