/**
 * Which refs a mirror gets, and what they are called there. Pure.
 *
 * A ref of this repository is *here* (`refs/heads/main`), its name on the remote is *there*: the same, or
 * `refs/holdfast/MACHINE/heads/main` where the mirror is namespaced. A kept tip is
 * `refs/holdfast/kept/20261121T143005Z/heads/main` (namespaced: below the namespace): when, and what stood there.
 */
import type { MirrorMode } from "../core/config.ts";

/** Full ref name to oid. */
export type Tips = ReadonlyMap<string, string>;

export interface Layout {
  readonly mode: MirrorMode;
  /** What `refs/` is called there. Ends in a slash. */
  readonly root: string;
  /** Where old tips are kept. Ends in a slash. */
  readonly keptPrefix: string;
  /** Names there that an exact mirror does not take for its own: branches that hold recovery points. */
  readonly reserved: ReadonlySet<string>;
}

/** `machine` is one component of a ref; see core/machine-name.ts. */
export function layoutOf(mode: MirrorMode, machine: string, reserved: Iterable<string> = []): Layout {
  const root = mode === "namespaced" ? `refs/holdfast/${machine}/` : "refs/";
  return { mode, root, keptPrefix: mode === "namespaced" ? `${root}kept/` : "refs/holdfast/kept/", reserved: new Set(reserved) };
}

/** For `for-each-ref`: everything that any of the modes mirrors. */
export function prefixesHere(modes: readonly MirrorMode[]): string[] {
  return modes.includes("exact") ? ["refs"] : ["refs/heads", "refs/tags"];
}

/** For `ls-remote`: everything that a run must know about the remote; empty for all refs. */
export function patternsThere({ mode, root, keptPrefix }: Layout): string[] {
  if (mode === "exact") return [];
  return mode === "namespaced" ? [`${root}*`] : ["refs/heads/*", "refs/tags/*", `${keptPrefix}*`];
}

/** The tips of this repository that are mirrored, by their names there. */
export function tipsThere(layout: Layout, here: Tips): Map<string, string> {
  const tips = [...here].map(([ref, oid]): [string, string] => [layout.root + ref.slice("refs/".length), oid]);
  return new Map(tips.filter(([name]) => isMirrored(layout, name)));
}

/** What the ref that is called `name` there is called here. */
export function nameHere(layout: Layout, name: string): string {
  return `refs/${name.slice(layout.root.length)}`;
}

/** Whether `name`, a name there, is a ref of the mirror. */
export function isMirrored(layout: Layout, name: string): boolean {
  if (!name.startsWith(layout.root)) return false;
  const ref = nameHere(layout, name);
  if (layout.mode !== "exact") return /^refs\/(?:heads|tags)\//.test(ref);
  // `refs/stash` is of one level only: git refuses to push it, and a stash may hold what nobody meant to publish.
  return /^refs\/[^/]+\//.test(ref) && !notMirrored.some((prefix) => ref.startsWith(prefix));
}

/** An exact mirror is ours alone: whatever stands at `name` may be replaced, once it is kept. */
export function isOursAlone(layout: Layout, name: string): boolean {
  return layout.mode === "exact" && !layout.reserved.has(name) && !name.startsWith(storePrefix);
}

export function isTag(layout: Layout, name: string): boolean {
  return name.startsWith(`${layout.root}tags/`);
}

/** Where the old tip of `name` is kept. */
export function keptName(layout: Layout, name: string, at: Date): string {
  const stamp = `${at.toISOString().slice(0, 19).replaceAll(/[-:]/g, "")}Z`;
  return `${layout.keptPrefix}${stamp}/${name.slice(layout.root.length)}`;
}

export interface KeptName {
  /** The name there that the tip was taken from. */
  readonly name: string;
  /** By the clock of the machine that kept it. */
  readonly at: Date;
}

/** Undefined when `kept` is no name of a kept tip. */
export function parseKept(layout: Layout, kept: string): KeptName | undefined {
  if (!kept.startsWith(layout.keptPrefix)) return undefined;
  const match = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z\/(.+)$/.exec(kept.slice(layout.keptPrefix.length));
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1, 7);
  const at = new Date(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
  return Number.isNaN(at.getTime()) ? undefined : { name: layout.root + match[7], at };
}

/** The usual place of branch stores, of whatever machine. */
const storePrefix = "refs/heads/holdfast/";

/** Of one worktree, of other remotes, of ours; and what hosts write themselves and let nobody push. */
const notMirrored = [
  "refs/remotes/", "refs/prefetch/", "refs/holdfast/", "refs/bisect/", "refs/worktree/", "refs/rewritten/",
  "refs/pull/", "refs/pull-requests/", "refs/merge-requests/", "refs/keep-around/", "refs/environments/", "refs/pipelines/",
  "refs/changes/", "refs/for/", "refs/cache-automerge/", "refs/meta/", "refs/users/",
]; // biome-ignore format: read as groups
