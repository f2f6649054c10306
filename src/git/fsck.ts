/** git's own check of a repository. */
import { git } from "./run.ts";

/** What `git fsck --full` finds wrong; empty when every object is whole and every link leads somewhere. */
export async function checkRepository(gitDir: string, signal?: AbortSignal | undefined): Promise<string[]> {
  const { code, stdout, stderr } = await git(["--git-dir", gitDir, "fsck", "--full", "--no-dangling", "--no-progress"], {
    okCodes: Array.from({ length: 256 }, (_, any) => any),
    signal,
  });
  if (code === 0) return [];
  // Warnings about how an old tool wrote something (zero-padded modes) come with exit 0 or beside real errors.
  const lines = `${stdout.toString("utf8")}\n${stderr}`.split("\n").filter((line) => /^(?:error|fatal|missing|broken)/.test(line));
  return lines.length === 0 ? [`git fsck ended with ${code}`] : lines.slice(0, 20).map((line) => `git fsck: ${line}`);
}
