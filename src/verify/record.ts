/**
 * What was verified when: one JSON document a line, appended while it is done, so that a run that is ended goes on
 * where it was. A cache: without it everything counts as never verified.
 */
import { appendFileSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseJson } from "../core/json.ts";
import { replaceFile } from "../state/remembered.ts";

export interface Verified {
  readonly store: string;
  readonly key: string;
  /** As it was found to be. A file that has another sum now was not verified. */
  readonly sha256: string;
  /** ISO 8601, UTC. */
  readonly at: string;
}

export class VerifiedRecord {
  readonly #file: string;
  readonly #store: string;
  /** By key, of this store. */
  readonly #entries = new Map<string, Verified>();
  readonly #others: readonly Verified[];
  #lines: number;
  #waiting: Verified[] = [];

  constructor(file: string, store: string) {
    this.#file = file;
    this.#store = store;
    const all = readEntries(file);
    this.#lines = all.length;
    this.#others = all.filter((entry) => entry.store !== store);
    for (const entry of all) if (entry.store === store) this.#entries.set(entry.key, entry);
  }

  /** When the file with this sum was verified last; undefined: never. */
  lastOf(key: string, sha256: string): string | undefined {
    const entry = this.#entries.get(key);
    return entry?.sha256 === sha256 ? entry.at : undefined;
  }

  add(key: string, sha256: string, at: Date): void {
    const entry = { store: this.#store, key, sha256, at: at.toISOString() };
    this.#entries.set(key, entry);
    this.#waiting.push(entry);
    if (this.#waiting.length >= 64) this.flush();
  }

  /** What is damaged counts as never verified. */
  forget(key: string): void {
    this.#entries.delete(key);
  }

  /** Writes what was added since. */
  flush(): void {
    if (this.#waiting.length === 0) return;
    mkdirSync(dirname(this.#file), { recursive: true });
    // The line end comes first as well: a half line of a killed run must not swallow ours.
    appendFileSync(this.#file, `\n${this.#waiting.map((entry) => `${JSON.stringify(entry)}\n`).join("")}`);
    this.#lines += this.#waiting.length;
    this.#waiting = [];
  }

  /** Ends a run: keeps the last line of each key that is still there. Under no lock: the worst of two runs at once is that a line is lost. */
  finish(present: ReadonlySet<string>): void {
    this.flush();
    for (const key of this.#entries.keys()) if (!present.has(key)) this.#entries.delete(key);
    const kept = [...latest(this.#others), ...this.#entries.values()];
    if (this.#lines === kept.length) return;
    replaceFile(this.#file, kept.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
    this.#lines = kept.length;
  }
}

function latest(entries: readonly Verified[]): Iterable<Verified> {
  return new Map(entries.map((entry) => [`${entry.store}\n${entry.key}`, entry])).values();
}

function readEntries(file: string): Verified[] {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return []; // nothing was verified yet, or it cannot be known: it is done again
  }
  return text.split("\n").flatMap((line) => {
    const value = parseJson(line) as { readonly [field: string]: unknown } | null | undefined;
    const isEntry = ["store", "key", "sha256", "at"].every((name) => typeof value?.[name] === "string");
    return isEntry ? [value as unknown as Verified] : [];
  });
}
