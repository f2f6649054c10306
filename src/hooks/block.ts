/**
 * The lines that go into hook files, the same on every machine: a team may have them in its repository
 * (.husky/), and where Holdfast is not installed they do nothing. Pure text; a hook's bytes are read as
 * latin1, so that any of them survives.
 */

import { refHook } from "./events.ts";

const first = "# >>> holdfast >>>";
const last = "# <<< holdfast <<<";

/**
 * A subshell, so that nothing of ours shows in the user's hook; all files on /dev/null, so that the user's
 * stdin stays unread; `|| :`, so that `sh -e` goes on. No process in an ordinary repository; one git in a
 * linked worktree, a submodule or a bare repository.
 */
export const block = `${first}
# Holdfast backs this repository up. \`holdfast hooks uninstall\` takes these lines out.
(
  holdfast_event=\${0##*/} holdfast_dir=.git
  [ "\${GIT_DIR:-.git}" = .git ] && [ -d .git ] || holdfast_dir=$(git rev-parse --git-common-dir)
  [ ! -f "$holdfast_dir/holdfast/hook" ] || . "$holdfast_dir/holdfast/hook"
) </dev/null >/dev/null 2>&1 || :
${last}`;

/** The same for reference-transaction, which git runs in every phase of a change: only the last one counts. */
export const refBlock = block.replace("\n(\n", `\n[ "$\{1-}" != committed ] || (\n`);

export function blockOf(hook: string): string {
  return hook === refHook ? refBlock : block;
}

/** A hook of our own where the user has none. */
export function ownHook(hook: string): string {
  return `#!/bin/sh\n${blockOf(hook)}\n`;
}

/** Where a hook that is not a shell script, or one that is switched off, waits beside ours. */
export const asideSuffix = ".holdfast-user";

/** Ours, in front of a hook that was moved aside: arguments, stdin and the result are its own. */
export function wrapperHook(hook: string): string {
  return `${ownHook(hook)}${wrapped}`;
}

const wrapped = `[ -x "$0${asideSuffix}" ] || exit 0\nexec "$0${asideSuffix}" "$@"\n`;

/**
 * The text with our block: at the top, below the shebang, since a user's hook may end anywhere by `exit` or
 * `exec`. A block that is there, of this or another version, is replaced where it stands.
 */
export function addBlock(text: string, added: string): string {
  const found = findBlock(text);
  if (found !== undefined) return text.slice(0, found.start) + added + text.slice(found.end);
  if (!text.startsWith("#!")) return `${added}\n${text}`;
  const lineEnd = text.indexOf("\n") + 1;
  // A shebang alone, without a line end: the one we need before the block is ours, and there is none after it.
  if (lineEnd === 0) return `${text}\n${added}`;
  return `${text.slice(0, lineEnd)}${added}\n${text.slice(lineEnd)}`;
}

/** The text without our block: exactly what `addBlock` was given. A text without one comes back as it is. */
export function removeBlock(text: string): string {
  const found = findBlock(text);
  if (found === undefined) return text;
  // git may have made it CRLF on a checkout.
  const lineEnd = /^\r?\n/.exec(text.slice(found.end, found.end + 2));
  if (lineEnd !== null) return text.slice(0, found.start) + text.slice(found.end + lineEnd[0].length);
  return text.slice(0, Math.max(0, found.start - 1)) + text.slice(found.end);
}

export function hasBlock(text: string): boolean {
  return findBlock(text) !== undefined;
}

/** True when nothing but our block, and perhaps a shebang, is in it: such a file is ours. */
export function isOwnHook(text: string): boolean {
  return hasBlock(text) && /^(#!\/bin\/sh\n?)?$/.test(removeBlock(text));
}

export function isWrapperHook(text: string): boolean {
  return hasBlock(text) && removeBlock(text) === `#!/bin/sh\n${wrapped}`;
}

/** True for what runs as a POSIX-like shell script: by its shebang, or as git runs a text that has none. */
export function isShellScript(text: string): boolean {
  if (!text.startsWith("#!")) return !text.includes("\0");
  const words = (text.split("\n", 1)[0] ?? "").slice(2).trim().split(/\s+/);
  return words.some((word) => /(^|\/)(sh|bash|dash|ash|zsh|ksh|ksh93|mksh)(\.exe)?$/.test(word));
}

/** From the first marker line to the end of the first closing one after it, without the line end. */
function findBlock(text: string): { readonly start: number; readonly end: number } | undefined {
  // Lines end at LF only: to `^` and `$` a lone CR would be a line end too.
  const match = /(?<![^\n])# >>> holdfast >>>\r?\n(?:.*?\n)?# <<< holdfast <<<(?=\r?\n|$)/s.exec(text);
  return match === null ? undefined : { start: match.index, end: match.index + match[0].length };
}
