import { chmodSync, cpSync, linkSync, mkdirSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { tempDir } from "./repo.ts";
import { snapshotTree } from "./tree.ts";

const noon = new Date("2026-01-01T12:00:00Z");

/** A folder with one of each kind of path, all of the same age. */
function sample() {
  const dir = tempDir();
  mkdirSync(join(dir.path, "b/empty"), { recursive: true, mode: 0o755 });
  writeFileSync(join(dir.path, "b/one"), "one\n", { mode: 0o640 });
  linkSync(join(dir.path, "b/one"), join(dir.path, "a"));
  symlinkSync("../nowhere", join(dir.path, "b/link"));
  for (const path of ["b/one", "b/empty", "b"]) utimesSync(join(dir.path, path), noon, noon);
  return dir;
}

describe("snapshotTree", () => {
  it("tells type, mode, time, size, checksum, target and hardlinks, sorted", () => {
    using dir = sample();
    const one = {
      type: "file",
      mode: "0640",
      mtimeNs: BigInt(noon.getTime()) * 1_000_000n,
      size: 4,
      sha256: "2c8b08da5ce60398e1f19af0e5dccc744df274b826abe585eaba68c525434806",
      sameFileAs: "a",
    };
    expect(snapshotTree(dir.path)).toMatchObject([
      { path: "a", ...one },
      { path: "b", type: "folder", mode: "0755" },
      { path: "b/empty", type: "folder", mtimeNs: one.mtimeNs },
      { path: "b/link", type: "symlink", mode: "0777", target: "../nowhere" },
      { path: "b/one", ...one },
    ]);
  });

  it("is equal for an exact copy and sees a changed bit, mode or time", () => {
    using dir = tempDir();
    const [from, to] = [join(dir.path, "from"), join(dir.path, "to")];
    mkdirSync(from);
    for (const name of ["byte", "mode", "time"]) {
      writeFileSync(join(from, name), "0");
      utimesSync(join(from, name), noon, noon);
    }
    cpSync(from, to, { recursive: true, preserveTimestamps: true });
    const before = snapshotTree(from);
    expect(snapshotTree(to)).toEqual(before);

    writeFileSync(join(to, "byte"), "1");
    utimesSync(join(to, "byte"), noon, noon);
    chmodSync(join(to, "mode"), 0o4600);
    utimesSync(join(to, "time"), noon, new Date(noon.getTime() + 1));
    const changed = snapshotTree(to).filter((entry, index) => JSON.stringify(plain(entry)) !== JSON.stringify(plain(before[index])));
    expect(changed.map((entry) => entry.path)).toEqual(["byte", "mode", "time"]);
  });

  it.runIf(process.platform === "linux")("keeps names that are not UTF-8 apart", () => {
    using dir = tempDir();
    const names = [Buffer.from([0xe9]), Buffer.from([0xff, 0x0a]), Buffer.from("é")];
    for (const name of names) writeFileSync(Buffer.concat([Buffer.from(`${dir.path}/`), name]), "");
    const paths = snapshotTree(dir.path).map((entry) => entry.path);
    expect(paths).toEqual(["\u00c3\u00a9", "\u00e9", "\u00ff\n"]);
    expect(paths.map((path) => Buffer.from(path, "latin1"))).toEqual(expect.arrayContaining(names));
  });

  it("leaves out what is excluded, and all below it", () => {
    using dir = sample();
    expect(snapshotTree(dir.path, { exclude: ["b"] }).map((entry) => entry.path)).toEqual(["a"]);
    const paths = snapshotTree(dir.path, { exclude: (path) => path.endsWith("/one") }).map((entry) => entry.path);
    expect(paths).toEqual(["a", "b", "b/empty", "b/link"]);
  });
});

function plain(entry: object | undefined): object {
  return Object.fromEntries(Object.entries(entry ?? {}).map(([key, value]) => [key, String(value)]));
}
