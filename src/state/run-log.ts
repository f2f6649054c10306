/**
 * What Holdfast did on this machine: one JSON document a line, appended, never changed.
 * Facts are written as they are given: callers put no secrets and no file content into them.
 */
import { closeSync, fstatSync, mkdirSync, openSync, readSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import { parseJson } from "../core/json.ts";
import { stateLayout } from "./layout.ts";
import { textOf } from "./remembered.ts";

export interface RunEvent {
  /** ISO 8601, UTC. */
  readonly time: string;
  /** The run that wrote it. */
  readonly run: string;
  readonly event: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

export interface RunLog {
  /** Appends one event. Never throws: a full disk must not end the run that wants to say so. */
  write(event: string, facts?: Readonly<Record<string, unknown>>): void;
}

/** The log grows to this many bytes, then becomes the one before. */
const rotateAtBytes = 1024 * 1024;
const newline = 0x0a;

export function openRunLog(stateDir: string, run: string, now: () => Date = () => new Date()): RunLog {
  const { log, logBefore } = stateLayout(stateDir);
  return {
    write(event, facts = {}) {
      try {
        append(log, logBefore, `${JSON.stringify({ time: now().toISOString(), run, event, facts })}\n`);
      } catch {
        // The promise above. What the event was about is also in the result that the caller returns.
      }
    },
  };
}

/** The last `count` events, oldest first, from the log and the one before it. Lines cut short by a crash are left out. */
export function readRunLog(stateDir: string, count: number): RunEvent[] {
  const { log, logBefore } = stateLayout(stateDir);
  const events: RunEvent[] = [];
  for (const file of [log, logBefore]) {
    const wanted = count - events.length;
    if (wanted <= 0) break;
    events.unshift(...readEvents(file).slice(-wanted));
  }
  return events;
}

/** One write(2) in append mode, so that lines of several processes do not mix. */
function append(log: string, before: string, line: string): void {
  mkdirSync(dirname(log), { recursive: true });
  let file = openSync(log, "a+");
  try {
    if (fstatSync(file).size + line.length > rotateAtBytes && fstatSync(file).size > 0) {
      // Two processes may do this at once; the worst of it is that an old log goes early.
      renameSync(log, before);
      closeSync(file);
      file = openSync(log, "a+");
    }
    writeSync(file, endsLine(file) ? line : `\n${line}`);
  } finally {
    closeSync(file);
  }
}

/** False when the last writer was cut short: its half line must not swallow ours. */
function endsLine(file: number): boolean {
  const { size } = fstatSync(file);
  if (size === 0) return true;
  const last = Buffer.alloc(1);
  readSync(file, last, 0, 1, size - 1);
  return last[0] === newline;
}

function readEvents(file: string): RunEvent[] {
  return textOf(file)
    .split("\n")
    .map(parseEvent)
    .filter((event) => event !== undefined);
}

function parseEvent(line: string): RunEvent | undefined {
  const value = parseJson(line);
  if (typeof value !== "object" || value === null) return undefined;
  const { time, run, event, facts } = value as Record<keyof RunEvent, unknown>;
  if (typeof time !== "string" || typeof run !== "string" || typeof event !== "string") return undefined;
  return { time, run, event, facts: typeof facts === "object" && facts !== null ? (facts as Record<string, unknown>) : {} };
}
