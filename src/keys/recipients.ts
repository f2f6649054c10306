/** Recipients: whom an age file is for. Pure. */
import { BackupError } from "../core/errors.ts";

/** Of ssh keys the comment says nothing: without it, sorted and each once, equal lists are equal keys. */
export function canonicalRecipients(recipients: readonly string[]): string[] {
  return [...new Set(recipients.map((recipient) => recipient.trim().split(" ").slice(0, 2).join(" ")))].sort();
}

/** A key of age's own kind; its digits after `age1` hold no further 1, which parts the name of a plugin. */
const native = /^age1[ac-hj-np-z02-9]{58}$/;
/** Kinds that the library knows and older age programs do not. */
const newer = /^age1(?:pq|tag|tagpq)1[ac-hj-np-z02-9]+$/;

export function isForLibrary(recipient: string): boolean {
  return native.test(recipient) || newer.test(recipient);
}

export function isForProgram(recipient: string): boolean {
  return !newer.test(recipient);
}

/** Throws `usage` for a text that is none, above all for a secret key. */
export function checkRecipient(text: string): string {
  const recipient = text.trim();
  const hint = "a recipient is age1… (holdfast key show prints yours) or an ssh public key: ssh-ed25519 AAAA…";
  if (/^AGE-SECRET-KEY-|PRIVATE KEY/i.test(recipient))
    throw new BackupError("usage", "this is a secret key: give its recipient, and keep the key to yourself", { hint });
  if (isForLibrary(recipient) || /^age1[a-z0-9]+$/.test(recipient) || /^ssh-(?:ed25519|rsa) [A-Za-z0-9+/=]+(?: .*)?$/.test(recipient))
    return recipient;
  throw new BackupError("usage", `${JSON.stringify(recipient)} is not a recipient of age`, { hint });
}
