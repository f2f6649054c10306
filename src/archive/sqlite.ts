/** SQLite databases: known by their first bytes, and asked whether they are sound. */
import { describeError } from "../core/errors.ts";
import { encodePath, printablePath } from "../core/paths.ts";

/** The first 16 bytes of every database. (https://www.sqlite.org/fileformat.html, section 1.3) */
export const databaseMagic = Buffer.from("SQLite format 3\0", "latin1");

/**
 * What SQLite finds wrong with the database, fit to be printed; empty when it is sound. Opens it as a program would, so that a
 * journal or WAL beside it is played back: only for what is thrown away.
 */
export async function checkDatabase(path: string): Promise<string[]> {
  const { DatabaseSync } = await import("node:sqlite");
  try {
    // By another name than its very own SQLite would make an empty one, and find it sound.
    const database = new DatabaseSync(encodePath(path), { allowExtension: false });
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
    return [printablePath(describeError(error))];
  }
}
