/** backup.yaml: what is protected and where to. Parsed at the door, with every problem named by its line. Pure. */
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";
import { BackupError } from "./errors.ts";
import { nearestName } from "./nearest-name.ts";
import { parseStoreUrl } from "./store-url.ts";

export interface StoreConfig {
  readonly name: string;
  /** As written; see store-url.ts. */
  readonly url: string;
}

export interface Config {
  /** The first folder is the primary: points are written there first. */
  readonly stores: readonly StoreConfig[];
  /** Remotes' names, URLs or paths that get all branches and tags. */
  readonly mirrors: readonly string[];
  /** Gitignore patterns: ignored files to keep, beyond the defaults. */
  readonly include: readonly string[];
  /** Gitignore patterns: untracked and ignored files to leave out. */
  readonly exclude: readonly string[];
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
        else if (name === "mirrors" || name === "include" || name === "exclude") config[name] = readTexts(node, name, complain);
        else complain(key as Node, `unknown setting ${JSON.stringify(name)}${suggestion(name, keys)}`);
      }
    }
  }
  if (problems.length > 0) throw new BackupError("config_invalid", problems.join("\n"), { details: { problems } });
  return config;
}

export function writeConfig(config: Config): string {
  const list = (items: readonly string[]): string => (items.length === 0 ? " []\n" : `\n${items.map((item) => `  - ${quote(item)}\n`).join("")}`);
  const stores = config.stores.map(({ name, url }) => `  - name: ${quote(name)}\n    url: ${quote(url)}\n`).join("");
  return `# What Holdfast protects here, and where to. Check it with: holdfast config check
version: 1

# Where points are kept. The first folder is written first; every other is an equal copy.
# A folder, branch:REMOTE/NAME or branch:URL#NAME.
stores:${config.stores.length === 0 ? " []\n" : `\n${stores}`}
# Git remotes that get all branches and tags after each commit and push.
mirrors:${list(config.mirrors)}
# Ignored files to keep, beyond .env*, *.db, *.sqlite*, .claude/ and the like (gitignore patterns, ! takes one back).
include:${list(config.include)}
# Untracked and ignored files to leave out (gitignore patterns).
exclude:${list(config.exclude)}`;
}

type Complain = (node: Node | null | undefined, what: string) => void;

function readStores(node: Node | null, complain: Complain): StoreConfig[] {
  if (node === null || (isScalar(node) && node.value === null)) return [];
  if (!isSeq(node)) {
    complain(node, "stores should be a list of `- name: …` with `url: …`");
    return [];
  }
  const stores: StoreConfig[] = [];
  for (const item of node.items as Node[]) {
    const store = readStore(item, complain);
    if (store === undefined) continue;
    if (stores.some(({ name }) => name === store.name)) complain(item, `two stores are called ${store.name}`);
    stores.push(store);
  }
  return stores;
}

function readStore(item: Node, complain: Complain): StoreConfig | undefined {
  if (!isMap(item)) {
    complain(item, "a store needs `name:` and `url:`");
    return undefined;
  }
  const values = new Map<string, string>();
  for (const { key, value } of item.items) {
    const field = isScalar(key) ? String(key.value) : "";
    if (field !== "name" && field !== "url") complain(key as Node, `unknown setting ${JSON.stringify(field)}${suggestion(field, ["name", "url"])}`);
    else if (!isScalar(value) || typeof value.value !== "string" || value.value === "")
      complain((value as Node | null) ?? item, `${field} should be a text`);
    else values.set(field, value.value);
  }
  const name = values.get("name");
  const url = values.get("url");
  if (name === undefined || url === undefined) {
    complain(item, "a store needs `name:` and `url:`");
    return undefined;
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
    complain(item, `a store's name has letters, digits, dots and dashes: ${JSON.stringify(name)} does not`);
  try {
    parseStoreUrl(url);
  } catch (error) {
    complain(item, error instanceof BackupError ? `${error.message} (${error.hint})` : String(error));
  }
  return { name, url };
}

function readTexts(node: Node | null, name: string, complain: Complain): string[] {
  if (node === null || (isScalar(node) && node.value === null)) return [];
  if (!isSeq(node)) {
    complain(node, `${name} should be a list`);
    return [];
  }
  return (node.items as Node[]).flatMap((item) => {
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
