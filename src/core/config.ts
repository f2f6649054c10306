/** backup.yaml: what is protected and where to. Parsed at the door, with every problem named by its line. Pure. */
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLMap } from "yaml";
import { BackupError } from "./errors.ts";
import { nearestName } from "./nearest-name.ts";
import { isRefName, parseStoreUrl } from "./store-url.ts";

export interface StoreConfig {
  readonly name: string;
  /** As written; see store-url.ts. */
  readonly url: string;
  /** Of a branch store: the whole name of the ref that holds it, in place of the branch in `url`. */
  readonly ref?: string;
  /** Of a branch store: points beyond it stay out; the newest are kept. */
  readonly maxBytes?: number;
}

/**
 * What a mirror gets: `branches-and-tags` its own; `namespaced` below `refs/holdfast/MACHINE/`, for a remote that is
 * shared; `exact` the same refs as here and no others, for one that is ours alone.
 */
export const mirrorModes = ["branches-and-tags", "namespaced", "exact"] as const;
export type MirrorMode = (typeof mirrorModes)[number];

export interface MirrorConfig {
  /** A remote's name, a URL or a path. */
  readonly remote: string;
  readonly mode: MirrorMode;
  /** Days that a replaced or deleted tip is kept on the mirror; null for ever. */
  readonly keepDays: number | null;
}

export function mirrorOf(remote: string): MirrorConfig {
  return { remote, mode: "branches-and-tags", keepDays: 90 };
}

export interface Config {
  /** The first folder is the primary: points are written there first. */
  readonly stores: readonly StoreConfig[];
  /** Remotes that get all branches and tags. */
  readonly mirrors: readonly MirrorConfig[];
  /** Gitignore patterns: ignored files to keep, beyond the defaults. */
  readonly include: readonly string[];
  /** Gitignore patterns: untracked and ignored files to leave out. */
  readonly exclude: readonly string[];
}

/** The whole name of the ref that holds a branch store; undefined for a folder. */
export function branchRefOf({ url, ref }: StoreConfig): string | undefined {
  const location = parseStoreUrl(url);
  return location.kind === "folder" ? undefined : (ref ?? location.ref);
}

export const configName = "backup.yaml";
export const emptyConfig: Config = { stores: [], mirrors: [], include: [], exclude: [] };

const keys = ["version", "stores", "mirrors", "include", "exclude"] as const;

/** Throws `config_invalid` with all problems, each as `FILE:LINE: what`. */
export function parseConfig(text: string, file: string): Config {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const problems: string[] = [];
  const complain = (node: Node | null | undefined, what: string): void => {
    const offset = node?.range?.[0] ?? 0;
    problems.push(`${file}:${lines.linePos(offset).line}: ${what}`);
  };
  for (const error of document.errors) problems.push(`${file}:${lines.linePos(error.pos[0]).line}: ${error.message}`);
  const config: { -readonly [Key in keyof Config]: Config[Key] } = { ...emptyConfig };
  const root = document.contents as Node | null;
  if (problems.length === 0 && root !== null && !(isScalar(root) && root.value === null)) {
    if (!isMap(root)) complain(root, "should be a list of settings such as `stores:`");
    else {
      for (const { key, value } of root.items) {
        const name = isScalar(key) ? String(key.value) : "";
        const node = value as Node | null;
        if (name === "version") {
          if (!isScalar(node) || node.value !== 1) complain(node ?? (key as Node), "version should be 1");
        } else if (name === "stores") config.stores = readStores(node, complain);
        else if (name === "mirrors") config.mirrors = readMirrors(node, complain);
        else if (name === "include" || name === "exclude") config[name] = readTexts(node, name, complain);
        else complain(key as Node, `unknown setting ${JSON.stringify(name)}${suggestion(name, keys)}`);
      }
    }
  }
  if (problems.length > 0) throw new BackupError("config_invalid", problems.join("\n"), { details: { problems } });
  return config;
}

