/** The name of a machine as one component of a ref. Pure. */

/** Names that stand below `refs/holdfast/` already. */
const taken: ReadonlySet<string> = new Set(["backup", "incoming", "kept", "remote", "stash"]);

/**
 * `Anna's-MacBook.local` gives `anna-s-macbook.local`: lower case, letters, digits, dots and dashes, as
 * git-check-ref-format(1) and file systems without case want it. Always the same for the same host name, never empty.
 */
export function machineName(hostname: string): string {
  const safe = hostname
    .toLowerCase()
    .replaceAll(/[^a-z0-9.-]+/g, "-")
    .replaceAll(/[.-]{2,}/g, "-")
    .slice(0, 100)
    .replaceAll(/^[.-]+|[.-]+$/g, "");
  if (safe === "") return "machine";
  return taken.has(safe) || safe.endsWith(".lock") ? `${safe}-machine` : safe;
}
