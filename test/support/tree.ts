/**
 * What stands in a folder, exactly, for comparing two of them: `expect(snapshotTree(b)).toEqual(snapshotTree(a))`.
 * A name may be any bytes on Linux, so paths are read as bytes and shown as latin1: one character a byte, nothing lost.
 */
import { createHash } from "node:crypto";
import { type BigIntStats, closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from "node:fs";

type EntryType = "file" | "folder" | "symlink" | "fifo" | "socket" | "device";

export interface TreeEntry {
  /** Relative to the folder, `/` between names, latin1. */
  readonly path: string;
  readonly type: EntryType;
  /** Permissions with setuid, setgid and sticky, octal: "0644". A symlink's own mean nothing and are "0777". */
  readonly mode: string;
  /** Nanoseconds since 1970, floored to microseconds. */
  readonly mtimeNs: bigint;
  /** Of a file: its size in bytes, its checksum. */
  readonly size?: number;
  readonly sha256?: string;
  /** Of a symlink: where it points, latin1. */
  readonly target?: string;
  /** Of a file with several names in this folder: the first of them. */
  readonly sameFileAs?: string;
}

export interface SnapshotOptions {
  /** Paths (as in TreeEntry) left out with all below them: given by name, or by a question asked of each. */
  readonly exclude?: readonly string[] | ((path: string) => boolean);
}

/** Every path below `dir`, sorted by its bytes. The folder itself is not listed. */
export function snapshotTree(dir: string, { exclude = [] }: SnapshotOptions = {}): TreeEntry[] {
  const isExcluded = typeof exclude === "function" ? exclude : (path: string) => exclude.includes(path);
  const found: { path: string; full: Buffer; stat: BigIntStats }[] = [];
  const walk = (folder: Buffer, prefix: string) => {
    for (const name of readdirSync(folder, { encoding: "buffer" })) {
      const path = prefix + name.toString("latin1");
      if (isExcluded(path)) continue;
      const full = Buffer.concat([folder, Buffer.from("/"), name]);
      const stat = lstatSync(full, { bigint: true });
      found.push({ path, full, stat });
      if (stat.isDirectory()) walk(full, `${path}/`);
    }
  };
  walk(Buffer.from(dir), "");
  found.sort((a, b) => (a.path < b.path ? -1 : 1));

  const names = Map.groupBy(found, ({ stat }) => `${stat.dev}:${stat.ino}`);
  return found.map(({ path, full, stat }) => {
    const type = typeOf(stat);
    const group = names.get(`${stat.dev}:${stat.ino}`) ?? [];
    return {
      path,
      type,
      mode: type === "symlink" ? "0777" : (stat.mode & 0o7777n).toString(8).padStart(4, "0"),
      mtimeNs: stat.mtimeNs - (((stat.mtimeNs % 1000n) + 1000n) % 1000n),
      ...(type === "file" ? { size: Number(stat.size), sha256: sha256Of(full) } : {}),
      ...(type === "symlink" ? { target: readlinkSync(full, { encoding: "buffer" }).toString("latin1") } : {}),
      ...(group.length > 1 && group[0] ? { sameFileAs: group[0].path } : {}),
    };
  });
}

function typeOf(stat: BigIntStats): EntryType {
  if (stat.isFile()) return "file";
  if (stat.isDirectory()) return "folder";
  if (stat.isSymbolicLink()) return "symlink";
  if (stat.isFIFO()) return "fifo";
  return stat.isSocket() ? "socket" : "device";
}

function sha256Of(file: Buffer): string {
  const hash = createHash("sha256");
  const chunk = Buffer.alloc(256 * 1024);
  const handle = openSync(file, "r");
  try {
    for (let length = readSync(handle, chunk); length > 0; length = readSync(handle, chunk)) hash.update(chunk.subarray(0, length));
  } finally {
    closeSync(handle);
  }
  return hash.digest("hex");
}
