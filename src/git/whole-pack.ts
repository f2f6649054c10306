/** Packs of whole objects, none a delta, with their index: what git reads without asking for anything else. sha1 only. (gitformat-pack(5)) */
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { type FileHandle, open, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { crc32, deflateSync } from "node:zlib";

export type ObjectType = "commit" | "tree" | "blob" | "tag";

export interface GitObject {
  readonly type: ObjectType;
  readonly bytes: Uint8Array;
}

const typeCodes: Readonly<Record<ObjectType, number>> = { commit: 1, tree: 2, blob: 3, tag: 4 };

interface Packed {
  readonly oid: string;
  readonly offset: number;
  readonly crc: number;
}

/** Writes the pack into `folder`, one object after another; gives its name (`pack-SUM`). `read` gives each of `oids`. */
export async function writeWholePack(folder: string, oids: readonly string[], read: (oid: string) => Promise<GitObject>): Promise<string> {
  const temporary = join(folder, "tmp_pack_holdfast");
  const sum = createHash("sha1");
  const packed: Packed[] = [];
  const file = await open(temporary, "w", 0o444);
  try {
    let offset = 0;
    const write = async (bytes: Uint8Array): Promise<void> => {
      sum.update(bytes);
      await writeWhole(file, bytes);
      offset += bytes.length;
    };
    await write(packHead(oids.length));
    for (const oid of oids) {
      const { type, bytes } = await read(oid);
      const entry = Buffer.concat([entryHead(typeCodes[type], bytes.length), deflateSync(bytes)]);
      packed.push({ oid, offset, crc: crc32(entry) });
      await write(entry);
    }
    await writeWhole(file, sum.copy().digest());
    await file.sync();
  } finally {
    await file.close();
  }
  const trailer = sum.digest();
  const name = `pack-${trailer.toString("hex")}`;
  await writeFile(join(folder, `${name}.idx`), packIndex(packed, trailer), { mode: 0o444 });
  await rename(temporary, join(folder, `${name}.pack`));
  return name;
}

async function writeWhole(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at)).bytesWritten;
}

function packHead(count: number): Buffer {
  const head = Buffer.from("PACK\0\0\0\u0002\0\0\0\0", "latin1");
  head.writeUInt32BE(count, 8);
  return head;
}

/** Four bits of the size beside the type, then seven a byte. */
function entryHead(code: number, size: number): Buffer {
  const bytes = [(code << 4) | (size % 16)];
  for (let rest = Math.floor(size / 16); rest > 0; rest = Math.floor(rest / 128)) {
    bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) | 0x80;
    bytes.push(rest % 128);
  }
  return Buffer.from(bytes);
}

const most31 = 0x80000000;

/** Version 2. */
function packIndex(packed: readonly Packed[], trailer: Buffer): Buffer {
  const sorted = packed.toSorted((a, b) => (a.oid < b.oid ? -1 : 1));
  const counts = Buffer.alloc(256 * 4);
  const crcs = Buffer.alloc(sorted.length * 4);
  const offsets = Buffer.alloc(sorted.length * 4);
  const far: Buffer[] = [];
  let first = 0;
  for (const [at, { oid, offset, crc }] of sorted.entries()) {
    for (const byte = Number.parseInt(oid.slice(0, 2), 16); first < byte; first += 1) counts.writeUInt32BE(at, first * 4);
    crcs.writeUInt32BE(crc, at * 4);
    if (offset < most31) offsets.writeUInt32BE(offset, at * 4);
    else {
      offsets.writeUInt32BE(most31 + far.length, at * 4);
      const place = Buffer.alloc(8);
      place.writeBigUInt64BE(BigInt(offset));
      far.push(place);
    }
  }
  for (; first < 256; first += 1) counts.writeUInt32BE(sorted.length, first * 4);
  const ids = Buffer.from(sorted.map(({ oid }) => oid).join(""), "hex");
  const index = Buffer.concat([Buffer.from("ff744f6300000002", "hex"), counts, ids, crcs, offsets, ...far, trailer]);
  return Buffer.concat([index, createHash("sha1").update(index).digest()]);
}

/** The ids that a pack's index names, sorted; none where there is no such file. */
export function readPackIds(file: string): string[] {
  if (!existsSync(file)) return [];
  const bytes = readFileSync(file);
  const start = 8 + 256 * 4;
  const count = bytes.length < start ? 0 : bytes.readUInt32BE(start - 4);
  return Array.from({ length: count }, (_, at) => bytes.toString("hex", start + at * 20, start + at * 20 + 20));
}
