/** What a folder store makes of disks that are pulled out, exchanged, nearly full, that lie, or that cannot do what ext4 can. */
import { execFileSync } from "node:child_process";
import type * as nodeFs from "node:fs";
import { chmodSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, truncateSync, utimesSync, writeFileSync } from "node:fs";
import type * as fs from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { asOtherUser } from "../../test/support/other-user.ts";
import { type TempDir, tempDir } from "../../test/support/repo.ts";
import { FolderStore } from "./folder.ts";
import { bytesSource, readAll, type Source } from "./store.ts";

/** What the file system does otherwise, by its call. */
const faults: { link?: string; sync?: string; read?: string; shortWrites?: boolean; flip?: boolean; beforeLink?: () => void } = {};

vi.mock("node:fs", async (original) => {
  const real = await original<typeof nodeFs>();
  return {
    ...real,
    createReadStream(...args: Parameters<typeof nodeFs.createReadStream>) {
      const stream = real.createReadStream(...args);
      if (faults.read !== undefined) stream.destroy(Object.assign(new Error(`${faults.read}: made to fail`), { code: faults.read }));
      return stream;
    },
  };
});

vi.mock("node:fs/promises", async (original) => {
  const real = await original<typeof fs>();
  const failure = (code: string): Error => Object.assign(new Error(`${code}: made to fail`), { code });
  return {
    ...real,
    async link(...args: Parameters<typeof fs.link>) {
      faults.beforeLink?.();
      if (faults.link !== undefined) throw failure(faults.link);
      return real.link(...args);
    },
    async open(...args: Parameters<typeof fs.open>) {
      const handle = await real.open(...args);
      const { sync } = handle;
      // biome-ignore lint/suspicious/noExplicitAny: stand-ins for each of their forms
      const calls = handle as any;
      const [write, read] = [calls.write, calls.read];
      handle.sync = async () => {
        if (faults.sync !== undefined) throw failure(faults.sync);
        return sync.call(handle);
      };
      calls.write = (bytes: Uint8Array, offset: number, length: number, position: number) =>
        write.call(handle, bytes, offset, faults.shortWrites === true ? Math.min(length, 1000) : length, position);
      calls.read = async (buffer: Buffer, offset: number, length: number, position: number) => {
        const result = await read.call(handle, buffer, offset, length, position);
        if (faults.flip === true && result.bytesRead > 0) buffer[offset] = (buffer[offset] ?? 0) ^ 1;
        return result;
      };
      return handle;
    },
  };
});

let dir: TempDir;
let root: string;
let store: FolderStore;
beforeEach(() => {
  dir = tempDir();
  root = join(dir.path, "disk");
  mkdirSync(root);
  store = new FolderStore("disk", root);
});
afterEach(() => {
  for (const name of Object.keys(faults)) delete faults[name as keyof typeof faults];
  dir[Symbol.dispose]();
});

const listed = async (of = store): Promise<string[]> => {
  const keys: string[] = [];
  for await (const { key } of of.list("")) keys.push(key);
  return keys;
};

