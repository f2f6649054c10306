/**
 * Small files of what a machine remembers. A reader sees the old one or the new one; one that a power cut has torn, or that another
 * version wrote, is as none: whatever stands in them can be found out anew.
 */
import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import type * as z from "zod";
import { systemCode } from "../core/errors.ts";
import { parseJson } from "../core/json.ts";

/** Undefined where nothing of this form is remembered. */
export function readRemembered<Form extends z.ZodType>(file: string, form: Form): z.infer<Form> | undefined {
  const result = form.safeParse(parseJson(textOf(file)));
  return result.success ? result.data : undefined;
}

/** "" where nothing was written yet, or the state was deleted. */
export function textOf(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}

interface RememberOptions {
  /** Flushed to the disk before it returns. */
  readonly isDurable?: boolean;
}

export function remember(file: string, value: unknown, options?: RememberOptions): void {
  replaceFile(file, `${JSON.stringify(value)}\n`, options);
}

/** Always by way of the same name: killed runs leave no more than one. */
export function replaceFile(file: string, text: string, { isDurable = false }: RememberOptions = {}): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(`${file}.new`, text, { flush: isDurable });
  try {
    renameSync(`${file}.new`, file);
  } catch (error) {
    // Under no lock two runs may come here at once: the other one has put it in place.
    if (systemCode(error) !== "ENOENT") throw error;
  }
  if (isDurable) syncFolder(dirname(file));
}

/** Makes the names in it last. Windows has no such call. */
function syncFolder(folder: string): void {
  if (process.platform === "win32") return;
  const descriptor = openSync(folder, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}
