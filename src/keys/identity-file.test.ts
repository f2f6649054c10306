import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import { decryptWithPassphrase, encryptWithPassphrase } from "./age-library.ts";
import { createIdentityFile, findIdentityFile, isProtected, openIdentityFile, readRecipients, writeRecipients } from "./identity-file.ts";
import { identityPlace, type KeySettings, lazyDecryptor } from "./open.ts";
import { replacePrivateFile } from "./private-file.ts";

let dir: TempDir;
beforeEach(() => {
  dir = tempDir();
});
afterEach(() => dir[Symbol.dispose]());
const mode = (path: string): string => (statSync(path).mode & 0o777).toString(8);

describe("a new one", () => {
  test("is for its owner alone, and so is its folder", () => {
    const path = join(dir.path, "config/holdfast/identity.txt");
    createIdentityFile(path, "key\n");
    expect([readFileSync(path, "utf8"), mode(path), mode(join(dir.path, "config/holdfast"))]).toEqual(["key\n", "600", "700"]);
    expect(readdirSync(join(dir.path, "config/holdfast"))).toEqual(["identity.txt"]);
  });

  test("is never written over one that is there, nor through a link", () => {
    const path = join(dir.path, "identity.txt");
    createIdentityFile(path, "first\n");
    expect(() => createIdentityFile(path, "second\n")).toThrow(
      expect.objectContaining({ code: "usage", hint: expect.stringContaining("key rotate") }),
    );
    symlinkSync(join(dir.path, "elsewhere"), join(dir.path, "link"));
    expect(() => createIdentityFile(join(dir.path, "link"), "x")).toThrow(expect.objectContaining({ code: "usage" }));
    expect([readFileSync(path, "utf8"), existsSync(join(dir.path, "elsewhere")), readdirSync(dir.path).sort()]).toEqual([
      "first\n",
      false,
      ["identity.txt", "link"],
    ]);
  });

  test("that cannot be written leaves the old one whole, and nothing beside it", () => {
    const path = join(dir.path, "identity.txt");
    mkdirSync(path);
    expect(() => replacePrivateFile(path, "x")).toThrow(expect.objectContaining({ code: "io_failed" }));
    expect(readdirSync(dir.path)).toEqual(["identity.txt"]);
  });
});

test("recipients are remembered beside it, for the next repository", () => {
  const environment = { HOLDFAST_CONFIG_DIR: dir.path };
  expect(readRecipients(environment)).toEqual([]);
  writeRecipients(environment, ["age1a", "age1b"]);
  expect(readRecipients(environment)).toEqual(["age1a", "age1b"]);
});

describe("protected by a passphrase", () => {
  test("it opens with it, armored or binary, and with no other", async () => {
    const armored = await encryptWithPassphrase("AGE-SECRET-KEY-1X\n", "correct horse");
    const file = { path: "f", bytes: Buffer.from(armored), isRegular: true, isOpenToOthers: false };
    expect(isProtected(file)).toBe(true);
    expect(isProtected({ ...file, bytes: Buffer.from("age-encryption.org/v1\n") })).toBe(true);
    expect(isProtected({ ...file, bytes: Buffer.from("# created\nAGE-SECRET-KEY-1X\n") })).toBe(false);
    expect(await decryptWithPassphrase(Buffer.from(armored), "correct horse")).toBe("AGE-SECRET-KEY-1X\n");
    expect(await openIdentityFile(file, async () => "correct horse")).toBe("AGE-SECRET-KEY-1X\n");
    await expect(openIdentityFile(file, async () => "wrong horse")).rejects.toMatchObject({
      code: "key_wrong",
      message: expect.stringContaining("f"),
    });
    await expect(openIdentityFile(file, async () => undefined)).rejects.toMatchObject({
      code: "key_missing",
      hint: expect.stringContaining("HOLDFAST_PASSPHRASE"),
    });
  }, 60_000);
});

describe("the one that counts", () => {
  const settings = (own: Record<string, string>, configured?: string): KeySettings => ({
    environment: { HOME: "/home/me", HOLDFAST_CONFIG_DIR: dir.path },
    own,
    configured,
    folder: "/repo",
  });

  test.each<[string, () => KeySettings, string, string]>([
    ["the variable", () => settings({ HOLDFAST_IDENTITY: "/usb/key" }, "k"), "/usb/key", "HOLDFAST_IDENTITY"],
    ["backup.yaml", () => settings({}, "~/k.txt"), "/home/me/k.txt", "backup.yaml"],
    ["backup.yaml, relative to the repository", () => settings({ HOLDFAST_IDENTITY: "" }, "../k"), "/k", "backup.yaml"],
  ])("is named by %s", (_, given, path, from) => {
    expect(identityPlace(given())).toEqual({ path, from });
  });

  test("lies in the configuration where nothing names one; a .env that came with a clone does not move that", () => {
    expect(identityPlace(settings({}))).toEqual({ path: join(dir.path, "identity.txt"), from: "default" });
    expect(identityPlace(settings({ HOLDFAST_CONFIG_DIR: "/other" }))).toEqual({ path: join(dir.path, "identity.txt"), from: "default" });
  });

  test("is not looked for before something encrypted is read, and its absence says where it should be", async () => {
    async function* nothing(): AsyncGenerator<Uint8Array> {}
    const read = async (given: KeySettings): Promise<void> => {
      for await (const _ of lazyDecryptor(given).decrypt(nothing(), 0, "N"));
    };
    await expect(read(settings({}))).rejects.toMatchObject({ code: "key_missing", message: expect.stringContaining(join(dir.path, "identity.txt")) });
    await expect(read(settings({}, "/k"))).rejects.toMatchObject({ message: expect.stringContaining("/k (named by backup.yaml)") });
  });

  test.skipIf(process.platform === "win32")("shows that others may read it", () => {
    const path = join(dir.path, "identity.txt");
    writeFileSync(path, "x");
    chmodSync(path, 0o640);
    expect(findIdentityFile(path)).toMatchObject({ isOpenToOthers: true });
    chmodSync(path, 0o600);
    expect(findIdentityFile(path)).toMatchObject({ isOpenToOthers: false });
    expect(findIdentityFile(join(path, "below"))).toBeUndefined();
  });
});
