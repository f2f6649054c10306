/**
 * One remote of the user's rclone, spoken to. An `rclone rcd` of our own answers on loopback, with credentials that nobody else has:
 * a catalogue is hundreds of small reads, and each rclone started anew would log in anew. It is started by the first call, ends
 * when nothing was asked for a while, and in any case with this process. Uploads have a process each (`rclone rcat`): the one way in
 * which a backend is told the size beforehand. (rclone.org/rc, rclone.org/commands/rclone_rcat)
 */
import { createHash, randomBytes } from "node:crypto";
import { Agent, type IncomingMessage, request } from "node:http";
import { text } from "node:stream/consumers";
import * as z from "zod";
import { BackupError, systemCode } from "../core/errors.ts";
import { parseJson } from "../core/json.ts";
import { type RclonePlace, rcloneError, rcloneMissing } from "./rclone-errors.ts";
import { notFoundExit, type RcloneChild, rcloneEnvironment, runRclone, runRcloneBeside } from "./rclone-run.ts";
import { type CallOptions, type Range, refuseOther, type Source } from "./store.ts";

export type HashType = "md5" | "sha1" | "sha256";

export interface RemoteFacts {
  /** What is being written has no name yet: buckets. */
  readonly isAtomic: boolean;
  /** A file gets another name without being sent again. */
  readonly canMove: boolean;
  /** A sum that the remote knows of its files. */
  readonly hash: HashType | undefined;
}

const oldest = [1, 60] as const;
const idleMs = 60_000;
const startMs = 60_000;
/** Reads and calls at once; a login each, on some remotes. */
const callsAtOnce = 8;

interface Running {
  readonly child: RcloneChild;
  readonly url: URL;
  readonly facts: RemoteFacts;
}

export class RcloneRemote {
  readonly #place: RclonePlace;
  readonly #environment: Record<string, string>;
  readonly #credentials = { user: "holdfast", pass: randomBytes(32).toString("base64url") };
  /** The user's remote under a name that needs no quoting, and that no remote of theirs has. */
  readonly #fs: string;
  readonly #agent = new Agent({ keepAlive: true });
  #running: Promise<Running> | undefined;
  #calls = 0;
  readonly #waiting: (() => void)[] = [];
  #idle: NodeJS.Timeout | undefined;

