/** Whose points are, in words. */
import type { PointSignature } from "../../keys/signers.ts";
import { type ChainSignature, type NamedSigner, refuseBadSignature } from "../../tasks/signers.ts";
import type { Output } from "./output.ts";
import { path } from "./words.ts";

/** As a row of a list; empty for what needs no word. */
export function signatureMark({ status }: PointSignature): string {
  return status === "bad" ? "BAD SIGNATURE" : status === "unknown_signer" ? "unknown signer" : "";
}

export function describeSignature(signature: PointSignature): string {
  switch (signature.status) {
    case "trusted":
      return `by ${path(signature.signer)} (${signature.fingerprint}), which this machine trusts`;
    case "unknown_signer":
      return `by ${signature.fingerprint}, which this machine does not know; if it is yours: holdfast key trust ${signature.fingerprint}`;
    case "bad":
      return `the signature does NOT hold: ${signature.reason}`;
    case "unsigned":
      return "no";
    default:
      return signature satisfies never;
  }
}

/** Says whose the points of a restore are. Throws `signature_bad`, unless `isForced`: then it is a warning. */
export function tellSignature(signature: ChainSignature, output: Output, isForced: boolean): void {
  if (!isForced) refuseBadSignature(signature);
  if (signature.status === "trusted") output.note(`Signed ${describeSignature(signature)}.`);
  else if (signature.status === "unsigned") output.note(`Point ${signature.point} is not signed: nothing shows who made it.`);
  else if (signature.status === "bad") output.warn(`point ${signature.point}: ${describeSignature(signature)}; going on because of --force`);
  else output.warn(`point ${signature.point} is signed ${describeSignature(signature)}`);
}

export function tellNewSigners(signers: readonly NamedSigner[], store: string, output: Output): void {
  for (const { name, fingerprint } of signers)
    output.note(`First use of the store ${store}: the key of ${path(name)} is trusted from now on, ${fingerprint}`);
}
