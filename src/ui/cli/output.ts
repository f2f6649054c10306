/** How the command line speaks: the answer on stdout, everything else on stderr, JSON when asked. */
import { BackupError, describeError } from "../../core/errors.ts";
import { printablePath } from "../../core/paths.ts";

export interface Output {
  readonly isJson: boolean;
  /** A line of the answer; nothing with --json. */
  line(text?: string): void;
  /** The answer as one JSON document; nothing without --json. */
  json(document: Readonly<Record<string, unknown>>): void;
  /** Something to know that is not the answer. */
  note(text: string): void;
  warn(text: string): void;
  /** Shows how far a long step is, on a terminal only, after a second. */
  progress(text: string): void;
  done(): void;
}

export function makeOutput(isJson: boolean): Output {
  const isTerminal = process.stderr.isTTY === true && process.env["TERM"] !== "dumb";
  const startedAt = performance.now();
  let shownAt = 0;
  let isShown = false;
  const clear = (): void => {
    if (isShown) process.stderr.write("\r\u001b[K");
    isShown = false;
  };
  return {
    isJson,
    line: (text = "") => {
      clear();
      if (!isJson) process.stdout.write(`${silent(text)}\n`);
    },
    json: (document) => {
      if (isJson) process.stdout.write(`${JSON.stringify({ v: 1, ...document }, undefined, 2)}\n`);
    },
    note: (text) => {
      clear();
      if (!isJson) process.stderr.write(`${silent(text)}\n`);
    },
    warn: (text) => {
      clear();
      process.stderr.write(`${paint("warning:", 33)} ${silent(text)}\n`);
    },
    progress: (text) => {
      const at = performance.now();
      if (!isTerminal || isJson || at - startedAt < 1000 || at - shownAt < 100) return;
      shownAt = at;
      isShown = true;
      process.stderr.write(`\r\u001b[K${text.slice(0, (process.stderr.columns ?? 80) - 1)}`);
    },
    done: clear,
  };
}

/** `error:` and `hint:` lines; with --json a document on stdout as well. Gives the exit code. */
export function reportError(error: unknown, isJson: boolean): number {
  const known = error instanceof BackupError ? error : new BackupError("internal", describeError(error), { cause: error });
  if (isJson) reportJson(known);
  process.stderr.write(`${paint("error:", 31)} ${silent(known.message)}\n${paint("hint:", 36)} ${silent(known.hint)}\n`);
  if (known.code === "internal" && error instanceof Error && error.stack !== undefined) process.stderr.write(`${silent(error.stack)}\n`);
  return known.exitCode;
}

/** The error as the one document of the answer. */
export function reportJson({ code, message, hint, details }: BackupError): void {
  process.stdout.write(`${JSON.stringify({ v: 1, error: { code, message, hint, details } }, undefined, 2)}\n`);
}

/** Names from a store, a remote or a system's message may hold what a terminal would obey: shown, not spoken. */
function silent(text: string): string {
  return text.replace(/[^\n\t]+/g, printablePath);
}

function paint(text: string, colour: number): string {
  const isPlain = process.stderr.isTTY !== true || (process.env["NO_COLOR"] ?? "") !== "" || process.env["TERM"] === "dumb";
  return isPlain ? text : `\u001b[${colour}m${text}\u001b[0m`;
}
