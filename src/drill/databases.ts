/** SQLite databases in a restored folder, found by what they are and not by their names. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { databaseMagic } from "../archive/sqlite.ts";
import { encodePath } from "../core/paths.ts";

const leastSize = 512;

export function isDatabase(path: string): boolean {
  let descriptor: number;
  try {
    descriptor = openSync(encodePath(path), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch {
    return false; // a link, or not to be read: the comparison says so
  }
  try {
    const stat = fstatSync(descriptor);
    if (!stat.isFile() || stat.size < leastSize) return false;
    const start = Buffer.alloc(databaseMagic.length);
    return readSync(descriptor, start, 0, start.length, 0) === start.length && start.equals(databaseMagic);
  } finally {
    closeSync(descriptor);
  }
}
