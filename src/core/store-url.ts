/**
 * Where a store lies, as people write it: a folder, `branch:REMOTE/NAME`, `branch:URL#NAME`. A NAME that begins with
 * `refs/` is the whole name of a ref, such as `refs/holdfast/backup`; any other is a branch.
 */
import { BackupError } from "./errors.ts";

export type StoreLocation =
  | { readonly kind: "folder"; readonly path: string }
  /** `remote` is a remote's name in the user's repository; `ref` a whole name. */
  | { readonly kind: "branch"; readonly remote: string; readonly ref: string }
  /** `url` is whatever git takes: a URL, `host:path`, a folder. May carry credentials: not for messages. */
  | { readonly kind: "branch_url"; readonly url: string; readonly ref: string };

const defaultRef = "refs/heads/holdfast/backup";

/** Pure: asks neither disk nor git. Throws `config_invalid`. */
export function parseStoreUrl(text: string): StoreLocation {
  if (text.startsWith("branch:")) return parseBranch(text.slice("branch:".length));
  // One letter and a colon is a drive of Windows, not a kind of store.
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(text)?.[1]?.toLowerCase();
  if (scheme === "s3" || scheme === "rclone") {
    throw new BackupError("config_invalid", `this version does not have ${scheme} stores yet`, {
      hint: "use a folder or a branch: FOLDER, branch:REMOTE/NAME",
    });
  }
  if (scheme !== undefined) throw invalid(`there is no kind of store called ${scheme}`);
  if (text.trim() === "" || text.includes("\0")) throw invalid("a store's address is empty");
  return { kind: "folder", path: text };
}

function parseBranch(rest: string): StoreLocation {
  const hash = rest.lastIndexOf("#");
  if (hash !== -1) {
    const url = rest.slice(0, hash);
    if (url === "" || url.startsWith("-")) throw invalid("a branch store needs a URL before the #");
    return { kind: "branch_url", url, ref: wholeRef(rest.slice(hash + 1)) };
  }
  const slash = rest.indexOf("/");
  const remote = slash === -1 ? rest : rest.slice(0, slash);
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]*$/.test(remote)) throw invalid("a branch store needs a remote's name, or a URL and # before the branch");
  return { kind: "branch", remote, ref: slash === -1 ? defaultRef : wholeRef(rest.slice(slash + 1)) };
}

function wholeRef(name: string): string {
  if (!isRefName(name)) throw invalid(`"${name}" is not a name that git gives to a branch`);
  return name.startsWith("refs/") ? name : `refs/heads/${name}`;
}

/** git-check-ref-format(1). */
export function isRefName(name: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: git forbids them, so they are looked for.
  const isForbidden = /[\x00-\x20\x7f~^:?*[\\]|\.\.|@\{|^-|^@$/.test(name);
  return !isForbidden && name.split("/").every((part) => part !== "" && !part.startsWith(".") && !part.endsWith(".") && !part.endsWith(".lock"));
}

function invalid(message: string): BackupError {
  return new BackupError("config_invalid", message, { hint: "a store is a folder, branch:REMOTE/NAME or branch:URL#NAME" });
}
