/** Unpacks the tarballs of a chain, base first, straight into the target: only what the last point holds is written. */
import { closeSync, constants, openSync, readSync } from "node:fs";
import { type TarMember, TarReader } from "../archive/tar-read.ts";
import { type FileEntry, placeOf } from "../core/contents.ts";
import { BackupError } from "../core/errors.ts";
import { decodePath, isContained, parentOf } from "../core/paths.ts";
import { type Destination, destinationOf, inertFolder, type TargetLayout } from "./place.ts";
import { SafeFolder, settle, touchLink, writeAll } from "./safe-folder.ts";

export interface UnpackRequest {
  readonly layout: TargetLayout;
  /** The entries to write: those of the last point, or a choice of them. */
  readonly files: ReadonlyMap<string, FileEntry>;
  /** False: a path that exists is left as it is (a tracked file of the commit has it). */
  readonly replaces: boolean;
  /** Names that are not wanted and hold the bytes of one that is: to that one, which is written in their place. */
  readonly holders?: ReadonlyMap<string, string>;
}

/** Files of 64 KiB and more may come as patches to an earlier version; see docs/format.md. */
export const patchMember = /^patches\/(\d+)\/(path|steps|data)$/;
const smallMember = 1 << 20;

export class Unpacker {
  readonly #request: UnpackRequest;
  readonly #folders = new Map<string, SafeFolder>();
  /** Entry paths that stood in the target before us, or could not be placed. */
  readonly skipped = new Set<string>();
  /** Those of them that are links of the git directory and would have led out of it. */
  readonly links = new Set<string>();
  readonly #written = new Set<string>();
  readonly #holders: ReadonlyMap<string, string>;
  readonly #heirs: ReadonlySet<string>;

  constructor(request: UnpackRequest) {
    this.#request = request;
    this.#holders = request.holders ?? new Map();
    this.#heirs = new Set(this.#holders.values());
  }

  /** One tarball. Throws `damaged` or `hostile`; the pieces must have been checked on their way. */
  async unpack(name: string, pieces: AsyncIterable<Buffer>): Promise<void> {
    const patches = new Map<string, Patch>();
    let sink: Sink | undefined;
    const reader = new TarReader(name, {
      member: (member) => {
        sink = this.#open({ ...member, path: this.#nameOf(member.path) }, patches);
      },
      data: (piece) => sink?.write(piece),
      end: () => {
        sink?.end();
        sink = undefined;
      },
    });
    for await (const piece of pieces) reader.write(piece);
    reader.finish();
    for (const patch of patches.values()) this.#apply(name, patch);
  }

  #open(member: TarMember, patches: Map<string, Patch>): Sink | undefined {
    const part = patchMember.exec(member.path);
    if (part !== null) return this.#openPatch(part[1] ?? "", part[2] ?? "", member, patches);
    const wanted = this.#request.files.get(member.path);
    if (wanted === undefined) return undefined;
    // Folders take the place that git looks at, also in a nested repository.
    if (placeOf(member.path).area === "folder" && member.kind !== "folder")
      throw new BackupError("hostile", `the point has a ${member.kind} in the place of the folder ${JSON.stringify(member.path)}`);
    const destination = this.#destination(member.path);
    if (destination === undefined) return undefined;
    const folder = this.#folder(destination.root);
    if (member.kind === "folder") {
      folder.folder(destination.path);
      return undefined;
    }
    if (member.kind === "symlink" && placeOf(member.path).area === "git" && !staysInside(destination.path, member.target ?? "")) {
      if (this.#written.delete(member.path)) folder.clear(destination.path); // an older version of it
      this.skipped.add(member.path);
      this.links.add(member.path);
      return undefined;
    }
    if (this.links.delete(member.path)) this.skipped.delete(member.path); // a newer version is no such link
    if (member.kind === "hardlink") return this.#heirs.has(member.path) ? undefined : this.#link(destination, member);
    this.#written.add(member.path);
    if (member.kind === "symlink") {
      if (member.target === undefined || member.target === "" || member.target.includes("\0")) {
        throw new BackupError("damaged", `${JSON.stringify(member.path)} is a symlink that leads nowhere at all`);
      }
      folder.symlink(destination.path, member.target);
      touchLink(folder.at(destination.path), member.mtime);
      return undefined;
    }
    return new FileSink(folder, destination.path, member, wanted.sparse === true);
  }

  #link(destination: Destination, member: TarMember): undefined {
    const name = this.#nameOf(member.target ?? "");
    const target = destinationOf(name, this.#request.layout);
    // Its other name is gone by the last point: then a later tarball of the chain brings this one, or the comparison misses it.
    if (target === undefined || !this.#written.has(name)) return undefined;
    this.#folder(destination.root).link(destination.path, this.#folder(target.root).at(target.path));
    this.#written.add(member.path);
    return undefined;
  }

  #openPatch(id: string, part: string, member: TarMember, patches: Map<string, Patch>): Sink {
    const patch = patches.get(id) ?? { path: Buffer.alloc(0), steps: Buffer.alloc(0), data: Buffer.alloc(0), mode: 0, mtime: "0" };
    patches.set(id, patch);
    const pieces: Buffer[] = [];
    return {
      write: (piece) => void pieces.push(Buffer.from(piece)),
      end: () => {
        if (part === "path") patch.path = Buffer.concat(pieces);
        else if (part === "steps") patch.steps = Buffer.concat(pieces);
        else {
          patch.data = Buffer.concat(pieces);
          patch.mode = member.mode;
          patch.mtime = member.mtime;
        }
      },
    };
  }

