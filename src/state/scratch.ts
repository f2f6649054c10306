/**
 * Folders for what is there only while a command runs: what it restores, decrypts, unpacks. Each is noted, with whose it is, before
 * it is made: what a killed run left is found and removed by a later one.
 */
import { randomBytes } from "node:crypto";
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { BackupError, describeError } from "../core/errors.ts";
import { parseJson } from "../core/json.ts";
import { isGone, parseOwner, thisProcess } from "./owner.ts";
import { discardTree, removeTree } from "./remove-tree.ts";

export interface ScratchFolder extends Disposable {
  readonly path: string;
}

/**
 * Makes a folder in the system's temporary one. `notes`: the folder of the repository's state that the note goes to; by default
 * it lies beside the folder, for commands that have no state or only read. Throws `io_failed`.
 */
export function makeScratch(purpose: string, notes = tmpdir()): ScratchFolder {
  sweepScratch(notes);
  const token = randomBytes(8).toString("hex");
  const name = `holdfast-${purpose}-${token}`;
  const folder = resolve(tmpdir());
  const path = join(folder, name);
  const note = join(notes, `${name}.json`);
  const owner = { ...thisProcess(), token, purpose, startedAt: new Date().toISOString() };
  try {
    mkdirSync(notes, { recursive: true });
    writeFileSync(note, JSON.stringify({ ...owner, folder }), { flag: "wx", mode: 0o600, flush: true });
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    throw new BackupError("io_failed", `no scratch folder can be made: ${describeError(error)}`, { cause: error });
  }
  const dispose = (): void => {
    discardTree(path);
    // One that is still there is still noted.
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) rmSync(note, { force: true });
  };
  return { path, [Symbol.dispose]: dispose };
}

export interface KeptScratch {
  readonly path: string;
  readonly message: string;
}

/** Removes what runs left that have ended. Throws nothing: gives what could not be removed, which stays noted. */
export function sweepScratch(notes = tmpdir()): KeptScratch[] {
  return namesIn(notes).flatMap((file) => {
    const [, name] = /^(holdfast-[a-z]+-[0-9a-f]{16})\.json$/.exec(file) ?? [];
    if (name === undefined) return [];
    const note = join(notes, file);
    try {
      const folder = leftFolder(note);
      if (folder === undefined) return [];
      removeTree(join(folder, name));
      rmSync(note, { force: true });
      return [];
    } catch (error) {
      return [{ path: note, message: describeError(error) }];
    }
  });
}

/** Where the folder of this note lies, if nobody uses it any more. */
function leftFolder(note: string): string | undefined {
  const stat = lstatSync(note);
  // Where the system's temporary folder has the notes, others write there as well.
  if (!stat.isFile() || stat.uid !== (process.getuid?.() ?? stat.uid)) return undefined;
  const text = readFileSync(note, "utf8");
  const owner = parseOwner(text);
  const { folder = "" } = (parseJson(text) ?? {}) as { readonly folder?: unknown };
  const ageMs = Date.now() - stat.mtimeMs;
  if (owner !== undefined && typeof folder === "string") return isGone(owner, ageMs - longestUnseenMs) ? folder : undefined;
  // Killed before it was written, so before there was a folder; or being written now.
  return ageMs > longestUnseenMs ? resolve(tmpdir()) : undefined;
}

/** Notes have no heartbeat: what another machine or container uses is taken to be left after so long. */
const longestUnseenMs = 24 * 60 * 60_000;

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return []; // nothing was noted there yet
  }
}
