/** Settings that somebody else wrote. */
import type { App } from "../app.ts";
import { BackupError } from "../core/errors.ts";
import { isTracked } from "../git/index-entries.ts";
import { findRepositoryId } from "../state/repository-id.ts";

/**
 * Throws `config_invalid` for a backup.yaml that came with the repository and that nobody here agreed to: whoever
 * wrote it decides where everything goes, ignored files with secrets included.
 */
export async function refuseForeignSettings(app: App): Promise<void> {
  const { path, exists } = app.configFile;
  const { stores, mirrors, encryption } = app.config;
  if (!exists || findRepositoryId(app.state) !== undefined || (stores.length + mirrors.length === 0 && encryption === null)) return;
  if (!(await isTracked(path))) return;
  const places = [...stores.map(({ url }) => url), ...mirrors.map(({ remote }) => remote)].join(", ");
  const what = places === "" ? `encrypt everything for ${encryption?.recipients.join(", ")}` : `send everything to ${places}`;
  throw new BackupError("config_invalid", `${path} came with this repository, and would ${what}`, {
    hint: "look at it; if these are your own: holdfast init --yes --trust-config",
  });
}
