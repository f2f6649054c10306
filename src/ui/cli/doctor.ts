import { openApp } from "../../app.ts";
import { exitCodes } from "../../core/errors.ts";
import { examine } from "../../tasks/doctor.ts";
import type { CommandContext } from "./context.ts";

export async function doctor({ cwd, output }: CommandContext, options: { readonly mend: boolean }): Promise<number> {
  const app = await openApp(cwd);
  const checks = await examine(app, options.mend);
  for (const { name, status, detail, hint } of checks)
    output.line(`${status.padEnd(6)}  ${name}: ${detail}${hint === undefined ? "" : `\n        hint: ${hint}`}`);
  output.json({ checks });
  return checks.every(({ status }) => status !== "wrong") ? exitCodes.done : exitCodes.partial;
}
