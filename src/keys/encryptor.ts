/** Encrypts for recipients, with the age program where there is one and the library where there is none. Needs no secret. */
import type { Encryptor } from "../core/encryption.ts";
import { BackupError, describeError } from "../core/errors.ts";
import { findAge, runAge } from "./age-program.ts";
import { canonicalRecipients, isForLibrary, isForProgram } from "./recipients.ts";

/**
 * `program`: the file of age, or null for the library; looked for when undefined. Its `encrypt` throws `age_missing`, and
 * `encryption_failed` with age's own words.
 */
export function makeEncryptor(given: readonly string[], program?: string | null): Encryptor {
  const recipients = canonicalRecipients(given);
  return {
    recipients,
    encrypt: (plain, options = {}) => encrypt(recipients, plain, { ...options, program }),
  };
}

interface EncryptOptions {
  readonly program: string | null | undefined;
  readonly signal?: AbortSignal | undefined;
}

async function* encrypt(recipients: readonly string[], plain: AsyncIterable<Uint8Array>, options: EncryptOptions) {
  const { program: wanted, signal } = options;
  const limits = { signal };
  const program = recipients.every(isForProgram) ? (wanted === undefined ? findAge() : wanted) : null;
  const check = new FileCheck(recipients.length);
  try {
    for await (const chunk of await engine(program)) {
      signal?.throwIfAborted();
      check.write(chunk);
      yield chunk;
    }
    check.finish();
  } catch (error) {
    if (error instanceof BackupError || signal?.aborted === true) throw error;
    throw new BackupError("encryption_failed", `age could not encrypt: ${describeError(error)}`, { cause: error });
  }

  async function engine(file: string | null | undefined): Promise<AsyncIterable<Uint8Array>> {
    if (file !== null && file !== undefined)
      return runAge(
        file,
        recipients.flatMap((recipient) => ["-r", recipient]),
        check.count(plain),
        limits,
      );
    if (!recipients.every(isForLibrary))
      throw new BackupError("age_missing", "ssh keys and plugins as recipients need the age program, and it is not on PATH");
    const { encryptStream } = await import("./age-library.ts");
    return encryptStream(recipients, check.count(plain));
  }
}

const chunkSize = 64 * 1024;
const tagSize = 16;
const nonceSize = 16;
const longestHeader = 1 << 20;

/**
 * What can be seen of an age file without a secret: its header, a stanza a recipient, and a length that fits. Whatever
 * program is called `age` here, what it wrote is one. (age-encryption.org/v1: header, 16 bytes of nonce, chunks of 64 KiB with 16 bytes each)
 */
class FileCheck {
  readonly #recipients: number;
  #start: Buffer | undefined = Buffer.alloc(0);
  #plain = 0;
  #written = 0;
  #headerSize = 0;

  constructor(recipients: number) {
    this.#recipients = recipients;
  }

  async *count(plain: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of plain) {
      this.#plain += chunk.length;
      yield chunk;
    }
  }

  write(chunk: Uint8Array): void {
    this.#written += chunk.length;
    if (this.#start === undefined) return;
    this.#start = Buffer.concat([this.#start, chunk]);
    const text = this.#start.toString("latin1", 0, longestHeader);
    const header = /^age-encryption\.org\/v1\n[\s\S]*?\n--- [A-Za-z0-9+/]{43}\n/.exec(text)?.[0];
    if (header === undefined) {
      if (this.#start.length > longestHeader) throw new Error("what it wrote is no age file");
      return;
    }
    if ((header.match(/^-> /gm) ?? []).length < this.#recipients) throw new Error("what it wrote is not for every recipient");
    this.#headerSize = header.length;
    this.#start = undefined;
  }

  finish(): void {
    const body = nonceSize + this.#plain + tagSize * Math.max(1, Math.ceil(this.#plain / chunkSize));
    if (this.#start !== undefined || this.#written !== this.#headerSize + body)
      throw new Error("what it wrote is not as long as an age file of this size");
  }
}
