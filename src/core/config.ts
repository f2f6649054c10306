/** backup.yaml: what is protected and where to. Parsed at the door, with every problem named by its line. Pure. */
import { isMap, isScalar, LineCounter, type Node, parseDocument, type YAMLMap } from "yaml";
import {
  type Complain,
  type Fields,
  readFields,
  readFlag,
  readItems,
  readNumber,
  readSection,
  readSize,
  readText,
  readTexts,
  suggestion,
} from "./config-nodes.ts";
import { readRetention } from "./config-retention.ts";
import { BackupError } from "./errors.ts";
import { defaultRetention, type RetentionPolicy } from "./retention.ts";
import { isBranch, isRefName, parseStoreUrl } from "./store-url.ts";

export interface StoreConfig {
  readonly name: string;
  /** As written; see store-url.ts. */
  readonly url: string;
  /** Of a branch store: the whole name of the ref that holds it, in place of the branch in `url`. */
  readonly ref?: string;
  /** Of a branch store: points beyond it stay out; the newest are kept. */
  readonly maxBytes?: number;
  /** Points that are not encrypted may go there, although it is off-site. */
  readonly isPlain?: boolean;
  /** Whether it stands at another place than this machine, where its kind does not say so. */
  readonly isOffsite?: boolean;
  /** Bytes a second that are sent there at most. */
  readonly uploadLimit?: number;
  /** Of an S3 store whose bucket has Object Lock. */
  readonly objectLock?: ObjectLock;
}

export const objectLockModes = ["governance", "compliance"] as const;

/** What is written cannot be deleted for so many days: in governance mode by nobody without a special right, in compliance mode by nobody. */
export interface ObjectLock {
  readonly days: number;
  readonly mode: (typeof objectLockModes)[number];
}

export interface EncryptionConfig {
  /** age recipients: `age1…`, `ssh-ed25519 …`. Never empty. */
  readonly recipients: readonly string[];
  /** The file with the secret key, as written; undefined: where Holdfast keeps it. */
  readonly identity?: string;
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
  /** Null: points are not encrypted. */
  readonly encryption: EncryptionConfig | null;
  readonly retention: RetentionPolicy;
  readonly drill: DrillConfig;
}

export interface DrillConfig {
  /** A shell command that tells by its exit code whether a restored folder is usable. */
  readonly check?: string;
}

/** The whole name of the ref that holds a branch store; undefined for any other. */
export function branchRefOf({ url, ref }: StoreConfig): string | undefined {
  const location = parseStoreUrl(url);
  return isBranch(location) ? (ref ?? location.ref) : undefined;
}

export const configName = "backup.yaml";
export const emptyConfig: Config = {
  stores: [],
  mirrors: [],
  include: [],
  exclude: [],
  encryption: null,
  retention: defaultRetention,
  drill: {},
};

const keys = ["version", "stores", "mirrors", "include", "exclude", "encryption", "retention", "retention_days", "drill"] as const;

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
      let retention: Node | null = null;
      let retentionDays: Node | null | undefined;
      for (const { key, value } of root.items) {
        const name = isScalar(key) ? String(key.value) : "";
        const node = value as Node | null;
        if (name === "version") {
          if (!isScalar(node) || node.value !== 1) complain(node ?? (key as Node), "version should be 1");
        } else if (name === "stores") config.stores = readStores(node, complain);
        else if (name === "mirrors") config.mirrors = readMirrors(node, complain);
        else if (name === "include" || name === "exclude") config[name] = readTexts(node, name, complain);
        else if (name === "encryption") config.encryption = readEncryption(node, complain);
        else if (name === "drill") config.drill = readDrill(node, complain);
        else if (name === "retention") retention = node;
        else if (name === "retention_days") retentionDays = node ?? (key as Node);
        else complain(key as Node, `unknown setting ${JSON.stringify(name)}${suggestion(name, keys)}`);
      }
      config.retention = readRetention(retention, retentionDays, complain);
    }
  }
  if (problems.length > 0) throw new BackupError("config_invalid", problems.join("\n"), { details: { problems } });
  return config;
}

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

const storeFields = ["name", "url", "ref", "max_bytes", "encrypt", "offsite", "upload_limit", "object_lock_days", "object_lock_mode"] as const;

