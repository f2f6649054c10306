/** Files of a folder store: made whole, read back, made durable, and given their name, on whatever file system they lie. */
import { createHash } from "node:crypto";
import { type FileHandle, link, lstat, open, rename, unlink } from "node:fs/promises";
import { dirname } from "node:path";
import { BackupError, systemCode } from "../core/errors.ts";
import { type CallOptions, refuseOther, type Source } from "./store.ts";

const pieceSize = 1 << 20;

/**
 * Writes a new file, reads it back and makes it durable. Throws `store_failed` when the source gives other or more or less bytes than
 * it announced, or when other bytes come back. What stands there then is the caller's to remove.
 */
export async function writeNewFile(path: string, source: Source, { signal }: CallOptions): Promise<void> {
  const handle = await open(path, "wx+", 0o600);
  try {
    const hash = createHash("sha256");
    let size = 0;
    for await (const chunk of source.open()) {
      signal?.throwIfAborted();
      await writeWhole(handle, chunk, size);
      hash.update(chunk);
      size += chunk.length;
    }
    if (size !== source.size) throw new BackupError("store_failed", `${path}: ${size} bytes came, ${source.size} were announced`);
    await syncFile(handle);
    const sha256 = hash.digest("hex");
    refuseOther(path, source, sha256);
    if ((await sumOf(handle, signal)) !== sha256) {
      throw new BackupError("store_failed", `${path} was not read back as it was written`, { hint: "look at that disk: it may be failing" });
    }
  } finally {
    await handle.close();
  }
}

/** A rename where both lie on one volume; false where they do not. The file was read back by its writer; its bytes are made durable first. */
export async function moveInto(from: string, to: string): Promise<boolean> {
  const handle = await open(from, "r+");
  try {
    await syncFile(handle);
  } finally {
    await handle.close();
  }
  try {
    await publish(from, to);
    return true;
  } catch (error) {
    if (systemCode(error) === "EXDEV") return false;
    throw error;
  }
}

/** Gives the finished file its name, never over another one (EEXIST), and makes the name durable. */
export async function publish(temporary: string, path: string): Promise<void> {
  try {
    await link(temporary, path);
    await unlink(temporary);
  } catch (error) {
    if (!lacksLinks(error)) throw error;
    // The lock keeps other writers out; a rename alone would not tell of one.
    if (await isThere(path)) throw Object.assign(new Error(`EEXIST: ${path} is there`), { code: "EEXIST" });
    await rename(temporary, path);
  }
  await syncFolder(dirname(path));
}

export function lacksLinks(error: unknown): boolean {
  return hasNoLinks.has(systemCode(error) ?? "");
}

/** What file systems without hard links say: exFAT and FAT, some NAS, FUSE, shared folders of virtual machines. */
const hasNoLinks = new Set(["EPERM", "ENOTSUP", "EOPNOTSUPP", "EMLINK", "ENOSYS", "EINVAL", "EPROTO"]);

export async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r").catch((error: unknown) => {
    // Windows opens no folder.
    if (["EISDIR", "EPERM", "EACCES"].includes(systemCode(error) ?? "")) return undefined;
    throw error;
  });
  if (handle === undefined) return;
  try {
    await syncFile(handle);
  } finally {
    await handle.close();
  }
}

/** Some network file systems cannot; what was read back stands there all the same, and no store would be the worse answer. */
async function syncFile(handle: FileHandle): Promise<void> {
  try {
    await handle.sync();
  } catch (error) {
    if (!hasNoSync.has(systemCode(error) ?? "")) throw error;
  }
}

const hasNoSync = new Set(["EINVAL", "EPERM", "EISDIR", "EBADF", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "ENOTTY"]);

/** A volume that is nearly full takes a part, and says so only by the number. */
async function writeWhole(handle: FileHandle, bytes: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
}

async function sumOf(handle: FileHandle, signal: AbortSignal | undefined): Promise<string> {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(pieceSize);
  for (let at = 0; ; ) {
    signal?.throwIfAborted();
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) return hash.digest("hex");
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
}

async function isThere(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    (error: unknown) => {
      if (systemCode(error) === "ENOENT") return false;
      throw error;
    },
  );
}
