import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { gitRepo } from "../../test/support/repo.ts";
import { parseBundleHeader, withoutHeader } from "./bundle-header.ts";

const [a, b] = ["a".repeat(40), "b".repeat(40)];
const parse = (text: string) => parseBundleHeader(Buffer.from(text, "latin1"), "x.bundle");

describe("a bundle's header", () => {
  test("tells prerequisites, refs in their order, and where the pack begins", () => {
    const text = `# v2 git bundle\n-${a} a subject - with ${b}\n${b} refs/heads/main\n${a} HEAD\n\nPACK\n\n`;
    expect(parse(text)).toEqual({
      prerequisites: [a],
      refs: [
        { name: "refs/heads/main", oid: b },
        { name: "HEAD", oid: a },
      ],
      packOffset: text.indexOf("PACK"),
    });
  });

  test("of version 3 may name an object format, and have longer ids", () => {
    const oid = "c".repeat(64);
    expect(parse(`# v3 git bundle\n@object-format=sha256\n${oid} refs/heads/main\n\n`)?.refs).toEqual([{ name: "refs/heads/main", oid }]);
  });

  test("is taken off, wherever the pieces are cut", async () => {
    const text = Buffer.from(`# v2 git bundle\n${b} HEAD\n\nPACK\n\nrest`);
    for (let cut = 0; cut <= text.length; cut += 1) {
      const pieces = (async function* () {
        yield text.subarray(0, cut);
        yield text.subarray(cut);
      })();
      let pack = "";
      for await (const piece of withoutHeader(pieces, "x.bundle")) pack += piece.toString();
      expect(pack).toBe("PACK\n\nrest");
    }
  });

  test("may hold nothing", () => {
    expect(parse("# v2 git bundle\n\nPACK")).toEqual({ prerequisites: [], refs: [], packOffset: 17 });
  });

  test("is undefined until all of it is there", () => {
    const text = `# v2 git bundle\n${a} refs/heads/main\n\n`;
    for (let end = 0; end < text.length; end += 1) expect(parse(text.slice(0, end))).toBeUndefined();
    expect(parse(text)).toBeDefined();
  });

  test.each([
    "# v4 git bundle\n\n",
    "PACK\n\n",
    "<html>\n\n",
    `# v2 git bundle\n${a.slice(1)} refs/heads/main\n\n`,
    `# v2 git bundle\n${a}\n\n`,
    `# v2 git bundle\n${a.toUpperCase()} refs/heads/main\n\n`,
    `# v3 git bundle\n@filter=blob:none\n${a} refs/heads/main\n\n`,
    "# v2 git bundle\r\n\n",
  ])("is damage: %j", (text) => {
    expect(() => parse(text)).toThrow(expect.objectContaining({ code: "damaged" }));
  });

  test("of git's own making is read", () => {
    using repo = gitRepo({ a: "1" });
    const first = repo.git("rev-parse", "HEAD");
    const second = repo.commit("second");
    repo.git("bundle", "create", "-q", "x.bundle", `${first}..main`);
    expect(parseBundleHeader(readFileSync(join(repo.path, "x.bundle")), "x")).toMatchObject({
      prerequisites: [first],
      refs: [{ name: "refs/heads/main", oid: second }],
    });
  });
});
