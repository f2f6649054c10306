/** Keys, streams and a Debian `age` for tests of encryption. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Decryptor } from "../../src/core/encryption.ts";
import { makeDecryptor } from "../../src/keys/decryptor.ts";
import { parseIdentities } from "../../src/keys/identities.ts";

/** The program's own answer to `age ARGS`. Throws with its words. */
export function age(args: readonly string[], input?: Uint8Array): Buffer {
  return execFileSync("age", args, { input, stdio: ["pipe", "pipe", "pipe"], maxBuffer: 256 << 20 });
}

/** A key file that age-keygen or ssh-keygen made, and its recipient. */
export function keygen(folder: string, name: string, type: "age" | "ed25519" | "rsa" = "age"): { file: string; recipient: string } {
  const file = join(folder, name);
  if (type === "age") {
    execFileSync("age-keygen", ["-o", file], { stdio: "ignore" });
    return { file, recipient: execFileSync("age-keygen", ["-y", file], { encoding: "utf8" }).trim() };
  }
  execFileSync("ssh-keygen", ["-q", "-t", type, ...(type === "rsa" ? ["-b", "2048"] : []), "-N", "", "-C", "me@here", "-f", file]);
  return { file, recipient: execFileSync("cat", [`${file}.pub`], { encoding: "utf8" }).trim() };
}

export async function* inPieces(bytes: Uint8Array, size = 60_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export async function collect(stream: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream) pieces.push(Uint8Array.from(piece));
  return Buffer.concat(pieces);
}

/** A decryptor with the keys of this text, as of a file that only we can open. */
export function decryptorWith(text: string): Decryptor {
  return makeDecryptor(async () => ({ identities: await parseIdentities(text, "key.txt"), file: "key.txt", isPlainFile: false }));
}

/** A decryptor with the keys of this file. */
export function decryptorOf(file: string, program?: string | null): Decryptor {
  return makeDecryptor(async () => ({ identities: await parseIdentities(readFileSync(file, "utf8"), file), file, isPlainFile: true }), program);
}

/** An executable file that runs this shell script. */
export function program(folder: string, name: string, script: string): string {
  const file = join(folder, name);
  writeFileSync(file, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  return file;
}
