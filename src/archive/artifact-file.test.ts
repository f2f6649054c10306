import { execFileSync } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { appendFileSync, createReadStream, existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { zstdCompressSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { needs } from "../../test/support/needs.ts";
import { tempDir } from "../../test/support/repo.ts";
import type { Artifact } from "../core/manifest.ts";
import { ArtifactWriter, readArtifact } from "./artifact-file.ts";

const dir = tempDir();
afterAll(() => dir[Symbol.dispose]());

const zstd = needs("zstd", "comparison of artifacts with stock zstd");
const sha256sum = needs("sha256sum", "comparison of artifacts with stock sha256sum");

const words = Buffer.from("the quick brown fox\n".repeat(40_000));
const noise = randomBytes(120_000);

let count = 0;
async function write(pieces: readonly Buffer[], compression: "zstd" | "none" = "zstd"): Promise<{ path: string; artifact: Artifact }> {
  count += 1;
  const name = `p${count}.${compression === "zstd" ? "tar.zst" : "bundle"}`;
  const path = join(dir.path, name);
  const writer = await ArtifactWriter.create(path, compression);
  for (const piece of pieces) await writer.write(piece);
  return { path, artifact: await writer.finish(name) };
}

async function read(artifact: Artifact, path: string, highWaterMark = 10_000): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of readArtifact(artifact, createReadStream(path, { highWaterMark }))) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

describe.each(["zstd", "none"] as const)("an artifact (compression: %s)", (compression) => {
  test.each<[string, readonly Buffer[]]>([
    ["nothing", []],
    ["a byte", [Buffer.from("x")]],
    ["small pieces", Array.from({ length: 500 }, (_, index) => Buffer.from(`line ${index}\n`))],
    ["pieces of all sizes", [words, Buffer.alloc(0), noise, Buffer.from("x"), words]],
  ])("holds %s, and its facts are true", async (_, pieces) => {
    const plain = Buffer.concat(pieces);
    const { path, artifact } = await write(pieces, compression);
    const stored = readFileSync(path);
    expect(artifact).toMatchObject({ size: stored.length, sha256: sha256(stored), plainSize: plain.length, plainSha256: sha256(plain) });
    expect((await read(artifact, path)).equals(plain)).toBe(true);
    if (stored.length < 20_000) expect((await read(artifact, path, 37)).equals(plain)).toBe(true);
  });

  test("whose byte was flipped, end was cut or grown, is damage, and never a whole reading", async () => {
    const { path, artifact } = await write([noise], compression);
    const stored = readFileSync(path);
    for (const at of [0, 4, 100, stored.length >> 1, stored.length - 1]) {
      const flipped = Buffer.from(stored);
      flipped[at] = (flipped[at] ?? 0) ^ 0x10;
      writeFileSync(path, flipped);
      await expect(read(artifact, path)).rejects.toMatchObject({ code: "damaged" });
    }
    for (const size of [0, 1, stored.length - 1]) {
      writeFileSync(path, stored);
      truncateSync(path, size);
      await expect(read(artifact, path)).rejects.toMatchObject({ code: "damaged" });
    }
    writeFileSync(path, stored);
    appendFileSync(path, "x");
    await expect(read(artifact, path)).rejects.toMatchObject({ code: "damaged" });
  });

  test("does not take the place of a file that is there", async () => {
    const path = join(dir.path, `there-${compression}`);
    writeFileSync(path, "mine");
    await expect(ArtifactWriter.create(path, compression)).rejects.toMatchObject({ code: "EEXIST" });
    expect(readFileSync(path, "utf8")).toBe("mine");
  });

  test("is not finished when other bytes come back from the disk", async () => {
    count += 1;
    const path = join(dir.path, `bad-${count}`);
    const writer = await ArtifactWriter.create(path, compression);
    await writer.write(Buffer.alloc(5 << 20, "x"));
    appendFileSync(path, Buffer.alloc(1000, "y"));
    await expect(writer.finish("bad")).rejects.toMatchObject({ code: "io_failed" });
    await writer.abandon();
  });

  test("may be abandoned at any time", async () => {
    const path = join(dir.path, `left-${compression}`);
    const writer = await ArtifactWriter.create(path, compression);
    await writer.write(words);
    await writer.abandon();
    expect(existsSync(path)).toBe(true);
  });
});

describe("readArtifact", () => {
  /** A manifest's facts for bytes that no writer of ours made. */
  const forged = (stored: Buffer, plain: { size: number; sha256: string }): Artifact => ({
    name: "x.tar.zst",
    size: stored.length,
    sha256: sha256(stored),
    plainSize: plain.size,
    plainSha256: plain.sha256,
  });

  test("stops a bomb at the size that its manifest says", async () => {
    const bomb = zstdCompressSync(Buffer.alloc(12 << 20));
    let size = 0;
    const reading = (async () => {
      for await (const piece of readArtifact(forged(bomb, { size: 1000, sha256: sha256(Buffer.alloc(1000)) }), stream(bomb))) size += piece.length;
    })();
    await expect(reading).rejects.toMatchObject({ code: "damaged" });
    expect(size).toBeLessThanOrEqual(1000);
  });

  test("refuses plain bytes of another size or sum, though the stored ones are right", async () => {
    const stored = zstdCompressSync(words);
    const whole = { size: words.length, sha256: sha256(words) };
    const drain = async (artifact: Artifact) => {
      for await (const _ of readArtifact(artifact, stream(stored))) {
        // only the end tells
      }
    };
    await drain(forged(stored, whole));
    await expect(drain(forged(stored, { ...whole, size: words.length + 1 }))).rejects.toMatchObject({ code: "damaged" });
    await expect(drain(forged(stored, { ...whole, sha256: "0".repeat(64) }))).rejects.toMatchObject({ code: "damaged" });
  });

  test.each(["", "not zstd at all", "(\xb5/\xfd", "(\xb5/\xfd$\x00\x07\x00\x00"])("takes what is no zstd for damage: %j", async (text) => {
    const stored = Buffer.from(text, "latin1");
    const reading = (async () => {
      for await (const _ of readArtifact(forged(stored, { size: 5, sha256: sha256(Buffer.from("hello")) }), stream(stored))) {
        // damage is found on the way
      }
    })();
    await expect(reading).rejects.toMatchObject({ code: "damaged" });
  });

  test("closes the stream of the store when its reader leaves early", async () => {
    const { path, artifact } = await write([noise, words, noise]);
    let isClosed = false;
    const source = (async function* () {
      try {
        for await (const chunk of createReadStream(path, { highWaterMark: 1000 })) yield chunk as Buffer;
      } finally {
        isClosed = true;
      }
    })();
    for await (const _ of readArtifact(artifact, source)) break;
    expect(isClosed).toBe(true);
  });

  test("hands on the store's own failure", async () => {
    const failing = (async function* () {
      yield zstdCompressSync(words).subarray(0, 10);
      throw Object.assign(new Error("connection lost"), { code: "ECONNRESET" });
    })();
    const reading = (async () => {
      for await (const _ of readArtifact(forged(zstdCompressSync(words), { size: words.length, sha256: sha256(words) }), failing)) {
        // never whole
      }
    })();
    await expect(reading).rejects.toThrow("connection lost");
  });
});

describe("stock tools", () => {
  test.runIf(zstd)("unpack what we write", async () => {
    const { path } = await write([words, noise, words]);
    expect(execFileSync("zstd", ["-dcq", path], { maxBuffer: 1 << 26 }).equals(Buffer.concat([words, noise, words]))).toBe(true);
    execFileSync("zstd", ["-tq", path]);
  });

  test.runIf(zstd)("make what we read", async () => {
    const stored = execFileSync("zstd", ["-cq", "-3"], { input: words });
    const path = join(dir.path, "stock.tar.zst");
    writeFileSync(path, stored);
    const artifact = { name: "stock.tar.zst", size: stored.length, sha256: sha256(stored), plainSize: words.length, plainSha256: sha256(words) };
    expect((await read(artifact, path)).equals(words)).toBe(true);
  });

  test.runIf(sha256sum)("find the sum that the manifest says", async () => {
    const { path, artifact } = await write([words]);
    expect(execFileSync("sha256sum", [path], { encoding: "utf8" }).slice(0, 64)).toBe(artifact.sha256);
  });
});

async function* stream(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 1000) yield bytes.subarray(at, at + 1000);
}
