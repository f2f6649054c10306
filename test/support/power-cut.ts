/**
 * What is left of a folder after a power cut, worked out from what a run did to it (power-cut-recorder.mjs): names and bytes that were
 * made durable are there, the rest may be there or not, and a file whose bytes were not may be empty or cut short.
 */
import { appendFileSync, copyFileSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";

type Entry = readonly [name: string, kind: "file" | "folder", id: string];

type Record =
  | { readonly op: "folder" | "sync-folder"; readonly id: string; readonly entries: readonly Entry[] }
  | { readonly op: "sync-file"; readonly id: string; readonly sum: string }
  /** Written by the test: the program has said that this point exists. */
  | { readonly op: "acknowledged"; readonly point: string };

export class PowerCut {
  readonly #journal: string;
  readonly #root: string;

  /** `root` must be there already, and empty. */
  constructor(journal: string, rootId: string) {
    this.#journal = journal;
    this.#root = rootId;
  }

  acknowledge(point: string): void {
    appendFileSync(join(this.#journal, "records"), `${JSON.stringify({ op: "acknowledged", point })}\n`);
  }

  records(): Record[] {
    return readFileSync(join(this.#journal, "records"), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as Record);
  }

  /**
   * Builds in `target` what stands after a cut that follows the first `count` records, and gives the points that had been
   * acknowledged. `survives` says by lot whether something that nobody made durable is there all the same.
   */
  build(records: readonly Record[], count: number, target: string, survives: () => boolean): string[] {
    const durable = new Map<string, readonly Entry[]>();
    const seen = new Map<string, readonly Entry[]>();
    const bytes = new Map<string, string>();
    const acknowledged: string[] = [];
    for (const record of records.slice(0, count)) {
      if (record.op === "acknowledged") acknowledged.push(record.point);
      else if (record.op === "sync-file") bytes.set(record.id, record.sum);
      else {
        seen.set(record.id, record.entries);
        if (record.op === "sync-folder") durable.set(record.id, record.entries);
      }
    }
    const folder = (id: string, path: string): void => {
      mkdirSync(path, { recursive: true });
      for (const [name, kind, entryId] of this.#names(durable.get(id) ?? [], seen.get(id) ?? [], survives)) {
        const place = join(path, name);
        if (kind === "folder") folder(entryId, place);
        else this.#file(bytes.get(entryId), place, survives);
      }
    };
    folder(this.#root, target);
    return acknowledged;
  }

  /** Each name as it was made durable, or as it was last seen, one by one. */
  #names(durable: readonly Entry[], seen: readonly Entry[], survives: () => boolean): Entry[] {
    const before = new Map(durable.map((entry) => [entry[0], entry]));
    const after = new Map(seen.map((entry) => [entry[0], entry]));
    return [...new Set([...before.keys(), ...after.keys()])].flatMap((name) => {
      const [old, fresh] = [before.get(name), after.get(name)];
      const chosen = old?.[2] === fresh?.[2] ? old : survives() ? fresh : old;
      return chosen === undefined ? [] : [chosen];
    });
  }

  #file(sum: string | undefined, place: string, survives: () => boolean): void {
    if (sum === undefined) {
      writeFileSync(place, survives() ? Buffer.alloc(700) : "");
      return;
    }
    copyFileSync(join(this.#journal, "blobs", sum), place);
  }
}

/** As a torn write leaves it: cut in the middle, or emptied. */
export function tear(file: string, isEmpty: boolean): void {
  truncateSync(file, isEmpty ? 0 : readFileSync(file).length >> 1);
}
