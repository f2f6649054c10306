/**
 * Objects of a repository of ours, by isomorphic-git: for machines without git. sha1 only. It reads a pack whole into memory
 * and keeps what it unpacked; after some of that it begins anew.
 */
import * as fs from "node:fs";
import { createWriteStream, readdirSync, rmSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { indexPack, readObject } from "isomorphic-git";
import { BackupError, describeError } from "../core/errors.ts";
import { type GitObject, type ObjectType, readPackIds, writeWholePack } from "./whole-pack.ts";

const keptAtMost = 256 << 20;

export class ObjectReader {
  readonly #gitDir: string;
  #cache = {};
  #kept = 0;

  constructor(gitDir: string) {
    this.#gitDir = gitDir;
  }

  /** Undefined where the repository has no such object. Throws `damaged`. */
  async find(oid: string): Promise<GitObject | undefined> {
    if (this.#kept > keptAtMost) this.#forget();
    try {
      const { type, object } = (await readObject({ fs, gitdir: this.#gitDir, oid, format: "content", cache: this.#cache })) as {
        type: ObjectType;
        object: Uint8Array;
      };
      this.#kept += object.length;
      return { type, bytes: object };
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw unreadable(`object ${oid}`, error);
    }
  }

  /** Throws `damaged` for one that is absent, too. */
  async read(oid: string, type?: ObjectType): Promise<GitObject> {
    const found = await this.find(oid);
    if (found === undefined) throw new BackupError("damaged", `object ${oid} is missing from the history`);
    if (type !== undefined && found.type !== type) throw new BackupError("damaged", `object ${oid} is a ${found.type}, not a ${type}`);
    return found;
  }

  /**
   * Adds a pack without an index. A thin one stands on objects that are here already: its own are written again as whole ones, since a
   * thin pack is none to git. Gives its name. Throws `damaged`.
   */
  async addPack(pack: AsyncIterable<Buffer>, isThin: boolean): Promise<string> {
    const folder = join(this.#gitDir, "objects/pack");
    const arriving = join(folder, "pack-arriving.pack");
    try {
      await pipeline(pack, createWriteStream(arriving, { mode: 0o444 }));
      const { count, sum } = await readEnds(arriving);
      const name = `pack-${sum}`;
      if (count === 0) return name;
      // Under another name: a pack that happens to hold no delta is written again byte for byte.
      const placed = isThin ? `thin-${sum}` : name;
      fs.renameSync(arriving, join(folder, `${placed}.pack`));
      const oids = await this.#index(`objects/pack/${placed}.pack`);
      // It passes over what it cannot resolve.
      if (oids.length !== count) throw new BackupError("damaged", `of ${count} objects in a pack of the point ${oids.length} can be read`);
      if (!isThin) return name;
      const whole = await writeWholePack(folder, oids, (oid) => this.read(oid));
      for (const ending of ["pack", "idx"]) rmSync(join(folder, `${placed}.${ending}`));
      return whole;
    } finally {
      rmSync(arriving, { force: true });
    }
  }

  async #index(filepath: string): Promise<string[]> {
    try {
      return (await indexPack({ fs, dir: this.#gitDir, gitdir: this.#gitDir, filepath, cache: this.#cache })).oids;
    } catch (error) {
      throw unreadable("a pack of the point", error);
    }
  }

  /** Ids of all objects that begin with `prefix`. */
  listIds(prefix: string): string[] {
    const folder = join(this.#gitDir, "objects/pack");
    const indexes = readdirSync(folder).filter((name) => name.endsWith(".idx"));
    return [...new Set(indexes.flatMap((name) => readPackIds(join(folder, name)).filter((oid) => oid.startsWith(prefix))))];
  }

  #forget(): void {
    this.#cache = {};
    this.#kept = 0;
  }
}

/** The number of objects that a pack's beginning tells, and its sum at its end. */
async function readEnds(path: string): Promise<{ count: number; sum: string }> {
  const file = await open(path);
  try {
    const { size } = await file.stat();
    if (size < 32) throw new BackupError("damaged", "a pack of the point is cut off");
    const [head, sum] = [Buffer.alloc(12), Buffer.alloc(20)];
    await file.read(head, 0, 12, 0);
    await file.read(sum, 0, 20, size - 20);
    return { count: head.readUInt32BE(8), sum: sum.toString("hex") };
  } finally {
    await file.close();
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof Error && "code" in error && error.code === "NotFoundError";
}

function unreadable(what: string, error: unknown): BackupError {
  return new BackupError("damaged", `${what} cannot be read: ${describeError(error)}`, { cause: error });
}
