/** `--identity FILE`, for every command that may read what is encrypted. */
import { resolve } from "node:path";
import type { KeyNews } from "../../tasks/encryption.ts";
import type { Output } from "./output.ts";

export interface IdentityOption {
  readonly identity?: string;
}

/** The option wins over HOLDFAST_IDENTITY, wherever that stands. */
export function environmentWith({ identity }: IdentityOption, cwd: string): NodeJS.ProcessEnv {
  return identity === undefined ? process.env : { ...process.env, HOLDFAST_IDENTITY: resolve(cwd, identity) };
}

/** The option alone, to be handed on. */
export function withIdentity({ identity }: IdentityOption): IdentityOption {
  return identity === undefined ? {} : { identity };
}

/** What somebody whose points are encrypted from now on must know. */
export function reportKey({ isNew, file, recipients, isHere }: KeyNews, output: Output): void {
  output.line("Points are encrypted from now on.");
  output.line(`  key        ${file}${isNew ? " (made now)" : ""}`);
  output.line(`  recipient  ${recipients.join("\n             ")}`);
  if (!isHere) output.warn(`there is no key at ${file}: make sure that you have it elsewhere; nobody can open these points without it`);
  output.line("  Without the key nothing opens, on this machine or any other. Print it, and keep it off this machine:");
  output.line("    holdfast key kit");
}
