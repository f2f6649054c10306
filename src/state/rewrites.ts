/**
 * Rewrites that were seen, and until when a person has said to have seen them: one JSON document a line, appended.
 * A note for people: what was lost is in the points, and `restore --lost` finds it there without this file.
 */
import { appendFileSync, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { parseJson } from "../core/json.ts";
import type { Rewrite } from "../core/rewrites.ts";
import { replaceFile, textOf } from "./remembered.ts";

type Note = ({ readonly t: "rewrite" } & Rewrite) | { readonly t: "acknowledged"; readonly at: string };

/** Beyond it the older half goes. */
const limitBytes = 1024 * 1024;

/** Those that nobody has acknowledged, oldest first. A line that was cut short by a crash is left out. */
export function readRewrites(file: string): Rewrite[] {
  const notes = readNotes(file);
  const from = notes.findLastIndex(({ t }) => t === "acknowledged") + 1;
  return notes.slice(from).flatMap((note) => (note.t === "rewrite" ? [withoutTag(note)] : []));
}

/** Notes them once, whatever run sees them again because the one before was killed. */
export function addRewrites(file: string, rewrites: readonly Rewrite[]): void {
  const known = new Set(readNotes(file).flatMap((note) => (note.t === "rewrite" ? [keyOf(note)] : [])));
  append(
    file,
    rewrites.filter((rewrite) => !known.has(keyOf(rewrite))).map((rewrite) => ({ t: "rewrite", ...rewrite })),
  );
}

export function acknowledgeRewrites(file: string, at: Date): void {
  append(file, [{ t: "acknowledged", at: at.toISOString() }]);
}

function append(file: string, notes: readonly Note[]): void {
  if (notes.length === 0) return;
  mkdirSync(dirname(file), { recursive: true });
  if ((statSync(file, { throwIfNoEntry: false })?.size ?? 0) > limitBytes) halve(file);
  // The line end comes first as well: a half line of a killed run must not swallow ours.
  appendFileSync(file, notes.map((note) => `\n${JSON.stringify(note)}\n`).join(""));
}

function halve(file: string): void {
  const notes = readNotes(file);
  const newer = notes.slice(notes.length >> 1);
  replaceFile(file, newer.map((note) => `${JSON.stringify(note)}\n`).join(""));
}

function keyOf({ ref, old, point }: Rewrite): string {
  return `${ref} ${old} ${point}`;
}

function withoutTag({ t: _, ...rewrite }: Note & { readonly t: "rewrite" }): Rewrite {
  return rewrite;
}

function readNotes(file: string): Note[] {
  return textOf(file)
    .split("\n")
    .map(parseNote)
    .filter((note) => note !== undefined);
}

function parseNote(line: string): Note | undefined {
  const note = parseJson(line) as { readonly [field: string]: unknown } | null | undefined;
  const isText = (...names: string[]): boolean => names.every((name) => typeof note?.[name] === "string");
  if (note?.["t"] === "acknowledged" && isText("at")) return note as unknown as Note;
  if (note?.["t"] !== "rewrite" || !isText("ref", "old", "point", "seenAt") || typeof note["isOurs"] !== "boolean") return undefined;
  if ((note["new"] !== null && !isText("new")) || (note["lost"] !== null && typeof note["lost"] !== "number")) return undefined;
  return note as unknown as Note;
}
