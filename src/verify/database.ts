/** SQLite databases among the members of a tarball, found by their first bytes, and asked whether they are sound. */
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { checkDatabase, databaseMagic as magic } from "../archive/sqlite.ts";
import type { TarMember } from "../archive/tar-read.ts";

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

  /** Those that are not sound, with SQLite's own words. */
  async check(): Promise<{ readonly path: string; readonly message: string }[]> {
    const unsound: { path: string; message: string }[] = [];
    for (const { path, file } of this.#databases.values()) {
      const findings = await checkDatabase(file);
      if (findings.length > 0) unsound.push({ path, message: findings.join("; ") });
    }
    return unsound;
  }

  dispose(): void {
    this.end();
    if (this.#folder !== undefined) rmSync(this.#folder, { recursive: true, force: true });
  }
}
