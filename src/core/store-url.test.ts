import fc from "fast-check";
import { expect, test } from "vitest";
import { parseStoreUrl, repositoryUrl } from "./store-url.ts";

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
  ["s3://backups", { kind: "s3", bucket: "backups", prefix: "", endpoint: undefined, region: undefined, isPathStyle: false, profile: undefined }],
  [
    "s3://backups/me/%C3%A9/?endpoint=http://localhost:9000&region=eu-1&profile=p",
    { kind: "s3", bucket: "backups", prefix: "me/é/", endpoint: "http://localhost:9000", region: "eu-1", isPathStyle: true, profile: "p" },
  ],
  [
    "s3://backups//a//b?endpoint=https://s3.example.org&path_style=false",
    { kind: "s3", bucket: "backups", prefix: "a/b/", endpoint: "https://s3.example.org", region: undefined, isPathStyle: false, profile: undefined },
  ],
  [
    "s3://backups?as_of=2026-11-21T14:30Z",
    { kind: "s3", bucket: "backups", prefix: "", isPathStyle: false, asOf: new Date("2026-11-21T14:30:00.000Z") },
  ],
  ["rclone:box:backups/git/", { kind: "rclone", path: "box:backups/git" }],
  ["rclone::sftp,host=h,key_file=/k:dir", { kind: "rclone", path: ":sftp,host=h,key_file=/k:dir" }],
  ["rclone::local:/srv/x", { kind: "rclone", path: ":local:/srv/x" }],
])("%s", (text, location) => {
  expect(parseStoreUrl(text)).toEqual(location);
});

test.each(["", " ", "branch:", "branch:/x", "branch:#b", "branch:--upload-pack=x#b", "branch:-o/b", "branch:o/", "branch:o/-b", "branch:o/a..b", "branch:o/a.lock",
  "branch:o/.a", "branch:o/a b", "branch:u#", "branch:u#refs/", "branch:u#refs/a b", "branch:o/a//b", "branch:o/@", "ftp://h/x", "https://u:secret@h/x.git", "s3://", "s3://b", "s3:bucket", "s3://bucket/../x", "s3://bucket/%zz", "s3://key:secret@bucket/x", "s3://bucket?endpoint=ftp://h",
  "s3://bucket?endpoint=http://u:secret@h", "s3://bucket?path_style=1", "s3://bucket?regoin=eu", "s3://bucket?as_of=yesterday", "rclone:", "rclone:box", "rclone:-x:y",
  "rclone::webdav,url=http://h,pass=x:y", "rclone::drive,token=x:y", "rclone::b2,key=x:y", "rclone::azureblob,sas_url=x:y",
  "rclone::sftp,host=h,ssh=\"sh -c x\":y", "rclone::webdav,bearer_token_command=x:y"])("%j is refused", (text) => {
  expect(() => parseStoreUrl(text)).toThrow(expect.objectContaining({ code: "config_invalid", message: expect.not.stringContaining("secret") }));
}); // biome-ignore format: a table

test.each([
  ["s3://b", "s3://b/ID"],
  ["s3://b/team/?endpoint=http://h:1", "s3://b/team/ID?endpoint=http://h:1"],
  ["s3://b/11111111-2222-4333-8444-555555555555?region=eu", "s3://b/11111111-2222-4333-8444-555555555555?region=eu"],
  ["rclone:nas:", "rclone:nas:ID"],
  ["rclone:nas:a?b/c", "rclone:nas:a?b/c/ID"],
  ["rclone:nas:11111111-2222-4333-8444-555555555555", "rclone:nas:11111111-2222-4333-8444-555555555555"],
])("of one repository among those at %s the address is %s", (url, address) => {
  expect(repositoryUrl(url, "ID")).toBe(address);
});

test("property: any text is a location or a told mistake", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.string(),
        fc.string().map((text) => `branch:${text}`),
        fc.string().map((text) => `s3://bucket${text}`),
        fc.string().map((text) => `rclone:${text}`),
      ),
      (text) => {
        try {
          expect(["folder", "branch", "branch_url", "s3", "rclone"]).toContain(parseStoreUrl(text).kind);
        } catch (error) {
          expect(error).toMatchObject({ code: "config_invalid" });
        }
      },
    ),
  );
});
