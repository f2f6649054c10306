/** Writing and reading artifacts: hashed, counted and compressed in one pass, and read back before anyone relies on them. */
import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";
import type { Decryptor } from "../core/encryption.ts";
import { BackupError, describeError, systemCode } from "../core/errors.ts";
import type { Artifact } from "../core/manifest.ts";
import { compressFrame, decompressFrame, FrameSplitter, frameSize, framesAtOnce } from "./zstd-frames.ts";

const bufferSize = 1 << 20;
const firstSize = 64 * 1024;

/**
 * What goes into an artifact file, as it grows. Every byte is read back from the file and, where it is compressed,
 * unpacked again, beside the writing: a finished artifact is one that was read.
 */
export class ArtifactWriter {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #isCompressed: boolean;
  readonly #plainHash = createHash("sha256");
  readonly #storedHash = createHash("sha256");
  /** Frames being compressed, in order, each with what went in. */
  readonly #compressing: { readonly frame: Promise<Buffer>; readonly plain: Buffer }[] = [];
  readonly #checking = new Set<Promise<void>>();
  readonly #free: Buffer[] = [];
  /** Small at first: most points change little. */
  #gathered: Buffer = Buffer.allocUnsafeSlow(firstSize);
  #gatheredSize = 0;
  #plainSize = 0;
  #storedSize = 0;
  /** Why a part of the file is not as it should be: whoever goes on all the same must not end it well. */
  #failure: { readonly error: unknown } | undefined;

  static async create(path: string, compression: "zstd" | "none"): Promise<ArtifactWriter> {
    return new ArtifactWriter(path, await open(path, "wx+", 0o600), compression === "zstd");
  }

  private constructor(path: string, handle: FileHandle, isCompressed: boolean) {
    this.path = path;
    this.#handle = handle;
    this.#isCompressed = isCompressed;
  }

  /** Takes the bytes before it returns; the promise resolves when it is time for more. */
  async write(chunk: Buffer): Promise<void> {
    this.push(chunk);
    await this.relieve();
  }

