/** Gives the run a folder in which tests start servers that they share (s3-server.ts), and stops these at its end. */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { TestProject } from "vitest/node";

declare module "vitest" {
  interface ProvidedContext {
    readonly servers: string;
  }
}

/** `stop` of a server knows it by the folder in which it was started. */
export function setup(project: TestProject): () => void {
  const folder = mkdtempSync(join(tmpdir(), "servers-"));
  project.provide("servers", folder);
  return () => {
    for (const name of readdirSync(folder)) {
      const script = fileURLToPath(new URL(`../../scripts/servers/${name}.sh`, import.meta.url));
      if (existsSync(script)) execFileSync(script, ["stop", join(folder, name)], { stdio: "inherit" });
    }
    rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  };
}
