import { openApp } from "../../app.ts";
import { exitCodes } from "../../core/errors.ts";
import { findUnknownSigners, trustSigner } from "../../tasks/signers.ts";
import type { CommandContext } from "./context.ts";
import { count, path } from "./words.ts";

/** `key trust FINGERPRINT`; without one it lists those that could be meant. */
export async function keyTrust({ cwd, output }: CommandContext, fingerprint: string | undefined): Promise<number> {
  const app = await openApp(cwd);
  if (fingerprint === undefined) {
    const unknown = await findUnknownSigners(app);
    for (const { name, fingerprint: print, points, newest, store } of unknown) {
      output.line(`${print}  says that it is ${path(name)}: ${count(points, "point")} in the store ${store}, the newest ${newest}`);
      output.line(`    holdfast key trust ${print}`);
    }
    if (unknown.length === 0) output.line("Every signed point is of a key that this machine trusts.");
    output.json({ unknown });
    return unknown.length === 0 ? exitCodes.done : exitCodes.partial;
  }
  const { signer, isNew } = await trustSigner(app, fingerprint);
  output.line(
    isNew ? `The points of ${path(signer.name)} are trusted from now on (${signer.fingerprint}).` : `${path(signer.name)} is trusted already.`,
  );
  output.json({ trusted: signer, isNew });
  return exitCodes.done;
}
