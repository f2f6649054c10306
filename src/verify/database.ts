/** SQLite databases among the members of a tarball, found by their first bytes, and asked whether they are sound. */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { TarMember } from "../archive/tar-read.ts";
import { describeError } from "../core/errors.ts";

/** The header string of a database file. (https://www.sqlite.org/fileformat.html) */
const magic = Buffer.from("SQLite format 3\0", "latin1");

interface Spooled {
  readonly path: string;
  readonly file: string;
}

/** Sees the members of one tarball as they pass, keeps copies of those that are databases, with their write-ahead logs, and removes them. */
export class DatabaseSpool {
  readonly #scratch: string;
  #folder: string | undefined;
  readonly #databases = new Map<string, Spooled>();
  #copies = 0;
  #path = "";
  #start: Buffer | undefined;
  #sink: number | undefined;

  constructor(scratch: string) {
    this.#scratch = scratch;
  }

  begin({ path, kind, size }: TarMember): void {
    this.#path = path;
    const owner = this.#databases.get(path.replace(/-(?:wal|journal)$/, ""));
    // Its log lies beside it, also here: what was committed last may stand in there alone.
    if (kind === "file" && owner !== undefined && owner.path !== path) {
      this.#sink = openSync(`${owner.file}${path.slice(owner.path.length)}`, "w", 0o600);
      return;
    }
    // Of two members with one name the later one counts.
    this.#databases.delete(path);
    this.#start = kind === "file" && size > magic.length ? Buffer.alloc(0) : undefined;
  }

  write(piece: Buffer): void {
    let bytes = piece;
    if (this.#start !== undefined) {
      bytes = Buffer.concat([this.#start, piece]);
      this.#start = bytes.length < magic.length ? bytes : undefined;
      if (bytes.length < magic.length || !bytes.subarray(0, magic.length).equals(magic)) return;
      this.#folder ??= mkdtempSync(join(this.#scratch, "databases-"));
      this.#copies += 1;
      const spooled = { path: this.#path, file: join(this.#folder, `${this.#copies}.db`) };
      this.#databases.set(this.#path, spooled);
      this.#sink = openSync(spooled.file, "w", 0o600);
    }
    if (this.#sink !== undefined) for (let at = 0; at < bytes.length; ) at += writeSync(this.#sink, bytes, at);
  }

  end(): void {
    this.#start = undefined;
    if (this.#sink !== undefined) closeSync(this.#sink);
    this.#sink = undefined;
  }

  /** Those that are not sound, with SQLite's own first words. */
  async check(): Promise<{ readonly path: string; readonly message: string }[]> {
    if (this.#databases.size === 0) return [];
    const { DatabaseSync } = await import("node:sqlite");
    const unsound: { path: string; message: string }[] = [];
    for (const { path, file } of this.#databases.values()) {
      try {
        const database = new DatabaseSync(file);
        try {
          // Whatever a hostile one brings along is not to be run.
          database.exec("PRAGMA trusted_schema = OFF");
          const words = database
            .prepare("PRAGMA integrity_check(1)")
            .all()
            .map((row) => String(Object.values(row)[0]));
          if (words.join() !== "ok") unsound.push({ path, message: words.join(" ") });
        } finally {
          database.close();
        }
      } catch (error) {
        unsound.push({ path, message: describeError(error) });
      }
    }
    return unsound;
  }

  dispose(): void {
    this.end();
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true });
  }
}
