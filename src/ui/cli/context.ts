import type { Output } from "./output.ts";

/** What every command gets. */
export interface CommandContext {
  readonly cwd: string;
  readonly output: Output;
  readonly signal: AbortSignal;
}
