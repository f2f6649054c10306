/**
 * Signatures over a manifest, in OpenSSH's format, so that `ssh-keygen -Y verify` checks them on any machine.
 * (openssh-portable: PROTOCOL.sshsig; RFC 8709 for ssh-ed25519) Pure, but for the arithmetic of node:crypto.
 */
import { createHash, createPublicKey, hash, type KeyObject, sign, verify } from "node:crypto";

/** What the signature is for: one made for git commits or files is none of ours. */
export const signatureNamespace = "holdfast";

const magic = "SSHSIG";
const keyType = "ssh-ed25519";
const version = 1;

/** A public key in the form that ssh has in its files: the base64 of it stands in `allowed_signers`. */
export type PublicKey = Buffer;

/** The public half of an Ed25519 key. */
export function publicKeyOf(key: KeyObject): PublicKey {
  const { x = "" } = createPublicKey(key).export({ format: "jwk" });
  return Buffer.concat([field(keyType), field(Buffer.from(x, "base64url"))]);
}

/** `SHA256:…`, as ssh-keygen and GitHub show keys. */
export function fingerprintOf(key: PublicKey): string {
  return `SHA256:${createHash("sha256").update(key).digest("base64").replace(/=+$/, "")}`;
}

/** Signs with an Ed25519 private key. Gives what stands between the lines of an armored signature, on one line. */
export function signText(text: string, key: KeyObject): string {
  const proof = sign(null, signedBytes(text, "sha512"), key);
  const signature = Buffer.concat([field(keyType), field(proof)]);
  const fields = [publicKeyOf(key), signatureNamespace, "", "sha512", signature].map(field);
  return Buffer.concat([Buffer.from(magic), uint32(version), ...fields]).toString("base64");
}

export type SignatureCheck =
  | { readonly isGood: true; readonly key: PublicKey }
  /** `key`: the one that it says it was made with, where that much can be read. */
  | { readonly isGood: false; readonly key: PublicKey | undefined; readonly reason: string };

/** Whether `signature`, base64 without armor, is one of `text`. By whom is told, not whether that one is trusted. */
export function checkSignature(text: string, signature: string): SignatureCheck {
  const parts = parseSignature(signature);
  if (typeof parts === "string") return { isGood: false, key: undefined, reason: parts };
  const { key, point, proof, digest } = parts;
  const jwk = { kty: "OKP", crv: "Ed25519", x: point.toString("base64url") };
  const isGood = verify(null, signedBytes(text, digest), createPublicKey({ key: jwk, format: "jwk" }), proof);
  return isGood ? { isGood, key } : { isGood, key, reason: "the manifest is not the one that was signed" };
}

type Digest = "sha256" | "sha512";

interface SignatureParts {
  readonly key: PublicKey;
  /** The 32 bytes of the Ed25519 key. */
  readonly point: Buffer;
  readonly proof: Buffer;
  readonly digest: Digest;
}

/** The parts, or why they are not to be had. */
function parseSignature(signature: string): SignatureParts | string {
  const bytes = Buffer.from(signature, "base64");
  if (bytes.toString("base64") !== signature || bytes.toString("latin1", 0, magic.length) !== magic) return "it is no ssh signature";
  if (bytes.length < magic.length + 4 || bytes.readUInt32BE(magic.length) !== version) return "it is an ssh signature of an unknown version";
  const fields = readFields(bytes.subarray(magic.length + 4));
  if (fields?.length !== 5) return "it is no ssh signature";
  const [key, namespace, , digest, inner] = fields as [Buffer, Buffer, Buffer, Buffer, Buffer];
  if (namespace.toString("latin1") !== signatureNamespace) return "it was made for something else than a point";
  const algorithm = digest.toString("latin1");
  if (algorithm !== "sha512" && algorithm !== "sha256") return "it was made over an unknown kind of sum";
  const point = innerOf(key, 32);
  const proof = innerOf(inner, 64);
  if (point === undefined || proof === undefined) return "it was not made with an Ed25519 key";
  return { key, point, proof, digest: algorithm };
}

/** The one value of a key or a signature of our type. */
function innerOf(bytes: Buffer, length: number): Buffer | undefined {
  const [type, value, ...rest] = readFields(bytes) ?? [];
  return type?.toString("latin1") === keyType && value?.length === length && rest.length === 0 ? value : undefined;
}

/** The bytes of a public key in base64; undefined where it is no Ed25519 key. */
export function parsePublicKey(base64: string): PublicKey | undefined {
  const bytes = Buffer.from(base64, "base64");
  return bytes.toString("base64") === base64 && innerOf(bytes, 32) !== undefined ? bytes : undefined;
}

function signedBytes(text: string, digest: Digest): Buffer {
  return Buffer.concat([Buffer.from(magic), ...[signatureNamespace, "", digest, hash(digest, text, "buffer")].map(field)]);
}

/** A string of the SSH protocol: its length in four bytes, then its bytes. (RFC 4251, section 5) */
function field(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value as string);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** Undefined where a length leads beyond the end. */
function readFields(bytes: Buffer): Buffer[] | undefined {
  const fields: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    if (at + 4 > bytes.length) return undefined;
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) return undefined;
    fields.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return fields;
}
