/**
 * A store in a folder: the primary on this machine, an external disk, a NAS, a synced folder.
 * Order of a put: temporary name in the same folder, write, fsync, read back, rename, fsync the folder.
 *
 * The folder is never made anew. One that is not there, or that is another than when this store was first looked at (a disk
 * that was pulled out shows the empty folder below it; another disk was put in), is `store_missing`, for reads too: an empty
 * answer would say that all points are gone.
 */
import { randomBytes } from "node:crypto";
import { createReadStream, type Dirent, mkdtempSync } from "node:fs";
import { link, lstat, mkdir, mkdtemp, open, readdir, rename, rm, rmdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Decryptor } from "../core/encryption.ts";
import { BackupError, type ErrorCode, systemCode } from "../core/errors.ts";
import { lacksLinks, moveInto, publish, syncFolder, writeNewFile } from "./folder-files.ts";
import { type CallOptions, emptyStream, type LocalStore, type Range, type Source, type StoreEntry } from "./store.ts";

/** Files being written carry this prefix; a run that was killed leaves them, the next one clears them. */
const temporaryPrefix = ".holdfast-";
const leftoverAgeMs = 60 * 60 * 1000;

export class FolderStore implements LocalStore {
  readonly name: string;
  readonly url: string;
  decryptor?: Decryptor;
  readonly #root: string;
  readonly #syncedFolders = new Set<string>();
  /** Device and file number of the root when it was first looked at. */
  #rootAt: string | undefined;

  constructor(name: string, root: string) {
    this.name = name;
    this.url = root;
    this.#root = root;
  }

