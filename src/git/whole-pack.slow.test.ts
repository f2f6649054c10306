import { execFileSync } from "node:child_process";
import { copyFileSync, createReadStream, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { seededRandom } from "../../test/support/random.ts";
import { gitRepo, type TempDir, type TestRepo, tempDir } from "../../test/support/repo.ts";
import { ObjectReader } from "./object-reader.ts";
import { type GitObject, readPackIds, writeWholePack } from "./whole-pack.ts";

function bareIn(dir: TempDir): { gitDir: string; packs: string; git(...args: string[]): string } {
  const gitDir = join(dir.path, "repo.git");
  const git = (...args: string[]): string =>
    execFileSync("git", ["-C", gitDir, ...args], { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).trim();
  execFileSync("git", ["init", "-q", "--bare", gitDir]);
  return { gitDir, packs: join(gitDir, "objects/pack"), git };
}

test("git reads the pack: objects of every size, and none", async () => {
  using dir = tempDir();
  const { gitDir, packs, git } = bareIn(dir);
  const random = seededRandom(5);
  const sizes = [0, 1, 15, 16, 17, 2047, 2048, 2049, 70_000, 1_500_000];
  const blobs = new Map<string, GitObject>();
  for (const size of sizes) {
    const bytes = Buffer.from(Array.from({ length: size }, () => Math.floor(random() * 256)));
    writeFileSync(join(dir.path, "blob"), bytes);
    blobs.set(git("hash-object", join(dir.path, "blob")), { type: "blob", bytes });
  }
  const name = await writeWholePack(packs, [...blobs.keys()], async (oid) => blobs.get(oid) as GitObject);
  git("verify-pack", join(packs, `${name}.pack`));
  expect(git("fsck", "--full", "--no-dangling")).toBe("");
  expect(readPackIds(join(packs, `${name}.idx`))).toEqual([...blobs.keys()].sort());
  // As git itself indexes it, but for the order in which equal work was done: byte for byte.
  const again = join(dir.path, "again.pack");
  copyFileSync(join(packs, `${name}.pack`), again);
  git("index-pack", again);
  expect(readFileSync(join(dir.path, "again.idx")).equals(readFileSync(join(packs, `${name}.idx`)))).toBe(true);
  const reader = new ObjectReader(gitDir);
  for (const [oid, { bytes }] of blobs) expect(Buffer.from((await reader.read(oid)).bytes).equals(bytes)).toBe(true);
  await writeWholePack(packs, [], async () => ({ type: "blob", bytes: Buffer.alloc(0) }));
  expect(git("fsck", "--full", "--no-dangling")).toBe("");
});

/** A base pack in `gitDir`, and the bytes of a thin one that stands on it. */
function thinPack(repo: TestRepo, packs: string): Buffer {
  const lines = Array.from({ length: 3000 }, (_, at) => `line ${at}\n`).join("");
  repo.write("large.txt", lines);
  const base = repo.commit("base");
  repo.git("repack", "-adq");
  mkdirSync(packs, { recursive: true });
  for (const name of readdirSync(join(repo.path, ".git/objects/pack")))
    if (/\.(?:pack|idx)$/.test(name)) copyFileSync(join(repo.path, ".git/objects/pack", name), join(packs, name));
  repo.write("large.txt", lines.replace("line 1500", "another line"));
  repo.write("new.txt", "new\n");
  const tip = repo.commit("tip");
  const args = ["-C", repo.path, "pack-objects", "-q", "--revs", "--thin", "--delta-base-offset", "--stdout"];
  return execFileSync("git", args, { input: `${tip}\n--not\n${base}\n` });
}

async function* piecesOf(bytes: Buffer): AsyncGenerator<Buffer> {
  yield bytes.subarray(0, 50);
  yield bytes.subarray(50);
}

test("a thin pack becomes one that git can read alone", async () => {
  using repo = gitRepo({});
  using dir = tempDir();
  const { gitDir, packs, git } = bareIn(dir);
  const pack = thinPack(repo, packs);
  expect(pack.length).toBeLessThan(2000);
  const name = await new ObjectReader(gitDir).addPack(piecesOf(pack), true);
  expect(readdirSync(packs).filter((file) => /thin|arriving|tmp/.test(file))).toEqual([]);
  git("verify-pack", join(packs, `${name}.pack`));
  git("update-ref", "refs/heads/main", repo.git("rev-parse", "HEAD"));
  expect(git("fsck", "--full", "--no-dangling")).toBe("");
  expect(git("rev-parse", "main^{tree}")).toBe(repo.git("rev-parse", "HEAD^{tree}"));
});

test.each([
  ["without its base", (pack: Buffer) => pack, false],
  ["with a flipped bit", (pack: Buffer) => pack.with(pack.length >> 1, (pack[pack.length >> 1] ?? 0) ^ 4) as Buffer, true],
  ["cut off", (pack: Buffer) => pack.subarray(0, pack.length - 30), true],
  ["almost empty", (pack: Buffer) => pack.subarray(0, 20), true],
])("a thin pack %s is damaged, and leaves nothing that looks whole", async (_, change, hasBase) => {
  using repo = gitRepo({});
  using dir = tempDir();
  const { gitDir, packs } = bareIn(dir);
  const pack = thinPack(repo, hasBase ? packs : join(dir.path, "elsewhere"));
  const before = readdirSync(packs);
  await expect(new ObjectReader(gitDir).addPack(piecesOf(Buffer.from(change(pack))), true)).rejects.toMatchObject({ code: "damaged" });
  expect(readdirSync(packs).filter((name) => !before.includes(name) && name.startsWith("pack-"))).toEqual([]);
});

test("a pack that is not thin stays as it came", async () => {
  using repo = gitRepo({ "a.txt": "one\n" });
  using dir = tempDir();
  const { gitDir, packs, git } = bareIn(dir);
  repo.git("repack", "-adq");
  const [name = ""] = readdirSync(join(repo.path, ".git/objects/pack")).filter((file) => file.endsWith(".pack"));
  const given = await new ObjectReader(gitDir).addPack(createReadStream(join(repo.path, ".git/objects/pack", name)), false);
  expect(`${given}.pack`).toMatch(/^pack-[0-9a-f]{40}\.pack$/);
  git("verify-pack", join(packs, `${given}.pack`));
});
