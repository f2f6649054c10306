import { inspect } from "node:util";
import { describe, expect, test } from "vitest";
import { identityEntry, parseIdentities } from "./identities.ts";
import { canonicalRecipients, checkRecipient, isForLibrary, isForProgram } from "./recipients.ts";

const key = "AGE-SECRET-KEY-14WK4M8MW57YCWFL6XMRV4VX4VDJR9UC853QDZJ28TVAP024UWDPQZZLQG6";
const second = "AGE-SECRET-KEY-1STA73T48PZHCPJCCPH28QHP92HEEP7LAGEAHXE7URG4E5WHEN27Q6LFG9Z";
const newer = "AGE-SECRET-KEY-PQ-1KU0EKM3HJTXPNS3JY4GMP57S6MS442VGKNAD46PRRNUL2EZHSRFQT5FKJY";
const recipient = "age1p9zh6w5l8ln87y0xvkk5v4hltq3npxx2yqv7t6z7tzl6fej0e3lqped0g6";
const ssh = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA==\n-----END OPENSSH PRIVATE KEY-----\n";

describe("an identity file", () => {
  test("holds keys as age-keygen writes them, several, with comments and any line ends", async () => {
    const entry = identityEntry(key, recipient, new Date("2026-11-21T14:30:05.123Z"));
    expect(entry).toBe(`# created: 2026-11-21T14:30:05Z\n# public key: ${recipient}\n${key}\n`);
    expect(await parseIdentities(`${entry}\r\n\n  ${second}\r\n`, "f")).toEqual({ native: [key, second], ssh: undefined, plugins: [] });
  });

  test("holds an ssh key, alone as age wants it", async () => {
    expect(await parseIdentities(ssh, "f")).toEqual({ native: [], ssh, plugins: [] });
    for (const text of [`${key}\n${ssh}`, `${ssh}${key}\n`])
      await expect(parseIdentities(text, "f")).rejects.toMatchObject({
        code: "key_missing",
        message: expect.stringContaining("beside something else"),
      });
  });

  test("holds keys of plugins and newer kinds", async () => {
    expect(await parseIdentities(`AGE-PLUGIN-YUBIKEY-1QQPQ\n${newer}\n`, "f")).toMatchObject({
      plugins: ["AGE-PLUGIN-YUBIKEY-1QQPQ"],
      native: [newer],
    });
  });

  test.each([
    ["", "f holds no secret key"],
    ["# nothing\n", "f holds no secret key"],
    [`${key}\n\n${recipient}\n`, "line 3 of f is no secret key"],
  ])("that is none says what is wrong: %j", async (text, message) => {
    await expect(parseIdentities(text, "f")).rejects.toMatchObject({ code: "key_missing", message });
  });

  test.each([
    ["a wrong character", key.replace("WK4M", "WK4N")],
    ["one that no key has", key.replace("WK4M", "WKBM")],
    ["two exchanged", key.replace("WK4M", "WKM4")],
    ["one less", key.slice(0, -1)],
    ["one more", `${key}2`],
    ["the spaces of the sheet", key.replace("WK4M", " WK4M ")],
    ["a small letter", key.replace("WK4M", "wK4M")],
    ["a newer kind's", newer.replace("KU0E", "KUOE")],
  ])("names the line of a mistyped key, and nothing of the key: %s", async (_, mistyped) => {
    const error = await parseIdentities(`${second}\n# typed\n${mistyped}\n`, "f").catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "key_wrong", message: "line 3 of f is a mistyped key: its checksum does not fit" });
    expect(inspect(error, { depth: null })).not.toContain("AGE-SECRET-KEY");
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
