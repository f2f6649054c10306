/**
 * The accident suite as a whole: `npm run accidents`. Kills, power cuts, full disks, failing stores, wrong clocks,
 * machines that write at once, and stores that somebody else has written to. Its last line adds up what was counted; exit 1 where anything failed. HOLDFAST_KILLS and the like may be set lower.
 */
import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./lib/ready.mjs";

const scratch = mkdtempSync(join(tmpdir(), "accidents-"));
const record = join(scratch, "counts.ndjson");
const whole = {
  HOLDFAST_KILLS: "2000",
  HOLDFAST_POWER_CUTS: "600",
  HOLDFAST_FULL_DISKS: "400",
  HOLDFAST_MACHINE_KILLS: "100",
  HOLDFAST_HOSTILE_STORES: "1000",
};
try {
  writeFileSync(record, "");
  const env = { ...whole, ...process.env, HOLDFAST_ACCIDENTS_RECORD: record };
  const flags = process.argv.slice(2);
  const files = ["test/accidents/", "test/hostile-store", "src/prune/", "src/replicate/", "src/points/rewrap", "src/verify/verify"];
  const { status } = spawnSync(process.execPath, [join(root, "scripts/test.mjs"), ...files, ...flags], { cwd: root, stdio: "inherit", env });
  process.exitCode = status ?? 1;
  let [accidents, points] = [0, 0];
  for (const line of readFileSync(record, "utf8").split("\n").filter(Boolean)) {
    const count = JSON.parse(line);
    accidents += count.accidents;
    points += count.points;
    process.stdout.write(`${String(count.accidents).padStart(6)}  ${count.what}\n`);
  }
  // Each test fails at the first point that is lost, and at the first run that needs a hand.
  const verdict = status === 0 ? "0 points lost, 0 steps by hand" : "something failed: see above";
  process.stdout.write(`${accidents} accidents, ${points} points looked at after them: ${verdict}\n`);
} finally {
  rmSync(scratch, { recursive: true, force: true });
}
