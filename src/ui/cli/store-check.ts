import type { App } from "../../app.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import type { StoreFact } from "../../stores/store.ts";
import { type CheckOutcome, checkStore } from "../../tasks/store-check.ts";
import type { CommandContext } from "./context.ts";
import { count } from "./words.ts";

/** `store check NAME`: exit 3 where a promise or a setting does not hold. */
export async function storeCheck({ app, output, signal }: Omit<CommandContext, "cwd"> & { readonly app: App }, name?: string): Promise<number> {
  if (name === undefined) throw new BackupError("usage", "which store?", { hint: `holdfast store check ${app.config.stores[0]?.name ?? "NAME"}` });
  const result = await checkStore(app, name, { signal, onCheck: (check) => output.progress(`checking: ${check} …`) });
  for (const check of result.checks) output.line(describeCheck(check));
  if (result.facts.length > 0) output.line();
  for (const fact of result.facts) output.line(describeFact(fact));
  output.line();
  const failed = result.checks.filter(({ status }) => status === "failed").length + result.facts.filter(({ isWrong }) => isWrong).length;
  const isTried = result.facts.length > 0;
  const well = isTried ? `${result.store} keeps what a store promises.` : `${result.store}: nothing wrong was found.`;
  output.line(result.isWell ? well : `${result.store}: ${count(failed, "thing")} to look at.`);
  output.json({ ...result });
  return result.isWell ? exitCodes.done : exitCodes.partial;
}

function describeCheck({ name, status, message }: CheckOutcome): string {
  return `  ${status.padEnd(8)} ${name}${message === undefined ? "" : `: ${message}`}`;
}

function describeFact({ what, answer, isWrong, note }: StoreFact): string {
  return `  ${(isWrong === true ? `${answer} (!)` : answer).padEnd(8)} ${what}${note === undefined ? "" : `: ${note}`}`;
}
