/** What encrypts and decrypts artifacts, as the rooms see it; `src/keys` does it with age. Types alone. */

export interface Encryptor {
  /** For whom: changes when a key is added or taken out. In an order of its own. */
  readonly recipients: readonly string[];
  /**
   * The bytes of `plain` as an age file, as they come. Throws `age_missing`, or `encryption_failed` also where what came
   * out cannot be an age file of so many plain bytes.
   */
  encrypt(plain: AsyncIterable<Uint8Array>, options?: { readonly signal?: AbortSignal | undefined }): AsyncIterable<Uint8Array>;
}

export interface Decryptor {
  /**
   * The plain bytes of an age file. When it fails it first reads `stored` to its end, so that its sum is known and a
   * changed file is not taken for a wrong key; when the caller stops early it closes `stored`.
   * Throws `key_missing`, `key_wrong`, `age_missing`, or `damaged` for what is no age file or was changed.
   * `size`: stored bytes. `name`: of the artifact, for messages.
   */
  decrypt(stored: AsyncIterable<Uint8Array>, size: number, name: string): AsyncIterable<Uint8Array>;
}
