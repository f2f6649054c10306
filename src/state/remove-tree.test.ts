import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { asOtherUser } from "../../test/support/other-user.ts";
import { tempDir } from "../../test/support/repo.ts";
import { removeTree } from "./remove-tree.ts";

test.skipIf(process.platform === "win32")("read-only and closed folders go; what a symlink leads to stays as it is", async () => {
  using dir = tempDir();
  await asOtherUser(dir.path, () => {
    const beside = join(dir.path, "beside");
    const tree = join(dir.path, "tree");
    for (const folder of [beside, join(tree, "read-only/inside"), join(tree, "closed")]) {
      mkdirSync(folder, { recursive: true });
      writeFileSync(join(folder, "file"), "x");
    }
    const odd = process.platform === "linux" ? [Buffer.concat([Buffer.from(`${tree}/`), Buffer.of(0xe9)])] : [];
    for (const folder of odd) {
      mkdirSync(folder);
      writeFileSync(Buffer.concat([folder, Buffer.from("/file")]), "x");
    }
    symlinkSync(beside, join(tree, "read-only/link"));
    for (const folder of [beside, join(tree, "read-only/inside"), join(tree, "read-only"), ...odd]) chmodSync(folder, 0o555);
    chmodSync(join(tree, "closed"), 0);
    removeTree(tree);
    expect(existsSync(tree)).toBe(false);
    symlinkSync(beside, tree);
    removeTree(tree);
    removeTree(join(dir.path, "nothing/here"));
    expect(readdirSync(dir.path)).toEqual(["beside"]);
    expect(statSync(beside).mode & 0o777).toBe(0o555);
    expect(readFileSync(join(beside, "file"), "utf8")).toBe("x");
    chmodSync(beside, 0o755);
  });
});
