/** The files that a tarball holds as patches to the base's version, by the names that stand in it. */
import type { TarMember } from "../archive/tar-read.ts";
import { decodePath } from "../core/paths.ts";
import { patchMember } from "../restore/unpack.ts";

/** Longer than any path of a file. */
const pathLimit = 1 << 16;

/** Sees the members of one tarball as they pass. */
export class PatchedFiles {
  /** By number: the parts that were there, and the path. */
  readonly #patches = new Map<string, { readonly parts: Set<string>; path: Buffer }>();
  #number = "";
  #part = "";

  begin({ path, kind, size }: TarMember): void {
    const [, number = "", part = ""] = (kind === "file" && patchMember.exec(path)) || [];
    this.#number = number;
    this.#part = size > pathLimit ? "" : part;
    if (number === "") return;
    const patch = this.#patches.get(number) ?? { parts: new Set(), path: Buffer.alloc(0) };
    patch.parts.add(part);
    if (part === "path") patch.path = Buffer.alloc(0);
    this.#patches.set(number, patch);
  }

  write(piece: Buffer): void {
    const patch = this.#part === "path" ? this.#patches.get(this.#number) : undefined;
    if (patch !== undefined) patch.path = Buffer.concat([patch.path, piece]);
  }

  /** Of the patches that have all their parts. */
  paths(): string[] {
    return [...this.#patches.values()].filter(({ parts }) => parts.size === 3).map(({ path }) => decodePath(path));
  }
}
