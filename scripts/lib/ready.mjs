/**
 * Makes a fresh checkout ready to run: dependencies as the lock file says, and a Node that is recent enough.
 * Runs on Node 18 with nothing installed.
 */
import { spawnSync } from "node:child_process";
import { statSync } from "node:fs";
import { delimiter, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const root = resolve(fileURLToPath(import.meta.url), "../../..");

const oldest = [22, 16];
const localNode = join(root, "node_modules/.bin/node");

/**
 * Gives undefined when the script at `url` may go on in this process. Otherwise it has been run to its end under a
 * newer Node, and the answer is its exit code. Throws an Error for people when the machine cannot be made ready.
 */
export function makeReady(url) {
  if (isStale()) install();
  if (isRecentEnough(process.versions.node)) return undefined;
  if (!isRecentEnough(versionOf(localNode))) {
    throw new Error(
      `Node ${oldest.join(".")} or newer is needed, this is ${process.versions.node}\n` +
        "hint: install a newer Node and put it first on PATH (on Linux x64 and arm64 with glibc, npm ci brings one)",
    );
  }
  const { status, signal, error } = spawnSync(localNode, [fileURLToPath(url), ...process.argv.slice(2)], {
    stdio: "inherit",
    env: { ...process.env, PATH: [join(root, "node_modules/.bin"), process.env.PATH].join(delimiter) },
  });
  if (status === null) throw error ?? new Error(`ended by ${signal}`);
  return status;
}

/** npm writes its own lock last, so it is older than ours after a pull that changed dependencies, and absent after a broken install. */
function isStale() {
  const installed = changedAt("node_modules/.package-lock.json");
  return installed === undefined || changedAt("package-lock.json") > installed;
}

function changedAt(path) {
  return statSync(join(root, path), { throwIfNoEntry: false })?.mtimeMs;
}

function install() {
  process.stdout.write("installing dependencies: npm ci\n");
  // npm must not run on the Node that it is about to delete.
  const paths = (process.env.PATH ?? "").split(delimiter).filter((path) => !/node_modules[\\/]\.bin[\\/]?$/.test(path));
  const { status, error } = spawnSync("npm", ["ci", "--include=dev", "--include=optional", "--no-audit", "--no-fund", "--loglevel=error"], {
    cwd: root,
    stdio: ["ignore", "inherit", "inherit"],
    env: { ...process.env, PATH: paths.join(delimiter) },
    shell: process.platform === "win32", // npm is a .cmd there
  });
  if (error !== undefined) throw new Error(`npm could not be started: ${error.message}\nhint: install npm and put it on PATH`);
  if (status !== 0) throw new Error(`npm ci failed (exit ${status})\nhint: npm's own words stand above`);
}

/** "0" when there is none, or none that runs on this machine. */
function versionOf(node) {
  const { status, stdout } = spawnSync(node, ["-p", "process.versions.node"], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : "0";
}

function isRecentEnough(version) {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > oldest[0] || (major === oldest[0] && minor >= oldest[1]);
}
