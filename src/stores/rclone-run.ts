/** The one place that starts rclone: the user's own, with the user's own configuration, which no call of ours changes. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { parse } from "node:path";
import type { Writable } from "node:stream";

export interface RcloneChild {
  readonly stdin: Writable;
  /** What it has said on stderr so far. */
  words(): string;
  /** Calls `look` with all that stands on stderr, now and after each more. */
  watch(look: (words: string) => void): void;
  /** Its exit code; undefined where a signal or `end` ended it. Rejects where it could not be started. */
  readonly ended: Promise<number | undefined>;
  /** Ends it now. */
  end(): void;
  /** It keeps this process alive no longer. */
  unref(): void;
}

const wordsLimit = 64 * 1024;

/**
 * Starts rclone with `environment`, at home: a path that is relative means the same wherever we were called. What is written to
 * its stdin is what the command reads.
 */
export function runRclone(args: readonly string[], environment: Readonly<Record<string, string>>): RcloneChild {
  return follow(spawn("rclone", args, { cwd: home(), env: environment, stdio: ["pipe", "ignore", "pipe"], windowsHide: true }));
}

/** A service's user may have none. */
function home(): string {
  return existsSync(homedir()) ? homedir() : parse(process.cwd()).root;
}

/**
 * As `runRclone`, for one that would run for ever: it ends with this process, also when that is killed. A shell between the two
 * waits for the end of a pipe that only we hold.
 */
export function runRcloneBeside(args: readonly string[], environment: Readonly<Record<string, string>>): RcloneChild {
  if (process.platform === "win32") {
    const child = follow(spawn("rclone", args, { cwd: home(), env: environment, stdio: ["pipe", "ignore", "pipe"], windowsHide: true }));
    const end = (): void => child.end();
    process.once("exit", end);
    child.ended.then(() => process.off("exit", end)).catch(() => undefined); // whoever waits for it is told
    return child;
  }
  const child = follow(spawn("sh", ["-c", beside, "sh", "rclone", ...args], { cwd: home(), env: environment, stdio: ["pipe", "ignore", "pipe"] }));
  // The shell is not killed: it might die between starting rclone and watching over it.
  return { ...child, end: () => void child.stdin.destroy() };
}

/** Descriptor 3 is ours; a shell gives those that it starts in the background no stdin. */
const beside = `exec 3<&0
"$@" </dev/null 3<&- &
child=$!
{ read -r _; kill "$child"; } <&3 >/dev/null 2>&1 &
watcher=$!
exec 3<&-
wait "$child"
code=$?
kill "$watcher" 2>/dev/null
exit "$code"`;

/** What a shell says of a program that it does not find. */
export const notFoundExit = 127;

function follow(child: ChildProcess): RcloneChild {
  const { stdin, stderr } = child;
  if (stdin === null || stderr === null) throw new Error("rclone was started without pipes");
  let words = "";
  const looks: ((words: string) => void)[] = [];
  stdin.on("error", () => undefined); // it may end without reading: its exit code tells
  stderr.setEncoding("utf8");
  stderr.on("data", (chunk: string) => {
    if (words.length < wordsLimit) words += chunk;
    for (const look of looks) look(words);
  });
  const ended = new Promise<number | undefined>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => resolve(code ?? undefined));
  });
  ended.catch(() => undefined); // thrown where it is awaited
  return {
    stdin,
    words: () => words,
    watch(look) {
      looks.push(look);
      look(words);
    },
    ended,
    end() {
      stdin.destroy();
      child.kill();
    },
    unref() {
      child.unref();
      for (const pipe of child.stdio) if (pipe !== null && pipe !== undefined && "unref" in pipe) (pipe as { unref(): void }).unref();
    },
  };
}

/**
 * The user's environment without what would bend a command: filters and limits hide files, other modes write elsewhere or
 * nothing. Every option of rclone is also a variable. (rclone.org/docs, "Environment variables")
 */
export function rcloneEnvironment(from: NodeJS.ProcessEnv, extra: Readonly<Record<string, string>>): Record<string, string> {
  const environment: Record<string, string> = { ...patience };
  for (const [name, value] of Object.entries(from)) if (value !== undefined && !bends.test(name) && !broken.has(name)) environment[name] = value;
  return { ...environment, ...fixed, ...extra };
}

const bends =
  /^RCLONE_(?:(?:RC|LOG|STATS|FILTER|INCLUDE|EXCLUDE|FILES_FROM|MAX|MIN|METADATA|HASH_FILTER|BACKUP|COPY|COMPARE|CUTOFF|DELETE|IGNORE|TRACK|UPDATE|SUFFIX|PARTIAL|DUMP)(?:_|$)|(?:DRY_RUN|INTERACTIVE|IMMUTABLE|INPLACE|PROGRESS.*|QUIET|VERBOSE|SIZE_ONLY|CHECKSUM|USE_JSON_LOG|USE_SERVER_MODTIME|ERROR_ON_NO_TRANSFER|SYSLOG.*|NO_TRAVERSE|NO_CHECK_DEST|SERVER_SIDE_ACROSS_CONFIGS|FAST_LIST|DISABLE)$)/i;

/** With it rclone's S3 cannot start at all, whatever stands in it (LoadCustomCABundleError, 1.60): RCLONE_CA_CERT is its way. */
const broken = new Set(["AWS_CA_BUNDLE"]);

/** Unless the user says otherwise: a dead network is known in seconds, and the copy has its own next turn. */
const patience = { RCLONE_CONTIMEOUT: "20s", RCLONE_TIMEOUT: "2m", RCLONE_LOW_LEVEL_RETRIES: "3" };

/** Nobody is there to be asked for the configuration's password: RCLONE_CONFIG_PASS or RCLONE_PASSWORD_COMMAND gives it. */
const fixed = { RCLONE_ASK_PASSWORD: "false", RCLONE_LOG_LEVEL: "NOTICE", LC_ALL: "C" };
