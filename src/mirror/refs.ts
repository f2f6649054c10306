/**
 * The refs of a mirror: branches and tags, and the old tips kept before they are replaced.
 * A kept tip is `refs/holdfast/kept/20261121T143005Z/heads/main`: when, and what stood there.
 */

/** Full ref name to oid. */
export type Tips = ReadonlyMap<string, string>;

/** What is mirrored, as prefixes for `for-each-ref` and, with a star, patterns for `ls-remote`. */
export const mirrored = ["refs/heads", "refs/tags"] as const;

const keptPrefix = "refs/holdfast/kept/";

/** Everything that a mirror run must know about the remote. */
export const remotePatterns: readonly string[] = [...mirrored.map((prefix) => `${prefix}/*`), `${keptPrefix}*`];

export function isMirrored(ref: string): boolean {
  return mirrored.some((prefix) => ref.startsWith(`${prefix}/`));
}

export function isTag(ref: string): boolean {
  return ref.startsWith("refs/tags/");
}

/** Where the old tip of `ref` is kept. */
export function keptName(ref: string, at: Date): string {
  const stamp = `${at.toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
  return `${keptPrefix}${stamp}/${ref.replace(/^refs\//, "")}`;
}

/** The ref that a kept tip was taken from, or undefined when `kept` is no such name. */
export function keptOf(kept: string): string | undefined {
  if (!kept.startsWith(keptPrefix)) return undefined;
  const match = /^\d{8}T\d{6}Z\/(.+)$/.exec(kept.slice(keptPrefix.length));
  return match === null ? undefined : `refs/${match[1]}`;
}
