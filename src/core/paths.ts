/**
 * File names are bytes; most are UTF-8, some are not. Inside the program a path is a string in which
 * every byte that is not UTF-8 stands as a lone surrogate U+DC80 to U+DCFF (Python's `surrogateescape`).
 * The mapping is exact both ways, survives JSON, and leaves ordinary names readable.
 */
import { isUtf8 } from "node:buffer";

const escaped = /[\udc80-\udcff]/;

export function decodePath(bytes: Buffer): string {
  if (isUtf8(bytes)) return bytes.toString("utf8");
  let text = "";
  let at = 0;
  while (at < bytes.length) {
    const length = validSequence(bytes, at);
    if (length === 0) {
      text += String.fromCharCode(0xdc00 + (bytes[at] ?? 0));
      at += 1;
    } else {
      text += bytes.toString("utf8", at, at + length);
      at += length;
    }
  }
  return text;
}

/** What Node's file system calls take: the string itself, or the exact bytes where a string cannot say them. */
export function encodePath(path: string): string | Buffer {
  return escaped.test(path) ? pathBytes(path) : path;
}

export function pathBytes(path: string): Buffer {
  if (!escaped.test(path)) return Buffer.from(path, "utf8");
  const pieces: Buffer[] = [];
  let start = 0;
  for (let i = 0; i < path.length; i += 1) {
    const unit = path.charCodeAt(i);
    if (unit < 0xdc80 || unit > 0xdcff || isPaired(path, i)) continue;
    pieces.push(Buffer.from(path.slice(start, i), "utf8"), Buffer.of(unit - 0xdc00));
    start = i + 1;
  }
  pieces.push(Buffer.from(path.slice(start), "utf8"));
  return Buffer.concat(pieces);
}

/** Splits NUL-terminated output (`-z`) into paths. */
export function splitPaths(output: Buffer): string[] {
  if (output.length === 0) return [];
  const end = output.at(-1) === 0 ? output.length - 1 : output.length;
  if (isUtf8(output)) return output.toString("utf8", 0, end).split("\0");
  const paths: string[] = [];
  let start = 0;
  while (start <= end) {
    let stop = output.indexOf(0, start);
    if (stop === -1 || stop > end) stop = end;
    paths.push(decodePath(output.subarray(start, stop)));
    start = stop + 1;
  }
  return paths;
}

/** For people and terminals: control characters, escapes and undecodable bytes are shown, never sent. */
export function printablePath(path: string): string {
  let text = "";
  for (const char of path) {
    const unit = char.codePointAt(0) ?? 0;
    if (unit >= 0xdc80 && unit <= 0xdcff) text += `\\x${(unit - 0xdc00).toString(16)}`;
    else if (unit < 0x20 || (unit >= 0x7f && unit < 0xa0) || turnsText(unit)) text += `\\u{${unit.toString(16)}}`;
    else text += char;
  }
  return text;
}

/** The folder part, "" at the top. */
export function parentOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash === -1 ? "" : path.slice(0, slash);
}

export function baseName(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}

/**
 * True for a path that stays below the folder it is joined to: relative, with no empty, `.` or `..`
 * component and no NUL. Everything that comes out of a store must pass this before it is written.
 */
export function isContained(path: string): boolean {
  if (path === "" || path.startsWith("/") || path.includes("\0")) return false;
  return path.split("/").every((part) => part !== "" && part !== "." && part !== "..");
}

/** True for `.git`, also by the names that other file systems take for it: case, trailing dots, short names, what HFS+ ignores. */
export function isGitName(name: string): boolean {
  const plain = name.replace(/[\u200c-\u200f\u202a-\u202e\u206a-\u206f\ufeff]/g, "").toLowerCase();
  return plain.replace(/[. ]+$/, "") === ".git" || plain === "git~1";
}

function isPaired(text: string, index: number): boolean {
  const before = index > 0 ? text.charCodeAt(index - 1) : 0;
  return before >= 0xd800 && before <= 0xdbff;
}

/** Marks that change the direction of what follows, and the two line ends that are no control characters. */
function turnsText(unit: number): boolean {
  return (unit >= 0x2028 && unit <= 0x202e) || (unit >= 0x2066 && unit <= 0x2069) || unit === 0x200e || unit === 0x200f || unit === 0x061c;
}

/** Length of the valid UTF-8 sequence at `at`, 0 where there is none. */
function validSequence(bytes: Buffer, at: number): number {
  const first = bytes[at] ?? 0;
  const length = first < 0x80 ? 1 : first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : first >= 0xc2 ? 2 : 0;
  if (length === 0 || at + length > bytes.length) return 0;
  return isUtf8(bytes.subarray(at, at + length)) ? length : 0;
}
