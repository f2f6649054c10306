/**
 * Memory and speed of encryption: a stream is encrypted and decrypted again, never whole in memory, by the library and by the
 * age program. And what encryption costs a small point.
 *
 *     node scripts/bench/encryption.ts [--gib 4] [--points 20]
 */
import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { appendFileSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { makeKeyPair } from "../../src/keys/age-library.ts";
import { findAge } from "../../src/keys/age-program.ts";
import { makeDecryptor } from "../../src/keys/decryptor.ts";
import { makeEncryptor } from "../../src/keys/encryptor.ts";
import { parseIdentities } from "../../src/keys/identities.ts";

const { values } = parseArgs({
  options: { gib: { type: "string", default: "4" }, points: { type: "string", default: "20" }, engine: { type: "string" } },
});
const program = fileURLToPath(new URL("../../dist/bin/holdfast.js", import.meta.url));

if (values.engine !== undefined) await stream(values.engine === "program" ? findAge() : null, Number(values.gib) * 1024 ** 3);
else {
  // Each in a process of its own: the largest memory is counted by process.
  for (const engine of findAge() === undefined ? ["library"] : ["library", "program"])
    execFileSync(process.execPath, [fileURLToPath(import.meta.url), "--engine", engine, "--gib", values.gib], { stdio: "inherit" });
  points(Number(values.points));
}

async function stream(age: string | null | undefined, size: number): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  try {
    const { identity, recipient } = await makeKeyPair();
    const file = join(folder, "key.txt");
    writeFileSync(file, `${identity}\n`, { mode: 0o600 });
    const decryptor = makeDecryptor(async () => ({ identities: await parseIdentities(identity, file), file, isPlainFile: true }), age);
    const piece = randomBytes(1 << 20);
    async function* plain(): AsyncGenerator<Uint8Array> {
      for (let sent = 0; sent < size; sent += piece.length) yield piece;
    }
    const startedAt = performance.now();
    let read = 0;
    for await (const chunk of decryptor.decrypt(makeEncryptor([recipient], age).encrypt(plain()), size, "bench")) read += chunk.length;
    if (read !== size) throw new Error(`${read} bytes came back of ${size}`);
    const seconds = (performance.now() - startedAt) / 1000;
    const memory = process.resourceUsage().maxRSS / 1024;
    print(
      `${age === null ? "library" : "program"}: ${size / 1024 ** 3} GiB encrypted and decrypted in ${seconds.toFixed(1)} s, at most ${memory.toFixed(0)} MiB of memory`,
    );
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Points of one changed line, in turn plain and encrypted with each engine, so that a busy machine is fair to all. */
function points(rounds: number): void {
  const folder = mkdtempSync(join(tmpdir(), "bench-"));
  const path = process.env["PATH"] ?? "";
  const withoutAge = path.split(":").filter((part) => findAge() !== join(part, "age"));
  const kinds = [
    { name: "plain", init: "--no-encrypt", path },
    { name: "encrypted, program", init: "--encrypt", path },
    { name: "encrypted, library", init: "--encrypt", path: [toolsOf(folder), ...withoutAge].join(":") },
  ];
  try {
    const repositories = kinds.map((kind, index) => {
      const root = join(folder, `r${index}`);
      const env = {
        ...process.env,
        HOME: folder,
        HOLDFAST_CONFIG_DIR: join(folder, "config"),
        HOLDFAST_DATA_DIR: join(folder, "data"),
        PATH: kind.path,
      };
      execFileSync("git", ["init", "-q", root]);
      writeFileSync(join(root, "a.txt"), "one\n");
      execFileSync(process.execPath, [program, "init", "--yes", "--no-hooks", kind.init], { cwd: root, env, stdio: "ignore" });
      return { ...kind, root, env, times: [] as number[] };
    });
    for (let round = 0; round < rounds; round += 1)
      for (const { root, env, times } of repositories) {
        appendFileSync(join(root, "a.txt"), `${round}\n`);
        const startedAt = performance.now();
        execFileSync(process.execPath, [program, "backup"], { cwd: root, env, stdio: "ignore" });
        times.push(performance.now() - startedAt);
      }
    for (const { name, times } of repositories) print(`a point of one line, ${name}: ${times.sort((a, b) => a - b)[rounds >> 1]?.toFixed(0)} ms`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** git without age beside it: both often lie in /usr/bin. */
function toolsOf(folder: string): string {
  const bin = mkdtempSync(join(folder, "bin-"));
  const git = execFileSync("sh", ["-c", "command -v git"], { encoding: "utf8" }).trim();
  symlinkSync(git, join(bin, "git"));
  return bin;
}

function print(line: string): void {
  process.stdout.write(`${line}\n`);
}
