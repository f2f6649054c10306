/** Volumes in memory that are soon full. Needs root, and a system that knows tmpfs. */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { needs } from "./needs.ts";
import { tempDir } from "./repo.ts";

/** Whether `smallDisk` works here; noted as missing for `purpose` where not. */
export function hasSmallDisks(purpose: string): boolean {
  return needs("a mounted tmpfs", purpose, () => process.getuid?.() === 0 && canMount());
}

function canMount(): boolean {
  using dir = tempDir();
  if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", dir.path]).status !== 0) return false;
  return spawnSync("umount", [dir.path]).status === 0;
}

export interface SmallDisk extends Disposable {
  readonly path: string;
}

/** Puts what lies in `folder` on a volume of its own; `size` as mount takes it. */
export function smallDisk(folder: string, size: string): SmallDisk {
  const kept = `${folder}-kept`;
  if (existsSync(folder)) renameSync(folder, kept);
  mkdirSync(folder);
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${size}`, "tmpfs", folder]);
  if (existsSync(kept)) execFileSync("cp", ["-a", `${kept}/.`, folder]);
  rmSync(kept, { recursive: true, force: true });
  return { path: folder, [Symbol.dispose]: () => void execFileSync("umount", ["-l", folder]) };
}

/** Leaves room for so many bytes until it is disposed of. */
export function fillUp(disk: SmallDisk, room: number): Disposable {
  const filler = join(disk.path, "filler");
  writeFileSync(filler, Buffer.alloc(Math.max(0, freeBytes(disk.path) - room)));
  return { [Symbol.dispose]: () => rmSync(filler) };
}

export function freeBytes(folder: string): number {
  const [, , , available = ""] = (execFileSync("df", ["-PB1", folder], { encoding: "utf8" }).split("\n")[1] ?? "").split(/\s+/);
  return Number(available);
}