function readStore(item: Node, complain: Complain): StoreConfig | undefined {
  if (!isMap(item)) {
    complain(item, storeNeeds);
    return undefined;
  }
  const fields = readFields(item, storeFields, complain);
  const [name, url, ref] = (["name", "url", "ref"] as const).map((key) => readText(fields, key, complain));
  const maxBytes = readSize(fields, "max_bytes", complain);
  const encrypt = readFlag(fields, "encrypt", complain);
  const isOffsite = readFlag(fields, "offsite", complain);
  const uploadLimit = readSize(fields, "upload_limit", complain);
  const objectLock = readObjectLock(fields, complain);
  if (name === undefined || url === undefined) {
    complain(item, storeNeeds);
    return undefined;
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
    complain(item, `a store's name has letters, digits, dots and dashes: ${JSON.stringify(name)} does not`);
  try {
    refuseMisplaced(fields, parseStoreUrl(url).kind, complain);
    if (ref !== undefined && !(ref.startsWith("refs/") && isRefName(ref)))
      complain(fields.get("ref"), "ref should be a whole name such as refs/holdfast/backup");
  } catch (error) {
    complain(item, error instanceof BackupError ? `${error.message} (${error.hint})` : String(error));
  }
  return {
    name,
    url,
    ...(ref === undefined ? {} : { ref }),
    ...(maxBytes === undefined ? {} : { maxBytes }),
    ...(encrypt === false ? { isPlain: true } : {}),
    ...(isOffsite === undefined ? {} : { isOffsite }),
    ...(uploadLimit === undefined ? {} : { uploadLimit }),
    ...(objectLock === undefined ? {} : { objectLock }),
  };
}

function readObjectLock(fields: Fields, complain: Complain): ObjectLock | undefined {
  const days = readNumber(fields, "object_lock_days", 1, complain);
  const text = readText(fields, "object_lock_mode", complain);
  const mode = objectLockModes.find((candidate) => candidate === text);
  if (text !== undefined && mode === undefined)
    complain(fields.get("object_lock_mode"), `unknown mode ${JSON.stringify(text)}${suggestion(text, objectLockModes)}`);
  if (text !== undefined && !fields.has("object_lock_days")) complain(fields.get("object_lock_mode"), "object_lock_mode needs object_lock_days");
  return days === undefined ? undefined : { days, mode: mode ?? "governance" };
}

/** Settings that a store of this kind cannot have. */
function refuseMisplaced(fields: Fields, kind: ReturnType<typeof parseStoreUrl>["kind"], complain: Complain): void {
  const isOfBranch = kind === "branch" || kind === "branch_url";
  for (const name of ["ref", "max_bytes"]) if (!isOfBranch && fields.has(name)) complain(fields.get(name), `${name} is for branch stores`);
  // A limit that does nothing would be a lie: git sends what is in its repository already, as fast as it can.
  if (isOfBranch && fields.has("upload_limit")) complain(fields.get("upload_limit"), "upload_limit is not for branch stores: git push knows none");
  for (const name of ["object_lock_days", "object_lock_mode"])
    if (kind !== "s3" && fields.has(name)) complain(fields.get(name), `${name} is for S3 stores`);
}

function readEncryption(node: Node | null, complain: Complain): EncryptionConfig | null {
  const fields = readSection(node, "encryption should have `recipients:`", ["recipients", "identity"], complain);
  if (fields === undefined) return null;
  const recipients = readTexts(fields.get("recipients") ?? null, "recipients", complain);
  const identity = readText(fields, "identity", complain);
  if (recipients.length === 0) complain(node, "encryption needs recipients: holdfast key new makes one");
  for (const recipient of recipients) {
    if (recipient.startsWith("AGE-SECRET-KEY-"))
      complain(fields.get("recipients"), "this is a secret key: it does not belong here, its recipient does");
    else if (!/^(?:age1[a-z0-9]+|ssh-(?:ed25519|rsa) [A-Za-z0-9+/=]+(?: .*)?)$/.test(recipient))
      complain(fields.get("recipients"), `${JSON.stringify(recipient)} is not a recipient of age: age1… or ssh-ed25519 …`);
  }
  return { recipients, ...(identity === undefined ? {} : { identity }) };
}

function readDrill(node: Node | null, complain: Complain): DrillConfig {
  const fields = readSection(node, "drill should have `check:`", ["check"], complain);
  const check = fields === undefined ? undefined : readText(fields, "check", complain);
  return check === undefined ? {} : { check };
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
