import { exitCodes } from "../../core/errors.ts";
import { runHookWorker } from "../../tasks/worker.ts";
import type { CommandContext } from "./context.ts";

export async function worker({ signal }: CommandContext, _options: object, gitDir = ""): Promise<number> {
  await runHookWorker(gitDir, signal);
  return exitCodes.done;
}
