/** What encrypts and decrypts artifacts, as the rooms see it; `src/keys` does it with age. Types alone. */

export interface Encryptor {
  /** For whom: changes when a key is added or taken out. */
  readonly recipients: readonly string[];
  /** The bytes of `plain` as an age file, as they come. */
  encrypt(plain: AsyncIterable<Uint8Array>, size: number, options?: { readonly signal?: AbortSignal }): AsyncIterable<Uint8Array>;
}

export interface Decryptor {
  /**
   * The plain bytes of an age file. Reads `stored` to its end, whatever happens, so that its sum is known.
   * Throws `key_missing`, `key_wrong`, or `damaged` for what is no age file or was changed. `size`: stored bytes.
   */
  decrypt(stored: AsyncIterable<Uint8Array>, size: number): AsyncIterable<Uint8Array>;
}
