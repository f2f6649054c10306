/** Both ways with the real age program: what we write it opens, and what it writes we open. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { age, collect, decryptorOf, inPieces, keygen } from "../../test/support/age.ts";
import { needs } from "../../test/support/needs.ts";
import { noise } from "../../test/support/noise.ts";
import { tempDir } from "../../test/support/repo.ts";
import { encryptWithPassphrase } from "./age-library.ts";
import { findAge } from "./age-program.ts";
import { makeEncryptor } from "./encryptor.ts";

const hasAge = needs("age", "encryption that age itself opens");
const hasSsh = needs("ssh-keygen", "ssh keys as recipients");

describe.skipIf(!hasAge)("the age program", () => {
  const dir = tempDir();
  afterAll(() => dir[Symbol.dispose]());
  const plain = Buffer.from(noise(300_000, 1));
  /** Above the size from which the program is preferred for reading. */
  const large = Buffer.from(noise(17 << 20, 2));
  const file = (name: string, bytes: Uint8Array): string => {
    writeFileSync(join(dir.path, name), bytes);
    return join(dir.path, name);
  };
  const seal = (bytes: Uint8Array, recipients: string[], program?: null): Promise<Buffer> =>
    collect(makeEncryptor(recipients, program).encrypt(inPieces(bytes)));
  const open = (bytes: Uint8Array, key: string, program?: null): Promise<Buffer> =>
    collect(decryptorOf(key, program).decrypt(inPieces(bytes), bytes.length, "N.age"));

  test.each<[string, null | undefined]>([
    ["the library", null],
    ["the program", undefined],
  ])("opens what %s encrypts, for each of several recipients", async (_, program) => {
    const [first, second] = [keygen(dir.path, `a-${program}`), keygen(dir.path, `b-${program}`)];
    const sealed = file("sealed.age", await seal(plain, [first.recipient, second.recipient], program));
    for (const key of [first, second]) expect(age(["-d", "-i", key.file, sealed]).equals(plain)).toBe(true);
    const third = keygen(dir.path, `c-${program}`);
    expect(() => age(["-d", "-i", third.file, sealed])).toThrow("no identity matched");
  });

  test("writes what the library opens, and the program as we start it", async () => {
    const { file: key, recipient } = keygen(dir.path, "mine");
    for (const bytes of [Buffer.alloc(0), plain, large]) {
      const sealed = age(["-r", recipient], bytes);
      expect((await open(sealed, key)).equals(bytes)).toBe(true);
    }
    expect((await open(age(["-r", recipient], plain), key, null)).equals(plain)).toBe(true);
  });

  test.each(["small", "large"])("and the library tell a wrong key from a changed file: %s", async (size) => {
    const bytes = size === "large" ? large : plain;
    const [mine, other] = [keygen(dir.path, `m-${size}`), keygen(dir.path, `o-${size}`)];
    const sealed = await seal(bytes, [mine.recipient]);
    await expect(open(sealed, other.file)).rejects.toMatchObject({ code: "key_wrong", exitCode: 12 });
    const key = mine.file;
    const changed = Buffer.from(sealed);
    changed[bytes.length >> 1] = (changed[bytes.length >> 1] ?? 0) ^ 1;
    for (const damaged of [sealed.subarray(0, -1), sealed.subarray(0, 100), changed, bytes])
      await expect(open(damaged, key)).rejects.toMatchObject({ code: "damaged", exitCode: 13 });
  });

  test("reads the source to its end before it speaks of keys", async () => {
    const [mine, other] = [keygen(dir.path, "m"), keygen(dir.path, "o")];
    const sealed = await seal(large, [mine.recipient]);
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield* inPieces(sealed);
      throw new Error("the sum is another");
    }
    const decrypted = collect(decryptorOf(other.file).decrypt(failing(), sealed.length, "N"));
    await expect(decrypted).rejects.toMatchObject({ message: expect.stringContaining("the sum is another") });
  });

  test("ends when its reader has enough", async () => {
    const mine = keygen(dir.path, "enough");
    const sealed = await seal(large, [mine.recipient]);
    let isClosed = false;
    async function* source(): AsyncGenerator<Uint8Array> {
      try {
        yield* inPieces(sealed);
      } finally {
        isClosed = true;
      }
    }
    for await (const _ of decryptorOf(mine.file).decrypt(source(), sealed.length, "N")) break;
    expect(isClosed).toBe(true);
  });

  test.skipIf(!hasSsh).each(["ed25519", "rsa"] as const)("encrypts for an ssh key and opens with it: %s", async (type) => {
    const [ssh, native] = [keygen(dir.path, `id_${type}`, type), keygen(dir.path, `beside-${type}`)];
    const sealed = await seal(plain, [ssh.recipient, native.recipient]);
    expect(age(["-d", "-i", ssh.file, file("ssh.age", sealed)]).equals(plain)).toBe(true);
    expect((await open(sealed, ssh.file)).equals(plain)).toBe(true);
    expect((await open(sealed, native.file)).equals(plain)).toBe(true);
    const other = keygen(dir.path, `other_${type}`, type);
    await expect(open(sealed, other.file)).rejects.toMatchObject({ code: "key_wrong" });
  });

  test("a recipient that is none is told in its own words", async () => {
    const recipient = "ssh-ed25519 AAAAnonsense";
    await expect(seal(plain, [recipient])).rejects.toMatchObject({
      code: "encryption_failed",
      message: expect.stringContaining("age could not encrypt"),
    });
  });

  test("takes a key file that we protect with a passphrase for one of its own", async () => {
    const sealed = file("key.age", Buffer.from(await encryptWithPassphrase("AGE-SECRET-KEY-1X\n", "correct horse")));
    // Without a terminal it can only ask; that it asks shows that it read the header.
    expect(() => age(["-d", sealed])).toThrow(/passphrase|terminal|tty/);
  });
  expect(findAge()).toBeDefined();
});
