/** Trees of a commit, for machines without git. (gitdatamodel(7): trees) */
import { BackupError } from "../core/errors.ts";
import { decodePath } from "../core/paths.ts";
import type { ObjectReader } from "./object-reader.ts";

export interface TreeFile {
  readonly path: string;
  /** 100644, 100755, 120000, 160000; older ones of git's are made one of these. */
  readonly mode: string;
  readonly oid: string;
}

/** Every file, symlink and submodule of the commit, in the order of its trees. Throws `damaged`. */
export async function* listCommit(objects: ObjectReader, commit: string): AsyncGenerator<TreeFile> {
  const head = Buffer.from((await objects.read(commit, "commit")).bytes).toString("latin1", 0, 45);
  const tree = /^tree ([0-9a-f]{40})/.exec(head)?.[1];
  if (tree === undefined) throw new BackupError("damaged", `commit ${commit} names no tree`);
  yield* walk(objects, tree, "");
}

async function* walk(objects: ObjectReader, tree: string, prefix: string): AsyncGenerator<TreeFile> {
  const bytes = Buffer.from((await objects.read(tree, "tree")).bytes);
  for (let at = 0; at < bytes.length; ) {
    const [space, end] = [bytes.indexOf(0x20, at), bytes.indexOf(0, at)];
    if (space === -1 || end < space || end + 21 > bytes.length) throw new BackupError("damaged", `tree ${tree} cannot be read`);
    const mode = bytes.toString("latin1", at, space);
    const path = prefix + decodePath(bytes.subarray(space + 1, end));
    const oid = bytes.toString("hex", end + 1, end + 21);
    at = end + 21;
    if (mode === "40000") yield* walk(objects, oid, `${path}/`);
    else yield { path, mode: plainMode(mode), oid };
  }
}

function plainMode(mode: string): string {
  if (mode === "120000" || mode === "160000") return mode;
  return (Number.parseInt(mode, 8) & 0o100) === 0 ? "100644" : "100755";
}
