import { generateKeyPairSync } from "node:crypto";
import { appendFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { tempDir } from "../../test/support/repo.ts";
import { type Manifest, signedText } from "../core/manifest.ts";
import { addSigners, judgeSignature, readSigners, signerOf } from "./signers.ts";
import { fingerprintOf, publicKeyOf, signText } from "./ssh-signature.ts";

const { privateKey } = generateKeyPairSync("ed25519");
const key = publicKeyOf(privateKey);
const fingerprint = fingerprintOf(key);
const base64 = key.toString("base64");
const other = publicKeyOf(generateKeyPairSync("ed25519").privateKey);

const id = "20261121T143005Z-a1b2c3";
const plain: Manifest = {
  format: 1,
  id,
  kind: "commit",
  createdAt: "2026-11-21T14:30:05.678Z",
  repository: "6b0f3c9a-5f0e-4c1e-9d2a-0a4f3a1b2c3d",
  machine: "Anna's-MacBook.local",
  base: null,
  full: id,
  step: 0,
  level: 0,
  previous: null,
  previousSha256: null,
  tool: "holdfast 0.1.0",
  artifacts: [],
  counts: { files: 3, bytes: 4, changed: 3, refs: 1, left: 0, problems: 0 },
  consistent: true,
  screened: false,
  expires: null,
  retention: "policy",
  signature: null,
};
const signed: Manifest = { ...plain, signature: signText(signedText(plain), privateKey) };

describe("judgeSignature", () => {
  const trusted = new Map([[fingerprint, { name: "desk", key }]]);

  test("tells trusted, unknown, bad and unsigned apart", () => {
    expect(judgeSignature(signed, trusted)).toEqual({ status: "trusted", fingerprint, signer: "desk" });
    expect(judgeSignature(signed, new Map())).toEqual({ status: "unknown_signer", fingerprint });
    expect(judgeSignature(plain, trusted)).toEqual({ status: "unsigned" });
    expect(judgeSignature({ ...signed, kind: "manual" }, trusted)).toMatchObject({ status: "bad", fingerprint });
    expect(judgeSignature({ ...signed, signature: "QUJD" }, trusted)).toMatchObject({ status: "bad", fingerprint: null });
  });

  test("signerOf names the machine as ssh takes it, and believes no signature that does not hold", () => {
    expect(signerOf(signed)).toEqual({ name: "anna-s-macbook.local", key });
    expect(signerOf(plain)).toBeUndefined();
    expect(signerOf({ ...signed, step: 1 })).toBeUndefined();
  });
});

describe("allowed_signers", () => {
  test("gets each key once, after whatever stands there", () => {
    using dir = tempDir();
    const file = join(dir.path, "state/allowed_signers");
    expect(readSigners(file)).toEqual(new Map());
    expect(
      addSigners(
        file,
        [
          { name: "desk", key },
          { name: "twice", key },
        ],
        "first\nuse",
      ),
    ).toHaveLength(1);
    expect(addSigners(file, [{ name: "desk", key }], "again")).toEqual([]);
    appendFileSync(file, "# a line without its end");
    expect(addSigners(file, [{ name: "lamp", key: other }], "by hand")).toHaveLength(1);
    expect([...readSigners(file).values()].map(({ name }) => name)).toEqual(["desk", "lamp"]);
    expect(readFileSync(file, "utf8")).toContain(`desk namespaces="holdfast" ssh-ed25519 ${base64} first use\n`);
  });

  test.each<[string, string, boolean]>([
    ["a line of ours", `desk namespaces="holdfast" ssh-ed25519 ${base64} a comment`, true],
    ["one of ssh's own", `desk ssh-ed25519 ${base64}`, true],
    ["one for several purposes", `desk namespaces="git,holdfast" ssh-ed25519 ${base64}`, true],
    ["one for another purpose", `desk namespaces="git" ssh-ed25519 ${base64}`, false],
    ["one that is out of use", `# desk ssh-ed25519 ${base64}`, false],
    ["an authority", `desk cert-authority ssh-ed25519 ${base64}`, false],
    ["one with an end that we do not look at", `desk valid-before="20200101" ssh-ed25519 ${base64}`, false],
    ["another kind of key", `desk ssh-rsa ${base64}`, false],
    ["a key that was cut", `desk ssh-ed25519 ${base64.slice(0, -4)}`, false],
  ])("%s: %s counts: %s", (_, line, counts) => {
    using dir = tempDir();
    const file = join(dir.path, "allowed_signers");
    writeFileSync(file, `\n${line}\n`);
    expect(readSigners(file).has(fingerprint)).toBe(counts);
  });

  test("that cannot be read is told: nobody would be trusted, and nobody would know why", () => {
    using dir = tempDir();
    const file = join(dir.path, "allowed_signers");
    mkdirSync(file);
    expect(() => readSigners(file)).toThrow(expect.objectContaining({ code: "io_failed" }));
  });
});
