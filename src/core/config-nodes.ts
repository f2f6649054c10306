/** What the settings are made of: texts, numbers, sizes, lists, and what to complain about. Pure. */
import { isMap, isScalar, isSeq, type Node, type YAMLMap } from "yaml";
import { nearestName } from "./nearest-name.ts";

/** Notes a problem at the line of a node. */
export type Complain = (node: Node | null | undefined, what: string) => void;

export type Fields = ReadonlyMap<string, Node>;

export function readItems(node: Node | null, what: string, complain: Complain): Node[] {
  if (node === null || (isScalar(node) && node.value === null)) return [];
  if (isSeq(node)) return node.items as Node[];
  complain(node, what);
  return [];
}

/** The values of these keys; others are complained about. */
export function readFields(item: YAMLMap, names: readonly string[], complain: Complain): Fields {
  const fields = new Map<string, Node>();
  for (const { key, value } of item.items) {
    const field = isScalar(key) ? String(key.value) : "";
    if (names.includes(field)) fields.set(field, (value as Node | null) ?? (key as Node));
    else complain(key as Node, `unknown setting ${JSON.stringify(field)}${suggestion(field, names)}`);
  }
  return fields;
}

/** The fields of a setting that has some: undefined, with a complaint, for anything else. */
export function readSection(node: Node | null, what: string, names: readonly string[], complain: Complain): Fields | undefined {
  if (node === null || (isScalar(node) && node.value === null)) return undefined;
  if (isMap(node)) return readFields(node, names, complain);
  complain(node, what);
  return undefined;
}

export function readText(fields: Fields, name: string, complain: Complain): string | undefined {
  const node = fields.get(name);
  if (node === undefined) return undefined;
  if (isScalar(node) && typeof node.value === "string" && node.value !== "") return node.value;
  complain(node, `${name} should be a text`);
  return undefined;
}

export function readTexts(node: Node | null, name: string, complain: Complain): string[] {
  return readItems(node, `${name} should be a list`, complain).flatMap((item) => {
    if (isScalar(item) && typeof item.value === "string" && item.value !== "") return [item.value];
    complain(item, `${name} should hold texts`);
    return [];
  });
}

export function readFlag(fields: Fields, name: string, complain: Complain): boolean | undefined {
  const node = fields.get(name);
  if (node === undefined) return undefined;
  if (isScalar(node) && typeof node.value === "boolean") return node.value;
  complain(node, `${name} should be true or false`);
  return undefined;
}

/** A whole number from `least` on. */
export function readNumber(fields: Fields, name: string, least: number, complain: Complain): number | undefined {
  const node = fields.get(name);
  if (node === undefined) return undefined;
  const value = isScalar(node) ? node.value : undefined;
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= least) return value;
  complain(node, `${name} should be a number, ${least} or more`);
  return undefined;
}

/** Bytes. */
export function readSize(fields: Fields, name: string, complain: Complain): number | undefined {
  const node = fields.get(name);
  if (node === undefined) return undefined;
  const bytes = parseSize(String(isScalar(node) ? node.value : undefined));
  if (bytes === undefined) complain(node, `${name} should be a size such as "2 GiB" or a number of bytes`);
  return bytes;
}

/** Bytes; undefined for what is no size, or none to speak of. */
export function parseSize(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?(B|KiB|MiB|GiB|TiB)?$/.exec(text);
  const bytes = match === null ? 0 : Math.floor(Number(match[1]) * 1024 ** ["B", "KiB", "MiB", "GiB", "TiB"].indexOf(match[2] ?? "B"));
  return bytes < 1 ? undefined : bytes;
}

export function suggestion(name: string, names: readonly string[]): string {
  const nearest = nearestName(name, names);
  return nearest === undefined ? `; there are ${names.join(", ")}` : `; did you mean ${nearest}?`;
}
