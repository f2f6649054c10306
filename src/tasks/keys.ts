/** Keys of this user, and for whom this repository's points are. */
import { dirname, relative, sep } from "node:path";
import { type App, now, openApp } from "../app.ts";
import { keySettings } from "../app-stores.ts";
import type { EncryptionConfig } from "../core/config.ts";
import { BackupError } from "../core/errors.ts";
import type { Manifest } from "../core/manifest.ts";
import { defaultIdentityFile, findIdentityFile, isProtected, keyExists, openIdentityFile } from "../keys/identity-file.ts";
import { identityPlace, type KeySettings, readIdentityText } from "../keys/open.ts";
import { replacePrivateFile } from "../keys/private-file.ts";
import { configFolder, writeConfigFile } from "../setup/config-file.ts";
import { acquireLock } from "../state/lock.ts";
import { type IdentityFacts, identityFacts, makeKey, readKeyPairs, rememberRecipient } from "./encryption.ts";
import { makePointNow } from "./point.ts";

/** The settings for keys, in a repository or without one. */
export async function openKeySettings(cwd: string, environment: NodeJS.ProcessEnv): Promise<{ settings: KeySettings; app: App | undefined }> {
  try {
    const app = await openApp(cwd, environment);
    return { settings: keySettings(app), app };
  } catch (error) {
    if (!(error instanceof BackupError) || error.code !== "not_a_repository") throw error;
    return { settings: { environment, own: environment, configured: undefined, folder: cwd }, app: undefined };
  }
}

export interface NewKey {
  readonly file: string;
  readonly recipient: string;
}

/** `output` undefined: where Holdfast looks for it. Throws `usage` where a key is already. */
export async function newKey(settings: KeySettings, output: string | undefined, isProtectionAsked: boolean): Promise<NewKey> {
  const file = output ?? defaultIdentityFile(settings.environment);
  // Before anybody types a passphrase for nothing.
  if (findIdentityFile(file) !== undefined) throw keyExists(file);
  const passphrase = isProtectionAsked ? await (await import("../keys/terminal.ts")).askNewPassphrase(settings.own) : undefined;
  return { file, recipient: await makeKey(settings, file, passphrase) };
}

export interface KeyView extends IdentityFacts {
  /** Whom the next point is for; empty: points are not encrypted, or there is no repository here. */
  readonly recipients: readonly string[];
  /** Of the keys in the identity file, newest last; undefined where it would need a passphrase. */
  readonly own: readonly string[] | undefined;
  /** The whole identity file, where that was asked for. */
  readonly secret: string | undefined;
}

export async function viewKeys(settings: KeySettings, app: App | undefined, withSecret: boolean): Promise<KeyView> {
  const facts = identityFacts(settings);
  const recipients = app?.config.encryption?.recipients ?? [];
  if (facts.state === "missing" || (facts.state === "protected" && !withSecret)) {
    if (withSecret) await readIdentityText(settings); // throws what is missing
    return { ...facts, recipients, own: facts.state === "missing" ? [] : undefined, secret: undefined };
  }
  const { file, text } = await readIdentityText(settings);
  const own = (await readKeyPairs(text, file.path)).map(({ recipient }) => recipient);
  return { ...facts, recipients, own, secret: withSecret ? text : undefined };
}

export interface RecipientsChange {
  readonly recipients: readonly string[];
  /** Full, and for the new recipients. */
  readonly point: Manifest;
}

interface ChangeOptions {
  /** The points of now are to be encrypted again: noted before the first new one is made. */
  readonly isRewrapAsked: boolean;
  readonly signal: AbortSignal;
}

/** Adds a recipient and makes a full point for all of them. Throws `usage` where it is no recipient, or points are not encrypted. */
export async function addRecipient(app: App, text: string, options: ChangeOptions): Promise<RecipientsChange> {
  const encryption = encryptionOf(app);
  const { checkRecipient, canonicalRecipients } = await import("../keys/recipients.ts");
  const recipient = checkRecipient(text);
  const isKnown = canonicalRecipients(encryption.recipients).includes(canonicalRecipients([recipient])[0] ?? "");
  const recipients = isKnown ? encryption.recipients : [...encryption.recipients, recipient];
  await tryRecipients(recipients);
  return changeRecipients(app, { ...encryption, recipients }, options);
}

export interface Rotation extends RecipientsChange {
  readonly file: string;
  readonly recipient: string;
  /** Recipients that are no key of this identity file and stay: others', or one that is kept elsewhere. */
  readonly kept: readonly string[];
}

/**
 * A new key in the identity file, and points for it from now on; the old keys stay in the file and open the older points.
 * A newer key that another repository of this user has begun is taken, so that one stays enough.
 */
