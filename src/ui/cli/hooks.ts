import { openApp } from "../../app.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import { uninstallHooks } from "../../hooks/install.ts";
import { hooksStatus } from "../../hooks/status.ts";
import { installHere } from "../../tasks/protect.ts";
import type { CommandContext } from "./context.ts";
import { table } from "./words.ts";

export async function hooks({ cwd, output }: CommandContext, { everyRef }: { readonly everyRef?: boolean }, action = ""): Promise<number> {
  const app = await openApp(cwd);
  switch (action) {
    case "install": {
      const { place, hooks: changed } = await installHere(app.repository, everyRef);
      const count = changed.filter(({ change }) => change !== "none").length;
      output.line(
        count === 0 ? `All ${changed.length} hooks are installed already (${place.folder}).` : `Installed ${count} hooks in ${place.folder}.`,
      );
      if (place.isShared) output.line("Other repositories use this folder too (core.hooksPath): in them the hooks do nothing.");
      output.json({ folder: place.folder, manager: place.manager, shared: place.isShared, hooks: changed });
      return exitCodes.done;
    }
    case "uninstall": {
      const removed = await uninstallHooks(app.repository);
      output.line(removed.length === 0 ? "No hooks were installed." : `Removed ${removed.length} hooks; the files are as they were before.`);
      output.json({ removed });
      return exitCodes.done;
    }
    case "status": {
      const status = await hooksStatus(app.repository);
      for (const line of table(status.hooks.map(({ name, state, path }) => [name, state.replace("_", " "), path]))) output.line(line);
      output.line(`trigger: ${status.trigger.state.replace("_", " ")} (${status.trigger.path})`);
      output.json({ ...status });
      const isFiring = status.hooks.every(({ state }) => state === "installed") && status.trigger.state === "ready";
      return isFiring ? exitCodes.done : exitCodes.partial;
    }
    default:
      throw new BackupError("usage", `there is no hooks ${action}`, { hint: "holdfast hooks install|uninstall|status" });
  }
}
