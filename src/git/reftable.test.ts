import { expect, test } from "vitest";
import { parseReflogs } from "./reftable.ts";

const [one, two] = ["1".repeat(40), "2".repeat(40)];

/** As `git log -z` prints entries, newest first. */
function printed(...entries: readonly [selector: string, oid: string, message: string][]): string {
  return entries.map(([selector, oid, message]) => `${selector}\0${oid}\0A B\0a@b\0${message}\0\0`).join("");
}

test("reflogs become the text of reflog files, each entry with the one before it", () => {
  const output = printed(
    ["refs/heads/main@{1795246809 +0100}", two, "commit: two"],
    ["HEAD@{1795246809 +0100}", two, "commit: two"],
    ["worktrees/w/HEAD@{1795246808 +0000}", one, ""],
    ["refs/heads/main@{1795246808 +0000}", one, "commit (initial): one"],
  );
  expect(Object.fromEntries(parseReflogs(output))).toEqual({
    "refs/heads/main": `${"0".repeat(40)} ${one} A B <a@b> 1795246808 +0000\tcommit (initial): one\n${one} ${two} A B <a@b> 1795246809 +0100\tcommit: two\n`,
    HEAD: `${"0".repeat(40)} ${two} A B <a@b> 1795246809 +0100\tcommit: two\n`,
    "worktrees/w/HEAD": `${"0".repeat(40)} ${one} A B <a@b> 1795246808 +0000\t\n`,
  });
  expect(parseReflogs("").size).toBe(0);
  expect(parseReflogs("nonsense\0\0\0\0\0\0").size).toBe(0);
});
