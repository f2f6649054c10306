/** Changes a store's files as somebody would who can write to it: whatever is changed, its sums fit again. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { endOfArchive, padded, writeHeader } from "../../src/archive/tar-format.ts";
import { TarReader } from "../../src/archive/tar-read.ts";
import { decompressFrame, FrameSplitter } from "../../src/archive/zstd-frames.ts";
import type { EntryKind } from "../../src/core/contents.ts";

export interface Forger {
  /** Id of a point, oldest first. */
  readonly ids: readonly string[];
  readonly random: () => number;
  pick<Item>(items: readonly Item[]): Item;
  /** A whole number in [0, below). */
  below(limit: number): number;
  manifest(id: string): Record<string, unknown>;
  /** Written as it is, whatever stands in it. */
  writeManifest(id: string, manifest: unknown): void;
  /** Plain bytes of an artifact; undefined where the point has none. */
  artifact(id: string, kind: string): Promise<Buffer | undefined>;
  /** New plain bytes, with sizes and sums that fit; a point that had none gets one. */
  writeArtifact(id: string, kind: string, plain: Buffer): void;
  /** Stored bytes, with the size and sum of what is stored alone. */
  writeStored(id: string, kind: string, stored: Buffer): void;
  /** Any other file. */
  write(key: string, bytes: string | Buffer): void;
  link(key: string, target: string): void;
  make(key: string, program: "mkfifo" | "mkdir"): void;
}

interface ArtifactFacts {
  name: string;
  size: number;
  sha256: string;
  plainSize: number;
  plainSha256: string;
}

export function forger(store: string, random: () => number): Forger {
  const manifests = (readdirSync(store, { recursive: true, encoding: "utf8" }) as string[])
    .filter((path) => /^\d{8}\/[^/]+\.json$/.test(path))
    .sort();
  const fileOf = (id: string, ending: string): string => join(store, id.slice(0, 8), `${id}.${ending}`);
  const sum = (bytes: Buffer): string => createHash("sha256").update(bytes).digest("hex");
  const below = (limit: number): number => Math.floor(random() * limit);
  const self: Forger = {
    ids: manifests.map((path) => path.slice(9, -5)),
    random,
    below,
    pick: (items) => items[below(items.length)] as (typeof items)[number],
    manifest: (id) => JSON.parse(readFileSync(fileOf(id, "json"), "utf8")) as Record<string, unknown>,
    writeManifest(id, manifest) {
      // The shell reads it line by line: one field a line, an artifact on a line of its own.
      const text = Object.entries(manifest as object).map(([key, value]) => {
        const items = Array.isArray(value) ? value.map((item) => `    ${JSON.stringify(item)}`).join(",\n") : "";
        return `  ${JSON.stringify(key)}: ${items === "" ? JSON.stringify(value) : `[\n${items}\n  ]`}`;
      });
      writeFileSync(fileOf(id, "json"), `{\n${text.join(",\n")}\n}\n`);
    },
    async artifact(id, kind) {
      if (!existsSync(fileOf(id, kind))) return undefined;
      const stored = readFileSync(fileOf(id, kind));
      if (!kind.endsWith(".zst")) return stored;
      const frames = new FrameSplitter().push(stored);
      return Buffer.concat(await Promise.all(frames.map(decompressFrame)));
    },
    writeArtifact(id, kind, plain) {
      const frames: Buffer[] = [];
      for (let at = 0; at === 0 || at < plain.length; at += 4 << 20) frames.push(zstdCompressSync(plain.subarray(at, at + (4 << 20))));
      const stored = kind.endsWith(".zst") ? Buffer.concat(frames) : plain;
      settle(id, kind, stored, { plainSize: plain.length, plainSha256: sum(plain) });
    },
    writeStored: (id, kind, stored) => settle(id, kind, stored, {}),
    write(key, bytes) {
      mkdirSync(dirname(join(store, key)), { recursive: true });
      rmSync(join(store, key), { force: true, recursive: true });
      writeFileSync(join(store, key), bytes);
    },
    link(key, target) {
      rmSync(join(store, key), { force: true, recursive: true });
      symlinkSync(target, join(store, key));
    },
    make(key, program) {
      rmSync(join(store, key), { force: true, recursive: true });
      execFileSync(program, [join(store, key)]);
    },
  };
  function settle(id: string, kind: string, stored: Buffer, plain: Partial<ArtifactFacts>): void {
    writeFileSync(fileOf(id, kind), stored);
    const manifest = self.manifest(id);
    const artifacts = manifest["artifacts"] as ArtifactFacts[];
    const facts = { size: stored.length, sha256: sum(stored), ...plain };
    const known = artifacts.find(({ name }) => name === `${id}.${kind}`);
    if (known !== undefined) Object.assign(known, facts);
    else artifacts.push({ name: `${id}.${kind}`, plainSize: stored.length, plainSha256: facts.sha256, ...facts });
    self.writeManifest(id, manifest);
  }
  return self;
}

