/** Encryptor and decryptor with the library alone: no program is asked for. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { collect, decryptorOf, decryptorWith, inPieces, program } from "../../test/support/age.ts";
import { noise } from "../../test/support/noise.ts";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import { BackupError } from "../core/errors.ts";
import { type KeyPair, makeKeyPair, recipientOf } from "./age-library.ts";
import { makeEncryptor } from "./encryptor.ts";

const plain = Buffer.from(noise(200_000, 1));
let mine: KeyPair;
let theirs: KeyPair;
let dir: TempDir;
beforeEach(async () => {
  dir = tempDir();
  mine ??= await makeKeyPair();
  theirs ??= await makeKeyPair();
});
afterEach(() => dir[Symbol.dispose]());

const seal = (bytes: Uint8Array, ...recipients: string[]): Promise<Buffer> => collect(makeEncryptor(recipients, null).encrypt(inPieces(bytes)));
const open = (bytes: Uint8Array, key: string): Promise<Buffer> => collect(decryptorWith(key).decrypt(inPieces(bytes), bytes.length, "NAME.age"));

test("a key gives its recipient", async () => {
  expect(mine.identity).toMatch(/^AGE-SECRET-KEY-1[0-9A-Z]{58}$/);
  expect(await recipientOf(mine.identity)).toBe(mine.recipient);
});

test.each([0, 1, 65_535, 65_536, 65_537, 131_072, 200_000])("%i bytes come back", async (size) => {
  const bytes = plain.subarray(0, size);
  const sealed = await seal(bytes, mine.recipient);
  expect(sealed.subarray(0, 22).toString()).toBe("age-encryption.org/v1\n");
  expect((await open(sealed, mine.identity)).equals(bytes)).toBe(true);
});

test("each recipient opens it, with any of several keys in the file", async () => {
  const sealed = await seal(plain, mine.recipient, theirs.recipient);
  for (const key of [mine.identity, theirs.identity, `${(await makeKeyPair()).identity}\n${theirs.identity}`])
    expect((await open(sealed, key)).equals(plain)).toBe(true);
});

test("the same recipients in another order or twice are the same", () => {
  const list = (...recipients: string[]): readonly string[] => makeEncryptor(recipients).recipients;
  expect(list("age1b", "age1a", "age1b")).toEqual(list("age1a", "age1b"));
  expect(list("ssh-ed25519 AAAA me@here")).toEqual(["ssh-ed25519 AAAA"]);
});

describe("what does not open", () => {
  test("is a wrong key where it is whole", async () => {
    const sealed = await seal(plain, theirs.recipient);
    await expect(open(sealed, mine.identity)).rejects.toMatchObject({ code: "key_wrong", message: "no key in key.txt opens NAME.age", exitCode: 12 });
  });

  test.each<[string, (sealed: Buffer) => Buffer]>([
    ["is no age file", () => Buffer.from("hello")],
    ["is empty", () => Buffer.alloc(0)],
    ["ends in its header", (sealed) => sealed.subarray(0, 60)],
    ["ends after its header", (sealed) => sealed.subarray(0, sealed.indexOf("\n---") + 60)],
    ["ends in a chunk", (sealed) => sealed.subarray(0, sealed.length - 5)],
    ["ends between chunks", (sealed) => sealed.subarray(0, sealed.length - 200_000 + 3 * 65_536 - 16)],
    ["has a bit changed in a chunk", (sealed) => flip(sealed, sealed.length - 100_000)],
    ["has a bit changed in its header's sum", (sealed) => flip(sealed, sealed.indexOf("\n---") + 10)],
    ["has something behind its end", (sealed) => Buffer.concat([sealed, Buffer.from("more")])],
  ])("is damaged where it %s", async (_, change) => {
    const sealed = change(await seal(plain, mine.recipient));
    await expect(open(sealed, mine.identity)).rejects.toMatchObject({ code: "damaged", message: expect.stringContaining("NAME.age"), exitCode: 13 });
  });

  test("is read to its end, and what the reading throws comes first: a changed file is not taken for a wrong key", async () => {
    const sealed = await seal(plain, theirs.recipient);
    let read = 0;
    async function* checked(): AsyncGenerator<Uint8Array> {
      for await (const piece of inPieces(sealed, 1000)) {
        read += piece.length;
        yield piece;
      }
      throw new BackupError("damaged", "another sum");
    }
    await expect(collect(decryptorWith(mine.identity).decrypt(checked(), sealed.length, "N"))).rejects.toMatchObject({
      message: "another sum",
    });
    expect(read).toBe(sealed.length);
  });
});

test("a reader that has enough closes the source, and reads no further", async () => {
  const sealed = await seal(Buffer.from(noise(3_000_000, 2)), mine.recipient);
  let read = 0;
  let isClosed = false;
  async function* source(): AsyncGenerator<Uint8Array> {
    try {
      for await (const piece of inPieces(sealed)) {
        read += piece.length;
        yield piece;
      }
    } finally {
      isClosed = true;
    }
  }
  for await (const _ of decryptorWith(mine.identity).decrypt(source(), sealed.length, "N")) break;
  expect(isClosed).toBe(true);
  expect(read).toBeLessThan(sealed.length / 2);
});

test("keys are asked for once, and only when something is read", async () => {
  const { makeDecryptor } = await import("./decryptor.ts");
  let asked = 0;
  const decryptor = makeDecryptor(async () => {
    asked += 1;
    throw new BackupError("key_missing", "none here");
  }, null);
  expect(asked).toBe(0);
  for (let times = 0; times < 2; times += 1)
    await expect(collect(decryptor.decrypt(inPieces(plain), 1, "N"))).rejects.toMatchObject({ code: "key_missing" });
  expect(asked).toBe(1);
});

describe("what an age program writes", () => {
  const encrypt = (script: string): Promise<Buffer> =>
    collect(makeEncryptor([mine.recipient], program(dir.path, "age", script)).encrypt(inPieces(plain.subarray(0, 1000))));

  test.each([
    ["is no age file", "cat"],
    ["is nothing", "cat >/dev/null"],
    ["is short", `cat >/dev/null; printf 'age-encryption.org/v1\\n-> X25519 a\\nb\\n--- ${"A".repeat(43)}\\n'; head -c 900 /dev/zero`],
    ["has no stanza for anybody", `cat >/dev/null; printf 'age-encryption.org/v1\\n--- ${"A".repeat(43)}\\n'; head -c 1032 /dev/zero`],
    ["comes with an exit code", "cat >/dev/null; echo 'age: error: no' >&2; exit 1"],
  ])("is not taken where it %s", async (_, script) => {
    await expect(encrypt(script)).rejects.toMatchObject({ code: "encryption_failed", message: expect.stringMatching(/^age could not encrypt: \S/) });
  });

  test("is taken where it can be an age file of this size", async () => {
    const script = `cat >/dev/null; printf 'age-encryption.org/v1\\n-> X25519 a\\nb\\n--- ${"A".repeat(43)}\\n'; head -c 1032 /dev/zero`;
    expect((await encrypt(script)).length).toBeGreaterThan(1032);
  });

  test("and an abort ends it", async () => {
    const controller = new AbortController();
    const { encrypt: start } = makeEncryptor([mine.recipient], program(dir.path, "age", "exec sleep 60"));
    setTimeout(() => controller.abort(new BackupError("interrupted", "interrupted")), 20);
    await expect(collect(start(inPieces(plain), { signal: controller.signal }))).rejects.toMatchObject({ code: "interrupted" });
  });
});

test("ssh recipients and keys without the program are a clear error", async () => {
  await expect(seal(plain, "ssh-ed25519 AAAA")).rejects.toMatchObject({ code: "age_missing", hint: expect.stringContaining("install age") });
  const key = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n";
  await expect(open(await seal(plain, mine.recipient), key)).rejects.toMatchObject({ code: "key_missing" });
  const file = join(dir.path, "id");
  writeFileSync(file, key);
  await expect(collect(decryptorOf(file, null).decrypt(inPieces(plain), 1, "N"))).rejects.toMatchObject({ code: "age_missing" });
});

function flip(bytes: Buffer, at: number): Buffer {
  const changed = Buffer.from(bytes);
  changed[at] = (changed[at] ?? 0) ^ 1;
  return changed;
}
