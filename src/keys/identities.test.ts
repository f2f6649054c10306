import { describe, expect, test } from "vitest";
import { identityEntry, parseIdentities } from "./identities.ts";
import { canonicalRecipients, checkRecipient, isForLibrary, isForProgram } from "./recipients.ts";

const key = "AGE-SECRET-KEY-14WK4M8MW57YCWFL6XMRV4VX4VDJR9UC853QDZJ28TVAP024UWDPQZZLQG6";
const recipient = "age1p9zh6w5l8ln87y0xvkk5v4hltq3npxx2yqv7t6z7tzl6fej0e3lqped0g6";
const ssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n";

describe("an identity file", () => {
  test("holds keys as age-keygen writes them, several, with comments and any line ends", () => {
    const entry = identityEntry(key, recipient, new Date("2026-11-21T14:30:05.123Z"));
    expect(entry).toBe(`# created: 2026-11-21T14:30:05Z\n# public key: ${recipient}\n${key}\n`);
    expect(parseIdentities(`${entry}\r\n\n  ${key}2\r\n`, "f")).toEqual({ native: [key, `${key}2`], ssh: undefined, plugins: [] });
  });

  test("holds an ssh key, alone as age wants it", () => {
    expect(parseIdentities(ssh, "f")).toEqual({ native: [], ssh, plugins: [] });
    for (const text of [`${key}\n${ssh}`, `${ssh}${key}\n`])
      expect(() => parseIdentities(text, "f")).toThrow(
        expect.objectContaining({ code: "key_missing", message: expect.stringContaining("beside something else") }),
      );
  });

  test("holds keys of plugins and newer kinds", () => {
    expect(parseIdentities("AGE-PLUGIN-YUBIKEY-1QQPQ\nAGE-SECRET-KEY-PQ-1ABC\n", "f")).toMatchObject({
      plugins: ["AGE-PLUGIN-YUBIKEY-1QQPQ"],
      native: ["AGE-SECRET-KEY-PQ-1ABC"],
    });
  });

  test.each([
    ["", "f holds no secret key"],
    ["# nothing\n", "f holds no secret key"],
    [`${key}\n\n${recipient}\n`, "line 3 of f is no secret key"],
  ])("that is none says what is wrong: %j", (text, message) => {
    expect(() => parseIdentities(text, "f")).toThrow(expect.objectContaining({ code: "key_missing", message }));
  });
});

describe("a recipient", () => {
  test.each<[string, boolean, boolean]>([
    [recipient, true, true],
    ["age1pq1qqqq", true, false],
    ["age1yubikey1qwerty", false, true],
    ["ssh-ed25519 AAAA me", false, true],
  ])("%s is for the library (%s) and for the program (%s)", (text, library, program) => {
    expect([isForLibrary(text), isForProgram(text), checkRecipient(` ${text}\n`)]).toEqual([library, program, text]);
  });

  test.each([key, ssh, "", "age", "AGE1ABC", "ssh-dss AAAA", "me@example.org"])("%j is none, and the error does not repeat a secret", (text) => {
    try {
      checkRecipient(text);
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ code: "usage", hint: expect.stringContaining("age1") });
      if (text.includes("SECRET") || text.includes("PRIVATE")) expect(String(error)).not.toContain(text.slice(20, 40));
    }
  });

  test("is the same without its comment, and stands once", () => {
    expect(canonicalRecipients(["ssh-ed25519 B x y", recipient, "ssh-ed25519 B"])).toEqual([recipient, "ssh-ed25519 B"]);
  });
});
