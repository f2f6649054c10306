/** Decrypts with the keys of an identity file, which is read when the first encrypted artifact is, and then once. */
import type { Decryptor } from "../core/encryption.ts";
import { BackupError, describeError, systemCode } from "../core/errors.ts";
import { findAge, runAge } from "./age-program.ts";
import type { Identities } from "./identities.ts";

/** Keys, and where they come from, for messages. */
export interface OpenedKeys {
  readonly identities: Identities;
  readonly file: string;
  /** The age program reads the file itself: it is one on disk, and has no passphrase. */
  readonly isPlainFile: boolean;
}

/** From here on the program's speed is worth its start. */
const largeBytes = 16 << 20;

/** `open` may throw `key_missing` or `key_wrong`, and may ask for a passphrase. `program` as of `makeEncryptor`. */
export function makeDecryptor(open: () => Promise<OpenedKeys>, program?: string | null): Decryptor {
  let opening: Promise<OpenedKeys> | undefined;
  return {
    async *decrypt(stored, size, name) {
      opening ??= open();
      const keys = await opening;
      try {
        yield* await engine(keys, stored, size, program);
      } catch (error) {
        if (error instanceof BackupError) throw error;
        throw translate(error, keys.file, name);
      }
    },
  };
}

async function engine(keys: OpenedKeys, stored: AsyncIterable<Uint8Array>, size: number, wanted: string | null | undefined) {
  const { identities, file, isPlainFile } = keys;
  const { native, ssh, plugins } = identities;
  const onlyProgram = ssh !== undefined || plugins.length > 0;
  const hasNewer = native.some((key) => key.startsWith("AGE-SECRET-KEY-PQ-"));
  const program = isPlainFile && (onlyProgram || (size > largeBytes && !hasNewer)) ? (wanted === undefined ? findAge() : wanted) : null;
  if (program !== null && program !== undefined) return runAge(program, ["-d", "-i", file], stored);
  if (native.length > 0) {
    const { decryptStream } = await import("./age-library.ts");
    return decryptStream(native, stored);
  }
  if (isPlainFile) throw new BackupError("age_missing", `the key in ${file} needs the age program, and it is not on PATH`);
  throw new BackupError(
    "key_missing",
    `the key in ${file} is an ssh key or a plugin's, which age reads from a file without a passphrase of age alone`,
  );
}

/** The library and the program say it in nearly the same words. What was stored is whole by its sum when this is asked. */
function translate(error: unknown, file: string, name: string): BackupError {
  const words = describeError(error);
  if (/no identity matched/i.test(words)) return new BackupError("key_wrong", `no key in ${file} opens ${name}`, { cause: error });
  if (/passphrase|terminal|\/dev\/tty|^reading "|identity file/i.test(words))
    return new BackupError("key_missing", `${file} did not open: ${words}`, { cause: error });
  if (systemCode(error) !== undefined || /^age was ended/.test(words))
    return new BackupError("io_failed", `age could not be run: ${words}`, { cause: error });
  return new BackupError("damaged", `${name} is no age file, or was changed: ${words}`, { cause: error });
}
