/** Writes an artifact encrypted, and reads it back before anyone relies on it. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import type { Encryptor } from "../core/encryption.ts";
import { BackupError } from "../core/errors.ts";
import type { Artifact } from "../core/manifest.ts";

const bufferSize = 1 << 20;

/**
 * The bytes of `plain` as a new age file at `path`; what stands in the file is hashed again from the disk.
 * Throws `io_failed` when other bytes come back, and what the encryptor throws. Not yet durable: the store's put sees to that.
 */
export async function writeEncrypted(
  path: string,
  plain: AsyncIterable<Uint8Array>,
  encryptor: Encryptor,
  options: { readonly signal?: AbortSignal | undefined } = {},
): Promise<Pick<Artifact, "size" | "sha256">> {
  const sum = createHash("sha256");
  let written = 0;
  const handle = await open(path, "wx", 0o600);
  try {
    for await (const chunk of encryptor.encrypt(plain, options)) {
      sum.update(chunk);
      for (let at = 0; at < chunk.length; ) at += (await handle.write(chunk, at, chunk.length - at, written + at)).bytesWritten;
      written += chunk.length;
    }
  } finally {
    await handle.close();
  }
  const sha256 = sum.digest("hex");
  const back = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: bufferSize })) back.update(chunk as Buffer);
  if (back.digest("hex") !== sha256) throw new BackupError("io_failed", `${path} was not read back as it was written`);
  return { size: written, sha256 };
}

/** The bytes of a file that was written before, checked as they come: nothing but what was hashed then is encrypted. */
export async function* readBack(path: string, { name, sha256 }: Pick<Artifact, "name" | "sha256">): AsyncGenerator<Buffer> {
  const sum = createHash("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: bufferSize })) {
    sum.update(chunk as Buffer);
    yield chunk as Buffer;
  }
  if (sum.digest("hex") !== sha256) throw new BackupError("io_failed", `${name} changed while it waited to be encrypted: ${path}`);
}
