/** Files that hold a secret: for their owner alone, and on the disk whole before they have their name. */
import { randomBytes } from "node:crypto";
import { chmodSync, closeSync, fsyncSync, linkSync, lstatSync, mkdirSync, openSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { BackupError, systemCode } from "../core/errors.ts";

/** False where something is there already, which stays as it is. Makes the folder where needed. Throws `io_failed`. */
export function createPrivateFile(path: string, text: string): boolean {
  return writeThrough(path, text, (temporary) => {
    try {
      linkSync(temporary, path);
    } catch {
      if (lstatSync(path, { throwIfNoEntry: false }) !== undefined) return false;
      renameSync(temporary, path); // file systems without hard links
    }
    return true;
  });
}

/** Puts `text` in the place of the file, whole or not at all. Makes the folder where needed. Throws `io_failed`. */
export function replacePrivateFile(path: string, text: string): void {
  writeThrough(path, text, (temporary) => {
    // A pipe or a device would lose its name to a file.
    if (statSync(path, { throwIfNoEntry: false })?.isFile() === false) throw new BackupError("io_failed", `cannot write ${path}: it is no file`);
    renameSync(temporary, path);
  });
}

function writeThrough<T>(path: string, text: string, publish: (temporary: string) => T): T {
  try {
    const folder = dirname(path);
    if (mkdirSync(folder, { recursive: true, mode: 0o700 }) !== undefined) chmodSync(folder, 0o700);
    const temporary = `${path}.${randomBytes(4).toString("hex")}.new`;
    let published: T;
    try {
      writeDurably(temporary, text);
      published = publish(temporary);
    } finally {
      rmSync(temporary, { force: true });
    }
    syncFolder(folder);
    return published;
  } catch (error) {
    if (error instanceof BackupError) throw error;
    throw new BackupError("io_failed", `cannot write ${path}: ${systemCode(error)}`, { cause: error });
  }
}

function writeDurably(path: string, text: string): void {
  const descriptor = openSync(path, "wx", 0o600);
  try {
    // Not writeSync: a volume that is nearly full takes a part, and says so only by the number.
    writeFileSync(descriptor, text);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function syncFolder(folder: string): void {
  if (process.platform === "win32") return; // folders cannot be synced there
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
