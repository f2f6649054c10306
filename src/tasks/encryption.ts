/** Turns encryption on: a key where there is none, its recipient in backup.yaml, and the name out of the store. */
import { type App, now } from "../app.ts";
import { isOffsite } from "../app-places.ts";
import { keySettings } from "../app-stores.ts";
import type { Config, EncryptionConfig, StoreConfig } from "../core/config.ts";
import { BackupError } from "../core/errors.ts";
import type { KeyPair } from "../keys/age-library.ts";
import { createIdentityFile, defaultIdentityFile, findIdentityFile, isProtected, readRecipients, writeRecipients } from "../keys/identity-file.ts";
import { identityPlace, type KeySettings, readIdentityText } from "../keys/open.ts";

/** What somebody must know about the key that points are encrypted for from now on. */
export interface KeyNews {
  /** The identity file was made now. */
  readonly isNew: boolean;
  readonly file: string;
  readonly recipients: readonly string[];
  /** The identity file is there; false: it is kept elsewhere, or lost. */
  readonly isHere: boolean;
}

export interface EncryptionChange {
  readonly config: Config;
  /** Undefined: encryption stays as it was. */
  readonly news: KeyNews | undefined;
}

/**
 * The settings with what was wished for. `wish` undefined: on as soon as a store among `added` stands elsewhere. Refused
 * (false), those stores take plain points. Makes the key, writes no settings. Throws `usage`, `key_missing`.
 */
export async function chooseEncryption(
  app: App,
  config: Config,
  added: readonly StoreConfig[],
  wish: boolean | undefined,
): Promise<EncryptionChange> {
  const offsite: StoreConfig[] = [];
  for (const store of added) if (await isOffsite({ ...app, config }, store)) offsite.push(store);
  if (wish === false) {
    return {
      config: { ...config, stores: config.stores.map((store) => (offsite.includes(store) ? { ...store, isPlain: true } : store)) },
      news: undefined,
    };
  }
  const isWanted = wish === true || offsite.some((store) => store.isPlain !== true);
  if (!isWanted || config.encryption !== null) return { config, news: undefined };
  const { encryption, news } = await settleKey(keySettings({ ...app, config }));
  return { config: { ...config, encryption }, news };
}

/** The user's key, made where there is none: one for all repositories. */
async function settleKey(settings: KeySettings): Promise<{ encryption: EncryptionConfig; news: KeyNews }> {
  const { path, from } = identityPlace(settings);
  const isNew = findIdentityFile(path) === undefined && (from !== "default" || readRecipients(settings.environment).length === 0);
  if (isNew && from !== "default")
    throw new BackupError("key_missing", `there is no key at ${path}, which ${from} names`, { hint: `holdfast key new --output ${path}` });
  const recipients = isNew ? [await makeKey(settings, path)] : await ownRecipients(settings);
  return { encryption: { recipients }, news: { isNew, file: path, recipients, isHere: findIdentityFile(path) !== undefined } };
}

/** Whom this user's points are for: by the file beside the default identity, or by the newest key in the one that counts. */
async function ownRecipients(settings: KeySettings): Promise<string[]> {
  const { path, from } = identityPlace(settings);
  const written = from === "default" ? readRecipients(settings.environment) : [];
  if (written.length > 0) return written;
  const { text } = await readIdentityText(settings);
  const newest = (await readKeyPairs(text, path)).at(-1);
  if (newest === undefined)
    throw new BackupError("usage", `${path} holds no key of age's own, so its recipient is not known`, {
      hint: "write it into backup.yaml, under encryption: recipients:",
    });
  return [newest.recipient];
}

/** The keys of age's own kind in an identity file's text, oldest first. Throws as `parseIdentities`. */
export async function readKeyPairs(text: string, path: string): Promise<KeyPair[]> {
  const [{ parseIdentities }, { recipientOf }] = await Promise.all([import("../keys/identities.ts"), import("../keys/age-library.ts")]);
  const { native } = await parseIdentities(text, path);
  return Promise.all(native.map(async (identity) => ({ identity, recipient: await recipientOf(identity) })));
}

/** A new identity file; gives its recipient. Throws `usage` where there is one. */
export async function makeKey(settings: KeySettings, path: string, passphrase?: string): Promise<string> {
  const [{ makeKeyPair, encryptWithPassphrase }, { identityEntry }] = await Promise.all([
    import("../keys/age-library.ts"),
    import("../keys/identities.ts"),
  ]);
  const { identity, recipient } = await makeKeyPair();
  const entry = identityEntry(identity, recipient, now());
  createIdentityFile(path, passphrase === undefined ? entry : await encryptWithPassphrase(entry, passphrase));
  rememberRecipient(settings, path, recipient);
  return recipient;
}

/** For the next repository of this user, where the key is the default one. */
export function rememberRecipient(settings: KeySettings, path: string, recipient: string): void {
  if (path === defaultIdentityFile(settings.environment)) writeRecipients(settings.environment, [recipient]);
}

/** Facts about the identity file that counts; reads no secret of a protected one. */
export interface IdentityFacts {
  readonly path: string;
  readonly from: string;
  readonly state: "here" | "protected" | "missing";
  readonly isOpenToOthers: boolean;
}

export function identityFacts(settings: KeySettings): IdentityFacts {
  const { path, from } = identityPlace(settings);
  const file = findIdentityFile(path);
  const state = file === undefined ? "missing" : isProtected(file) ? "protected" : "here";
  return { path, from, state, isOpenToOthers: file?.isOpenToOthers === true };
}