describe("a disk that goes away", () => {
  const pull = (): void => renameSync(root, join(dir.path, "in-a-drawer"));
  const away = { code: "store_missing" };

  test("is told by every call, reads too, and nothing is made in its place", async () => {
    await store.put("20261121/a", bytesSource("one"));
    pull();
    await expect(store.put("20261121/b", bytesSource("two"))).rejects.toMatchObject(away);
    await expect(store.put("20261122/b", bytesSource("two"))).rejects.toMatchObject(away);
    await expect(store.replace("RECOVERY.md", bytesSource("two"))).rejects.toMatchObject(away);
    await expect(store.stat("20261121/a")).rejects.toMatchObject(away);
    await expect(store.get("20261121/a")).rejects.toMatchObject(away);
    await expect(store.folders()).rejects.toMatchObject(away);
    await expect(listed()).rejects.toMatchObject(away);
    await store.clearLeftovers(new Date());
    expect(existsSync(root)).toBe(false);
  });

  test("leaves the folder that it was mounted on: that one is no store", async () => {
    await store.put("20261121/a", bytesSource("one"));
    pull();
    mkdirSync(root);
    await expect(store.put("20261122/b", bytesSource("two"))).rejects.toMatchObject(away);
    await expect(store.replace("RECOVERY.md", bytesSource("two"))).rejects.toMatchObject(away);
    await expect(store.stat("20261121/a")).rejects.toMatchObject(away);
    await expect(listed()).rejects.toMatchObject(away);
    expect(readdirSync(root)).toEqual([]);
  });

  test("amid a put: it fails, and the bytes go nowhere", async () => {
    const source: Source = {
      size: 6,
      async *open() {
        yield Buffer.from("one");
        pull();
        mkdirSync(root);
        yield Buffer.from("two");
      },
    };
    await expect(store.put("20261121/a", source)).rejects.toMatchObject(away);
    expect(readdirSync(root)).toEqual([]);
  });

  test("between the last byte and the name, for another one with the same folders: the put does not count", async () => {
    await store.put("20261121/a", bytesSource("one"));
    faults.beforeLink = () => {
      pull();
      mkdirSync(join(root, "20261121"), { recursive: true });
    };
    await expect(store.put("20261121/b", bytesSource("two"))).rejects.toMatchObject(away);
    expect(readdirSync(join(root, "20261121"))).toEqual([]);
  });

  test("and comes back as itself: the same store goes on", async () => {
    await store.put("20261121/a", bytesSource("one"));
    pull();
    await expect(listed()).rejects.toMatchObject(away);
    renameSync(join(dir.path, "in-a-drawer"), root);
    expect(await listed()).toEqual(["20261121/a"]);
    await store.put("20261122/b", bytesSource("two"));
  });

  test("was never there: no key is there, and no list", async () => {
    rmSync(root, { recursive: true });
    const never = new FolderStore("disk", root);
    expect(await never.get("holdfast.json")).toBeUndefined();
    await expect(listed(never)).rejects.toMatchObject(away);
    await expect(never.put("holdfast.json", bytesSource("x"))).rejects.toMatchObject(away);
    expect(existsSync(root)).toBe(false);
  });
});

describe("a file system", () => {
  test("that takes a part of what is written gets the rest", async () => {
    faults.shortWrites = true;
    const bytes = Buffer.alloc(123_456, "holdfast");
    await store.put("20261121/a", bytesSource(bytes));
    expect((await readAll(store, "20261121/a"))?.equals(bytes)).toBe(true);
  });

  test("that gives back other bytes than it was given gets no name for them", async () => {
    faults.flip = true;
    await expect(store.put("20261121/a", bytesSource("hello"))).rejects.toMatchObject({ code: "store_failed" });
    await expect(store.replace("RECOVERY.md", bytesSource("hello"))).rejects.toMatchObject({ code: "store_failed" });
    faults.flip = false;
    expect(await listed()).toEqual([]);
    expect(readdirSync(join(root, "20261121"))).toEqual([]);
  });

  test.each(["EPERM", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL"])("without hard links (%s) renames, and never over another file", async (code) => {
    faults.link = code;
    await store.put("20261121/a", bytesSource("one"));
    expect((await readAll(store, "20261121/a"))?.toString()).toBe("one");
    faults.beforeLink = () => writeFileSync(join(root, "20261121/b"), "theirs");
    await expect(store.put("20261121/b", bytesSource("ours"))).rejects.toMatchObject({ code: "store_failed" });
    expect((await readAll(store, "20261121/b"))?.toString()).toBe("theirs");
    expect(readdirSync(join(root, "20261121")).sort()).toEqual(["a", "b"]);
  });

  test.each(["EINVAL", "ENOTSUP", "ENOSYS"])("that cannot sync (%s) keeps what was read back", async (code) => {
    faults.sync = code;
    await store.put("20261121/a", bytesSource("one"));
    await store.replace("RECOVERY.md", bytesSource("two"));
    await store.delete("20261121/a");
    expect(await listed()).toEqual(["RECOVERY.md"]);
  });

  test("whose sync fails has not kept it", async () => {
    faults.sync = "EIO";
    await expect(store.put("20261121/a", bytesSource("one"))).rejects.toMatchObject({ code: "store_failed" });
    faults.sync = "ENOSPC";
    await expect(store.put("20261121/a", bytesSource("one"))).rejects.toMatchObject({ code: "store_full" });
    expect(await listed()).toEqual([]);
  });

  test("of which a sector is bad, or a file belongs to another user, has lost that file and no more", async () => {
    await store.put("20261121/a", bytesSource("one"));
    faults.read = "EIO";
    await expect(readAll(store, "20261121/a")).rejects.toMatchObject({
      code: "damaged",
      message: expect.stringMatching(/cannot read 20261121\/a .*EIO/),
    });
    faults.read = "EACCES";
    await expect(readAll(store, "20261121/a")).rejects.toMatchObject({ code: "damaged", hint: expect.stringContaining("another user: ls -l") });
    faults.read = "ENODEV";
    await expect(readAll(store, "20261121/a")).rejects.toMatchObject({ code: "store_missing" });
  });

  test("on which another writer was first has theirs: the same bytes are done, others are refused", async () => {
    faults.beforeLink = () => writeFileSync(join(root, "20261121/a"), "the same");
    await store.put("20261121/a", bytesSource("the same"));
    faults.beforeLink = () => writeFileSync(join(root, "20261121/b"), "theirs");
    await expect(store.put("20261121/b", bytesSource("ours"))).rejects.toMatchObject({ code: "store_failed" });
    expect(readdirSync(join(root, "20261121")).sort()).toEqual(["a", "b"]);
  });
});

