/**
 * Every test file gets a home of its own: no configuration, credential or leftover of this machine reaches a test,
 * and no test reaches the machine's. Removed afterwards.
 */
import { mkdirSync, mkdtempSync, realpathSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";

const forTheTestsThemselves = [
  "HOLDFAST_REQUIRE_ALL",
  "HOLDFAST_TEST_MISSING",
  "HOLDFAST_ACCIDENTS_RECORD",
  "HOLDFAST_TEST_OTHER_VOLUME",
  "HOLDFAST_HOSTILE_STORES",
  "HOLDFAST_KILLS",
  "HOLDFAST_FULL_DISKS",
  "HOLDFAST_MACHINE_KILLS",
  "HOLDFAST_POWER_CUTS",
  "HOLDFAST_POINTS",
  "HOLDFAST_MACHINE_POINTS",
  "HOLDFAST_HISTORY_SEEDS",
  "HOLDFAST_HISTORY_STEPS",
  "HOLDFAST_RETENTION_POINTS",
  "HOLDFAST_CHAOS_POINTS",
  "HOLDFAST_BUCKET_REPOSITORIES",
];

const outerTemp = process.env["TMPDIR"];
const scratch = realpathSync(mkdtempSync(join(tmpdir(), "test-")));

for (const name of Object.keys(process.env)) {
  // Inside a git hook GIT_DIR and GIT_INDEX_FILE point at the repository being committed to.
  const isForeign = /^(AWS|GIT|HOLDFAST|XDG)_/.test(name) || ["HUSKY", "FORCE_COLOR", "NO_COLOR", "NODE_COMPILE_CACHE"].includes(name);
  if (isForeign && !forTheTestsThemselves.includes(name)) delete process.env[name];
}

Object.assign(process.env, {
  HOME: folder("home"),
  USERPROFILE: folder("home"),
  XDG_CONFIG_HOME: folder("home/.config"),
  XDG_DATA_HOME: folder("home/.local/share"),
  XDG_STATE_HOME: folder("home/.local/state"),
  XDG_CACHE_HOME: folder("home/.cache"),
  TMPDIR: folder("tmp"),
  TEMP: folder("tmp"),
  TMP: folder("tmp"),
  GIT_CONFIG_GLOBAL: process.platform === "win32" ? "NUL" : "/dev/null",
  GIT_CONFIG_NOSYSTEM: "1",
  // The last link of the credential chain is an address outside of this machine.
  AWS_EC2_METADATA_DISABLED: "true",
});

afterAll(() => {
  if (outerTemp === undefined) delete process.env["TMPDIR"];
  else process.env["TMPDIR"] = outerTemp;
  rmSync(scratch, { recursive: true, force: true, maxRetries: 3 });
});

function folder(name: string): string {
  const path = join(scratch, name);
  mkdirSync(path, { recursive: true });
  return path;
}
