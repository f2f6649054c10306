/** The files of a restored folder. */
import { readdirSync } from "node:fs";
import { decodePath, encodePath } from "../core/paths.ts";

/** Every file and symlink below `root`, without the .git (folder, or file of a linked worktree) at its top; names of any bytes. */
export function* listTree(root: string): Generator<string> {
  const waiting = [""];
  for (let folder = waiting.pop(); folder !== undefined; folder = waiting.pop()) {
    const full = folder === "" ? root : `${root}/${folder}`;
    for (const entry of readdirSync(encodePath(full), { withFileTypes: true, encoding: "buffer" })) {
      const name = decodePath(entry.name);
      const path = folder === "" ? name : `${folder}/${name}`;
      if (path === ".git") continue;
      if (entry.isDirectory()) waiting.push(path);
      else yield path;
    }
  }
}
