/** The text before a bundle's pack. (gitformat-bundle(5), versions 2 and 3) */
import { BackupError } from "../core/errors.ts";

export interface BundleHeader {
  readonly prerequisites: readonly string[];
  /** In the bundle's order; `HEAD` may be among them. */
  readonly refs: readonly { readonly name: string; readonly oid: string }[];
  /** Where the pack begins, in bytes. */
  readonly packOffset: number;
}

/** Undefined while `bytes`, the beginning of the file, does not hold the whole header yet. */
export function parseBundleHeader(bytes: Buffer, name: string): BundleHeader | undefined {
  const end = bytes.indexOf("\n\n");
  if (end === -1) return undefined;
  const [signature, ...lines] = bytes.toString("utf8", 0, end).split("\n");
  if (signature !== "# v2 git bundle" && signature !== "# v3 git bundle") throw new BackupError("damaged", `${name} is not a git bundle`);
  const prerequisites: string[] = [];
  const refs: { name: string; oid: string }[] = [];
  for (const line of lines) {
    const match = /^(-?)([0-9a-f]{40}|[0-9a-f]{64})(?: (.*))?$/.exec(line);
    if (match === null || (match[1] === "" && (match[3] ?? "") === "")) {
      if (line.startsWith("@object-format=")) continue;
      throw new BackupError("damaged", `${name} has a header line that is not understood`);
    }
    if (match[1] === "-") prerequisites.push(match[2] ?? "");
    else refs.push({ name: match[3] ?? "", oid: match[2] ?? "" });
  }
  return { prerequisites, refs, packOffset: end + 2 };
}

/** The pack of a bundle as it comes. */
export async function* withoutHeader(pieces: AsyncIterable<Buffer>, name: string): AsyncGenerator<Buffer> {
  let start: Buffer | undefined = Buffer.alloc(0);
  for await (const piece of pieces) {
    if (start === undefined) {
      yield piece;
      continue;
    }
    start = Buffer.concat([start, piece]);
    const header = parseBundleHeader(start, name);
    if (header === undefined) continue;
    yield start.subarray(header.packOffset);
    start = undefined;
  }
  if (start !== undefined) throw new BackupError("damaged", `${name} has no end of its header`);
}
