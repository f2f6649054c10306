/** What rclone says, as errors of ours. The only place that reads its words. */
import { BackupError, type ErrorCode } from "../core/errors.ts";

/** Where a call went: the store's name, and `REMOTE:PATH` as rclone takes it. */
export interface RclonePlace {
  readonly store: string;
  readonly path: string;
}

interface Reading {
  readonly matches: RegExp;
  readonly code: ErrorCode;
  readonly means?: string;
  readonly hint: (path: string) => string;
}

/** The first that matches tells. Backends say the same thing in many ways; what none of these knows is `store_failed`. */
const readings: readonly Reading[] = [
  {
    matches: /didn't find section in config file/i,
    code: "config_invalid",
    means: "rclone knows no such remote",
    hint: () => "rclone listremotes shows those there are; rclone config makes one",
  },
  {
    matches: /didn't find backend called|unknown backend/i,
    code: "config_invalid",
    means: "this rclone has no such backend",
    hint: () => "rclone help backends",
  },
  {
    matches: /(?:unable|couldn't|failed) to decrypt configuration|configuration is encrypted|config.*password/i,
    code: "remote_failed",
    means: "rclone's configuration is encrypted",
    hint: () => "give its password in RCLONE_CONFIG_PASS, or a command that prints it in RCLONE_PASSWORD_COMMAND",
  },
  {
    matches: /quota|insufficient storage|\b507\b|no space left|storage (?:is )?(?:full|exceeded)|not enough (?:free )?space|storage limit/i,
    code: "store_full",
    hint: (path) => `rclone about ${quote(rootOf(path))} shows what is free; existing points are untouched`,
  },
  {
    matches: /NoSuchBucket|no such bucket|bucket (?:does not|doesn't) exist|bucket not found|container not found/i,
    code: "store_missing",
    hint: (path) => `rclone mkdir ${quote(path)} makes it; rclone lsd ${quote(rootOf(path))} shows those there are`,
  },
  {
    matches:
      /dial (?:tcp|udp|unix)|no such host|connection (?:refused|reset|lost|closed)|i\/o timeout|network is unreachable|no route to host|handshake (?:timeout|failed: EOF)|deadline exceeded|unexpected EOF|\b50[234]\b|too many requests|\b429\b/i,
    code: "remote_failed",
    hint: (path) => `is the network up? rclone lsd ${quote(path)}`,
  },
  {
    matches:
      /\b40[13]\b|unauthori[sz]ed|forbidden|access ?denied|permission denied|not permitted|invalid_grant|couldn't fetch token|token (?:has )?expired|unable to authenticate|SignatureDoesNotMatch|InvalidAccessKeyId|ssh-agent|read-only file system|knownhosts|host key/i,
    code: "store_unwritable",
    hint: (path) =>
      `rclone lsd ${quote(path)} asks the remote by hand${path.startsWith(":") ? "" : `; where its login has expired: rclone config reconnect ${rootOf(path)}`}`,
  },
];

/** `doing` as in "cannot write KEY into". rclone's last words stand in the message, without a password of a URL. */
export function rcloneError(words: string, { store, path }: RclonePlace, doing: string): BackupError {
  const said = lastWords(words);
  const reading = readings.find(({ matches }) => matches.test(said));
  return new BackupError(reading?.code ?? "store_failed", `cannot ${doing} the store ${store} (${path}): ${reading?.means ?? said}`, {
    hint: reading?.hint(path) ?? `rclone lsd ${quote(path)} asks the remote by hand`,
    details: { rclone: said },
  });
}

export function rcloneMissing(cause?: unknown): BackupError {
  return new BackupError("rclone_missing", "rclone could not be started", cause === undefined ? {} : { cause });
}

/** Without times, levels and the name under which we gave the remote; the last lines, where it says what ended it. */
function lastWords(words: string): string {
  const lines = words
    .split("\n")
    .map((line) => line.replace(/^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d /, "").replace(/^(?:NOTICE|ERROR|CRITICAL|Failed to \w+)\s*: /, ""))
    .filter((line) => line.trim() !== "" && !/^Config file .* not found/.test(line));
  const text = lines.slice(-3).join("; ").slice(0, 600);
  return clean(text === "" ? "rclone said nothing" : text);
}

/** A server's words may hold what a terminal would obey. */
function clean(text: string): string {
  return text
    .replace(/([a-z][a-z0-9+.-]*:\/\/)[^/@\s]+@/gi, "$1")
    .replace(/\bholdfast[0-9a-f]{12}:/g, "")
    .replace(/[\p{Cc}\p{Cf}]+/gu, " ");
}

/** `REMOTE:` of `REMOTE:PATH`, also of `:backend,option="a:b":PATH`. */
function rootOf(path: string): string {
  return /^(?:[^:"]|"[^"]*")+:|^:(?:[^:"']|"[^"]*"|'[^']*')+:/.exec(path)?.[0] ?? path;
}

function quote(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}
