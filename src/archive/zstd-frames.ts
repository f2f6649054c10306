/**
 * Compressed artifacts are a row of zstd frames, which every decoder reads as one stream (RFC 8878, section 3.1).
 * Frames of 4 MiB lose nothing in size at this level, and are made and unpacked side by side. They are cut apart here,
 * because Node's own stream decoder (24.21) goes wrong where a frame ends inside a chunk.
 */
import { constants, zstdCompress, zstdDecompress } from "node:zlib";

/** Plain bytes of a frame; the last one has fewer, and one may have up to 1 MiB more. */
export const frameSize = 4 << 20;
/** Frames being compressed or unpacked at one time. */
export const framesAtOnce = 3;

const plainLimit = 4 * frameSize;
const storedLimit = plainLimit + (1 << 20);

const compressOptions = { chunkSize: 1 << 20, params: { [constants.ZSTD_c_compressionLevel]: 3, [constants.ZSTD_c_checksumFlag]: 1 } };
const decompressOptions = { chunkSize: frameSize + (1 << 20) + 1024, maxOutputLength: plainLimit };

export function compressFrame(bytes: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => zstdCompress(bytes, compressOptions, (error, frame) => (error === null ? resolve(frame) : reject(error))));
}

/** Rejects for a damaged frame, and for one that unpacks to more than any of ours does. */
export function decompressFrame(frame: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) =>
    zstdDecompress(frame, decompressOptions, (error, bytes) => (error === null ? resolve(bytes) : reject(error))),
  );
}

/** Cuts a stream into its frames. */
export class FrameSplitter {
  #rest: Buffer = Buffer.alloc(0);

  /** The frames that are complete with this chunk. Throws a RangeError where the bytes are not zstd frames of ours. */
  push(chunk: Buffer): Buffer[] {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    const frames: Buffer[] = [];
    for (let length = frameLength(this.#rest); length !== undefined; length = frameLength(this.#rest)) {
      frames.push(this.#rest.subarray(0, length));
      this.#rest = this.#rest.subarray(length);
    }
    if (this.#rest.length > storedLimit) throw new RangeError("a frame is larger than any that is written");
    return frames;
  }

  /** Throws a RangeError when the stream ends inside a frame. */
  finish(): void {
    if (this.#rest.length > 0) throw new RangeError("the last frame is cut off");
  }
}

const magic = 0xfd2fb528;
const dictionarySizes = [0, 1, 2, 4] as const;

/** Stored length of the frame at the beginning; undefined while it is not complete. (RFC 8878, section 3.1.1) */
function frameLength(bytes: Buffer): number | undefined {
  if (bytes.length < 6) return undefined;
  if (bytes.readUInt32LE(0) !== magic) throw new RangeError("not a zstd frame");
  const descriptor = bytes.readUInt8(4);
  const isSingleSegment = (descriptor & 0x20) !== 0;
  const sizeFlag = descriptor >> 6;
  const sizeBytes = sizeFlag === 0 ? (isSingleSegment ? 1 : 0) : 1 << sizeFlag;
  let at = 5 + (isSingleSegment ? 0 : 1) + (dictionarySizes[descriptor & 3] ?? 0) + sizeBytes;
  for (let isLast = false; !isLast; ) {
    if (at + 3 > bytes.length) return undefined;
    const header = bytes.readUIntLE(at, 3);
    const type = (header >> 1) & 3;
    if (type === 3) throw new RangeError("a block of a reserved type");
    isLast = (header & 1) === 1;
    at += 3 + (type === 1 ? 1 : header >> 3);
  }
  at += (descriptor & 0x04) === 0 ? 0 : 4;
  return at > bytes.length ? undefined : at;
}
