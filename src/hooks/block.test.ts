import { spawnSync } from "node:child_process";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  addBlock as addTo,
  block,
  hasBlock,
  isOwnHook,
  isShellScript,
  isWrapperHook,
  ownHook as ownHookOf,
  refBlock,
  removeBlock,
  wrapperHook as wrapperHookOf,
} from "./block.ts";

const addBlock = (text: string): string => addTo(text, block);
const [ownHook, wrapperHook] = [ownHookOf("post-commit"), wrapperHookOf("post-commit")];

const [firstLine = "", lastLine = ""] = [block.split("\n").at(0), block.split("\n").at(-1)];

/** Texts near the edges: shebangs, marker lines alone, every kind of line end, none at the end. */
const piece = fc.constantFrom("#!/bin/sh", "#!/usr/bin/env bash", "exit 1", "\n", "\r\n", "\r", "", " ", firstLine, lastLine, "é\xff\0");
const hostile = fc.array(fc.oneof(piece, fc.string({ unit: "binary" })), { maxLength: 8 }).map((pieces) => pieces.join(""));
const withoutBlock = hostile.filter((text) => !hasBlock(text));

describe("the block in a text", () => {
  test("comes out without a trace", () => {
    fc.assert(
      fc.property(withoutBlock, (text) => {
        expect(removeBlock(addBlock(text))).toBe(text);
      }),
      { numRuns: 2000 },
    );
  });

  test("goes in once", () => {
    fc.assert(
      fc.property(hostile, (text) => {
        const once = addBlock(text);
        expect(hasBlock(once)).toBe(true);
        expect(addBlock(once)).toBe(once);
      }),
    );
  });

  test("stands before anything that may exit, and below the shebang", () => {
    expect(addBlock("#!/bin/bash\nexit 1\n")).toBe(`#!/bin/bash\n${block}\nexit 1\n`);
    expect(addBlock("npm test\n")).toBe(`${block}\nnpm test\n`);
    expect(addBlock("#!/bin/sh")).toBe(`#!/bin/sh\n${block}`);
    expect(addBlock("")).toBe(`${block}\n`);
  });

  test("of an older version is replaced where it stands", () => {
    const old = `#!/bin/sh\nfirst\n${firstLine}\nold words\n${lastLine}\nlast\n`;
    expect(addBlock(old)).toBe(`#!/bin/sh\nfirst\n${block}\nlast\n`);
    expect(removeBlock(old)).toBe("#!/bin/sh\nfirst\nlast\n");
  });

  test("comes out after git has turned it into CRLF", () => {
    expect(removeBlock(addBlock("npm test\n").replaceAll("\n", "\r\n"))).toBe("npm test\r\n");
  });
});

test("the block of reference-transaction comes out as any other, and is replaced by it", () => {
  expect(refBlock).not.toBe(block);
  for (const text of ["", "#!/bin/sh", "#!/bin/bash -e\nexit 1\n"]) expect(removeBlock(addTo(text, refBlock))).toBe(text);
  expect(addTo(addBlock("x\n"), refBlock)).toBe(addTo("x\n", refBlock));
  expect([isOwnHook(ownHookOf("reference-transaction")), isWrapperHook(wrapperHookOf("reference-transaction"))]).toEqual([true, true]);
});

test("a file is ours when only the block is in it", () => {
  expect([ownHook, `${block}\n`, addBlock(""), addBlock("#!/bin/sh\n")].map(isOwnHook)).toEqual([true, true, true, true]);
  expect([addBlock("npm test\n"), wrapperHook, "#!/bin/sh\n", ""].map(isOwnHook)).toEqual([false, false, false, false]);
  expect(isWrapperHook(wrapperHook)).toBe(true);
  expect(isWrapperHook(ownHook)).toBe(false);
});

test("shells are told from other languages by the shebang", () => {
  for (const line of [
    "#!/bin/sh",
    "#! /bin/bash -eu",
    "#!/usr/bin/env zsh",
    "#!/usr/bin/env -S bash -e",
    "#!/bin/busybox sh",
    "echo no shebang",
    "",
  ]) {
    expect(isShellScript(`${line}\n`)).toBe(true);
  }
  for (const text of ["#!/usr/bin/env python3\n", "#!/usr/bin/env node\n", "#!/usr/bin/fish\n", "\x7fELF\0", "#!/opt/sh/perl\n"])
    expect(isShellScript(text)).toBe(false);
});

test.each(["dash", "bash"])("%s finds no fault in what we write into hooks", (shell) => {
  for (const script of [ownHook, wrapperHook, ownHookOf("reference-transaction"), wrapperHookOf("reference-transaction")]) {
    const { status, error } = spawnSync(shell, ["-n"], { input: script });
    if (error === undefined) expect(status).toBe(0);
  }
});
