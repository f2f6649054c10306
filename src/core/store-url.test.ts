import fc from "fast-check";
import { expect, test } from "vitest";
import { parseStoreUrl } from "./store-url.ts";

test.each([
  ["/mnt/disk/backups", { kind: "folder", path: "/mnt/disk/backups" }],
  ["../beside", { kind: "folder", path: "../beside" }],
  ["C:\\backups", { kind: "folder", path: "C:\\backups" }],
  ["branch", { kind: "folder", path: "branch" }],
  ["branch:origin", { kind: "branch", remote: "origin", ref: "refs/heads/holdfast/backup" }],
  ["branch:origin/holdfast/backup", { kind: "branch", remote: "origin", ref: "refs/heads/holdfast/backup" }],
  ["branch:git@github.com:me/x.git#backup", { kind: "branch_url", url: "git@github.com:me/x.git", ref: "refs/heads/backup" }],
  ["branch:https://h/x.git#a/b", { kind: "branch_url", url: "https://h/x.git", ref: "refs/heads/a/b" }],
  ["branch:origin/refs/holdfast/backup", { kind: "branch", remote: "origin", ref: "refs/holdfast/backup" }],
  ["branch:https://h/x.git#refs/holdfast/backup", { kind: "branch_url", url: "https://h/x.git", ref: "refs/holdfast/backup" }],
  ["branch:/srv/x.git#b", { kind: "branch_url", url: "/srv/x.git", ref: "refs/heads/b" }],
])("%s", (text, location) => {
  expect(parseStoreUrl(text)).toEqual(location);
});

test.each(["", " ", "branch:", "branch:/x", "branch:#b", "branch:--upload-pack=x#b", "branch:-o/b", "branch:o/", "branch:o/-b", "branch:o/a..b", "branch:o/a.lock",
  "branch:o/.a", "branch:o/a b", "branch:u#", "branch:u#refs/", "branch:u#refs/a b", "branch:o/a//b", "branch:o/@", "ftp://h/x", "https://u:secret@h/x.git"])("%j is refused", (text) => {
  expect(() => parseStoreUrl(text)).toThrow(expect.objectContaining({ code: "config_invalid", message: expect.not.stringContaining("secret") }));
}); // biome-ignore format: a table

test.each(["s3://bucket/prefix?region=x", "rclone:REMOTE:path"])("%s is known, and not there yet", (text) => {
  expect(() => parseStoreUrl(text)).toThrow(
    expect.objectContaining({ code: "config_invalid", message: expect.stringContaining("this version does not have") }),
  );
});

test("property: any text is a location or a told mistake", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((text) => `branch:${text}`),
      ),
      (text) => {
        try {
          expect(["folder", "branch", "branch_url"]).toContain(parseStoreUrl(text).kind);
        } catch (error) {
          expect(error).toMatchObject({ code: "config_invalid" });
        }
      },
    ),
  );
});
