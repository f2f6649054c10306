/**
 * What was verified when, and what was found damaged: one JSON document a line, appended while it is done, so that a run that is
 * ended goes on where it was. A cache: without it everything counts as never verified.
 */
import { appendFileSync, mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { parseJson } from "../core/json.ts";
import { replaceFile, textOf } from "../state/remembered.ts";

export interface Verified {
  readonly store: string;
  readonly key: string;
  /** As it was found to be. A file that has another sum now was not verified. */
  readonly sha256: string;
  /** ISO 8601, UTC. */
  readonly at: string;
  /** Absent where it was well. */
  readonly damage?: Damage;
}

/** bytes: other ones than were written. inside: those that were written, and they do not decode. */
export type Damage = "bytes" | "inside";

export class VerifiedRecord {
  readonly #file: string;
  readonly #store: string;
  /** By key, of this store. */
  readonly #entries = new Map<string, Verified>();
  #waiting: Verified[] = [];

  constructor(file: string, store: string) {
    this.#file = file;
    this.#store = store;
    for (const entry of readEntries(file)) if (entry.store === store) this.#entries.set(entry.key, entry);
  }

  /** When the file with this sum was verified last; undefined: never, or it was damaged. */
  lastOf(key: string, sha256: string): string | undefined {
    const entry = this.#find(key, sha256);
    return entry?.damage === undefined ? entry?.at : undefined;
  }

  /** How the file with this sum was damaged when it was last read; undefined: it was not, or it was never read. */
  damageOf(key: string, sha256: string): Damage | undefined {
    return this.#find(key, sha256)?.damage;
  }

  /** It was read and is well. `isDecoded`: inside, too; damage there does not end without. */
  add(key: string, sha256: string, at: Date, isDecoded = false): void {
    if (isDecoded || this.damageOf(key, sha256) !== "inside") this.#note({ store: this.#store, key, sha256, at: at.toISOString() });
  }

  /** Stands until the file is well again, or gone: whatever later runs read. */
  addDamage(key: string, sha256: string, at: Date, damage: Damage): void {
    const isInside = this.damageOf(key, sha256) === "inside";
    this.#note({ store: this.#store, key, sha256, at: at.toISOString(), damage: isInside ? "inside" : damage });
  }

  /** It was pruned while it was read. */
  forget(key: string): void {
    this.#entries.delete(key);
  }

  /** Writes what was added since. */
  flush(): void {
    if (this.#waiting.length === 0) return;
    mkdirSync(dirname(this.#file), { recursive: true });
    // The line end comes first as well: a half line of a killed run must not swallow ours.
    appendFileSync(this.#file, `\n${this.#waiting.map((entry) => `${JSON.stringify(entry)}\n`).join("")}`);
    this.#waiting = [];
  }

  /** Ends a run: keeps the last line of each key that is still there. Under no lock: the worst of two runs at once is that a line is lost. */
  finish(present: ReadonlySet<string>): void {
    this.flush();
    // Read anew: another run may have found damage meanwhile.
    const all = readEntries(this.#file);
    const kept = [...latest(all)].filter(({ store, key }) => store !== this.#store || present.has(key));
    if (kept.length < all.length) replaceFile(this.#file, kept.map((entry) => `${JSON.stringify(entry)}\n`).join(""));
  }

  #find(key: string, sha256: string): Verified | undefined {
    const entry = this.#entries.get(key);
    return entry?.sha256 === sha256 ? entry : undefined;
  }

  #note(entry: Verified): void {
    this.#entries.set(entry.key, entry);
    this.#waiting.push(entry);
    if (this.#waiting.length >= 64) this.flush();
  }
}

function latest(entries: readonly Verified[]): Iterable<Verified> {
  return new Map(entries.map((entry) => [`${entry.store}\n${entry.key}`, entry])).values();
}

function readEntries(file: string): Verified[] {
  const lines = textOf(file).split("\n");
  return lines.flatMap((line) => {
    const value = parseJson(line) as { readonly [field: string]: unknown } | null | undefined;
    const isEntry = ["store", "key", "sha256", "at"].every((name) => typeof value?.[name] === "string");
    return isEntry ? [value as unknown as Verified] : [];
  });
}
