/**
 * Everything that can go wrong, in one table: the code, the exit code that a script sees,
 * what to do about it, and whether trying again may help.
 */

interface ErrorKind {
  readonly exit: number;
  readonly hint: string;
  readonly retryable: boolean;
}

const kinds = {
  not_a_repository: { exit: 10, hint: "run this inside a git repository, or name one with -C DIR", retryable: false },
  not_protected: { exit: 10, hint: "holdfast init --yes", retryable: false },
  store_missing: { exit: 10, hint: "is the disk mounted? if the store is gone for good: holdfast init --yes", retryable: true },
  store_unwritable: { exit: 1, hint: "check the permissions of the store's folder; existing points are untouched", retryable: true },
  store_full: { exit: 1, hint: "free some space on the store's volume and run it again; existing points are untouched", retryable: true },
  store_failed: { exit: 1, hint: "holdfast doctor", retryable: true },
  store_foreign: { exit: 2, hint: "choose another folder: this one belongs to another repository", retryable: false },
  unauthorized: { exit: 1, hint: "look at the key, token or password that it is given", retryable: false },
  remote_failed: { exit: 1, hint: "holdfast sync --wait", retryable: true },
  locked: { exit: 11, hint: "wait for the other run to end; a dead one is taken over by itself", retryable: true },
  rclone_missing: { exit: 1, hint: "install rclone 1.60 or newer and put it on PATH: https://rclone.org/install", retryable: false },
  usage: { exit: 2, hint: "see --help", retryable: false },
  config_invalid: { exit: 2, hint: "mend the file, then: holdfast config check", retryable: false },
  unknown_revision: { exit: 1, hint: "restore-from-git --list shows the points; holdfast backup makes a new one", retryable: false },
  unknown_point: { exit: 1, hint: "holdfast points", retryable: false },
  ambiguous: { exit: 2, hint: "give more characters", retryable: false },
  no_match: { exit: 1, hint: "restore-from-git WHAT --list shows the paths; globs are gitignore's", retryable: false },
  no_points: { exit: 1, hint: "holdfast backup", retryable: false },
  target_not_empty: { exit: 2, hint: "give --to a folder that is new or empty, or restore --in-place", retryable: false },
  consent_missing: { exit: 2, hint: "type RESTORE when asked, or pass --force in a script", retryable: false },
  damaged: { exit: 13, hint: "restore from another copy: restore-from-git --from STORE, or an older point", retryable: false },
  chain_broken: { exit: 13, hint: "restore from another copy: restore-from-git --from STORE, or an older point", retryable: false },
  format_newer: { exit: 1, hint: "this was written by a newer holdfast: install that one, as its README says", retryable: false },
  signature_bad: {
    exit: 13,
    hint: "restore from another copy: restore-from-git --from STORE; holdfast verify looks at every point",
    retryable: false,
  },
  mismatch: { exit: 13, hint: "the restored files differ from what was captured; keep both folders and try another copy", retryable: false },
  key_missing: { exit: 12, hint: "name the file with the secret key: --identity FILE, or HOLDFAST_IDENTITY=FILE", retryable: false },
  key_wrong: { exit: 12, hint: "holdfast key show names the keys that are here; another one: --identity FILE", retryable: false },
  age_missing: { exit: 1, hint: "install age, such as with: apt install age, brew install age", retryable: false },
  encryption_failed: { exit: 1, hint: "are the recipients in backup.yaml right? holdfast key show", retryable: true },
  git_failed: { exit: 1, hint: "git's own words stand above; holdfast doctor looks for the cause", retryable: true },
  git_missing: { exit: 1, hint: "install git 2.31 or newer and put it on PATH", retryable: false },
  io_failed: { exit: 1, hint: "look at the path above: permissions, free space, a failing disk?", retryable: true },
  hostile: { exit: 13, hint: "this store holds something that no backup writes; do not trust it, restore from another copy", retryable: false },
  interrupted: { exit: 130, hint: "run it again: what was published stays, the rest is made anew", retryable: true },
  internal: { exit: 1, hint: "this is a bug in holdfast; please report it with the text above", retryable: false },
} as const satisfies Record<string, ErrorKind>;

export type ErrorCode = keyof typeof kinds;

export const errorKinds: Readonly<Record<ErrorCode, ErrorKind>> = kinds;

/** Exit codes that are not an error's: the promise to scripts and monitors. */
export const exitCodes = { done: 0, failed: 1, usage: 2, partial: 3, interrupted: 130 } as const;

interface ErrorOptions {
  /** What to paste or do now. The table's hint when absent. */
  readonly hint?: string;
  /** Safe facts for machines: never a secret, never file content. */
  readonly details?: Readonly<Record<string, unknown>>;
  readonly cause?: unknown;
}

/** The one error class. `message` says what happened, to what, in lower case and without a full stop. */
export class BackupError extends Error {
  readonly code: ErrorCode;
  readonly hint: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "BackupError";
    this.code = code;
    this.hint = options.hint ?? hintOf(code, message, options.cause);
    this.details = options.details ?? {};
  }

  get exitCode(): number {
    return kinds[this.code].exit;
  }

  get isRetryable(): boolean {
    return kinds[this.code].retryable;
  }
}

export const fullHint = "free some space on that volume and run it again; existing points are untouched";

/** Git does not always say why. */
const unwrittenHint = "free some space on that volume, or see whether it may be written to, and run it again; existing points are untouched";

/** What went wrong because a volume is full has one hint, be it the system that says so or git. */
function hintOf(code: ErrorCode, message: string, cause: unknown): string {
  const isFull = isFullVolume(cause) || isFullVolume(message);
  if (isFull && (code === "io_failed" || code === "git_failed")) return fullHint;
  const isUnwritten =
    code === "git_failed" && /(?:failed to|unable to|couldn't) write|write error/i.test(message) && !/permission denied|read-only/i.test(message);
  return isUnwritten ? unwrittenHint : kinds[code].hint;
}

/** What was read cannot be believed or understood, and says nothing of any other file. */
export function isOfOneFile(error: unknown): error is BackupError {
  return error instanceof BackupError && (error.code === "damaged" || error.code === "format_newer");
}

/** Of anything thrown, or words of git's: whether a volume is full, by the system's code or by what is said. */
export function isFullVolume(error: unknown): boolean {
  return (
    ["ENOSPC", "EDQUOT"].includes(systemCode(error) ?? "") ||
    /no space left on device|disk quota exceeded|out of diskspace/i.test(describeError(error))
  );
}

/** The system's code (`ENOENT`, `ENOSPC`, …) of a thrown value, or undefined. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== "object" || error === null || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** One line for people about any thrown value. */
export function describeError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