  /** `write` without a promise, for many small pieces: the bytes are copied, so the caller may use its buffer again. */
  push(chunk: Buffer): void {
    if (this.#gathered.length - this.#gatheredSize < chunk.length) this.#grow(chunk.length);
    this.#gathered.set(chunk, this.#gatheredSize);
    this.#gatheredSize += chunk.length;
  }

  /** True when `relieve` has something to do. */
  get isFull(): boolean {
    return this.#gatheredSize >= frameSize;
  }

  /** Passes on what was gathered, when it is enough. */
  async relieve(): Promise<void> {
    if (this.isFull) await this.#lasting(this.#pass());
  }

  async #lasting(work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#failure ??= { error };
    }
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  /**
   * Ends the file, reads what was not read back yet, and gives its facts under `name`. Throws `io_failed` when other
   * bytes come back, and again whatever a write has thrown. They are not yet durable: the store's put sees to that.
   */
  async finish(name: string): Promise<Artifact> {
    if (this.#failure !== undefined) throw this.#failure.error;
    if (this.#gatheredSize > 0 || (this.#isCompressed && this.#plainSize === 0)) await this.#pass();
    while (this.#compressing.length > 0) await this.#writeFrame();
    await Promise.all(this.#checking);
    const plainSha256 = this.#plainHash.digest("hex");
    const sha256 = this.#isCompressed ? this.#storedHash.digest("hex") : plainSha256;
    if (!this.#isCompressed) await this.#checkWhole(sha256);
    if ((await this.#handle.stat()).size !== this.#storedSize) throw this.#other();
    await this.#handle.close();
    return { name, size: this.#storedSize, sha256, plainSize: this.#plainSize, plainSha256 };
  }

  async abandon(): Promise<void> {
    await Promise.allSettled([...this.#compressing.map(({ frame }) => frame), ...this.#checking]);
    await this.#handle.close();
  }

  async #pass(): Promise<void> {
    const buffer = this.#gathered;
    const chunk = buffer.subarray(0, this.#gatheredSize);
    this.#gathered = this.#free.pop() ?? Buffer.allocUnsafeSlow(frameSize + bufferSize);
    this.#gatheredSize = 0;
    if (!this.#isCompressed) {
      this.#plainHash.update(chunk);
      this.#plainSize += chunk.length;
      this.#storedSize += chunk.length;
      await writeWhole(this.#handle, chunk, this.#storedSize - chunk.length);
      this.#free.push(buffer);
      return;
    }
    const frame = compressFrame(chunk);
    frame.catch(() => undefined); // thrown when its turn comes
    this.#compressing.push({ frame, plain: chunk });
    this.#plainHash.update(chunk);
    this.#plainSize += chunk.length;
    if (this.#compressing.length >= framesAtOnce) await this.#writeFrame();
  }

  async #writeFrame(): Promise<void> {
    const next = this.#compressing.shift();
    if (next === undefined) return;
    const frame = await next.frame;
    const at = this.#storedSize;
    this.#storedHash.update(frame);
    this.#storedSize += frame.length;
    await writeWhole(this.#handle, frame, at);
    const check = this.#checkFrame(frame, next.plain, at).finally(() => this.#checking.delete(check));
    check.catch(() => undefined); // thrown by `finish`, or by the race of a later frame
    this.#checking.add(check);
    if (this.#checking.size >= framesAtOnce) await Promise.race(this.#checking);
  }

  /** Byte for byte: what stands in the file is the frame, and the frame unpacks to what went in. */
  async #checkFrame(frame: Buffer, plain: Buffer, at: number): Promise<void> {
    const stored = await readAt(this.#handle, at, frame.length);
    if (!stored.equals(frame)) throw this.#other();
    const unpacked = await decompressFrame(stored).catch((error: unknown) => {
      throw this.#other(error);
    });
    if (!unpacked.equals(plain)) throw this.#other();
    if (plain.buffer.byteLength >= frameSize + bufferSize) this.#free.push(Buffer.from(plain.buffer));
  }

  async #checkWhole(sha256: string): Promise<void> {
    const hash = createHash("sha256");
    for (let at = 0; at < this.#storedSize; at += frameSize) hash.update(await readAt(this.#handle, at, Math.min(frameSize, this.#storedSize - at)));
    if (hash.digest("hex") !== sha256) throw this.#other();
  }

  #other(cause?: unknown): BackupError {
    return new BackupError("io_failed", `${this.path} was not read back as it was written`, { cause });
  }

  #grow(more: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(frameSize + bufferSize, this.#gatheredSize + more));
    this.#gathered.copy(larger, 0, 0, this.#gatheredSize);
    this.#gathered = larger;
  }
}

async function writeWhole(handle: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await handle.write(bytes, at, bytes.length - at, position + at)).bytesWritten;
}

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(length), 0, length, position);
  return buffer.subarray(0, bytesRead);
}

/**
 * Reads an artifact as it arrives and gives its plain bytes. Throws `damaged` when it is longer, shorter or
 * other than the manifest says; the last bytes are only to be believed when the iteration has ended.
 * Throws `key_missing` for an encrypted one without a decryptor.
 */
export async function* readArtifact(artifact: Artifact, stored: AsyncIterable<Uint8Array>, decryptor?: Decryptor): AsyncGenerator<Buffer> {
  const checked = checkStored(artifact, stored);
  const isEncrypted = artifact.name.endsWith(".age");
  const isCompressed = artifact.name.replace(/\.age$/, "").endsWith(".zst");
  if (!isCompressed && !isEncrypted) {
    yield* checked;
    return;
  }
  const decrypted = isEncrypted ? decrypt(artifact, checked, decryptor) : checked;
  const hash = createHash("sha256");
  let size = 0;
  try {
    for await (const piece of isCompressed ? decompress(decrypted) : decrypted) {
      size += piece.length;
      if (size > artifact.plainSize) throw new BackupError("damaged", `${artifact.name} unpacks to more than its manifest says`);
      hash.update(piece);
      yield piece;
    }
  } catch (error) {
    if (error instanceof BackupError || !isBadFrame(error)) throw error;
    throw new BackupError("damaged", `${artifact.name} does not decompress: ${describeError(error)}`, { cause: error });
  }
  if (size !== artifact.plainSize || hash.digest("hex") !== artifact.plainSha256) {
    throw new BackupError("damaged", `${artifact.name} unpacks to other bytes than its manifest says`);
  }
}

/**
 * An artifact as it was before it was encrypted: still compressed where it is. Checked as `readArtifact` does, but for
 * what it unpacks to.
 */
export function readSealed(artifact: Artifact, stored: AsyncIterable<Uint8Array>, decryptor?: Decryptor): AsyncGenerator<Buffer> {
  const checked = checkStored(artifact, stored);
  return artifact.name.endsWith(".age") ? decrypt(artifact, checked, decryptor) : checked;
}

async function* decrypt(artifact: Artifact, stored: AsyncIterable<Buffer>, decryptor: Decryptor | undefined): AsyncGenerator<Buffer> {
  if (decryptor === undefined) throw new BackupError("key_missing", `${artifact.name} is encrypted, and no key is at hand`);
  for await (const piece of decryptor.decrypt(stored, artifact.size, artifact.name)) yield asBuffer(piece);
}

/** Bytes that are no zstd, that are cut off, or that unpack to more than any frame of ours. */
function isBadFrame(error: unknown): boolean {
  return error instanceof RangeError || systemCode(error)?.startsWith("ZSTD_") === true;
}

/** Unpacks frame after frame, the next ones while the caller works on this one. */
async function* decompress(stored: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const splitter = new FrameSplitter();
  const waiting: Promise<Buffer>[] = [];
  try {
    for await (const chunk of stored) {
      for (const frame of splitter.push(chunk)) {
        const plain = decompressFrame(frame);
        plain.catch(() => undefined); // thrown when its turn comes
        waiting.push(plain);
        if (waiting.length >= framesAtOnce) yield (await waiting.shift()) as Buffer;
      }
    }
    splitter.finish();
    while (waiting.length > 0) yield (await waiting.shift()) as Buffer;
  } finally {
    await Promise.allSettled(waiting);
  }
}

async function* checkStored(artifact: Artifact, stored: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of stored) {
    const piece = asBuffer(chunk);
    size += piece.length;
    if (size > artifact.size) throw new BackupError("damaged", `${artifact.name} is longer than its manifest says`);
    hash.update(piece);
    yield piece;
  }
  if (size !== artifact.size) throw new BackupError("damaged", `${artifact.name} has ${size} bytes, its manifest says ${artifact.size}`);
  if (hash.digest("hex") !== artifact.sha256) throw new BackupError("damaged", `${artifact.name} does not have the sha256 of its manifest`);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
