/**
 * The `age` program, where the machine has one. It starts sooner than the library is loaded, is several times as fast,
 * and alone knows ssh keys and plugins.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { delimiter, isAbsolute, join } from "node:path";
import type { Writable } from "node:stream";

/** The program's file, by PATH; undefined where there is none. */
export function findAge(): string | undefined {
  const name = process.platform === "win32" ? "age.exe" : "age";
  const folders = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => isAbsolute(folder));
  return folders.map((folder) => join(folder, name)).find(isExecutable);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false; // absent, or not ours to run: as good as none
  }
}

/**
 * What `age ARGS` makes of `input`. Reads `input` to its end also where age has given up, and throws its error first;
 * then an Error with age's own words. A caller that stops early ends the program.
 */
export async function* runAge(
  program: string,
  args: readonly string[],
  input: AsyncIterable<Uint8Array>,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): AsyncGenerator<Buffer> {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], windowsHide: true, signal });
  const exit = exitOf(child);
  exit.catch(() => undefined);
  const words = collect(child);
  const feeding = new Feeding(child, input);
  let isRead = false;
  try {
    for await (const chunk of child.stdout ?? []) yield chunk as Buffer;
    isRead = true;
  } finally {
    if (!isRead) {
      feeding.stop();
      child.kill();
      await Promise.allSettled([exit, feeding.done]);
    }
  }
  const [code] = await Promise.allSettled([exit, feeding.done]);
  await feeding.done;
  signal?.throwIfAborted();
  if (code.status === "rejected") throw code.reason;
  if (code.value !== 0) throw new Error(wordsOf(words()) || `age ended with exit code ${code.value}`);
}

/** Writes the input into the program, and goes on reading it when the program has closed its end. */
class Feeding {
  readonly done: Promise<void>;
  #isStopped = false;

  constructor(child: ChildProcess, input: AsyncIterable<Uint8Array>) {
    const stdin = child.stdin as Writable;
    stdin.on("error", () => undefined); // age may close its end early: its exit code tells, not EPIPE
    this.done = this.#feed(stdin, input);
    this.done.catch(() => child.kill()); // thrown where it is awaited
  }

  stop(): void {
    this.#isStopped = true;
  }

  async #feed(stdin: Writable, input: AsyncIterable<Uint8Array>): Promise<void> {
    for await (const chunk of input) {
      if (this.#isStopped) return;
      if (stdin.destroyed || stdin.write(chunk)) continue;
      await new Promise<void>((resolve) => {
        const goOn = (): void => {
          stdin.off("drain", goOn).off("close", goOn);
          resolve();
        };
        stdin.on("drain", goOn).on("close", goOn);
      });
    }
    stdin.end();
  }
}

function exitOf(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => (code === null ? reject(new Error(`age was ended by ${signal}`)) : resolve(code)));
  });
}

function collect(child: ChildProcess): () => string {
  let text = "";
  child.stderr?.setEncoding("utf8");
  child.stderr?.on("data", (chunk: string) => {
    if (text.length < 10_000) text += chunk;
  });
  return () => text;
}

/** Without the request to report it to the authors of age. */
function wordsOf(stderr: string): string {
  const lines = stderr.split("\n").map((line) => line.replace(/^age: (?:error|warning|hint): /, "").trim());
  return lines.filter((line) => line !== "" && !line.startsWith("age: report unexpected")).join("; ");
}