  fileOf(key: string): string {
    return join(this.#root, key);
  }

  spool(): string {
    try {
      return mkdtempSync(join(this.#root, `${temporaryPrefix}spool-`));
    } catch (error) {
      throw this.#translate(error, "make a folder in");
    }
  }

  async put(key: string, source: Source, options: CallOptions = {}): Promise<void> {
    const path = this.fileOf(key);
    try {
      await this.#checkRoot();
      await this.#ensureFolder(dirname(path));
      const isNew = (await this.#existing(path)) === undefined && (await this.#write(path, source, options));
      if (!isNew && !(await this.#isSame(path, source))) throw new BackupError("store_failed", `${path} is already there with other bytes`);
      await this.#checkRoot();
    } catch (error) {
      throw this.#translate(error, `write ${key} into`);
    }
  }

  async replace(key: string, source: Source, options: CallOptions = {}): Promise<void> {
    const path = this.fileOf(key);
    try {
      await this.#checkRoot();
      await this.#ensureFolder(dirname(path));
      const temporary = await this.#writeBeside(path, source, options);
      await rename(temporary, path);
      await syncFolder(dirname(path));
      await this.#checkRoot();
    } catch (error) {
      throw this.#translate(error, `write ${key} into`);
    }
  }

  async folders(): Promise<string[]> {
    const entries = await this.#entries("");
    return entries.filter((entry) => entry.isDirectory() && !entry.name.startsWith(temporaryPrefix)).map(({ name }) => name);
  }

  async get(key: string, options: CallOptions & { readonly range?: Range } = {}): Promise<AsyncIterable<Uint8Array> | undefined> {
    if ((await this.stat(key)) === undefined) return undefined;
    const { range } = options;
    if (range?.length === 0) return emptyStream();
    return this.#read(key, options);
  }

  async stat(key: string): Promise<StoreEntry | undefined> {
    const stat = await this.#existing(this.fileOf(key));
    return stat === undefined ? undefined : { key, size: stat.size };
  }

  async *list(prefix: string, options: CallOptions = {}): AsyncIterable<StoreEntry> {
    const folder = prefix.slice(0, prefix.lastIndexOf("/") + 1);
    yield* this.#walk(folder, prefix, options);
  }

  async delete(key: string): Promise<void> {
    try {
      await rm(this.fileOf(key), { force: true });
      await syncFolder(dirname(this.fileOf(key)));
    } catch (error) {
      if (systemCode(error) !== "ENOENT") throw this.#translate(error, `delete ${key} from`);
    }
  }

  /** A hard link where the file system has them: no byte is copied, and each name goes on its own. */
  async copy(from: string, to: string, options: CallOptions = {}): Promise<void> {
    const [source, target] = [this.fileOf(from), this.fileOf(to)];
    try {
      await this.#ensureFolder(dirname(target));
      await link(source, target);
      await syncFolder(dirname(target));
    } catch (error) {
      if (systemCode(error) !== "EEXIST" && !lacksLinks(error)) {
        const isAbsent = (await this.stat(from)) === undefined;
        throw isAbsent
          ? new BackupError("store_failed", `there is no ${from} to copy in the store ${this.name}`)
          : this.#translate(error, `write ${to} into`);
      }
      const size = (await this.stat(from))?.size ?? 0;
      await this.put(to, { size, open: () => this.#read(from, options) }, options);
    }
  }

  /** A put is durable when it returns. */
  async flush(): Promise<void> {}

  /** Removes what killed runs left: temporary files and spool folders older than an hour, and days that hold nothing any more. Call it under the lock. */
  async clearLeftovers(now: Date): Promise<void> {
    const daysIn = async (folder: string): Promise<string[]> =>
      (await readdir(join(this.#root, folder)).catch(() => [])).filter((name) => /^\d{8}$/.test(name)).map((name) => join(folder, name));
    const days = [...(await daysIn("")), ...(await daysIn("trash"))];
    const isOld = async (path: string): Promise<boolean> => {
      const stat = await lstat(path).catch(() => undefined);
      return stat !== undefined && now.getTime() - stat.mtimeMs > leftoverAgeMs;
    };
    const atTop = await readdir(this.#root, { withFileTypes: true }).catch(() => []);
    // Marks and the like have folders of their own.
    const others = atTop.filter((entry) => entry.isDirectory() && !/^\d{8}$/.test(entry.name) && !entry.name.startsWith(temporaryPrefix));
    for (const folder of ["", ...others.map(({ name }) => name), ...days]) {
      for (const name of await readdir(join(this.#root, folder)).catch(() => [])) {
        const path = join(this.#root, folder, name);
        // Read-only just now, say: another time.
        if (name.startsWith(temporaryPrefix) && (await isOld(path))) await rm(path, { recursive: true, force: true }).catch(() => undefined);
      }
    }
    for (const day of days) {
      const path = join(this.#root, day);
      if (!(await isOld(path))) continue;
      this.#syncedFolders.delete(path);
      // One that holds something stays.
      await rmdir(path).catch(() => undefined);
    }
  }

  async *#read(key: string, { range, signal }: CallOptions & { readonly range?: Range }): AsyncIterable<Uint8Array> {
    const window = range === undefined ? {} : { start: range.offset, end: range.offset + range.length - 1 };
    try {
      yield* createReadStream(this.fileOf(key), { highWaterMark: 1 << 20, ...window, signal });
    } catch (error) {
      throw signal?.aborted === true ? signal.reason : this.#unreadable(error, key);
    }
  }

  async *#walk(folder: string, prefix: string, options: CallOptions): AsyncIterable<StoreEntry> {
    options.signal?.throwIfAborted();
    for (const entry of await this.#entries(folder)) {
      const key = `${folder}${entry.name}`;
      if (entry.name.startsWith(temporaryPrefix)) continue;
      if (entry.isDirectory() && (key.startsWith(prefix) || prefix.startsWith(`${key}/`))) yield* this.#walk(`${key}/`, prefix, options);
      if (!entry.isFile() || !key.startsWith(prefix)) continue;
      const found = await this.stat(key);
      if (found !== undefined) yield found;
    }
  }

  async #entries(folder: string): Promise<Dirent[]> {
    const entries = await readdir(join(this.#root, folder), { withFileTypes: true }).catch((error: unknown) => {
      const code = systemCode(error) ?? "";
      if (code === "ENOENT" || (["EACCES", "EPERM"].includes(code) && isOfTheDisk(folder))) return [];
      throw this.#translate(error, "list");
    });
    await this.#checkRoot();
    return entries;
  }

  /** False where another writer was first; whose bytes stand there is still to be seen. */
  async #write(path: string, source: Source, options: CallOptions): Promise<boolean> {
    let temporary: string | undefined;
    try {
      if (source.file !== undefined && (await moveInto(source.file, path))) return true;
      temporary = await this.#writeBeside(path, source, options);
      await publish(temporary, path);
      return true;
    } catch (error) {
      if (temporary !== undefined) await rm(temporary, { force: true });
      if (systemCode(error) === "EEXIST") return false;
      throw error;
    }
  }

  /** A temporary file in the same folder with these bytes, read back and durable. */
  async #writeBeside(path: string, source: Source, options: CallOptions): Promise<string> {
    const temporary = join(dirname(path), `${temporaryPrefix}${randomBytes(6).toString("hex")}`);
    try {
      await writeNewFile(temporary, source, options);
      return temporary;
    } catch (error) {
      // A disk that is gone takes it along; the first error is the one that tells.
      await rm(temporary, { force: true }).catch(() => undefined);
      throw error;
    }
  }

  async #checkRoot(): Promise<void> {
    const { dev, ino } = await stat(this.#root, { bigint: true }).catch((error: unknown) => {
      throw this.#translate(error, "look for");
    });
    const at = `${dev}:${ino}`;
    this.#rootAt ??= at;
    if (at !== this.#rootAt)
      throw new BackupError("store_missing", `another folder stands at ${this.#root} than a moment ago: the store ${this.name} was taken away`, {
        hint: "is the disk mounted? run it again when it is",
      });
  }

  /** Creates the folder below an existing root: a store that is not mounted must not be made anew. */
  async #ensureFolder(folder: string): Promise<void> {
    if (this.#syncedFolders.has(folder)) return;
    if (folder !== this.#root) {
      await this.#ensureFolder(dirname(folder));
      await mkdir(folder, { mode: 0o700 }).then(
        () => syncFolder(dirname(folder)),
        (error: unknown) => {
          if (systemCode(error) !== "EEXIST") throw error;
        },
      );
    }
    this.#syncedFolders.add(folder);
  }

  /** Undefined also where the folder of the store itself was never there: whoever asks for its identity says that better. */
  async #existing(path: string): Promise<{ size: number } | undefined> {
    if (this.#rootAt === undefined && !(await this.#findRoot())) return undefined;
    const found = await lstat(path).catch(async (error: unknown) => {
      if (systemCode(error) !== "ENOENT" && systemCode(error) !== "ENOTDIR") throw this.#translate(error, "read");
      await this.#checkRoot();
      return undefined;
    });
    // A link would lend bytes from elsewhere, and a pipe or a device would be read for ever.
    if (found !== undefined && !found.isFile() && !found.isDirectory())
      throw new BackupError("hostile", `${path} is no plain file: no backup writes such a thing`);
    return found?.isFile() === true ? found : undefined;
  }

  async #findRoot(): Promise<boolean> {
    try {
      await this.#checkRoot();
      return true;
    } catch (error) {
      if (error instanceof BackupError && error.code === "store_missing") return false;
      throw error;
    }
  }

  async #isSame(path: string, source: Source): Promise<boolean> {
    const handle = await open(path);
    try {
      let at = 0;
      for await (const chunk of source.open()) {
        const { bytesRead, buffer } = await handle.read(Buffer.alloc(chunk.length), 0, chunk.length, at);
        if (bytesRead !== chunk.length || !buffer.equals(chunk)) return false;
        at += chunk.length;
      }
      return at === (await handle.stat()).size;
    } finally {
      await handle.close();
    }
  }

  /** A bad sector, or a file that a run as root left: that file is lost to us, and no other. */
  #unreadable(error: unknown, key: string): unknown {
    const code = systemCode(error) ?? "";
    const isOurs = !["EACCES", "EPERM"].includes(code);
    if (isOurs && code !== "EIO") return this.#translate(error, `read ${key} from`);
    const hint = isOurs ? {} : { hint: `it may belong to another user: ls -l ${this.fileOf(key)}` };
    return new BackupError("damaged", `cannot read ${key} from the store ${this.name} (${this.#root}): ${code}`, { cause: error, ...hint });
  }

  #translate(error: unknown, doing: string): unknown {
    const code = storeCodes[systemCode(error) ?? ""];
    if (code === undefined) return error;
    return new BackupError(code, `cannot ${doing} the store ${this.name} (${this.#root}): ${systemCode(error)}`, { cause: error });
  }
}

/** A folder at the top that no store has: `lost+found`, a desktop's trash, where the store is a whole disk. */
function isOfTheDisk(folder: string): boolean {
  return /^[^/]+\/$/.test(folder) && !/^(?:\d{8}|trash|marks|pruned)\/$/.test(folder);
}

const storeCodes: Readonly<Record<string, ErrorCode>> = {
  ENOENT: "store_missing",
  ENOTDIR: "store_missing",
  ENXIO: "store_missing",
  ENODEV: "store_missing",
  ESTALE: "store_missing",
  EIO: "store_failed",
  EACCES: "store_unwritable",
  EPERM: "store_unwritable",
  EROFS: "store_unwritable",
  ENOSPC: "store_full",
  EDQUOT: "store_full",
  EFBIG: "store_full",
};

/** Makes `folder` a place for a new store; what is in it already is left alone. */
export async function createStoreFolder(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
    throw new BackupError(storeCodes[systemCode(error) ?? ""] ?? "store_failed", `cannot make the store's folder ${folder}: ${systemCode(error)}`, {
      cause: error,
    });
  });
  await rm(
    await mkdtemp(join(folder, `${temporaryPrefix}probe-`)).catch((error: unknown) => {
      throw new BackupError("store_unwritable", `cannot write into the store's folder ${folder}: ${systemCode(error)}`, { cause: error });
    }),
    { recursive: true },
  );
}
