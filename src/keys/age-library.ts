/** The age library: what it does, as streams and texts. Loaded only where keys are read, or something is encrypted or decrypted with it. */
import { armor, Decrypter, Encrypter, generateX25519Identity, identityToRecipient } from "age-encryption";

export interface KeyPair {
  /** `AGE-SECRET-KEY-1…` */
  readonly identity: string;
  /** `age1…` */
  readonly recipient: string;
}

export async function makeKeyPair(): Promise<KeyPair> {
  const identity = await generateX25519Identity();
  return { identity, recipient: await identityToRecipient(identity) };
}

/** Whether it is a secret key that the library knows, whole by its checksum. */
export function isIdentity(text: string): boolean {
  try {
    new Decrypter().addIdentity(text);
    return true;
  } catch {
    return false; // the library's words quote the key, and go nowhere
  }
}

/** `identity`: as of `isIdentity`. */
export async function recipientOf(identity: string): Promise<string> {
  return identityToRecipient(identity);
}

export async function* encryptStream(recipients: readonly string[], plain: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const encrypter = new Encrypter();
  for (const recipient of recipients) encrypter.addRecipient(recipient);
  const source = new Pulled(plain);
  try {
    yield* await encrypter.encrypt(source.stream);
  } catch (error) {
    throw source.failure ?? error;
  } finally {
    await source.close();
  }
}

/**
 * The plain bytes. On a failure reads `stored` to its end first, and throws its error where it has one; else the
 * library's own Error. `identities`: each as of `isIdentity`.
 */
export async function* decryptStream(identities: readonly string[], stored: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const decrypter = new Decrypter();
  for (const identity of identities) decrypter.addIdentity(identity);
  const source = new Pulled(stored);
  try {
    yield* await decrypter.decrypt(source.stream);
  } catch (error) {
    await source.drain();
    throw source.failure ?? error;
  } finally {
    await source.close();
  }
}

export async function encryptWithPassphrase(text: string, passphrase: string): Promise<string> {
  const encrypter = new Encrypter();
  encrypter.setPassphrase(passphrase);
  return armor.encode(await encrypter.encrypt(text));
}

/** `file`: binary or armored. Throws the library's Error where the passphrase does not fit, or the file is none of age's. */
export async function decryptWithPassphrase(file: Buffer, passphrase: string): Promise<string> {
  const decrypter = new Decrypter();
  decrypter.addPassphrase(passphrase);
  const bytes = file.subarray(0, 5).toString("latin1") === "-----" ? armor.decode(file.toString("latin1")) : new Uint8Array(file);
  return decrypter.decrypt(bytes, "text");
}

/** An iterable as a web stream that can still be read when the stream was given up. */
class Pulled {
  readonly stream: ReadableStream<Uint8Array>;
  /** What the iterable itself threw. */
  failure: unknown;
  readonly #iterator: AsyncIterator<Uint8Array>;

  constructor(iterable: AsyncIterable<Uint8Array>) {
    this.#iterator = iterable[Symbol.asyncIterator]();
    this.stream = new ReadableStream(
      {
        pull: async (controller) => {
          const chunk = await this.#next();
          if (chunk === undefined) controller.close();
          else controller.enqueue(chunk);
        },
      },
      { highWaterMark: 0 },
    );
  }

  async drain(): Promise<void> {
    // A pull that is under way comes before ours: generators answer in order.
    while (this.failure === undefined && (await this.#next().catch(() => undefined)) !== undefined);
  }

  async close(): Promise<void> {
    await this.#iterator.return?.();
  }

  async #next(): Promise<Uint8Array | undefined> {
    try {
      const { done, value } = await this.#iterator.next();
      return done === true ? undefined : value;
    } catch (error) {
      this.failure ??= error;
      throw error;
    }
  }
}
