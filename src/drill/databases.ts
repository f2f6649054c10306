/** SQLite databases in a restored folder, found by what they are and not by their names, and checked by SQLite itself. */
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { encodePath, printablePath } from "../core/paths.ts";

/** The first 16 bytes of every database. (SQLite file format, section 1.3) */
const magic = Buffer.from("SQLite format 3\0");
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
    const start = Buffer.alloc(magic.length);
    return readSync(descriptor, start, 0, start.length, 0) === start.length && start.equals(magic);
  } finally {
    closeSync(descriptor);
  }
}

/**
 * What SQLite finds wrong with the database; empty when it is whole. Opens it as a program would, so that a journal or WAL beside
 * it is played back: only for a folder that is thrown away.
 */
export async function checkDatabase(path: string): Promise<string[]> {
  const { DatabaseSync } = await import("node:sqlite");
  try {
    const database = new DatabaseSync(path, { allowExtension: false });
    try {
      // The schema comes from a store: what it names is not to be run.
      database.exec("PRAGMA trusted_schema = OFF");
      const integrity = database
        .prepare("PRAGMA integrity_check(5)")
        .all()
        .map((row) => String(Object.values(row)[0]));
      const keys = database.prepare("PRAGMA foreign_key_check").all().length;
      return [...integrity.filter((line) => line !== "ok"), ...(keys === 0 ? [] : [`${keys} rows name others that are not there`])].map(
        printablePath,
      );
    } finally {
      database.close();
    }
  } catch (error) {
    return [printablePath(error instanceof Error ? error.message : String(error))];
  }
}