export async function rotateKey(app: App, options: ChangeOptions): Promise<Rotation> {
  const encryption = encryptionOf(app);
  const settings = keySettings(app);
  const { file, recipient, old } = await renewIdentity(settings, encryption.recipients, options.signal);
  const kept = encryption.recipients.filter((known) => !old.includes(known));
  const change = await changeRecipients(app, { ...encryption, recipients: [recipient, ...kept] }, options);
  return { ...change, file, recipient, kept };
}

/** Longer than keys are read, made and written, a passphrase's slow arithmetic included. */
const lockWaitMs = 60_000;

async function renewIdentity(
  settings: KeySettings,
  inUse: readonly string[],
  signal: AbortSignal,
): Promise<NewKey & { readonly old: readonly string[] }> {
  const { path } = identityPlace(settings);
  const found = findIdentityFile(path);
  if (found === undefined) return { file: path, recipient: await makeKey(settings, path), old: [] };
  const { askPassphrase } = await import("../keys/terminal.ts");
  const passphrase = isProtected(found) ? await askPassphrase(`Passphrase of ${path}`, settings.own) : undefined;
  await using _lock = await acquireLock(`${path}.lock`, { purpose: "changing the key", waitMs: lockWaitMs, signal });
  // Again: another repository's rotation may have put a key into it while somebody typed.
  const present = findIdentityFile(path) ?? found;
  const text = await openIdentityFile(present, async () => passphrase);
  const { parseIdentities, identityEntry } = await import("../keys/identities.ts");
  if ((await parseIdentities(text, path)).ssh !== undefined)
    throw new BackupError("usage", `${path} is an ssh key, which is not rotated here`, {
      hint: "holdfast key new --output FILE, then put its recipient into backup.yaml in place of the ssh key",
    });
  const pairs = await readKeyPairs(text, path);
  const old = pairs.map(({ recipient }) => recipient);
  const newest = old.at(-1);
  if (newest !== undefined && !inUse.includes(newest) && old.some((known) => inUse.includes(known))) {
    return { file: path, recipient: newest, old: old.slice(0, -1) };
  }
  const { makeKeyPair, encryptWithPassphrase } = await import("../keys/age-library.ts");
  const { identity, recipient } = await makeKeyPair();
  const longer = `${text}${text.endsWith("\n") ? "" : "\n"}${identityEntry(identity, recipient, now())}`;
  replacePrivateFile(path, passphrase === undefined ? longer : await encryptWithPassphrase(longer, passphrase));
  rememberRecipient(settings, path, recipient);
  return { file: path, recipient, old };
}

async function changeRecipients(app: App, encryption: EncryptionConfig, { isRewrapAsked, signal }: ChangeOptions): Promise<RecipientsChange> {
  if (isRewrapAsked) await (await import("./rewrap.ts")).planRewrap(app, encryption.recipients);
  writeConfigFile(app.repository, app.configFile.path, { ...app.config, encryption });
  const ready = await openApp(app.repository.here.root ?? app.repository.commonDir, app.environment);
  const made = await makePointNow(ready, { kind: "manual", isAsked: true, signal });
  if (made.status === "unchanged") throw new BackupError("internal", "a point that was asked for was not made");
  return { recipients: encryption.recipients, point: made.manifest };
}

/** Throws what encrypting for them throws: before they stand in the settings. */
async function tryRecipients(recipients: readonly string[]): Promise<void> {
  const { makeEncryptor } = await import("../keys/encryptor.ts");
  async function* nothing(): AsyncGenerator<Uint8Array> {}
  try {
    for await (const _ of makeEncryptor(recipients).encrypt(nothing()));
  } catch (error) {
    if (error instanceof BackupError && error.code === "encryption_failed")
      throw new BackupError("usage", `age does not take this recipient: ${error.message}`, { cause: error, hint: "is it whole? copy it again" });
    throw error;
  }
}

function encryptionOf(app: App): EncryptionConfig {
  if (app.config.encryption === null) throw new BackupError("usage", "points are not encrypted yet", { hint: "holdfast init --yes --encrypt" });
  return app.config.encryption;
}

/** Throws `usage` for a file that would lie in the repository, and so be committed or captured. */
export function refuseInside(app: App, file: string): void {
  const inside = relative(configFolder(app.repository), file);
  if (inside.startsWith(`..${sep}`) || inside === ".." || inside.startsWith(sep) || /^[A-Za-z]:/.test(inside)) return;
  throw new BackupError("usage", `${file} lies in the repository: the key would be committed or captured with it`, {
    hint: `--output ${dirname(configFolder(app.repository))}/FILE`,
  });
}
