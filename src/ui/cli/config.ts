import { openApp } from "../../app.ts";
import { writeConfig } from "../../core/config-text.ts";
import { BackupError, exitCodes } from "../../core/errors.ts";
import type { CommandContext } from "./context.ts";

/** Opening the repository reads and checks the settings: what is wrong with them is thrown there, with its lines. */
export async function config({ cwd, output }: CommandContext, _options: object, action = ""): Promise<number> {
  const app = await openApp(cwd);
  if (action !== "show" && action !== "check") throw new BackupError("usage", `there is no config ${action}`, { hint: "holdfast config show|check" });
  if (action === "check")
    output.line(app.configFile.exists ? `${app.configFile.path} is fine.` : `There is no ${app.configFile.path}; holdfast init --yes makes one.`);
  else output.line(writeConfig(app.config).trimEnd());
  output.json({ file: app.configFile.path, exists: app.configFile.exists, config: app.config });
  return exitCodes.done;
}
