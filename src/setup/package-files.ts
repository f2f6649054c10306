/** Files of this package that are read at run time: the hook trigger and what every store carries for the day without Holdfast. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { BackupError } from "../core/errors.ts";

/** The package's root, from wherever this code lies in it: src/ or a chunk in dist/. */
function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const parent = dirname(folder);
    if (parent === folder)
      throw new BackupError("internal", "the package's own files are not where they should be", {
        hint: "install Holdfast again, as its README says",
      });
    folder = parent;
  }
  return folder;
}

/** The built program: what hooks and detached workers start with Node. */
export function programFile(): string {
  return join(packageRoot(), "dist/bin/holdfast.js");
}

export function readPackageFile(path: string): string {
  return readFileSync(join(packageRoot(), path), "utf8");
}
