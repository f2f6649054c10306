/**
 * The identity file on this machine: where it lies, and how it is read and written. One for all repositories of a user.
 * Beside it `recipients.txt` names whom new points are for, so that another repository needs no secret to begin.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { BackupError, systemCode } from "../core/errors.ts";
import { configHome } from "./config-home.ts";
import { createPrivateFile, replacePrivateFile } from "./private-file.ts";

type Environment = Readonly<Record<string, string | undefined>>;

export function defaultIdentityFile(environment: Environment): string {
  return join(configHome(environment), "identity.txt");
}

export interface IdentityFile {
  readonly path: string;
  readonly bytes: Buffer;
  /** It can be read a second time: no pipe. */
  readonly isRegular: boolean;
  /** Others of this machine may read it. */
  readonly isOpenToOthers: boolean;
}

/** Undefined where there is none. Throws `key_missing` where it cannot be read. */
export function findIdentityFile(path: string): IdentityFile | undefined {
  try {
    const bytes = readFileSync(path);
    const stat = statSync(path);
    return { path, bytes, isRegular: stat.isFile(), isOpenToOthers: process.platform !== "win32" && (stat.mode & 0o077) !== 0 };
  } catch (error) {
    if (systemCode(error) === "ENOENT" || systemCode(error) === "ENOTDIR") return undefined;
    throw new BackupError("key_missing", `cannot read the identity ${path}: ${systemCode(error)}`, { cause: error });
  }
}

/** Whether it is an age file itself, and needs a passphrase. */
export function isProtected({ bytes }: IdentityFile): boolean {
  return /^(?:age-encryption\.org\/v1\n|-----BEGIN AGE ENCRYPTED FILE-----)/.test(bytes.subarray(0, 64).toString("latin1"));
}

/** The keys as text. `ask` gives the passphrase of a protected file. Throws `key_missing` without one, `key_wrong` for another one. */
export async function openIdentityFile(file: IdentityFile, ask: () => Promise<string | undefined>): Promise<string> {
  if (!isProtected(file)) return file.bytes.toString("utf8");
  const passphrase = await ask();
  if (passphrase === undefined)
    throw new BackupError("key_missing", `${file.path} is protected by a passphrase, and nobody is there to type it`, {
      hint: "run it on a terminal, or set HOLDFAST_PASSPHRASE",
    });
  const { decryptWithPassphrase } = await import("./age-library.ts");
  return decryptWithPassphrase(file.bytes, passphrase).catch((error: unknown) => {
    throw new BackupError("key_wrong", `the passphrase does not open ${file.path}`, { hint: "try again; capitals and spaces count", cause: error });
  });
}

/** Writes a new identity file, for its owner alone. Throws `usage` where one is there: a key is never overwritten. */
export function createIdentityFile(path: string, text: string): void {
  if (!createPrivateFile(path, text)) throw keyExists(path);
}

export function keyExists(path: string): BackupError {
  return new BackupError("usage", `there is a key already: ${path}`, {
    hint: "holdfast key show; for another one beside it: holdfast key rotate, or holdfast key new --output FILE",
  });
}

function recipientsFile(environment: Environment): string {
  return join(configHome(environment), "recipients.txt");
}

/** Whom new points are for, by the file beside the default identity; empty where there is none. */
export function readRecipients(environment: Environment): string[] {
  try {
    const lines = readFileSync(recipientsFile(environment), "utf8").split(/\r?\n/);
    return lines.map((line) => line.trim()).filter((line) => line !== "" && !line.startsWith("#"));
  } catch {
    return []; // never written, or taken away: the identity itself tells
  }
}

export function writeRecipients(environment: Environment, recipients: readonly string[]): void {
  replacePrivateFile(recipientsFile(environment), recipients.map((recipient) => `${recipient}\n`).join(""));
}
