import { describe, expect, test } from "vitest";
import { rcloneError } from "./rclone-errors.ts";

const read = (words: string, path = "box:backups/git") => rcloneError(words, { store: "cloud", path }, "write x into");

describe("what rclone says", () => {
  test.each([
    ["didn't find section in config file", "config_invalid", "rclone listremotes"],
    ['didn\'t find backend called "nope"', "config_invalid", "rclone help backends"],
    ["unable to decrypt configuration and not allowed to ask for password", "remote_failed", "RCLONE_CONFIG_PASS"],
    ["googleapi: Error 403: The user's Drive storage quota has been exceeded., storageQuotaExceeded", "store_full", "rclone about box:"],
    ["mkdir /mnt/x: no space left on device", "store_full", "rclone about box:"],
    ["NoSuchBucket: The specified bucket does not exist status code: 404", "store_missing", "rclone mkdir box:backups/git"],
    ['couldn\'t list files: Propfind "https://h/": dial tcp: lookup h: no such host', "remote_failed", "rclone lsd box:backups/git"],
    ["read tcp 1.2.3.4:5->6.7.8.9:443: i/o timeout", "remote_failed", "is the network up"],
    ["couldn't fetch token: invalid_grant: maybe token expired?", "store_unwritable", "rclone config reconnect box:"],
    ["AccessDenied: Access Denied status code: 403", "store_unwritable", "rclone lsd box:backups/git"],
    ["the moon is in the wrong house", "store_failed", "rclone lsd box:backups/git"],
  ])("%j is %s", (words, code, hint) => {
    expect(read(words)).toMatchObject({ code, hint: expect.stringContaining(hint) });
  });

  test("is told without times, levels, our own names, passwords and what a terminal would obey", () => {
    const words = [
      '2026/11/21 14:30:05 NOTICE: Config file "/home/me/.config/rclone/rclone.conf" not found - using defaults',
      '2026/11/21 14:30:06 Failed to rcat: failed to create "holdfast0123456789ab:x" at https://me:s3cret@host/: \u001b]0;title\u0007 wrong',
    ].join("\n");
    const { message } = read(words);
    expect(message).toBe('cannot write x into the store cloud (box:backups/git): failed to create "x" at https://host/:  ]0;title  wrong');
  });

  test("a hint can be pasted, whatever the path", () => {
    expect(read("x", "box:my backups/it's").hint).toContain(`rclone lsd 'box:my backups/it'\\''s' `);
    expect(read("no space left", ':webdav,url="http://h:1/":p q').hint).toContain(`rclone about ':webdav,url="http://h:1/":' `);
    expect(read("403", ":local:/x").hint).not.toContain("reconnect");
  });
});
