/** backup.yaml as it is written: every setting with a line that explains it. Pure. */
import { type Config, type EncryptionConfig, type MirrorConfig, mirrorOf, type StoreConfig } from "./config.ts";
import { writeRetention } from "./config-retention.ts";

export function writeConfig(config: Config): string {
  return `# What Holdfast protects here, and where to. Check it with: holdfast config check
version: 1

# Where points are kept. The first folder is written first; every other is an equal copy.
# A folder, branch:REMOTE/NAME, branch:URL#NAME, s3://BUCKET/PREFIX or rclone:REMOTE:PATH. More settings of each: docs/configuration.md
stores:${list(config.stores.map(writeStore))}
# Git remotes that get all branches and tags after each commit and push.
mirrors:${list(config.mirrors.map(writeMirror))}
# Ignored files to keep, beyond .env*, *.db, *.sqlite*, .claude/ and the like (gitignore patterns, ! takes one back).
include:${list(config.include.map(quote))}
# Untracked and ignored files to leave out (gitignore patterns).
exclude:${list(config.exclude.map(quote))}${[
    config.encryption === null ? "" : writeEncryption(config.encryption),
    writeRetention(config.retention),
    config.drill.check === undefined ? "" : writeDrill(config.drill.check),
  ].join("")}`;
}

function list(items: readonly string[]): string {
  return items.length === 0 ? " []\n" : `\n${items.map((item) => `  - ${item}\n`).join("")}`;
}

function writeStore({ name, url, ref, maxBytes, isPlain, isOffsite, uploadLimit, objectLock }: StoreConfig): string {
  return writeFields({
    name,
    url,
    ref,
    max_bytes: maxBytes,
    encrypt: isPlain === true ? false : undefined,
    offsite: isOffsite,
    upload_limit: uploadLimit,
    object_lock_days: objectLock?.days,
    object_lock_mode: objectLock?.mode,
  });
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

function writeEncryption({ recipients, identity }: EncryptionConfig): string {
  return `
# Points are encrypted for these keys (age). To read them back: the identity, a file with the secret key.
encryption:
  recipients:
${recipients.map((recipient) => `    - ${quote(recipient)}\n`).join("")}${identity === undefined ? "" : `  identity: ${quote(identity)}\n`}`;
}

function writeDrill(check: string): string {
  return `
# What tells whether a restored folder is usable: a shell command, run in it by holdfast drill.
drill:
  check: ${quote(check)}
`;
}

function writeFields(fields: Readonly<Record<string, string | number | boolean | undefined>>): string {
  return Object.entries(fields)
    .flatMap(([key, value]) => (value === undefined ? [] : [`${key}: ${typeof value === "string" ? quote(value) : value}`]))
    .join("\n    ");
}

function quote(text: string): string {
  return /^[A-Za-z0-9/._-][A-Za-z0-9/._:#@+=~-]*$/.test(text) && !text.endsWith(":") && !/^(?:true|false|null|yes|no|~|[\d.+-].*)$/i.test(text)
    ? text
    : JSON.stringify(text);
}
