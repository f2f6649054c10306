import { execFileSync } from "node:child_process";
import { generateKeyPairSync, sign } from "node:crypto";
import { chmodSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { needs } from "../../test/support/needs.ts";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import { addSigners } from "./signers.ts";
import { ensureSigningKey, findSigningKey, type SigningKey } from "./signing-key.ts";
import { checkSignature, fingerprintOf, parsePublicKey, publicKeyOf, signatureNamespace, signText } from "./ssh-signature.ts";

const { privateKey } = generateKeyPairSync("ed25519");
const text = '{\n  "id": "a"\n}\n';

describe("a signature", () => {
  test("property: holds for its text, and for no other", () => {
    fc.assert(
      fc.property(fc.string(), fc.string(), (one, other) => {
        const signature = signText(one, privateKey);
        expect(checkSignature(one, signature)).toEqual({ isGood: true, key: publicKeyOf(privateKey) });
        expect(checkSignature(other, signature).isGood).toBe(one === other);
      }),
    );
  });

  test("property: with any bit flipped it is refused, and never throws", () => {
    const bytes = Buffer.from(signText(text, privateKey), "base64");
    fc.assert(
      fc.property(fc.nat(bytes.length * 8 - 1), (bit) => {
        const flipped = Buffer.from(bytes);
        flipped[bit >> 3] = (flipped[bit >> 3] as number) ^ (1 << (bit & 7));
        expect(checkSignature(text, flipped.toString("base64")).isGood).toBe(false);
      }),
    );
  });

  test("property: nothing else is one", () => {
    fc.assert(fc.property(fc.uint8Array(), (bytes) => !checkSignature(text, Buffer.from(bytes).toString("base64")).isGood));
    fc.assert(fc.property(fc.string(), (junk) => !checkSignature(text, junk).isGood));
  });

  test("has one form: no line ends, no other alphabet, nothing after it", () => {
    const signature = signText(text, privateKey);
    const longer = Buffer.concat([Buffer.from(signature, "base64"), Buffer.alloc(4)]).toString("base64");
    for (const other of [`${signature}\n`, ` ${signature}`, signature.replace(/.$/, ""), longer])
      expect(checkSignature(text, other).isGood).toBe(false);
  });

  test("made for another purpose, or with another kind of key, is refused with a reason", () => {
    const parts = (name: string, inner: Buffer) => [publicKeyOf(privateKey), Buffer.from(name), Buffer.alloc(0), Buffer.from("sha512"), inner];
    const pack = (fields: readonly Buffer[]) =>
      Buffer.concat(fields.flatMap((bytes) => [Buffer.from([0, 0, bytes.length >> 8, bytes.length & 255]), bytes]));
    const wrap = (fields: readonly Buffer[]) => Buffer.concat([Buffer.from("SSHSIG\0\0\0\u0001"), pack(fields)]).toString("base64");
    const proof = pack([Buffer.from("ssh-ed25519"), sign(null, Buffer.from("x"), privateKey)]);
    expect(checkSignature(text, wrap(parts("git", proof)))).toMatchObject({ isGood: false, reason: expect.stringContaining("something else") });
    expect(checkSignature(text, wrap(parts(signatureNamespace, pack([Buffer.from("ssh-rsa"), Buffer.alloc(64)]))))).toMatchObject({
      reason: expect.stringContaining("Ed25519"),
    });
    expect(checkSignature(text, wrap(parts(signatureNamespace, proof)))).toMatchObject({
      key: publicKeyOf(privateKey),
      reason: expect.stringContaining("not the one that was signed"),
    });
  });
});

const ssh = needs("ssh-keygen", "signatures beside ssh-keygen");

describe.skipIf(!ssh)("beside the real ssh-keygen", () => {
  const keygen = (dir: TempDir, args: readonly string[], input = ""): string =>
    execFileSync("ssh-keygen", args, { cwd: dir.path, input, encoding: "utf8", stdio: ["pipe", "pipe", "pipe"] });

  test("ours is verified by `ssh-keygen -Y verify` with our allowed_signers, and not for another text or signer", () => {
    using dir = tempDir();
    const key = made(join(dir.path, "signing-key"));
    addSigners(join(dir.path, "allowed_signers"), [{ name: "desk", key: key.publicKey }], "a test");
    writeFileSync(join(dir.path, "sig"), armored(key.sign(text)));
    const verify = (who: string, words: string): string =>
      keygen(dir, ["-Y", "verify", "-f", "allowed_signers", "-I", who, "-n", signatureNamespace, "-s", "sig"], words);
    expect(verify("desk", text)).toContain(`Good "holdfast" signature for desk with ED25519 key ${key.fingerprint}`);
    expect(() => verify("desk", `${text} `)).toThrow();
    expect(() => verify("lamp", text)).toThrow();
  });

  test("what `ssh-keygen -Y sign` makes is verified by us", () => {
    using dir = tempDir();
    keygen(dir, ["-q", "-t", "ed25519", "-N", "", "-f", "id"]);
    for (const digest of ["sha512", "sha256"]) {
      writeFileSync(join(dir.path, "text"), text);
      rmSync(join(dir.path, "text.sig"), { force: true });
      keygen(dir, ["-Y", "sign", "-f", "id", "-n", signatureNamespace, "-O", `hashalg=${digest}`, "text"]);
      const signature = readFileSync(join(dir.path, "text.sig"), "utf8").replaceAll(/-----.*-----|\n/g, "");
      const check = checkSignature(text, signature);
      const key = parsePublicKey(readFileSync(join(dir.path, "id.pub"), "utf8").split(" ")[1] ?? "");
      expect(check).toEqual({ isGood: true, key });
      expect(keygen(dir, ["-l", "-f", "id.pub"])).toContain(fingerprintOf(key as Buffer));
      expect(checkSignature(`${text} `, signature).isGood).toBe(false);
    }
  });
});

describe("the signing key", () => {
  test("is made once, for its owner alone, in a folder of its own", () => {
    using dir = tempDir();
    const file = join(dir.path, "config/holdfast/signing-key");
    expect(findSigningKey(file)).toBeUndefined();
    const { fingerprint } = made(file);
    expect(made(file).fingerprint).toBe(fingerprint);
    expect(findSigningKey(file)).toMatchObject({ key: { fingerprint } });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(statSync(join(dir.path, "config/holdfast")).mode & 0o777).toBe(0o700);
    expect(readFileSync(file, "utf8")).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
  });

  test.each<[string, (file: string) => void]>([
    ["a file that is no key", (file) => writeFileSync(file, "my secret diary")],
    ["a key of another kind", (file) => writeFileSync(file, generateKeyPairSync("x25519").privateKey.export({ type: "pkcs8", format: "pem" }))],
    ["an empty file", (file) => writeFileSync(file, "")],
  ])("that cannot be used is told, without its bytes: %s", (_, write) => {
    using dir = tempDir();
    const file = join(dir.path, "signing-key");
    write(file);
    const before = readFileSync(file, "utf8");
    expect(ensureSigningKey(file)).toEqual({ status: "unusable", reason: `${file}: is no Ed25519 key in PEM` });
    expect(readFileSync(file, "utf8")).toBe(before);
  });

  test("in a folder that cannot be written or read is told", () => {
    using dir = tempDir();
    writeFileSync(join(dir.path, "file"), "");
    expect(ensureSigningKey(join(dir.path, "file/signing-key"))).toEqual({
      status: "unusable",
      reason: expect.stringMatching(/signing-key: (?:ENOTDIR|EEXIST)$/),
    });
    if (process.getuid?.() === 0) return;
    chmodSync(dir.path, 0o500);
    expect(ensureSigningKey(join(dir.path, "signing-key"))).toMatchObject({ status: "unusable", reason: expect.stringContaining("EACCES") });
    chmodSync(dir.path, 0o700);
  });
});

function made(file: string): SigningKey {
  const found = ensureSigningKey(file);
  if (found.status !== "ready") throw new Error(found.reason);
  return found.key;
}

function armored(signature: string): string {
  return `-----BEGIN SSH SIGNATURE-----\n${signature.replaceAll(/.{70}/g, "$&\n")}\n-----END SSH SIGNATURE-----\n`;
}
