/**
 * Whose signatures count on this machine: `allowed_signers` in OpenSSH's own format (ssh-keygen(1), ALLOWED SIGNERS), so
 * that `ssh-keygen -Y verify -f` reads it too. People may edit it.
 */
import { appendFileSync, mkdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { BackupError, systemCode } from "../core/errors.ts";
import { machineName } from "../core/machine-name.ts";
import { type Manifest, signedText } from "../core/manifest.ts";
import { checkSignature, fingerprintOf, type PublicKey, parsePublicKey, signatureNamespace } from "./ssh-signature.ts";

export interface Signer {
  /** The machine, as a name that ssh takes. For people: a trusted key may sign for every machine. */
  readonly name: string;
  readonly key: PublicKey;
}

/** Signers by the fingerprint of their key. */
export type Trusted = ReadonlyMap<string, Signer>;

export type PointSignature =
  | { readonly status: "trusted"; readonly fingerprint: string; readonly signer: string }
  | { readonly status: "unknown_signer"; readonly fingerprint: string }
  /** `fingerprint`: of the key that it says it was made with; null where that cannot be read. */
  | { readonly status: "bad"; readonly fingerprint: string | null; readonly reason: string }
  | { readonly status: "unsigned" };

export function judgeSignature(manifest: Manifest, trusted: Trusted): PointSignature {
  return judgeText(signedText(manifest), manifest.signature, trusted);
}

export function judgeText(text: string, signature: string | null, trusted: Trusted): PointSignature {
  if (signature === null) return { status: "unsigned" };
  const check = checkSignature(text, signature);
  const fingerprint = check.key === undefined ? null : fingerprintOf(check.key);
  if (!check.isGood || fingerprint === null) return { status: "bad", fingerprint, reason: check.isGood ? "it has no key" : check.reason };
  const signer = trusted.get(fingerprint);
  return signer === undefined ? { status: "unknown_signer", fingerprint } : { status: "trusted", fingerprint, signer: signer.name };
}

/** Who signed it; undefined where nobody did, or the signature does not hold. */
export function signerOf(manifest: Manifest): Signer | undefined {
  if (manifest.signature === null) return undefined;
  const check = checkSignature(signedText(manifest), manifest.signature);
  return check.isGood ? { name: machineName(manifest.machine), key: check.key } : undefined;
}

/** Empty where there is no such file. Throws `io_failed` where it cannot be read: then nobody would be trusted, and nobody told why. */
export function readSigners(file: string): Map<string, Signer> {
  try {
    return parseSigners(readFileSync(file, "utf8"));
  } catch (error) {
    if (systemCode(error) === "ENOENT") return new Map();
    throw new BackupError("io_failed", `cannot read ${file}: ${systemCode(error)}`, { cause: error });
  }
}

/** Appends those whose key is not in it yet, and gives them. `why` becomes the comment of their lines. */
export function addSigners(file: string, signers: readonly Signer[], why: string): Signer[] {
  const known = new Set(readSigners(file).keys());
  const added = signers.filter(({ key }) => {
    const fingerprint = fingerprintOf(key);
    return !known.has(fingerprint) && known.add(fingerprint);
  });
  if (added.length === 0) return [];
  mkdirSync(dirname(file), { recursive: true });
  // The line end comes first as well: a line that an editor or a killed run left without one must not swallow ours.
  appendFileSync(file, added.map((signer) => `\n${signerLine(signer, why)}`).join(""));
  return added;
}

function signerLine({ name, key }: Signer, why: string): string {
  return `${name} namespaces="${signatureNamespace}" ssh-ed25519 ${key.toString("base64")} ${why.replaceAll(/\s+/g, " ")}\n`;
}

/**
 * Lines with any other option than a namespace are left out: a certificate authority or a time that we do not look at must
 * not make a key count for more than ssh would.
 */
function parseSigners(text: string): Map<string, Signer> {
  const signers = new Map<string, Signer>();
  for (const line of text.split("\n")) {
    const match = /^\s*([^\s#"][^\s"]*)\s+(?:namespaces="([^"]*)"\s+)?ssh-ed25519\s+(\S+)/.exec(line);
    if (match === null) continue;
    const [, name = "", namespaces, base64 = ""] = match;
    const key = parsePublicKey(base64);
    if (key !== undefined && (namespaces ?? signatureNamespace).split(",").includes(signatureNamespace))
      signers.set(fingerprintOf(key), { name, key });
  }
  return signers;
}
