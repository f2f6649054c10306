/** The process: arguments, signals, exit code. Node ends by itself: process.exit() would cut output that is still in a pipe. */
import { BackupError } from "./core/errors.ts";
import { runCli } from "./ui/cli/program.ts";

export async function main(args: readonly string[]): Promise<void> {
  const controller = new AbortController();
  const interrupt = (): void => {
    // The second time the user means it: the default ends the process.
    process.removeListener("SIGINT", interrupt).removeListener("SIGTERM", interrupt);
    controller.abort(new BackupError("interrupted", "interrupted"));
  };
  process.on("SIGINT", interrupt).on("SIGTERM", interrupt);
  process.stdout.on("error", ignoreClosedPipe);
  process.exitCode = await runCli(args, controller.signal);
  process.removeListener("SIGINT", interrupt).removeListener("SIGTERM", interrupt);
}

/** `holdfast points | head` closes the pipe: that is no failure. */
function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== "EPIPE") throw error;
}
