/**
 * Makes a frozen sample of the format as it is now: `node test/support/freeze.ts NAME [--encrypt]` writes `test/fixtures/frozen/NAME`.
 * A sample is never made again: what it is for is that every later version restores it (test/frozen-points.test.ts).
 */
import { chmodSync, copyFileSync, linkSync, mkdirSync, readdirSync, rmSync, symlinkSync, unlinkSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { makeKeyPair } from "../../src/keys/age-library.ts";
import { makeEncryptor } from "../../src/keys/encryptor.ts";
import { ensureSigningKey } from "../../src/keys/signing-key.ts";
import { writeRecoveryFiles } from "../../src/points/recovery-files.ts";
import { frozenState } from "./frozen-state.ts";
import { protect } from "./protected.ts";
import { gitRepo, type TestRepo } from "./repo.ts";
import { recoveryTexts } from "./restore-script.ts";

const { positionals, values } = parseArgs({ allowPositionals: true, options: { encrypt: { type: "boolean", default: false } } });
const [name] = positionals;
if (name === undefined) throw new Error("node test/support/freeze.ts NAME [--encrypt]");
const target = fileURLToPath(new URL(`../fixtures/frozen/${name}`, import.meta.url));
mkdirSync(target);

using repo = begin();
using safe = await protect(repo.path);
await writeRecoveryFiles(safe.store, recoveryTexts);
const signer = ensureSigningKey(join(safe.scratch, "signing-key"));
const keys = values.encrypt ? await makeKeyPair() : undefined;
if (keys !== undefined) writeFileSync(join(target, "identity.txt"), `# for this sample alone\n${keys.identity}\n`);
const wish = {
  sign: signer.status === "ready" ? signer.key.sign : undefined,
  ...(keys === undefined ? {} : { encryption: { encryptor: makeEncryptor([keys.recipient]), plainFolder: safe.scratch } }),
};
const states: Record<string, unknown> = {};
for (const change of [() => undefined, edit, commit]) {
  change(repo);
  const { manifest } = await safe.point({ ...wish, note: { text: "frozen", ticket: null } });
  states[manifest.id] = frozenState(repo.path);
}
writeFileSync(join(target, "expected.json"), `${JSON.stringify(states, undefined, 1)}\n`);
for (const file of readdirSync(safe.store.url, { recursive: true, encoding: "utf8", withFileTypes: true })) {
  if (!file.isFile()) continue;
  const folder = file.parentPath.replace(safe.store.url, join(target, "store"));
  mkdirSync(folder, { recursive: true });
  copyFileSync(join(file.parentPath, file.name), join(folder, file.name));
}

/** Some of everything that a point holds, none of it large. */
function begin(): TestRepo {
  const made = gitRepo({ "README.md": "# a sample\n", "src/main.c": "int main() {}\n", "bin/run": "#!/bin/sh\n", "log.txt": lines(4000) });
  chmodSync(join(made.path, "bin/run"), 0o755);
  symlinkSync("README.md", join(made.path, "link"));
  made.commit("a second one");
  made.git("tag", "-a", "v1", "-m", "annotated");
  made.git("branch", "side", "HEAD~1");
  made.git("notes", "add", "-m", "a note", "HEAD");
  made.write("README.md", "# stashed\n");
  made.git("stash", "push", "--quiet", "-m", "an entry");
  made.write(".gitignore", ".env\n");
  made.write(".env", "TOKEN=sample\n");
  made.write("notes/ä ö\tü.md", "an odd name\n");
  made.write("big.log", lines(9000));
  linkSync(join(made.path, "big.log"), join(made.path, "same.log"));
  mkdirSync(join(made.path, "empty"));
  made.write("src/main.c", "int main() { return 1; }\n");
  made.git("add", "src/main.c");
  made.write("src/main.c", "int main() { return 2; }\n");
  utimesSync(join(made.path, "notes"), 1_700_000_000, 1_700_000_000.25);
  return made;
}

function edit(repo: TestRepo): void {
  unlinkSync(join(repo.path, "same.log"));
  repo.write("big.log", `${lines(9000)}one more\n`);
  repo.write("new.txt", "came later\n");
  rmSync(join(repo.path, "notes"), { recursive: true });
  repo.git("update-ref", "refs/heads/other", "HEAD");
}

function commit(repo: TestRepo): void {
  repo.commit("a third one");
  repo.git("branch", "-D", "side");
  repo.write("after.txt", "untracked again\n");
}

function lines(count: number): string {
  return Array.from({ length: count }, (_, line) => `${line} of the log\n`).join("");
}