export function writeConfig(config: Config): string {
  const list = (items: readonly string[]): string => (items.length === 0 ? " []\n" : `\n${items.map((item) => `  - ${item}\n`).join("")}`);
  const texts = (items: readonly string[]): string => list(items.map(quote));
  return `# What Holdfast protects here, and where to. Check it with: holdfast config check
version: 1

# Where points are kept. The first folder is written first; every other is an equal copy.
# A folder, branch:REMOTE/NAME or branch:URL#NAME. A branch may have ref: refs/holdfast/backup and max_bytes: 2 GiB.
stores:${list(config.stores.map(writeStore))}
# Git remotes that get all branches and tags after each commit and push.
mirrors:${list(config.mirrors.map(writeMirror))}
# Ignored files to keep, beyond .env*, *.db, *.sqlite*, .claude/ and the like (gitignore patterns, ! takes one back).
include:${texts(config.include)}
# Untracked and ignored files to leave out (gitignore patterns).
exclude:${texts(config.exclude)}`;
}

function writeStore({ name, url, ref, maxBytes }: StoreConfig): string {
  return writeFields({ name, url, ref, max_bytes: maxBytes });
}

function writeMirror({ remote, mode, keepDays }: MirrorConfig): string {
  const usual = mirrorOf(remote);
  if (mode === usual.mode && keepDays === usual.keepDays) return quote(remote);
  return writeFields({
    remote,
    mode: mode === usual.mode ? undefined : mode,
    keep_days: keepDays === usual.keepDays ? undefined : (keepDays ?? "forever"),
  });
}

function writeFields(fields: Readonly<Record<string, string | number | undefined>>): string {
  return Object.entries(fields)
    .flatMap(([key, value]) => (value === undefined ? [] : [`${key}: ${typeof value === "number" ? value : quote(value)}`]))
    .join("\n    ");
}

type Complain = (node: Node | null | undefined, what: string) => void;

const storeNeeds = "a store needs `name:` and `url:`";

function readStores(node: Node | null, complain: Complain): StoreConfig[] {
  const stores: StoreConfig[] = [];
  for (const item of readItems(node, "stores should be a list of `- name: …` with `url: …`", complain)) {
    const store = readStore(item, complain);
    if (store === undefined) continue;
    if (stores.some(({ name }) => name === store.name)) complain(item, `two stores are called ${store.name}`);
    stores.push(store);
  }
  return stores;
}