export interface Member {
  path: string;
  kind: EntryKind;
  mode: number;
  mtime: string;
  target?: string;
  body: Buffer;
}

export function readTar(bytes: Buffer): Member[] {
  const members: Member[] = [];
  const reader = new TarReader("x", {
    member: ({ path, kind, mode, mtime, target }) =>
      void members.push({ path, kind, mode, mtime, body: Buffer.alloc(0), ...(target === undefined ? {} : { target }) }),
    data: (piece) => {
      const last = members.at(-1);
      if (last !== undefined) last.body = Buffer.concat([last.body, piece]);
    },
    end: () => undefined,
  });
  reader.write(bytes);
  return members;
}

export function writeTar(members: readonly Member[]): Buffer {
  const blocks = members.flatMap(({ body, ...member }) => {
    const size = member.kind === "file" ? body.length : 0;
    return [Buffer.from(writeHeader({ ...member, size })), body.subarray(0, size), Buffer.alloc(padded(size) - size)];
  });
  return Buffer.concat([...blocks, endOfArchive]);
}

export const member = (path: string, body = "evil\n", more: Partial<Member> = {}): Member => ({
  path,
  kind: "file",
  mode: 0o755,
  mtime: "0",
  body: Buffer.from(body),
  ...more,
});

export type Attack = (store: Forger) => Promise<void> | void;

/** The inventory of a point: what the program believes is in it. */
export const ofContents =
  (change: (records: Record<string, unknown>[], store: Forger) => void): Attack =>
  async (store) => {
    const id = store.pick(store.ids);
    const plain = await store.artifact(id, "contents.zst");
    const records = (plain?.toString("utf8") ?? "")
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    change(records, store);
    store.writeArtifact(id, "contents.zst", Buffer.from(records.map((record) => `${JSON.stringify(record)}\n`).join("")));
  };

const entry = (path: string, more: object = {}): Record<string, unknown> => ({
  t: "file",
  path,
  kind: "file",
  mode: 0o755,
  mtime: "0",
  size: 5,
  ...more,
});

/** A member and its record: what is not in the inventory is not even looked at. */
export const ofFiles =
  (make: (store: Forger) => Member[]): Attack =>
  async (store) => {
    const id = store.ids.at(-1) ?? "";
    const made = make(store);
    const members = readTar((await store.artifact(id, "tar.zst")) ?? writeTar([]));
    // Some come first, some last: which of two counts must not matter.
    store.writeArtifact(id, "tar.zst", writeTar(store.random() < 0.5 ? [...made, ...members] : [...members, ...made]));
    const plain = await store.artifact(id, "contents.zst");
    const lines = made.map(
      ({ path, kind, target, body }) => `${JSON.stringify(entry(path, { kind, size: body.length, ...(target === undefined ? {} : { target }) }))}\n`,
    );
    store.writeArtifact(id, "contents.zst", Buffer.concat([plain ?? Buffer.alloc(0), Buffer.from(lines.join(""))]));
  };
