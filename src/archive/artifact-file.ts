/** Writing and reading artifacts: hashed, counted and compressed in one pass, and read back before anyone relies on them. */
import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { Readable } from "node:stream";
import { constants, createZstdCompress, createZstdDecompress, type ZstdCompress } from "node:zlib";
import { BackupError, describeError } from "../core/errors.ts";
import type { Artifact } from "../core/manifest.ts";

const level = 3;
const bufferSize = 1 << 20;

/** What goes into an artifact file, as it grows. `write` may hold on to the buffer until `finish`. */
export class ArtifactWriter {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #plainHash = createHash("sha256");
  readonly #storedHash: Hash;
  readonly #zstd: ZstdCompress | undefined;
  readonly #drained: Promise<void>;
  #plainSize = 0;
  #storedSize = 0;
  #buffered: Buffer[] = [];
  #bufferedSize = 0;

  static async create(path: string, compression: "zstd" | "none"): Promise<ArtifactWriter> {
    return new ArtifactWriter(path, await open(path, "wx", 0o600), compression);
  }

  private constructor(path: string, handle: FileHandle, compression: "zstd" | "none") {
    this.path = path;
    this.#handle = handle;
    if (compression === "none") {
      this.#storedHash = this.#plainHash;
      this.#drained = Promise.resolve();
      return;
    }
    this.#storedHash = createHash("sha256");
    this.#zstd = createZstdCompress({
      chunkSize: 256 * 1024,
      params: { [constants.ZSTD_c_compressionLevel]: level, [constants.ZSTD_c_checksumFlag]: 1 },
    });
    this.#drained = this.#drain(this.#zstd);
    // The failure is thrown by `finish` or the next `write`; an unobserved rejection must not end the process before.
    this.#drained.catch(() => undefined);
  }

  /** Small pieces are gathered; the promise resolves when it is time for more. */
  async write(chunk: Buffer): Promise<void> {
    this.#buffered.push(chunk);
    this.#bufferedSize += chunk.length;
    if (this.#bufferedSize >= bufferSize) await this.#pass();
  }

  /** True when the next `write` should be awaited; lets a caller with many small pieces skip the await. */
  get isFull(): boolean {
    return this.#bufferedSize >= bufferSize;
  }

  /** `write` without a promise, for a caller that looks at `isFull`. */
  push(chunk: Buffer): void {
    this.#buffered.push(chunk);
    this.#bufferedSize += chunk.length;
  }

  async relieve(): Promise<void> {
    if (this.isFull) await this.#pass();
  }

  /** Ends the file and gives its facts under `name`. The bytes are not yet durable: the store's put sees to that. */
  async finish(name: string): Promise<Artifact> {
    await this.#pass();
    this.#zstd?.end();
    await this.#drained;
    await this.#handle.close();
    const sha256 = this.#storedHash === this.#plainHash ? this.#plainHash.digest("hex") : this.#storedHash.digest("hex");
    const plainSha256 = this.#zstd === undefined ? sha256 : this.#plainHash.digest("hex");
    return { name, size: this.#storedSize, sha256, plainSize: this.#plainSize, plainSha256 };
  }

  async abandon(): Promise<void> {
    this.#zstd?.destroy();
    await this.#drained.catch(() => undefined);
    await this.#handle.close();
  }

  async #pass(): Promise<void> {
    if (this.#bufferedSize === 0) return;
    const chunk = this.#buffered.length === 1 ? (this.#buffered[0] as Buffer) : Buffer.concat(this.#buffered);
    this.#buffered = [];
    this.#bufferedSize = 0;
    this.#plainSize += chunk.length;
    this.#plainHash.update(chunk);
    if (this.#zstd === undefined) {
      this.#storedSize += chunk.length;
      await this.#handle.writeFile(chunk);
    } else if (!this.#zstd.write(chunk)) {
      const zstd = this.#zstd;
      await Promise.race([new Promise<void>((resolve) => void zstd.once("drain", resolve)), this.#drained]);
    }
  }

  async #drain(zstd: ZstdCompress): Promise<void> {
    for await (const chunk of zstd) {
      const piece = chunk as Buffer;
      this.#storedHash.update(piece);
      this.#storedSize += piece.length;
      await this.#handle.writeFile(piece);
    }
  }
}

/**
 * Reads an artifact as it arrives and gives its plain bytes. Throws `damaged` when it is longer, shorter or
 * other than the manifest says; the last bytes are only to be believed when the iteration has ended.
 */
export async function* readArtifact(artifact: Artifact, stored: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  const checked = checkStored(artifact, stored);
  if (!artifact.name.endsWith(".zst")) {
    yield* checked;
    return;
  }
  const hash = createHash("sha256");
  let size = 0;
  const zstd = Readable.from(checked)
    .on("error", (error) => zstd.destroy(error))
    .pipe(createZstdDecompress({ chunkSize: 256 * 1024 }));
  try {
    for await (const chunk of zstd) {
      const piece = chunk as Buffer;
      size += piece.length;
      if (size > artifact.plainSize) throw new BackupError("damaged", `${artifact.name} unpacks to more than its manifest says`);
      hash.update(piece);
      yield piece;
    }
  } catch (error) {
    if (error instanceof BackupError) throw error;
    throw new BackupError("damaged", `${artifact.name} does not decompress: ${describeError(error)}`, { cause: error });
  }
  if (size !== artifact.plainSize || hash.digest("hex") !== artifact.plainSha256) {
    throw new BackupError("damaged", `${artifact.name} unpacks to other bytes than its manifest says`);
  }
}

/** Reads the file back and throws `damaged` unless it holds what was put in. */
export async function readBack(path: string, artifact: Artifact): Promise<void> {
  for await (const _ of readArtifact(artifact, createReadStream(path, { highWaterMark: bufferSize }))) {
    // reading is the check
  }
}

async function* checkStored(artifact: Artifact, stored: AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  const hash = createHash("sha256");
  let size = 0;
  for await (const chunk of stored) {
    const piece = Buffer.isBuffer(chunk) ? chunk : Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    size += piece.length;
    if (size > artifact.size) throw new BackupError("damaged", `${artifact.name} is longer than its manifest says`);
    hash.update(piece);
    yield piece;
  }
  if (size !== artifact.size) throw new BackupError("damaged", `${artifact.name} has ${size} bytes, its manifest says ${artifact.size}`);
  if (hash.digest("hex") !== artifact.sha256) throw new BackupError("damaged", `${artifact.name} does not have the sha256 of its manifest`);
}
