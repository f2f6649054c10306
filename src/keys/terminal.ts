/** Passphrases: from HOLDFAST_PASSPHRASE, or typed on the terminal without being shown. */
import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";
import { BackupError } from "../core/errors.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** Undefined where none is set and nobody is there. Never waits without a terminal. */
export async function askPassphrase(question: string, environment: Environment): Promise<string | undefined> {
  const given = environment["HOLDFAST_PASSPHRASE"];
  if (given !== undefined && given !== "") return given;
  if (process.stdin.isTTY !== true || process.stderr.isTTY !== true) return undefined;
  process.stderr.write(`${question}: `);
  const silent = new Writable({ write: (_chunk, _encoding, done) => done() });
  const terminal = createInterface({ input: process.stdin, output: silent, terminal: true });
  const interrupted = new Promise<never>((_, reject) => {
    terminal.once("SIGINT", () => reject(new BackupError("interrupted", "interrupted")));
  });
  try {
    return await Promise.race([terminal.question(""), interrupted]);
  } finally {
    terminal.close();
    process.stderr.write("\n");
  }
}

/** A passphrase for a new protected file, typed twice. Throws `usage` where there is none, or the two differ. */
export async function askNewPassphrase(environment: Environment): Promise<string> {
  const first = await askPassphrase("New passphrase for the key", environment);
  if (first === undefined || first === "")
    throw new BackupError("usage", "a passphrase is needed", { hint: "run it on a terminal, or set HOLDFAST_PASSPHRASE" });
  if ((await askPassphrase("The same once more", environment)) !== first) throw new BackupError("usage", "the two are not the same");
  return first;
}

/** Says something about the key to whoever is there. */
export function warnAboutKey(text: string): void {
  process.stderr.write(`warning: ${text}\n`);
}
