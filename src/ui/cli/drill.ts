import { openApp } from "../../app.ts";
import { errorKinds, exitCodes } from "../../core/errors.ts";
import type { DrillEvidence, Drilled } from "../../drill/evidence.ts";
import { drillNow } from "../../tasks/drill.ts";
import type { CommandContext } from "./context.ts";
import { environmentWith, type IdentityOption } from "./identity.ts";
import type { Output } from "./output.ts";
import { tellNewSigners } from "./signatures.ts";
import { bytes, count, path, span } from "./words.ts";

interface DrillOptions extends IdentityOption {
  readonly store?: string;
  readonly check?: string;
}

export async function drill({ cwd, output, signal }: CommandContext, options: DrillOptions): Promise<number> {
  const app = await openApp(cwd, environmentWith(options, cwd));
  const evidence = await drillNow(app, {
    store: options.store,
    check: options.check,
    signal,
    onStep: (step) => output.progress(`${step} …`),
    onNewSigners: (signers, store) => tellNewSigners(signers, store, output),
  });
  print(evidence, output);
  output.json({ drill: evidence });
  return evidence.isProven ? exitCodes.done : errorKinds.mismatch.exit;
}

function print({ store, isOffsite, isProven, points, recoveryMs, pointAgeMs, error }: DrillEvidence, output: Output): void {
  output.line(`${isProven ? "PROVEN" : "NOT PROVEN"}  ${store}${isOffsite ? " (off-site)" : ""}`);
  if (error !== null) output.line(`  it could not be carried out: ${path(error)}`);
  for (const point of points) printPoint(point, output);
  if (recoveryMs !== null) output.line(`Recovery time: ${span(recoveryMs)} until the newest point stood there, compared.`);
  if (pointAgeMs !== null) output.line(`Recovery point: the newest point there is ${span(pointAgeMs)} old.`);
  if (!isProven) output.line("Try another copy: holdfast drill --store NAME; holdfast store list shows them.");
}

function printPoint(
  { id, role, restoreMs, files, refs, bytes: size, fsck, databases, check, findings, problems, signature }: Drilled,
  output: Output,
): void {
  const checked = [
    `${count(files, "file")} (${bytes(size)}) and ${count(refs, "ref")} in ${span(restoreMs)}`,
    ...(fsck ? [] : ["not checked by git"]),
    ...(databases === 0 ? [] : [count(databases, "database")]),
    ...(signature === null ? [] : [describeSigner(signature)]),
    ...(check === null ? [] : [`your check in ${span(check.ms)}`]),
  ].join(", ");
  output.line(`  ${role.padEnd(6)}  ${id}: ${checked}${findings.length === 0 ? ", all as captured" : ""}`);
  for (const finding of findings) output.line(`    - ${finding}`);
  if (problems > 0) output.line(`    the point itself was partial: holdfast show ${id}`);
}

function describeSigner({ status, signer, fingerprint }: NonNullable<Drilled["signature"]>): string {
  switch (status) {
    case "trusted":
      return `signed by ${path(signer ?? "")}`;
    case "unknown_signer":
      return `signed by a key that this machine does not know (${fingerprint}; holdfast key trust)`;
    case "bad":
      return "BAD SIGNATURE";
    case "unsigned":
      return "not signed";
    default:
      return status satisfies never;
  }
}
