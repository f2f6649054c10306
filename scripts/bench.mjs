/** `npm run bench`: how long the built program takes to start, which every hook pays. Give another command to time that: `npm run bench -- status`. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { makeReady, root } from "./lib/ready.mjs";

const runs = 20;

try {
  process.exitCode = makeReady(import.meta.url) ?? (await bench());
} catch (error) {
  process.stderr.write(`error: ${error instanceof Error ? error.message : error}\n`);
  process.exitCode = 1;
}

async function bench() {
  const { build } = await import("./build.mjs");
  await build();
  const command = process.argv.length > 2 ? process.argv.slice(2) : ["--version"];
  const bare = measure(["-e", "0"]);
  const ours = measure([join(root, "dist/bin/holdfast.js"), ...command]);
  process.stdout.write(`node -e 0            ${bare}\nholdfast ${command.join(" ").padEnd(12)}${ours}\n`);
  return 0;
}

/** The first run fills the compile cache and is not counted. */
function measure(args) {
  const times = Array.from({ length: runs + 1 }, () => {
    const startedAt = performance.now();
    const { status } = spawnSync(process.execPath, args, { stdio: "ignore" });
    if (status !== 0) throw new Error(`${args.join(" ")} failed (exit ${status})`);
    return performance.now() - startedAt;
  }).slice(1);
  times.sort((a, b) => a - b);
  return `median ${times[runs >> 1].toFixed(0)} ms, slowest ${times[runs - 1].toFixed(0)} ms`;
}
