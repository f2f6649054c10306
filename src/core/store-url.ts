/**
 * Where a store lies, as people write it: a folder, `branch:REMOTE/NAME`, `branch:URL#NAME`, `s3://BUCKET/PREFIX?…`,
 * `rclone:REMOTE:PATH`. A NAME that begins with `refs/` is the whole name of a ref, such as `refs/holdfast/backup`; any
 * other is a branch.
 */
import { BackupError } from "./errors.ts";
import { isRepositoryId } from "./ids.ts";
import { nearestName } from "./nearest-name.ts";

export type StoreLocation = FolderLocation | BranchLocation | S3Location | RcloneLocation;

export interface FolderLocation {
  readonly kind: "folder";
  readonly path: string;
}

export type BranchLocation =
  /** `remote` is a remote's name in the user's repository; `ref` a whole name. */
  | { readonly kind: "branch"; readonly remote: string; readonly ref: string }
  /** `url` is whatever git takes: a URL, `host:path`, a folder. May carry credentials: not for messages. */
  | { readonly kind: "branch_url"; readonly url: string; readonly ref: string };

/** A place in a bucket that many repositories share: each has its own folder there, named by its id. */
export interface S3Location {
  readonly kind: "s3";
  readonly bucket: string;
  /** "" or `some/folder/`. */
  readonly prefix: string;
  /** Undefined: Amazon's own, or what the environment names. */
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
  /** The bucket stands in the path of a request, not in the host's name. */
  readonly isPathStyle: boolean;
  /** Of the shared configuration files. */
  readonly profile: string | undefined;
  /** Of a bucket with versions: as it was then, and not to be written to. */
  readonly asOf: Date | undefined;
}

/** A place on any remote that the user's rclone knows; each repository has its own folder there, as in a bucket. */
export interface RcloneLocation {
  readonly kind: "rclone";
  /** `REMOTE:PATH`, without a slash at its end. */
  readonly path: string;
}

const defaultRef = "refs/heads/holdfast/backup";

/** Pure: asks neither disk nor git. Throws `config_invalid`. */
export function parseStoreUrl(text: string): StoreLocation {
  if (text.startsWith("branch:")) return parseBranch(text.slice("branch:".length));
  if (text.startsWith("rclone:")) return parseRclone(text.slice("rclone:".length));
  if (/^s3:/i.test(text)) return parseS3(text);
  // One letter and a colon is a drive of Windows, not a kind of store.
  const scheme = /^([a-z][a-z0-9+.-]+):/i.exec(text)?.[1]?.toLowerCase();
  if (scheme !== undefined) throw invalid(`there is no kind of store called ${scheme}`);
  if (text.trim() === "" || text.includes("\0")) throw invalid("a store's address is empty");
  return { kind: "folder", path: text };
}

/** The address of one repository in a place that many share; `url` itself where it names one already. */
export function repositoryUrl(url: string, id: string): string {
  // Only a bucket's address has settings behind it.
  const [path = "", ...settings] = /^s3:/i.test(url) ? url.split(/(?=\?)/) : [url];
  const place = path.replace(/\/+$/, "");
  if (isRepositoryId(place.split(/[/:]/).at(-1) ?? "")) return url;
  return `${place}${place.endsWith(":") ? "" : "/"}${id}${settings.join("")}`;
}

export function isBranch(location: StoreLocation): location is BranchLocation {
  return location.kind === "branch" || location.kind === "branch_url";
}

function parseBranch(rest: string): BranchLocation {
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

const s3Settings = ["endpoint", "region", "path_style", "profile", "as_of"] as const;

function parseS3(text: string): S3Location {
  const match = /^s3:\/\/([^/?#]+)(\/[^?#]*)?(?:\?([^#]*))?$/i.exec(text);
  const bucket = match?.[1] ?? "";
  if (bucket.includes("@")) throw invalid("keys do not belong into a store's address: put them into the environment or ~/.aws/credentials");
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{1,254}$/.test(bucket)) throw invalid(`"${text}" does not name a bucket`);
  const path = decode(match?.[2] ?? "");
  const parts = path.split("/").filter((part) => part !== "");
  if (parts.some((part) => part === "." || part === "..") || path.includes("\0")) throw invalid(`"${path}" is not a place in a bucket`);
  const given = new Map<string, string>();
  for (const [name, value] of new URLSearchParams(match?.[3] ?? "")) {
    const known = s3Settings.find((setting) => setting === name);
    if (known === undefined) {
      const nearest = nearestName(name, s3Settings);
      throw invalid(
        `an S3 store has no setting "${name}"${nearest === undefined ? `; there are ${s3Settings.join(", ")}` : `; did you mean ${nearest}?`}`,
      );
    }
    given.set(known, value);
  }
  const endpoint = given.get("endpoint");
  if (endpoint !== undefined && !/^https?:\/\/[^/?#@]+\/?$/i.test(endpoint))
    throw invalid("the endpoint should be https://HOST or http://HOST:PORT, and no more");
  const pathStyle = given.get("path_style");
  if (pathStyle !== undefined && pathStyle !== "true" && pathStyle !== "false") throw invalid("path_style should be true or false");
  const asOf = given.get("as_of");
  if (asOf !== undefined && !/^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d)?Z)?$/.test(asOf))
    throw invalid("as_of should be a time in UTC such as 2026-11-21T14:30:00Z");
  return {
    kind: "s3",
    bucket,
    prefix: parts.map((part) => `${part}/`).join(""),
    endpoint,
    region: given.get("region"),
    // Servers of one's own rarely have a name for each bucket.
    isPathStyle: pathStyle === undefined ? endpoint !== undefined : pathStyle === "true",
    profile: given.get("profile"),
    asOf: asOf === undefined ? undefined : new Date(asOf),
  };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw invalid(`"${text}" has a % that means nothing`);
  }
}

function parseRclone(rest: string): RcloneLocation {
  // A remote's name as rclone takes it; `:backend,options:path` needs no configuration.
  const match = /^([\w.+@ -]+|:[^\0]*):([^\0]*)$/.exec(rest);
  if (match === null || rest.startsWith("-")) throw invalid("an rclone store is rclone:REMOTE:PATH, with a remote that `rclone listremotes` shows");
  for (const [, option = ""] of rest.startsWith(":") ? rest.matchAll(/,\s*(\w+)/g) : []) {
    if (/_file$|_url$/.test(option) && !/sas_url$/.test(option)) continue;
    if (/pass|secret|token|credentials|sas_url|key_pem|^key$|api_key/.test(option))
      throw invalid(`${option} does not belong into a store's address: make a remote with it by \`rclone config\``);
    // The address may come from a file of others.
    if (/command|^ssh$/.test(option)) throw invalid(`${option} runs a program: a remote that needs it is made by \`rclone config\``);
  }
  return { kind: "rclone", path: rest.replace(/\/+$/, "") };
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
  return new BackupError("config_invalid", message, {
    hint: "a store is a folder, branch:REMOTE/NAME, branch:URL#NAME, s3://BUCKET/PREFIX or rclone:REMOTE:PATH",
  });
}
