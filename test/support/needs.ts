/**
 * Parts that not every machine has. A test that lacks one is skipped and named at the end of `npm test`;
 * with HOLDFAST_REQUIRE_ALL=1, as in CI, it fails.
 */
import { accessSync, appendFileSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/**
 * Whether `part` is here: by default a program on PATH.
 *
 *     const zstd = needs("zstd", "restore.sh tests");
 *     describe.skipIf(!zstd)("restore.sh", …);
 *
 * `purpose` names what cannot run without it. Throws when it is missing and everything is required.
 */
export function needs(part: string, purpose: string, isHere: (part: string) => boolean = isOnPath): boolean {
  if (isHere(part)) return true;
  if (process.env["HOLDFAST_REQUIRE_ALL"] === "1") throw new Error(`${purpose}: no ${part} here, and HOLDFAST_REQUIRE_ALL is set`);
  const record = process.env["HOLDFAST_TEST_MISSING"];
  if (record !== undefined) appendFileSync(record, `${JSON.stringify({ part, purpose })}\n`);
  return false;
}

function isOnPath(program: string): boolean {
  const endings = process.platform === "win32" ? (process.env["PATHEXT"] ?? ".EXE").split(";") : [""];
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => folder !== "");
  return folders.some((folder) => endings.some((ending) => isExecutable(join(folder, program + ending))));
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // absent or not ours to run: the same to a test
  }
}