test.skipIf(process.platform === "win32")(
  "where the store is a whole disk, folders of the disk that are closed to us are passed over; its own are not",
  async () => {
    await store.put("20261121/a", bytesSource("one"));
    const closed = (name: string): void => {
      mkdirSync(join(root, name));
      chmodSync(join(root, name), 0);
    };
    for (const name of ["lost+found", ".Trash-0"]) closed(name);
    await asOtherUser(root, async () => expect(await listed()).toEqual(["20261121/a"]));
    closed("20261122");
    await asOtherUser(root, async () => expect(listed()).rejects.toMatchObject({ code: "store_unwritable" }));
  },
);

test("what is no plain file is not read: a link lends bytes from elsewhere, a pipe has no end", async () => {
  writeFileSync(join(dir.path, "elsewhere"), "secret");
  symlinkSync(join(dir.path, "elsewhere"), join(root, "link"));
  symlinkSync("/dev/zero", join(root, "endless"));
  execFileSync("mkfifo", [join(root, "pipe")]);
  mkdirSync(join(root, "folder"));
  for (const key of ["link", "endless", "pipe"]) {
    await expect(store.get(key)).rejects.toMatchObject({ code: "hostile" });
    await expect(store.stat(key)).rejects.toMatchObject({ code: "hostile" });
    await expect(store.put(key, bytesSource("secret"))).rejects.toMatchObject({ code: "hostile" });
  }
  expect(await store.get("folder")).toBeUndefined();
  expect(await listed()).toEqual([]);
});

test("a manifest without an end is not read to it", async () => {
  writeFileSync(join(root, "holdfast.json"), "");
  truncateSync(join(root, "holdfast.json"), 65 << 20);
  await expect(readAll(store, "holdfast.json")).rejects.toMatchObject({ code: "damaged" });
});

test("what killed runs left goes after an hour, in every folder of the store; what is younger or has a name stays", async () => {
  using dir = tempDir();
  const store = new FolderStore("local", dir.path);
  const folders = ["", "20261121", "trash/20261121", "marks", "pruned"];
  for (const folder of folders) {
    mkdirSync(join(dir.path, folder), { recursive: true });
    for (const name of [".holdfast-00112233", ".holdfast-young", "kept"]) writeFileSync(join(dir.path, folder, name), "x");
    for (const name of [".holdfast-00112233", "kept"]) utimesSync(join(dir.path, folder, name), 1, 1);
  }
  await store.clearLeftovers(new Date());
  for (const folder of folders) expect(readdirSync(join(dir.path, folder)), folder).toEqual(expect.arrayContaining([".holdfast-young", "kept"]));
  for (const folder of folders) expect(existsSync(join(dir.path, folder, ".holdfast-00112233")), folder).toBe(false);
});
