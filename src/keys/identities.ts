/** The secret keys in an identity file, as age reads it: one a line, comments with #; or one ssh private key, alone. */
import { BackupError } from "../core/errors.ts";

export interface Identities {
  /** `AGE-SECRET-KEY-…`, oldest first. */
  readonly native: readonly string[];
  /** The whole text of an ssh private key; then there is no other. */
  readonly ssh: string | undefined;
  /** `AGE-PLUGIN-…`: only the age program knows them. */
  readonly plugins: readonly string[];
}

/**
 * Throws `key_missing` where the file holds no key, a line that is none, or what age itself would not read; `key_wrong` for a
 * mistyped key, whichever it is: its line is named, its text never.
 */
export async function parseIdentities(text: string, file: string): Promise<Identities> {
  if (/^-----BEGIN [A-Z ]*PRIVATE KEY-----/m.test(text)) {
    if (/^-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----\s*$/.test(text)) return { native: [], ssh: text, plugins: [] };
    throw new BackupError("key_missing", `${file} holds an ssh key beside something else, which age does not read`, {
      hint: "put the ssh key into a file of its own, and name that: --identity FILE",
    });
  }
  const native: string[] = [];
  const plugins: string[] = [];
  for (const [index, line] of text.split(/\r?\n/).entries()) {
    const key = line.trim();
    if (key === "" || key.startsWith("#")) continue;
    if (/^AGE-SECRET-KEY-(?:PQ-)?1/i.test(key)) native.push(await wholeKey(key, `line ${index + 1} of ${file}`));
    else if (/^AGE-PLUGIN-[0-9A-Z-]+$/.test(key)) plugins.push(key);
    else throw new BackupError("key_missing", `line ${index + 1} of ${file} is no secret key`);
  }
  if (native.length + plugins.length === 0) throw new BackupError("key_missing", `${file} holds no secret key`);
  return { native, ssh: undefined, plugins };
}

async function wholeKey(key: string, place: string): Promise<string> {
  const { isIdentity } = await import("./age-library.ts");
  if (isIdentity(key)) return key;
  throw new BackupError("key_wrong", `${place} is a mistyped key: its checksum does not fit`, {
    hint: "compare it with the printed sheet, character by character",
  });
}

/** An identity file's entry for a new key, as age-keygen writes it. */
export function identityEntry(identity: string, recipient: string, created: Date): string {
  return `# created: ${created.toISOString().replace(/\.\d+Z$/, "Z")}\n# public key: ${recipient}\n${identity}\n`;
}
