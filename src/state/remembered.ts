/**
 * Small files of what a machine remembers. A reader sees the old one or the new one; one that a power cut has torn, or that another
 * version wrote, is as none: whatever stands in them can be found out anew.
 */
import { mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type * as z from "zod";
import { systemCode } from "../core/errors.ts";
import { parseJson } from "../core/json.ts";

/** Undefined where nothing of this form is remembered. */
export function readRemembered<Form extends z.ZodType>(file: string, form: Form): z.infer<Form> | undefined {
  let text: string;
  try {
    text = readFileSync(file, "utf8");
  } catch {
    return undefined; // never written, or the state was deleted
  }
  const result = form.safeParse(parseJson(text));
  return result.success ? result.data : undefined;
}

export function remember(file: string, value: unknown): void {
  replaceFile(file, `${JSON.stringify(value)}\n`);
}

/** Not flushed to the disk. Always by way of the same name: killed runs leave no more than one. */
export function replaceFile(file: string, text: string): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, text);
  try {
    renameSync(`${file}.new`, file);
  } catch (error) {
    // Under no lock two runs may come here at once: the other one has put it in place.
    if (systemCode(error) !== "ENOENT") throw error;
  }
}