  /** Puts the new version together beside the old one, then takes its place. */
  #apply(name: string, patch: Patch): void {
    const entry = this.#nameOf(decodePath(patch.path));
    const wanted = this.#request.files.get(entry);
    const destination = wanted === undefined ? undefined : this.#destination(entry);
    if (wanted === undefined || destination === undefined) return;
    const folder = this.#folder(destination.root);
    const broken = (): BackupError => new BackupError("damaged", `${name} has a patch for ${JSON.stringify(entry)} that does not fit`);
    if (!this.#written.has(entry)) throw broken();
    const old = this.#openOld(folder.at(destination.path), broken);
    // A short name of its own: the file's may have all the 255 bytes that a name can have.
    const temporary = [parentOf(destination.path), ".holdfast-patch"].filter((part) => part !== "").join("/");
    const next = folder.create(temporary);
    let position = 0;
    try {
      for (const { from, offset, length } of parseSteps(patch.steps, broken)) {
        for (let at = 0; at < length; at += smallMember) {
          const size = Math.min(smallMember, length - at);
          const piece = from === "data" ? patch.data.subarray(offset + at, offset + at + size) : Buffer.allocUnsafe(size);
          if (from === "base" && readSync(old, piece, 0, size, offset + at) !== size) throw broken();
          if (piece.length !== size) throw broken();
          writeAll(next, piece, position, wanted.sparse === true);
          position += size;
        }
      }
    } finally {
      closeSync(old);
    }
    settle(next, folder.at(temporary), patch.mode, patch.mtime);
    folder.replace(temporary, destination.path);
  }

  /** The version to patch is a file that we wrote: a symlink in its place would lend us bytes from outside. */
  #openOld(path: string | Buffer, broken: () => BackupError): number {
    try {
      return openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    } catch {
      throw broken();
    }
  }

  #destination(entry: string): Destination | undefined {
    if (this.skipped.has(entry) && !this.links.has(entry)) return undefined;
    const destination = destinationOf(entry, this.#request.layout);
    const isTaken =
      destination !== undefined && !this.#request.replaces && !this.#written.has(entry) && this.#folder(destination.root).exists(destination.path);
    if (destination === undefined || isTaken) {
      this.skipped.add(entry);
      return undefined;
    }
    return destination;
  }

  #nameOf(entry: string): string {
    return this.#holders.get(entry) ?? entry;
  }

  #folder(root: string): SafeFolder {
    const folder = this.#folders.get(root) ?? new SafeFolder(root);
    this.#folders.set(root, folder);
    return folder;
  }
}

interface Patch {
  path: Buffer;
  steps: Buffer;
  data: Buffer;
  mode: number;
  mtime: string;
}

interface Sink {
  write(piece: Buffer): void;
  end(): void;
}

class FileSink implements Sink {
  readonly #descriptor: number;
  readonly #path: string | Buffer;
  readonly #member: TarMember;
  readonly #isSparse: boolean;
  #position = 0;

  constructor(folder: SafeFolder, path: string, member: TarMember, isSparse: boolean) {
    this.#descriptor = folder.create(path);
    this.#path = folder.at(path);
    this.#member = member;
    this.#isSparse = isSparse;
  }

  write(piece: Buffer): void {
    writeAll(this.#descriptor, piece, this.#position, this.#isSparse);
    this.#position += piece.length;
  }

  end(): void {
    settle(this.#descriptor, this.#path, this.#member.mode, this.#member.mtime);
  }
}

/**
 * git writes through symlinks in its directory (FETCH_HEAD, logs/, COMMIT_EDITMSG): one that leads out would let a later
 * `git fetch` write there. Its parents are real folders, so a target of leading `..` and then names cannot lead out unseen.
 */
function staysInside(path: string, target: string): boolean {
  if (path.startsWith(`${inertFolder}/`)) return true;
  const up = /^(?:\.\.\/)*/.exec(target)?.[0] ?? "";
  return up.length / 3 < path.split("/").length && isContained(target.slice(up.length).replace(/\/$/, ""));
}

function parseSteps(text: Buffer, broken: () => BackupError): { from: "base" | "data"; offset: number; length: number }[] {
  const lines = text.toString("latin1").split("\n");
  if (lines.pop() !== "") throw broken();
  return lines.map((line) => {
    const match = /^(base|data) (\d{1,15}) (\d{1,15})$/.exec(line);
    if (match === null) throw broken();
    return { from: match[1] === "base" ? "base" : "data", offset: Number(match[2]), length: Number(match[3]) };
  });
}
