/** The key that this machine signs its points with: one for all repositories of the user, made when it is first needed. */
import { createPrivateKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { BackupError, describeError, systemCode } from "../core/errors.ts";
import { createPrivateFile } from "./private-file.ts";
import { fingerprintOf, type PublicKey, publicKeyOf, signText } from "./ssh-signature.ts";

/** Its name in the user's config folder. */
export const signingKeyName = "signing-key";

export interface SigningKey {
  readonly publicKey: PublicKey;
  readonly fingerprint: string;
  /** A signature as it stands in a manifest. */
  sign(text: string): string;
}

export type FoundSigningKey = { readonly status: "ready"; readonly key: SigningKey } | { readonly status: "unusable"; readonly reason: string };

/**
 * The key in `file` (PKCS #8, PEM), made where there is none: 0600, in a folder that is made with 0700. Never throws: a
 * point without a signature is better than no point, and `reason` says why there is none.
 */
export function ensureSigningKey(file: string): FoundSigningKey {
  try {
    return ready(readOptional(file) ?? makeKey(file));
  } catch (error) {
    return unusable(file, error);
  }
}

/** The same, but makes none: undefined where there is none. */
export function findSigningKey(file: string): FoundSigningKey | undefined {
  try {
    const pem = readOptional(file);
    return pem === undefined ? undefined : ready(pem);
  } catch (error) {
    return unusable(file, error);
  }
}

function unusable(file: string, error: unknown): FoundSigningKey {
  const reason = error instanceof BackupError ? error.message : `${file}: ${systemCode(error) ?? describeError(error)}`;
  return { status: "unusable", reason };
}

function ready(pem: string): FoundSigningKey {
  const key = privateKey(pem);
  const publicKey = publicKeyOf(key);
  return { status: "ready", key: { publicKey, fingerprint: fingerprintOf(publicKey), sign: (text) => signText(text, key) } };
}

function privateKey(pem: string): KeyObject {
  let key: KeyObject | undefined;
  try {
    key = createPrivateKey(pem);
  } catch {
    // Whatever the library says of it: it may quote the text.
  }
  if (key?.asymmetricKeyType !== "ed25519") throw new Error("is no Ed25519 key in PEM");
  return key;
}

/** Of two first points at once, both go on with the key of the one that was first. */
function makeKey(file: string): string {
  const pem = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" }) as string;
  createPrivateFile(file, pem);
  return readFileSync(file, "utf8");
}

function readOptional(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}
