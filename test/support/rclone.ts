/** Remotes for rclone's tests: all on this machine, all configured by variables alone. */
import { spawn } from "node:child_process";
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { userInfo } from "node:os";
import { delimiter, join } from "node:path";
import { tempDir } from "./repo.ts";
import { sshServer } from "./ssh-server.ts";

/** A remote whose files are to be found at `root` on this disk, in whatever form. */
export interface RcloneRemoteForTests extends AsyncDisposable {
  /** `REMOTE:`, to which a path below `root` is appended. */
  readonly remote: string;
  readonly root: string;
  readonly environment: Readonly<Record<string, string>>;
}

export async function localRemote(): Promise<RcloneRemoteForTests> {
  const dir = tempDir();
  return { remote: `:local:${dir.path}/`, root: dir.path, environment: {}, [Symbol.asyncDispose]: async () => dir[Symbol.dispose]() };
}

/** Contents and names encrypted by rclone; it knows no sums of them. */
export async function cryptRemote(): Promise<RcloneRemoteForTests> {
  const dir = tempDir();
  // "secret", as rclone obscures it.
  const environment = {
    RCLONE_CONFIG_SECRET_TYPE: "crypt",
    RCLONE_CONFIG_SECRET_REMOTE: dir.path,
    RCLONE_CONFIG_SECRET_PASSWORD: await obscured("secret"),
  };
  return { remote: "secret:", root: dir.path, environment, [Symbol.asyncDispose]: async () => dir[Symbol.dispose]() };
}

/** A server of rclone's own on loopback. */
export async function webdavRemote(): Promise<RcloneRemoteForTests> {
  const dir = tempDir();
  const server = spawn("rclone", ["serve", "webdav", "--addr", "127.0.0.1:0", "--vfs-cache-mode", "writes", "--dir-cache-time", "0s", dir.path], {
    env: plain(),
    stdio: ["ignore", "ignore", "pipe"],
  });
  const ended = new Promise<void>((resolve) => void server.once("close", () => resolve()));
  const url = await new Promise<string>((resolve, reject) => {
    let said = "";
    server.stderr.on("data", (chunk: Buffer) => {
      said += chunk.toString("utf8");
      const found = /http:\/\/127\.0\.0\.1:\d+\//.exec(said)?.[0];
      if (found !== undefined) resolve(found);
    });
    server.once("close", () => reject(new Error(`rclone serve ended: ${said}`)));
    server.once("error", reject);
  });
  return {
    remote: "dav:",
    root: dir.path,
    environment: { RCLONE_CONFIG_DAV_TYPE: "webdav", RCLONE_CONFIG_DAV_URL: url, RCLONE_CONFIG_DAV_VENDOR: "other" },
    async [Symbol.asyncDispose]() {
      server.kill();
      await ended;
      dir[Symbol.dispose]();
    },
  };
}

export async function sftpRemote(): Promise<RcloneRemoteForTests> {
  const dir = tempDir();
  const server = await sshServer();
  const environment = {
    RCLONE_CONFIG_BOX_TYPE: "sftp",
    RCLONE_CONFIG_BOX_HOST: "127.0.0.1",
    RCLONE_CONFIG_BOX_PORT: String(server.port),
    RCLONE_CONFIG_BOX_USER: userInfo().username,
    RCLONE_CONFIG_BOX_KEY_FILE: server.files.key,
    RCLONE_CONFIG_BOX_KNOWN_HOSTS_FILE: server.files.knownHosts,
  };
  return {
    remote: `box:${dir.path}/`,
    root: dir.path,
    environment,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]();
      dir[Symbol.dispose]();
    },
  };
}

export interface CountedRclone extends Disposable {
  /** For PATH: an `rclone` that writes down how it was called, and is the real one. */
  readonly path: string;
  /** Process and arguments of each call so far. */
  calls(): readonly { readonly pid: number; readonly args: string }[];
}

export function countedRclone(): CountedRclone {
  const dir = tempDir();
  const bin = join(dir.path, "bin");
  const log = join(dir.path, "calls");
  mkdirSync(bin);
  writeFileSync(log, "");
  writeFileSync(join(bin, "rclone"), `#!/bin/sh\necho "$$ $*" >>'${log}'\nPATH=\${PATH#*:} exec rclone "$@"\n`);
  chmodSync(join(bin, "rclone"), 0o755);
  return {
    path: `${bin}${delimiter}${process.env["PATH"] ?? ""}`,
    calls: () =>
      readFileSync(log, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => ({ pid: Number.parseInt(line, 10), args: line.slice(line.indexOf(" ") + 1) })),
    [Symbol.dispose]: () => dir[Symbol.dispose](),
  };
}

function plain(): NodeJS.ProcessEnv {
  const { AWS_CA_BUNDLE: _, ...environment } = process.env;
  return environment;
}

function obscured(word: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn("rclone", ["obscure", word], { env: plain(), stdio: ["ignore", "pipe", "ignore"] });
    let said = "";
    child.stdout.on("data", (chunk: Buffer) => (said += chunk.toString("utf8")));
    child.once("error", reject);
    child.once("close", () => resolve(said.trim()));
  });
}