function readStore(item: Node, complain: Complain): StoreConfig | undefined {
  if (!isMap(item)) {
    complain(item, storeNeeds);
    return undefined;
  }
  const fields = readFields(item, ["name", "url", "ref", "max_bytes"], complain);
  const [name, url, ref] = (["name", "url", "ref"] as const).map((key) => readText(fields, key, complain));
  const maxBytes = readSize(fields.get("max_bytes"), complain);
  if (name === undefined || url === undefined) {
    complain(item, storeNeeds);
    return undefined;
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
    complain(item, `a store's name has letters, digits, dots and dashes: ${JSON.stringify(name)} does not`);
  try {
    const { kind } = parseStoreUrl(url);
    if (kind === "folder" && fields.has("ref")) complain(fields.get("ref"), "ref is for branch stores");
    if (kind === "folder" && fields.has("max_bytes")) complain(fields.get("max_bytes"), "max_bytes is for branch stores");
    if (ref !== undefined && !(ref.startsWith("refs/") && isRefName(ref)))
      complain(fields.get("ref"), "ref should be a whole name such as refs/holdfast/backup");
  } catch (error) {
    complain(item, error instanceof BackupError ? `${error.message} (${error.hint})` : String(error));
  }
  return { name, url, ...(ref === undefined ? {} : { ref }), ...(maxBytes === undefined ? {} : { maxBytes }) };
}

function readMirrors(node: Node | null, complain: Complain): MirrorConfig[] {
  const mirrors: MirrorConfig[] = [];
  for (const item of readItems(node, "mirrors should be a list", complain)) {
    const text = isScalar(item) && typeof item.value === "string" && item.value !== "" ? item.value : undefined;
    const mirror = isMap(item) ? readMirror(item, complain) : text === undefined ? undefined : mirrorOf(text);
    if (mirror === undefined && !isMap(item)) complain(item, "a mirror is a remote's name, a URL or a path, or has `remote:`");
    if (mirror === undefined) continue;
    if (mirrors.some(({ remote }) => remote === mirror.remote)) complain(item, `two mirrors are ${mirror.remote}`);
    mirrors.push(mirror);
  }
  return mirrors;
}

function readMirror(item: YAMLMap, complain: Complain): MirrorConfig | undefined {
  const fields = readFields(item, ["remote", "mode", "keep_days"], complain);
  const [remote, mode] = (["remote", "mode"] as const).map((key) => readText(fields, key, complain));
  if (remote === undefined) {
    complain(item, "a mirror needs `remote:`");
    return undefined;
  }
  const usual = mirrorOf(remote);
  const known = mirrorModes.find((candidate) => candidate === mode);
  if (mode !== undefined && known === undefined) complain(fields.get("mode"), `unknown mode ${JSON.stringify(mode)}${suggestion(mode, mirrorModes)}`);
  return { remote, mode: known ?? usual.mode, keepDays: fields.has("keep_days") ? readDays(fields.get("keep_days"), complain) : usual.keepDays };
}

function readDays(node: Node | undefined, complain: Complain): number | null {
  const value = isScalar(node) ? node.value : undefined;
  if (typeof value === "number" && Number.isInteger(value) && value >= 1) return value;
  if (value !== "forever") complain(node, "keep_days should be a number of days, or forever");
  return null;
}

function readSize(node: Node | undefined, complain: Complain): number | undefined {
  if (node === undefined) return undefined;
  const bytes = parseSize(String(isScalar(node) ? node.value : undefined));
  if (bytes === undefined) complain(node, 'max_bytes should be a size such as "2 GiB" or a number of bytes');
  return bytes;
}

/** Bytes; undefined for what is no size, or none to speak of. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB|TiB)?$/.exec(text);
  const bytes = match === null ? 0 : Math.floor(Number(match[1]) * 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].indexOf(match[2] ?? "B"));
  return bytes < 1 ? undefined : bytes;
}

function readItems(node: Node | null, what: string, complain: Complain): Node[] {
  if (node === null || (isScalar(node) && node.value === null)) return [];
  if (isSeq(node)) return node.items as Node[];
  complain(node, what);
  return [];
}

/** The values of these keys; others are complained about. */
function readFields(item: YAMLMap, names: readonly string[], complain: Complain): Map<string, Node> {
  const fields = new Map<string, Node>();
  for (const { key, value } of item.items) {
    const field = isScalar(key) ? String(key.value) : "";
    if (names.includes(field)) fields.set(field, (value as Node | null) ?? (key as Node));
    else complain(key as Node, `unknown setting ${JSON.stringify(field)}${suggestion(field, names)}`);
  }
  return fields;
}

function readText(fields: ReadonlyMap<string, Node>, name: string, complain: Complain): string | undefined {
  const node = fields.get(name);
  if (node === undefined) return undefined;
  if (isScalar(node) && typeof node.value === "string" && node.value !== "") return node.value;
  complain(node, `${name} should be a text`);
  return undefined;
}

function readTexts(node: Node | null, name: string, complain: Complain): string[] {
  return readItems(node, `${name} should be a list`, complain).flatMap((item) => {
    if (isScalar(item) && typeof item.value === "string" && item.value !== "") return [item.value];
    complain(item, `${name} should hold texts`);
    return [];
  });
}

function suggestion(name: string, names: readonly string[]): string {
  const nearest = nearestName(name, names);
  return nearest === undefined ? `; there are ${names.join(", ")}` : `; did you mean ${nearest}?`;
}

function quote(text: string): string {
  return /^[A-Za-z0-9/._-][A-Za-z0-9/._:#@+=~-]*$/.test(text) && !text.endsWith(":") && !/^(?:true|false|null|yes|no|~|[\d.+-].*)$/i.test(text)
    ? text
    : JSON.stringify(text);
}