  /** `place.path` as rclone takes it: the folder that all keys lie in. */
  constructor(place: RclonePlace, environment: NodeJS.ProcessEnv) {
    const name = `holdfast${randomBytes(6).toString("hex")}`;
    this.#place = place;
    this.#fs = `${name}:`;
    this.#environment = rcloneEnvironment(environment, {
      [`RCLONE_CONFIG_${name.toUpperCase()}_TYPE`]: "alias",
      [`RCLONE_CONFIG_${name.toUpperCase()}_REMOTE`]: place.path,
    });
  }

  async facts(options: CallOptions): Promise<RemoteFacts> {
    return this.#turn(options, async () => (await this.#start()).facts);
  }

  /**
   * A command of rclone's remote control, with the remote as `fs`; undefined where it says that something is not there.
   * Throws a BackupError in rclone's words.
   */
  async call<T>(command: string, parameters: object, shape: z.ZodType<T>, doing: string, options: CallOptions): Promise<T | undefined> {
    return this.#turn(options, async () => {
      const running = await this.#start();
      return this.#ask(running, command, { fs: this.#fs, srcFs: this.#fs, dstFs: this.#fs, ...parameters }, shape, doing, options);
    });
  }

  /** The bytes of a file, or undefined where it is not there. */
  async read(key: string, options: CallOptions & { readonly range?: Range }): Promise<AsyncIterable<Uint8Array> | undefined> {
    const doing = `read ${key} from`;
    const { range } = options;
    const response = await this.#turn(options, async () => {
      const { url } = await this.#start();
      const path = `/${encodeURIComponent(`[${this.#fs}]`)}/${key.split("/").map(encodeURIComponent).join("/")}`;
      const headers = range === undefined ? {} : { range: `bytes=${range.offset}-${range.offset + range.length - 1}` };
      return this.#send(new URL(path, url), "GET", headers, undefined, doing, options);
    });
    if (response.statusCode === 404) {
      response.resume();
      return undefined;
    }
    if (response.statusCode !== 200 && response.statusCode !== 206) throw rcloneError(errorOf(await text(response)), this.#place, doing);
    return this.#body(response, doing, options);
  }

  /**
   * Sends the source's bytes to a file of this name, whatever stands there. Gives their sum. Throws what the source throws, and
   * `store_failed` where it gives more or less than it announced; what then stands in the file is the caller's to clear.
   */
  async upload(key: string, source: Source, type: HashType, options: CallOptions): Promise<string> {
    options.signal?.throwIfAborted();
    const doing = `write ${key} into`;
    const child = runRclone(["rcat", "--size", String(source.size), `${this.#fs}${key}`], this.#environment);
    const stop = (): void => child.end();
    options.signal?.addEventListener("abort", stop, { once: true });
    try {
      const sum = await this.#feed(child, key, source, type, options);
      const code = await child.ended.catch((error: unknown) => {
        throw systemCode(error) === "ENOENT" ? rcloneMissing(error) : error;
      });
      options.signal?.throwIfAborted();
      if (code !== 0) throw rcloneError(child.words(), this.#place, doing);
      return sum;
    } catch (error) {
      // Never the end of its input, which would be the end of a whole file to it.
      child.end();
      await child.ended.catch(() => undefined);
      throw error;
    } finally {
      options.signal?.removeEventListener("abort", stop);
    }
  }

  /** Ends the rclone that answers; the next call starts another. */
  async close(): Promise<void> {
    clearTimeout(this.#idle);
    const running = this.#running;
    this.#running = undefined;
    const started = await running?.catch(() => undefined); // it never ran
    started?.child.end();
    await started?.child.ended.catch(() => undefined);
  }

  async #feed({ stdin, ended }: RcloneChild, key: string, source: Source, type: HashType, { signal }: CallOptions): Promise<string> {
    const hash = createHash(type);
    const sum = source.sha256 === undefined ? undefined : createHash("sha256");
    let isOver = false;
    const note = (): void => {
      isOver = true;
    };
    const over = ended.then(note, note);
    let size = 0;
    for await (const chunk of source.open()) {
      signal?.throwIfAborted();
      size += chunk.length;
      if (size > source.size) break;
      hash.update(chunk);
      sum?.update(chunk);
      if (isOver) return ""; // its exit code tells
      if (!stdin.write(chunk)) await Promise.race([over, new Promise<void>((resolve) => void stdin.once("drain", resolve))]);
    }
    signal?.throwIfAborted();
    if (size !== source.size) throw new BackupError("store_failed", `${key}: ${size} bytes came, ${source.size} were announced`);
    if (sum !== undefined) refuseOther(key, source, sum.digest("hex"));
    stdin.end();
    return hash.digest("hex");
  }

  async *#body(response: IncomingMessage, doing: string, { signal }: CallOptions): AsyncGenerator<Uint8Array> {
    this.#begin();
    try {
      for await (const chunk of response) {
        signal?.throwIfAborted();
        yield chunk as Buffer;
      }
    } catch (error) {
      if (signal?.aborted === true) throw signal.reason;
      throw error instanceof BackupError ? error : this.#lost(error, doing);
    } finally {
      response.destroy();
      this.#end();
    }
  }

  #start(): Promise<Running> {
    this.#running ??= this.#launch().catch((error: unknown) => {
      this.#running = undefined;
      throw error;
    });
    return this.#running;
  }

  async #launch(): Promise<Running> {
    const { user, pass } = this.#credentials;
    // A long restore is one answer: the server's own limit of an hour would cut it.
    const server = { RCLONE_RC_USER: user, RCLONE_RC_PASS: pass, RCLONE_RC_SERVER_READ_TIMEOUT: "240h", RCLONE_RC_SERVER_WRITE_TIMEOUT: "240h" };
    const child = runRcloneBeside(["rcd", "--rc-addr", "127.0.0.1:0", "--rc-serve"], { ...this.#environment, ...server });
    try {
      const url = await this.#address(child);
      child.unref();
      const facts = await this.#learn({ child, url });
      child.ended.finally(() => (this.#running = undefined)).catch(() => undefined); // the call that finds it gone tells
      return { child, url, facts };
    } catch (error) {
      child.end();
      throw error;
    }
  }

  /** Where it listens, as it says itself: the port was free. */
  async #address(child: RcloneChild): Promise<URL> {
    const said = new Promise<URL>((resolve) => {
      child.watch((words) => {
        const found = /Serving remote control on (http:\/\/127\.0\.0\.1:\d+\/)/.exec(words)?.[1];
        if (found !== undefined) resolve(new URL(found));
      });
    });
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(rcloneError("it does not start to answer", this.#place, "open")), startMs);
    });
    const over = child.ended.then(
      (code): never => {
        throw code === notFoundExit ? rcloneMissing() : rcloneError(child.words(), this.#place, "open");
      },
      (error: unknown): never => {
        throw rcloneMissing(error);
      },
    );
    try {
      return await Promise.race([said, late, over]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #learn(running: Pick<Running, "child" | "url">): Promise<RemoteFacts> {
    const version = await this.#ask(running, "core/version", {}, versionShape, "open", {});
    const [major = 0, minor = 0] = version?.decomposed ?? [];
    if (major < oldest[0] || (major === oldest[0] && minor < oldest[1]))
      throw new BackupError(
        "rclone_missing",
        `this rclone is ${version?.version ?? "of no version that we know"}; ${oldest.join(".")} or newer is needed`,
      );
    const info = await this.#ask(running, "operations/fsinfo", { fs: this.#fs }, infoShape, "open", {});
    if (info === undefined) throw new BackupError("store_missing", `there is nothing at ${this.#place.path} for rclone`);
    const { BucketBased = false, Move = false, Copy = false } = info.Features;
    const hash = (["sha256", "sha1", "md5"] as const).find((type) => info.Hashes?.includes(type));
    return { isAtomic: BucketBased, canMove: Move || Copy, hash };
  }

  async #ask<T>(
    { url }: Pick<Running, "url">,
    command: string,
    parameters: object,
    shape: z.ZodType<T>,
    doing: string,
    options: CallOptions,
  ): Promise<T | undefined> {
    const body = Buffer.from(JSON.stringify(parameters));
    const headers = { "content-type": "application/json", "content-length": String(body.length) };
    const response = await this.#send(new URL(command, url), "POST", headers, body, doing, options);
    const answer = await text(response).catch((error: unknown) => {
      throw options.signal?.aborted === true ? options.signal.reason : this.#lost(error, doing);
    });
    if (response.statusCode === 404) return undefined;
    if (response.statusCode !== 200) throw rcloneError(errorOf(answer), this.#place, doing);
    const parsed = shape.safeParse(parseJson(answer));
    if (!parsed.success) throw rcloneError("it answers in a way that this version does not know", this.#place, doing);
    return parsed.data;
  }

  #send(url: URL, method: string, headers: Readonly<Record<string, string>>, body: Buffer | undefined, doing: string, { signal }: CallOptions) {
    const { user, pass } = this.#credentials;
    return new Promise<IncomingMessage>((resolve, reject) => {
      const sent = request(url, { method, headers, auth: `${user}:${pass}`, agent: this.#agent, signal });
      sent.once("response", resolve);
      sent.once("error", (error) => reject(signal?.aborted === true ? signal.reason : this.#lost(error, doing)));
      sent.end(body);
    });
  }

  /** Our rclone went away amid an answer, or could not go on with it. */
  #lost(error: unknown, doing: string): BackupError {
    return new BackupError("remote_failed", `cannot ${doing} the store ${this.#place.store} (${this.#place.path}): rclone broke off`, {
      cause: error,
      hint: "run it again; rclone -vv shows what goes wrong on the way",
    });
  }

  /** Runs it when it is its turn. */
  async #turn<T>({ signal }: CallOptions, act: () => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    if (this.#calls >= callsAtOnce) await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    else this.#calls += 1;
    try {
      signal?.throwIfAborted();
      this.#begin();
      return await act();
    } finally {
      this.#end();
      const next = this.#waiting.shift();
      if (next === undefined) this.#calls -= 1;
      else next();
    }
  }

  #busy = 0;

  #begin(): void {
    this.#busy += 1;
    clearTimeout(this.#idle);
  }

  #end(): void {
    this.#busy -= 1;
    if (this.#busy > 0) return;
    this.#idle = setTimeout(() => void this.close().catch(() => undefined), idleMs);
    this.#idle.unref();
  }
}

const versionShape = z.object({ version: z.string(), decomposed: z.array(z.number()) });

const infoShape = z.object({
  Features: z.object({ BucketBased: z.boolean().optional(), Move: z.boolean().optional(), Copy: z.boolean().optional() }),
  Hashes: z.array(z.string()).nullish(),
});

/** The remote control wraps what went wrong into an object. */
function errorOf(answer: string): string {
  const parsed = z.object({ error: z.string() }).safeParse(parseJson(answer));
  return parsed.success ? parsed.data.error : answer;
}
