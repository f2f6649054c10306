/** The keys of this user: which identity file counts, and what it opens. */
import { resolve } from "node:path";
import type { Decryptor } from "../core/encryption.ts";
import { BackupError } from "../core/errors.ts";
import { defaultIdentityFile, findIdentityFile, type IdentityFile, isProtected, openIdentityFile } from "./identity-file.ts";

export interface KeySettings {
  /** The process's environment. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Where HOLDFAST_* variables are looked up: the process's, before those of the repository's .env. */
  readonly own: Readonly<Record<string, string | undefined>>;
  /** `encryption.identity` of backup.yaml. */
  readonly configured: string | undefined;
  /** Relative paths and ~ in backup.yaml and .env are counted from here. */
  readonly folder: string;
}

export interface IdentityPlace {
  readonly path: string;
  readonly from: "HOLDFAST_IDENTITY" | "backup.yaml" | "default";
}

/** Where the secret key should be. Reads nothing. */
export function identityPlace({ environment, own, configured, folder }: KeySettings): IdentityPlace {
  const chosen = own["HOLDFAST_IDENTITY"];
  if (chosen !== undefined && chosen !== "") return { path: absolute(folder, chosen, environment), from: "HOLDFAST_IDENTITY" };
  if (configured !== undefined) return { path: absolute(folder, configured, environment), from: "backup.yaml" };
  return { path: defaultIdentityFile(environment), from: "default" };
}

function absolute(folder: string, path: string, environment: KeySettings["environment"]): string {
  const home = environment["HOME"] ?? environment["USERPROFILE"];
  return resolve(folder, home !== undefined && /^~(?=$|\/)/.test(path) ? `${home}${path.slice(1)}` : path);
}

/** The identity file that counts. Throws `key_missing` where it is not there. Warns where others may read it. */
async function readIdentityFile(settings: KeySettings): Promise<IdentityFile> {
  const { path, from } = identityPlace(settings);
  const file = findIdentityFile(path);
  if (file === undefined) {
    const why = from === "default" ? "" : ` (named by ${from === "HOLDFAST_IDENTITY" ? "--identity or HOLDFAST_IDENTITY" : from})`;
    throw new BackupError("key_missing", `the key is not here: there is no ${path}${why}`);
  }
  if (file.isOpenToOthers && !isProtected(file)) {
    const { warnAboutKey } = await import("./terminal.ts");
    warnAboutKey(`other users of this machine can read the key ${path}; to close it: chmod 600 ${path}`);
  }
  return file;
}

/** The text of the identity file that counts, its passphrase asked for where it has one. */
export async function readIdentityText(settings: KeySettings): Promise<{ readonly file: IdentityFile; readonly text: string }> {
  const file = await readIdentityFile(settings);
  const text = await openIdentityFile(file, async () => {
    const { askPassphrase } = await import("./terminal.ts");
    return askPassphrase(`Passphrase of ${file.path}`, settings.own);
  });
  return { file, text };
}

/** Opens what is encrypted. Nothing is loaded, read or asked before something encrypted is read. */
export function lazyDecryptor(settings: KeySettings): Decryptor {
  let made: Promise<Decryptor> | undefined;
  const make = async (): Promise<Decryptor> => {
    const [{ makeDecryptor }, { parseIdentities }] = await Promise.all([import("./decryptor.ts"), import("./identities.ts")]);
    return makeDecryptor(async () => {
      const { file, text } = await readIdentityText(settings);
      return { identities: await parseIdentities(text, file.path), file: file.path, isPlainFile: file.isRegular && !isProtected(file) };
    });
  };
  return {
    async *decrypt(stored, size, name) {
      made ??= make();
      yield* (await made).decrypt(stored, size, name);
    },
  };
}
